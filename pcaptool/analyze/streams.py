"""One direction of a TCP conversation as a byte stream.

Knows: sequence numbers modulo 2**32, segments that come late, twice, overlapping or never, a stream that was
joined in the middle, bytes that the capture cut off (RFC 9293 section 3.4, 3.10).
Must not know: what the bytes mean, or how segments reach it.

Pieces come out in stream order, each with the packet that completed it: the packet whose arrival made the
stream contiguous up to there. `carrier` is the packet that brought the bytes, which differs for those that
waited behind a hole. If that hole is given up it was the capture's, not the receiver's: what waited was complete
when it came.

Choices: the bytes that came first are kept where segments overlap. A hole is given up, and comes out as a
`Gap`, when the other side has acknowledged beyond it, when more waits behind it than may (`waiting`), or when the
stream ends. Bytes cut off by the snap length are a Gap at once. A stream that was joined in the middle begins with the
first data segment that is seen.
Bytes that come again are compared (`conflicting_bytes`) while the first ones still wait behind a hole, or are among
the RECENT_BYTES that were handed on last.
Left out: of what was handed on longer ago, and of bytes that nobody looked at (`skip`), nothing is kept, so a
repetition with other content is not noticed.

Memory: what waits behind a hole (`waiting`: bounded), and RECENT_BYTES that were handed on.
Time: O(1) a segment in order; one behind a hole: `waiting`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pcaptool.analyze.waiting import Held, HeldRun, Part, Waiting, differing_bytes
from pcaptool.wire.tcp import SEQ_MASK, seq_diff

__all__ = [
    "RECENT_BYTES",
    "Gap",
    "Part",
    "Piece",
    "Run",
    "StreamEnd",
    "StreamReassembler",
]

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


class Run(NamedTuple):
    """Contiguous pieces and gaps at once; only of what was held by `StreamReassembler.hold_run`.

    Parameters
    ----------
    size, missing : int
        Bytes, and how many of them the capture lacks.
    n, ts : int
        Packet that completed the last of them, and its time in nanoseconds.
    parts : sequence of Part
    at : int
        Position of the first byte in the stream.
    by : (int, int) or None
        Packet, and its time, that completed all of them; None: each was complete when it came.
    before : (int, int)
        Packet, and its time, that completed what stands before.
    """

    size: int
    missing: int
    n: int
    ts: int
    parts: Sequence[Part]
    at: int
    by: tuple[int, int] | None
    before: tuple[int, int]

    def events(self) -> Iterator[Piece | Gap]:
        """The same one by one."""
        at, latest = self.at, self.before
        for data, missing, carrier, ts, ack in self.parts:
            latest = self.by or max(latest, (carrier, ts))
            if data:
                yield Piece(data, *latest, carrier, ack, at)
            if missing:
                yield Gap(missing, *latest)
            at += len(data) + missing


Event = Piece | Gap | StreamEnd | Run


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
        "_latest",
        "_next_seq",
        "_recent",
        "_started",
        "_waiting",
        "ended",
        "gap_bytes",
        "position",
    )

    def __init__(self) -> None:
        self.position = 0
        self.gap_bytes = 0
        self.ended = False
        self._started = False
        self._next_seq = 0
        self._latest = (0, 0)  # packet and time of what was handed on last
        self._recent = b""  # what was handed on last, up to `position`
        self._waiting = Waiting()

    def rest(self) -> tuple[Any, ...]:
        """All that it knows, as plain values; `wake` of another one goes on from there."""
        known = (self.position, self.gap_bytes, self.ended, self._started, self._next_seq, self._latest)
        return *known, self._recent, self._waiting.rest()

    def wake(self, state: tuple[Any, ...]) -> None:
        """Go on where another one was."""
        self.position, self.gap_bytes, self.ended, self._started, self._next_seq, self._latest = state[:6]
        self._recent = state[6]
        self._waiting.wake(state[7])

    @property
    def repeated_bytes(self) -> int:
        """Bytes that came again."""
        return self._waiting.repeated_bytes

    @property
    def conflicting_bytes(self) -> int:
        """Of those how many are known to differ from the first ones."""
        return self._waiting.conflicting_bytes

    @property
    def started(self) -> bool:
        """Whether it is known where the stream begins."""
        return self._started

    @property
    def has_hole(self) -> bool:
        """Whether bytes wait behind missing ones."""
        return bool(self._waiting.positions)

    def begin(self, seq: int) -> None:
        """The first data byte has sequence number `seq` (SYN + 1); without it the first segment begins."""
        if not self._started:
            self._started = True
            self._next_seq = seq & SEQ_MASK

    def skip(self, seq: int, size: int, missing: int = 0) -> bool:
        """Take a segment whose bytes nobody needs to see, if it is the next one and nothing waits.

        `missing` bytes of its `size` are not in the capture.
        """
        if seq != self._next_seq or self._waiting.positions or self.ended or not self._started:
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
            self._waiting.repeated_bytes += len(data) + missing
            self._compare_recent(seq, data)
            return []
        if not self._started:
            self.begin(seq)
        ahead = seq_diff(seq, self._next_seq)
        if ahead < 0:  # some or all of it came before
            late = min(-ahead, len(data))
            self._compare_recent(seq, data)
            lost = min(-ahead - late, missing)
            self._waiting.repeated_bytes += late + lost
            if -ahead > late + lost:
                return []  # wholly old, and so is its FIN
            data, missing, ahead = data[late:], missing - lost, 0
            if not data and not missing and not fin:
                return []
        if ahead == 0 and not self._waiting.positions:
            return self._deliver(Held(b"", missing, fin, n, ts, ack), data, n, ts)
        self._waiting.hold(self.position + ahead, Held(bytes(data), missing, fin, n, ts, ack))
        events = self._drain((n, ts))
        while self._waiting.too_much:
            events += self._skip_hole()
        return events

    def hold_run(self, seq: int, parts: Sequence[Part]) -> bool:
        """Take segments that follow each other and must wait behind a hole, as `push` of each would.

        Returns
        -------
        bool
            False: `push` must be called for each.
        """
        ahead = seq_diff(seq, self._next_seq)
        if not self._waiting.positions or self.ended or ahead <= 0:
            return False
        missing = sum(part.missing for part in parts)
        size = sum(len(part.data) for part in parts) + missing
        return self._waiting.hold_run(self.position + ahead, HeldRun(parts, size, missing))

    def acknowledged(self, ack: int) -> list[Event]:
        """The other side has everything before `ack`: holes before it will not be filled."""
        events: list[Event] = []
        positions = self._waiting.positions
        while positions and self.offset_of(ack) >= positions[0]:
            events += self._skip_hole()
        return events

    def flush(self) -> list[Event]:
        """No more segments will come: all holes become gaps."""
        events: list[Event] = []
        while self._waiting.positions:
            events += self._skip_hole()
        return events

    def _deliver(self, segment: Held, data: memoryview | bytes, n: int, ts: int) -> list[Event]:
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
            self._waiting.repeated_bytes += self._waiting.data_bytes
            self._waiting.clear()
        return events

    def _deliver_run(self, run: HeldRun, by: tuple[int, int] | None) -> Run:
        before, last = self._latest, run.parts[-1]
        self._latest = by or max(before, (last.carrier, last.ts))
        out = Run(run.size, run.missing, *self._latest, run.parts, self.position, by, before)
        self.gap_bytes += run.missing
        self.position += run.size
        self._next_seq = (self._next_seq + run.size) & SEQ_MASK
        recent = b""
        for part in reversed(run.parts):
            if part.missing or len(recent) >= RECENT_BYTES:
                break
            recent = part.data + recent
        else:
            recent = self._recent + recent
        self._recent = recent[-RECENT_BYTES:]
        return out

    def _compare_recent(self, seq: int, data: memoryview | bytes) -> None:
        """Compare what of a segment was handed on a short while ago; a single byte may be a keep-alive's."""
        if len(data) == 1:
            return
        here = seq_diff(seq, self._next_seq) + len(self._recent)  # its place in what is kept
        again = data[max(-here, 0) :][:RECENT_BYTES]
        self._waiting.conflicting_bytes += differing_bytes(self._recent[max(here, 0) :], bytes(again))

    def _drain(self, by: tuple[int, int] | None = None) -> list[Event]:
        """Hand out what a packet (number, time) made contiguous; without one, what was so when it came."""
        events: list[Event] = []
        positions = self._waiting.positions
        while positions and positions[0] == self.position and not self.ended:
            segment = self._waiting.pop()
            if isinstance(segment, HeldRun):
                events.append(self._deliver_run(segment, by))
            else:
                completed = by or max(self._latest, (segment.carrier, segment.ts))
                events += self._deliver(segment, segment.data, *completed)
        return events

    def _skip_hole(self) -> list[Event]:
        size = self._waiting.positions[0] - self.position
        self.gap_bytes += size
        self.position += size
        self._next_seq = (self._next_seq + size) & SEQ_MASK
        self._recent = b""
        first = self._waiting.first_held
        self._latest = max(self._latest, (first.carrier, first.ts))
        return [Gap(size, *self._latest), *self._drain()]
