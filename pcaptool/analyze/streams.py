"""One direction of a TCP conversation as a byte stream.

Knows: sequence numbers modulo 2**32, segments that come late, twice, overlapping or never, a stream that was
joined in the middle, bytes that the capture cut off (RFC 9293 section 3.4, 3.10).
Must not know: what the bytes mean, or how segments reach it.

Pieces come out in stream order, each with the packet that completed it: the packet whose arrival made the
stream contiguous up to there. `carrier` is the packet that brought the bytes, which differs for those that
waited behind a hole. If that hole is given up it was the capture's, not the receiver's: what waited was complete
when it came.

Choices: the bytes that came first are kept where segments overlap. A hole is given up, and comes out as a
`Gap`, when the other side has acknowledged beyond it, when more than HOLD_BYTES or HOLD_SEGMENTS wait behind
it, or when the stream ends. Bytes cut off by the snap length are a Gap at once. A stream that was joined in
the middle begins with the first data segment that is seen.
Bytes that come again are compared (`conflicting_bytes`) while the first ones still wait behind a hole, or are among
the RECENT_BYTES that were handed on last.
Left out: of what was handed on longer ago, and of bytes that nobody looked at (`skip`), nothing is kept, so a
repetition with other content is not noticed.

Memory: at most HOLD_BYTES and HOLD_SEGMENTS waiting in a direction, and RECENT_BYTES that were handed on.
Time: O(1) a segment in order; a segment behind a hole costs a binary search and a list insertion.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import NamedTuple

from pcaptool.wire.tcp import SEQ_MASK, seq_diff

__all__ = ["HOLD_BYTES", "HOLD_SEGMENTS", "RECENT_BYTES", "Gap", "Piece", "StreamEnd", "StreamReassembler"]

HOLD_BYTES = 4 << 20  # a 1 Gbit/s path of 20 ms has 2.5 MB in flight while a loss is repaired
HOLD_SEGMENTS = 4096
RECENT_BYTES = 2048  # more than an Ethernet segment holds


class Piece(NamedTuple):
    """Contiguous bytes of a stream.

    Parameters
    ----------
    data : memoryview or bytes
        Valid only until the next packet is fed: copy what is to be kept.
    n, ts : int
        Packet that completed them, and its time in nanoseconds.
    carrier : int
        Packet that brought them.
    ack : int
        Acknowledgement number in that packet: what its sender had received then.
    at : int
        Position of the first byte in the stream.
    """

    data: memoryview | bytes
    n: int
    ts: int
    carrier: int
    ack: int = 0
    at: int = 0


class Gap(NamedTuple):
    """Bytes that the capture does not hold.

    Parameters
    ----------
    size : int
        Bytes.
    n, ts : int
        Packet that brought what stands behind them, and its time in nanoseconds; or that was cut.
    """

    size: int
    n: int
    ts: int


class StreamEnd(NamedTuple):
    """FIN in its place in the stream.

    Parameters
    ----------
    n, ts : int
        Packet that completed the stream, and its time in nanoseconds.
    """

    n: int
    ts: int


Event = Piece | Gap | StreamEnd


@dataclass(slots=True)
class _Held:
    data: bytes
    missing: int  # bytes of the segment behind `data` that the capture cut off
    fin: bool
    carrier: int
    ts: int
    ack: int

    @property
    def size(self) -> int:
        return len(self.data) + self.missing


class StreamReassembler:
    """Puts the segments of one direction in order.

    Positions are bytes since the first one, without wrap-around; position 0 is the first data byte.

    Examples
    --------
    >>> s = StreamReassembler()
    >>> s.begin(100)
    >>> s.push(104, b"efgh", n=2, ts=20)
    []
    >>> [(bytes(p.data), p.n, p.carrier) for p in s.push(100, b"abcd", n=3, ts=30)]
    [(b'abcd', 3, 3), (b'efgh', 3, 2)]
    >>> s.push(102, b"cdef", n=4, ts=40), s.repeated_bytes
    ([], 4)
    """

    __slots__ = (
        "_held",
        "_held_bytes",
        "_keys",
        "_latest",
        "_next_seq",
        "_recent",
        "_started",
        "conflicting_bytes",
        "ended",
        "gap_bytes",
        "position",
        "repeated_bytes",
    )

    def __init__(self) -> None:
        self.position = 0
        self.repeated_bytes = 0
        self.gap_bytes = 0
        self.conflicting_bytes = 0
        self.ended = False
        self._started = False
        self._next_seq = 0
        self._latest = (0, 0)  # packet and time of what was handed on last
        self._recent = b""  # what was handed on last, up to `position`
        # Positions of held segments in order, and the segments; disjoint.
        self._keys: list[int] = []
        self._held: list[_Held] = []
        self._held_bytes = 0

    @property
    def started(self) -> bool:
        """Whether it is known where the stream begins."""
        return self._started

    @property
    def has_hole(self) -> bool:
        """Whether bytes wait behind missing ones."""
        return bool(self._keys)

    def begin(self, seq: int) -> None:
        """The first data byte has sequence number `seq` (SYN + 1); without it the first segment begins."""
        if not self._started:
            self._started = True
            self._next_seq = seq & SEQ_MASK

    def skip(self, seq: int, size: int, missing: int = 0) -> bool:
        """Take a segment whose bytes nobody needs to see, if it is the next one and nothing waits.

        `missing` bytes of its `size` are not in the capture.
        """
        if seq != self._next_seq or self._keys or self.ended or not self._started:
            return False
        self.position += size
        self.gap_bytes += missing
        self._next_seq = (seq + size) & SEQ_MASK
        self._recent = b""
        return True

    def forget(self) -> None:
        """What was handed on so far is not compared with what comes again: as after `skip`."""
        self._recent = b""

    def offset_of(self, seq: int) -> int:
        """Position of a sequence number near the current one."""
        return self.position + seq_diff(seq, self._next_seq)

    def push(
        self,
        seq: int,
        data: memoryview | bytes,
        n: int,
        ts: int,
        *,
        missing: int = 0,
        fin: bool = False,
        ack: int = 0,
    ) -> list[Event]:
        """Take a segment; what it makes contiguous comes out.

        Parameters
        ----------
        seq : int
            Sequence number of its first data byte.
        data : memoryview or bytes
            Captured payload.
        n, ts : int
            Packet number and time.
        missing : int
            Payload bytes behind `data` that the capture cut off.
        fin : bool
            FIN stands behind the payload.
        ack : int
            Its acknowledgement number.
        """
        if self.ended:
            self.repeated_bytes += len(data) + missing
            self._compare_recent(seq, data)
            return []
        if not self._started:
            self.begin(seq)
        ahead = seq_diff(seq, self._next_seq)
        if ahead < 0:  # some or all of it came before
            late = min(-ahead, len(data))
            self._compare_recent(seq, data)
            lost = min(-ahead - late, missing)
            self.repeated_bytes += late + lost
            if -ahead > late + lost:
                return []  # wholly old, and so is its FIN
            data, missing, ahead = data[late:], missing - lost, 0
            if not data and not missing and not fin:
                return []
        if ahead == 0 and not self._keys:
            return self._deliver(_Held(b"", missing, fin, n, ts, ack), data, n, ts)
        self._hold(self.position + ahead, _Held(bytes(data), missing, fin, n, ts, ack))
        events = self._drain((n, ts))
        while self._held_bytes > HOLD_BYTES or len(self._keys) > HOLD_SEGMENTS:
            events += self._skip_hole()
        return events

    def acknowledged(self, ack: int) -> list[Event]:
        """The other side has everything before `ack`: holes before it will not be filled."""
        events: list[Event] = []
        while self._keys and self.offset_of(ack) >= self._keys[0]:
            events += self._skip_hole()
        return events

    def flush(self) -> list[Event]:
        """No more segments will come: all holes become gaps."""
        events: list[Event] = []
        while self._keys:
            events += self._skip_hole()
        return events

    def _deliver(self, segment: _Held, data: memoryview | bytes, n: int, ts: int) -> list[Event]:
        events: list[Event] = []
        self._latest = (n, ts)
        if data:
            events.append(Piece(data, n, ts, segment.carrier, segment.ack, self.position))
            self._recent = (self._recent + bytes(data[-RECENT_BYTES:]))[-RECENT_BYTES:]
        if segment.missing:
            events.append(Gap(segment.missing, n, ts))
            self.gap_bytes += segment.missing
            self._recent = b""
        size = len(data) + segment.missing
        self.position += size
        self._next_seq = (self._next_seq + size) & SEQ_MASK
        if segment.fin:
            self.ended = True
            events.append(StreamEnd(n, ts))
            self._drop_held()
        return events

    def _drop_held(self) -> None:
        self.repeated_bytes += self._held_bytes
        self._keys.clear()
        self._held.clear()
        self._held_bytes = 0

    def _hold(self, at: int, new: _Held) -> None:
        """Keep the parts of a segment that no held one covers."""
        where = bisect_left(self._keys, at)
        if where and at < (end := self._keys[where - 1] + self._held[where - 1].size):
            self._compare(self._held[where - 1].data[at - self._keys[where - 1] :], new.data)
            at, new = self._cut_front(new, at, end - at)
        while where < len(self._keys) and new.size:
            room = self._keys[where] - at
            if new.size <= room:
                break
            if room > 0:
                beyond = max(room - len(new.data), 0)
                self._insert(where, at, replace(new, data=new.data[:room], missing=beyond, fin=False))
                where += 1
            self._compare(self._held[where].data, new.data[max(room, 0) :])
            at, new = self._cut_front(new, at, room + self._held[where].size, counted=max(room, 0))
            where += 1
        if new.size:
            self._insert(where, at, new)
        elif new.fin:
            self._mark_fin(where, at, new)

    def _cut_front(self, segment: _Held, at: int, size: int, counted: int = 0) -> tuple[int, _Held]:
        """The segment without its first bytes, of which `counted` were put elsewhere and the rest repeats."""
        cut = min(size, segment.size)
        self.repeated_bytes += cut - counted
        data = segment.data[cut:]
        missing = segment.missing - max(cut - len(segment.data), 0)
        return at + cut, _Held(data, missing, segment.fin, segment.carrier, segment.ts, segment.ack)

    def _compare_recent(self, seq: int, data: memoryview | bytes) -> None:
        """Compare what of a segment was handed on a short while ago; a single byte may be a keep-alive's."""
        if len(data) == 1:
            return
        here = seq_diff(seq, self._next_seq) + len(self._recent)  # its place in what is kept
        again = data[max(-here, 0) :][:RECENT_BYTES]
        self._compare(self._recent[max(here, 0) :], bytes(again))

    def _compare(self, kept: bytes, again: bytes) -> None:
        """Count the bytes in which two pieces from the same position differ."""
        size = min(len(kept), len(again))
        if kept[:size] != again[:size]:
            self.conflicting_bytes += sum(a != b for a, b in zip(kept[:size], again[:size], strict=True))

    def _insert(self, where: int, at: int, segment: _Held) -> None:
        self._keys.insert(where, at)
        self._held.insert(where, segment)
        self._held_bytes += len(segment.data)

    def _mark_fin(self, where: int, at: int, new: _Held) -> None:
        """A FIN without bytes: on the segment before it, or by itself; inside another segment it is a lie."""
        before = self._keys[where - 1] + self._held[where - 1].size if where else at - 1
        if before == at:
            self._held[where - 1].fin = True
        elif before < at and not (where < len(self._keys) and self._keys[where] == at):
            self._insert(where, at, new)

    def _drain(self, by: tuple[int, int] | None = None) -> list[Event]:
        """Hand out what a packet (number, time) made contiguous; without one, what was so when it came."""
        events: list[Event] = []
        ready = 0
        while ready < len(self._keys) and self._keys[ready] == self.position:
            segment = self._held[ready]
            self._held_bytes -= len(segment.data)
            ready += 1
            completed = by or max(self._latest, (segment.carrier, segment.ts))
            events += self._deliver(segment, segment.data, *completed)
            if self.ended:
                return events
        del self._keys[:ready]
        del self._held[:ready]
        return events

    def _skip_hole(self) -> list[Event]:
        size = self._keys[0] - self.position
        self.gap_bytes += size
        self.position += size
        self._next_seq = (self._next_seq + size) & SEQ_MASK
        self._recent = b""
        self._latest = max(self._latest, (self._held[0].carrier, self._held[0].ts))
        return [Gap(size, *self._latest), *self._drain()]
