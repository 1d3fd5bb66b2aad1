"""What a capture program sees: frames as bytes, at one of three places.

Knows: which checksums are complete at that place, in which order frames come.
Must not know: file formats, or how a header becomes bytes (`frame_bytes`, `frame_block`).
    server, client   where tcpdump sits on that host: leaving frames just above the driver (super-packets, checksums
                     not yet filled in where the device does that), arriving ones as the driver hands them up
    wire             what is on the cable: frames of at most the MTU, all checksums complete
A tap notes the buffers that pass; their bytes are made when the run is over, a super-packet's segments together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from pcaptool.stack.frame_block import SegmentRun, full_segments, segment_run
from pcaptool.stack.frame_bytes import frame_bytes
from pcaptool.stack.segment import segment
from pcaptool.stack.skbuff import SkBuff
from pcaptool.wire.tcp import TcpFlag

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Frames", "Tap", "TapBlock", "TapFrame"]

FEWEST_SEGMENTS = 4  # below, a block is slower than frame by frame


class TapFrame(NamedTuple):
    """A frame as a tap saw it.

    Parameters
    ----------
    time_ns : int
    data : bytes
        What was captured of it.
    orig_len : int
        Bytes it had.
    skb : int
        The buffer that carried it, as in the `stages` table.
    leaving : bool
        Whether it left the host of the tap; at the wire, whether it left the server.
    checksum_ready : bool
        Whether its transport checksum is complete.
    gso_segs : int
        Wire segments it stands for.
    note : str
        What the stack did with it, for a person.
    """

    time_ns: int
    data: bytes
    orig_len: int
    skb: int
    leaving: bool
    checksum_ready: bool
    gso_segs: int
    note: str = ""


class TapBlock(NamedTuple):
    """Frames of the same length and time: the full-size segments of a super-packet on the wire.

    Parameters
    ----------
    time_ns : int
    run : SegmentRun
    kept_bytes : int
        What is captured of each.
    orig_len : int
        Bytes each had.
    skb : int
    leaving : bool
    note : str
        As in `TapFrame`.
    """

    time_ns: int
    run: SegmentRun
    kept_bytes: int
    orig_len: int
    skb: int
    leaving: bool
    note: str = ""

    @property
    def rows(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """What is captured, a frame a row."""
        return full_segments(self.run)[:, : self.kept_bytes]

    def frames(self) -> Iterator[TapFrame]:
        """One by one."""
        for row in self.rows:
            yield TapFrame(
                time_ns=self.time_ns,
                data=row.tobytes(),
                orig_len=self.orig_len,
                skb=self.skb,
                leaving=self.leaving,
                checksum_ready=True,
                gso_segs=1,
                note=self.note,
            )


# When, what, whether it left: a buffer is made into bytes later.
Seen = tuple[int, SkBuff | TapFrame, bool]


class Frames(Sequence[TapFrame]):
    """The frames of a tap in the order of time; those of equal time in the order in which they passed.

    Bytes are made as they are asked for: a run of 300 MB needs the memory of one super-packet.

    Parameters
    ----------
    tap : Tap
    seen : sequence of tuple
        What passed it, in the order of time: when, what, whether it left.
    """

    def __init__(self, tap: Tap, seen: Sequence[Seen]) -> None:
        self._tap = tap
        self._seen = seen
        self._length = sum(self._count(what) for _, what, _ in seen)
        self._single: list[TapFrame] | None = None

    def __len__(self) -> int:
        return self._length

    def _count(self, what: SkBuff | TapFrame) -> int:
        return what.gso_segs if self._tap.wire and isinstance(what, SkBuff) else 1

    @property
    def pieces(self) -> Iterator[TapFrame | TapBlock]:
        """All frames, the segments of a super-packet together."""
        tap = self._tap
        for time_ns, what, leaving in self._seen:
            if isinstance(what, TapFrame):
                yield what
            elif tap.wire and what.gso_segs > 1:
                yield from tap.segments(time_ns, what, leaving)
            else:
                yield tap.frame(time_ns, what, leaving)

    def left(self) -> Iterator[tuple[int, int]]:
        """1-based number and buffer of each frame that left, without making its bytes."""
        n = 1
        for _, what, leaving in self._seen:
            count = self._count(what)
            if leaving:
                skb = what.skb if isinstance(what, TapFrame) else what.number
                for number in range(n, n + count):
                    yield number, skb
            n += count

    def _all(self) -> list[TapFrame]:
        if self._single is None:
            self._single = [
                frame
                for piece in self.pieces
                for frame in (piece.frames() if isinstance(piece, TapBlock) else (piece,))
            ]
        return self._single

    def __iter__(self) -> Iterator[TapFrame]:
        return iter(self._all())

    @overload
    def __getitem__(self, index: int) -> TapFrame: ...
    @overload
    def __getitem__(self, index: slice) -> list[TapFrame]: ...
    def __getitem__(self, index: int | slice) -> TapFrame | list[TapFrame]:
        return self._all()[index]

    @property
    def last_ns(self) -> int:
        """Time of the last frame; 0 where there is none."""
        return self._seen[-1][0] if self._seen else 0


class Tap:
    """Collects the frames of one place.

    Parameters
    ----------
    name : str
    wire : bool
        Whether it sits on the cable.
    snaplen : int
        Bytes kept of each frame, 0 for all.
    """

    def __init__(self, name: str, *, wire: bool = False, snaplen: int = 0) -> None:
        self.name = name
        self.snaplen = snaplen
        self.wire = wire
        self._seen: list[Seen] = []

    def __call__(self, time_ns: int, skb: SkBuff, leaving: bool) -> None:
        """A frame passes. One that leaves stays as it is; one that arrives may be changed by who gets it."""
        if leaving or self.wire:
            self._seen.append((time_ns, skb, leaving))
        else:
            self._seen.append((time_ns, self.frame(time_ns, skb, leaving), leaving))

    def from_client(self, time_ns: int, skb: SkBuff, _leaving: bool) -> None:
        """A frame of the client passes the wire."""
        self._seen.append((time_ns, skb, False))

    @property
    def frames(self) -> Frames:
        """All frames so far."""
        return Frames(self, sorted(self._seen, key=itemgetter(0)))

    def frame(self, time_ns: int, skb: SkBuff, leaving: bool) -> TapFrame:
        """A buffer as this tap sees it."""
        partial_sum = skb.ip is not None and skb.ip.partial_checksum and not self.wire
        data = frame_bytes(skb, partial_sum=partial_sum)
        kept = data[: self.snaplen] if self.snaplen else data
        return TapFrame(
            time_ns, kept, len(data), skb.number, leaving, not partial_sum, skb.gso_segs, skb.note
        )

    def segments(self, time_ns: int, skb: SkBuff, leaving: bool) -> Iterator[TapFrame | TapBlock]:
        """The frames of a super-packet on the wire."""
        if skb.gso_segs >= FEWEST_SEGMENTS:
            run = segment_run(skb)
            size = len(run.headers) + run.size
            kept_bytes = min(self.snaplen or size, size)
            yield TapBlock(time_ns, run, kept_bytes, size, skb.number, leaving, skb.note)
            rest = [_last(skb)] if skb.length % skb.gso_size else []
        else:
            rest = segment(skb)
        for piece in rest:
            yield self.frame(time_ns, piece, leaving)


def _last(skb: SkBuff) -> SkBuff:
    """The short segment at the end of a super-packet."""
    if skb.tcp is None or skb.ip is None:
        return skb
    at = skb.length // skb.gso_size * skb.gso_size
    flags = int(skb.tcp.flags) & ~int(TcpFlag.CWR)
    return replace(
        skb,
        length=skb.length - at,
        payload=skb.payload[at:],
        seq=skb.seq + at,
        gso_size=0,
        gso_segs=1,
        tcp=replace(skb.tcp, seq=(skb.tcp.seq + at) & 0xFFFFFFFF, flags=flags),
        ip=replace(skb.ip, identification=(skb.ip.identification + at // skb.gso_size) & 0xFFFF),
    )
