"""What waits behind a hole of a byte stream: segments by position, disjoint, those that came first.

Knows: positions of one direction without wrap-around, where held segments overlap, how much may wait.
Must not know: sequence numbers, when a hole is given up (`streams`), what the bytes mean.
Segments that follow each other without a hole may be held together, as a run: the bodies of messages are such runs.
A run is taken apart where another segment overlaps it, so it makes no difference whether segments came as one.

Memory: HOLD_BYTES and HOLD_SEGMENTS a direction, and the segment that goes beyond them.
Time: a binary search and a list insertion for each segment, or for each run.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

__all__ = ["HOLD_BYTES", "HOLD_SEGMENTS", "Held", "HeldRun", "Part", "Waiting", "differing_bytes"]

HOLD_BYTES = 4 << 20  # a 1 Gbit/s path of 20 ms has 2.5 MB in flight while a loss is repaired
HOLD_SEGMENTS = 4096


class Part(NamedTuple):
    """One segment of a run.

    Parameters
    ----------
    data : bytes
    missing : int
        Bytes of the segment behind `data` that the capture cut off.
    carrier, ts : int
        Packet that brought it, and its time in nanoseconds.
    ack : int
        Acknowledgement number in that packet.
    """

    data: bytes
    missing: int
    carrier: int
    ts: int
    ack: int


@dataclass(slots=True)
class Held:
    """A segment that waits; members as those of `Part`."""

    data: bytes
    missing: int
    fin: bool
    carrier: int
    ts: int
    ack: int

    @property
    def size(self) -> int:
        """Bytes of the stream that it covers."""
        return len(self.data) + self.missing

    def rest(self) -> tuple[Any, ...]:
        """Its members."""
        return self.data, self.missing, self.fin, self.carrier, self.ts, self.ack


@dataclass(frozen=True, slots=True)
class HeldRun:
    """Segments without a hole or FIN between them, that wait together."""

    parts: Sequence[Part]
    size: int
    missing: int

    @property
    def carrier(self) -> int:
        """Packet that brought the first of them."""
        return self.parts[0].carrier

    @property
    def ts(self) -> int:
        """Time of that packet."""
        return self.parts[0].ts

    def rest(self) -> tuple[Any, ...]:
        """Its members, as plain values."""
        return [tuple(part) for part in self.parts], self.size, self.missing

    @classmethod
    def of(cls, parts: Sequence[tuple[Any, ...]], size: int, missing: int) -> HeldRun:
        """The run that had these members."""
        return cls([Part(*part) for part in parts], size, missing)


def differing_bytes(kept: bytes, again: bytes) -> int:
    """In how many bytes two pieces from the same position differ.

    Examples
    --------
    >>> differing_bytes(b"abcd", b"abXY---")
    2
    """
    size = min(len(kept), len(again))
    if kept[:size] == again[:size]:
        return 0
    return sum(a != b for a, b in zip(kept[:size], again[:size], strict=True))


@dataclass(slots=True)
class Waiting:
    """Held segments of one direction.

    Attributes
    ----------
    repeated_bytes, conflicting_bytes : int
        Of what came again while the first still waited: all, and those that differ.
    data_bytes, segments : int
        What waits now.
    positions : list of int
        Where each begins, rising.

    Examples
    --------
    >>> held = Waiting()
    >>> held.hold(10, Held(b"abcd", 0, False, 1, 0, 0))
    >>> held.hold(12, Held(b"cdef", 0, False, 2, 0, 0))
    >>> [(at, each.data) for at, each in held]
    [(10, b'abcd'), (14, b'ef')]
    >>> held.repeated_bytes
    2
    """

    repeated_bytes: int = 0
    conflicting_bytes: int = 0
    data_bytes: int = 0
    segments: int = 0
    positions: list[int] = field(default_factory=list)
    _held: list[Held | HeldRun] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[int, Held | HeldRun]]:
        return iter(zip(self.positions, self._held, strict=True))

    @property
    def first_held(self) -> Held | HeldRun:
        """The first one."""
        return self._held[0]

    @property
    def too_much(self) -> bool:
        """More waits than may."""
        return self.data_bytes > HOLD_BYTES or self.segments > HOLD_SEGMENTS

    def rest(self) -> tuple[Any, ...] | None:
        """All that is known, as plain values (`wake`); None where that is nothing."""
        if not self.positions and not self.repeated_bytes:
            return None  # nothing can differ that did not come again
        held = [(at, *each.rest()) for at, each in self]
        return self.repeated_bytes, self.conflicting_bytes, held

    def wake(self, state: tuple[Any, ...] | None) -> None:
        """Go on where another one was."""
        if state is None:
            return
        self.repeated_bytes, self.conflicting_bytes, held = state
        for at, *each in held:
            self._insert(len(self.positions), at, HeldRun.of(*each) if len(each) == 3 else Held(*each))

    def pop(self) -> Held | HeldRun:
        """Take the first one out."""
        self.positions.pop(0)
        held = self._held.pop(0)
        self._count(held, -1)
        return held

    def clear(self) -> None:
        """Take all out."""
        self.positions.clear()
        self._held.clear()
        self.data_bytes = self.segments = 0

    def hold_run(self, at: int, run: HeldRun) -> bool:
        """Keep a run, if it overlaps nothing and there is room for all of it."""
        where = bisect_left(self.positions, at)
        if where and at < self._end(where - 1):
            return False
        if where < len(self.positions) and self.positions[where] < at + run.size:
            return False
        data_bytes = self.data_bytes + run.size - run.missing
        if data_bytes > HOLD_BYTES or self.segments + len(run.parts) > HOLD_SEGMENTS:
            return False
        self._insert(where, at, run)
        return True

    def hold(self, at: int, new: Held) -> None:
        """Keep the parts of a segment that no held one covers."""
        self._take_apart(
            at if new.size else at - 1, at + new.size
        )  # a FIN alone belongs to what is before it
        where = bisect_left(self.positions, at)
        if where and at < (end := self._end(where - 1)):
            self._compare(self._held[where - 1], at - self.positions[where - 1], new.data)
            at, new = self._cut_front(new, at, end - at)
        while where < len(self.positions) and new.size:
            room = self.positions[where] - at
            if new.size <= room:
                break
            if room > 0:
                beyond = max(room - len(new.data), 0)
                self._insert(where, at, replace(new, data=new.data[:room], missing=beyond, fin=False))
                where += 1
            self._compare(self._held[where], 0, new.data[max(room, 0) :])
            at, new = self._cut_front(new, at, room + self._held[where].size, counted=max(room, 0))
            where += 1
        if new.size:
            self._insert(where, at, new)
        elif new.fin:
            self._mark_fin(where, at, new)

    def _end(self, where: int) -> int:
        return self.positions[where] + self._held[where].size

    def _count(self, held: Held | HeldRun, sign: int) -> None:
        if isinstance(held, HeldRun):
            self.data_bytes += sign * (held.size - held.missing)
            self.segments += sign * len(held.parts)
        else:
            self.data_bytes += sign * len(held.data)
            self.segments += sign

    def _insert(self, where: int, at: int, held: Held | HeldRun) -> None:
        self.positions.insert(where, at)
        self._held.insert(where, held)
        self._count(held, 1)

    def _take_apart(self, begin: int, end: int) -> None:
        """Runs that overlap these positions become segments again."""
        where = max(bisect_left(self.positions, begin) - 1, 0)
        while where < len(self.positions) and self.positions[where] < end:
            run = self._held[where]
            if isinstance(run, HeldRun) and begin < self._end(where):
                keys, at = [], self.positions[where]
                for part in run.parts:
                    keys.append(at)
                    at += len(part.data) + part.missing
                self.positions[where : where + 1] = keys
                self._held[where : where + 1] = [
                    Held(p.data, p.missing, fin=False, carrier=p.carrier, ts=p.ts, ack=p.ack)
                    for p in run.parts
                ]
                where += len(keys) - 1
            where += 1

    def _cut_front(self, segment: Held, at: int, size: int, counted: int = 0) -> tuple[int, Held]:
        """The segment without its first bytes, of which `counted` were put elsewhere and the rest repeats."""
        cut = min(size, segment.size)
        self.repeated_bytes += cut - counted
        data = segment.data[cut:]
        missing = segment.missing - max(cut - len(segment.data), 0)
        return at + cut, Held(data, missing, segment.fin, segment.carrier, segment.ts, segment.ack)

    def _compare(self, kept: Held | HeldRun, skipped: int, again: bytes) -> None:
        if isinstance(kept, HeldRun):
            raise TypeError("a run is taken apart before it is compared")
        self.conflicting_bytes += differing_bytes(kept.data[skipped:], again)

    def _mark_fin(self, where: int, at: int, new: Held) -> None:
        """A FIN without bytes: on the segment before it, or by itself; inside another segment it is a lie."""
        before = self._end(where - 1) if where else at - 1
        last = self._held[where - 1] if where else None
        if before == at and isinstance(last, Held):
            last.fin = True
        elif before < at and not (where < len(self.positions) and self.positions[where] == at):
            self._insert(where, at, new)
