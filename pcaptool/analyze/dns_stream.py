"""DNS messages in a TCP stream: two bytes of length before each (RFC 1035 section 4.2.2, RFC 7766).

Knows: that framing. Must not know: what stands in a message.
A gap ends the reading of its direction: where the next message begins cannot be told.
Memory: at most one unfinished message of 65,537 bytes a direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pcaptool.analyze.streams import Event, Part, Piece, StreamReassembler

__all__ = ["DnsConnection", "StreamMessage"]

HEADER_BYTES = 12


class StreamMessage(NamedTuple):
    """A message, and the packet that completed it."""

    data: bytes
    n: int
    ts: int


class DnsConnection:
    r"""Both directions of one connection: segments in, messages out.

    Examples
    --------
    >>> c = DnsConnection()
    >>> c.segment(0, 1, b"\0\x0cABCDEFGHIJKL\0", n=4, ts=10), [m.data for m in c.take_finished()]
    (True, [b'ABCDEFGHIJKL'])
    """

    __slots__ = ("_buffers", "_found", "_lost", "confirmed", "streams")

    def __init__(self) -> None:
        self.streams = (StreamReassembler(), StreamReassembler())
        self.confirmed = True
        self._buffers = (bytearray(), bytearray())
        self._lost = [False, False]
        self._found: list[StreamMessage] = []

    def rest(self) -> tuple[Any, ...]:
        """All that it knows, as plain values; `wake` of another one goes on from there."""
        buffers, found = [bytes(each) for each in self._buffers], [tuple(each) for each in self._found]
        return [each.rest() for each in self.streams], buffers, self._lost, found

    def wake(self, state: tuple[Any, ...]) -> None:
        """Go on where another one was."""
        streams, (first, second), self._lost, found = state
        for stream, known in zip(self.streams, streams, strict=True):
            stream.wake(known)
        self._buffers = (bytearray(first), bytearray(second))
        self._found = [StreamMessage(*each) for each in found]

    def let_go(self) -> None:
        """Nothing here refers to itself."""

    def segment(
        self,
        side: int,
        seq: int,
        data: memoryview | bytes,
        n: int,
        ts: int,
        *,
        missing: int = 0,
        fin: bool = False,
        ack: int = 0,
    ) -> bool:
        """Take a segment; says whether a message ended with it."""
        other = 1 - side
        if self.streams[other].has_hole:
            self._feed(other, self.streams[other].acknowledged(ack))
        self._feed(side, self.streams[side].push(seq, data, n, ts, missing=missing, fin=fin, ack=ack))
        return bool(self._found)

    def body_room(self, side: int) -> int:  # noqa: ARG002 - messages are read whole
        """Nothing is skipped."""
        return 0

    def skip_body(self, side: int, seq: int, size: int, n: int, ts: int, *, missing: int = 0) -> bool:  # noqa: ARG002
        """Nothing is skipped."""
        return False

    def hold_body(self, side: int, seq: int, parts: Sequence[Part]) -> bool:  # noqa: ARG002
        """Segments are taken one by one."""
        return False

    def end(self, why: str, *, unread: bool = False) -> None:  # noqa: ARG002 - unfinished messages are not rows
        """Nothing more will come."""
        for side in range(2):
            self._feed(side, self.streams[side].flush())
            self._lost[side] = True

    @property
    def over(self) -> bool:
        """Whether there is nothing more to read."""
        return all(lost or stream.ended for lost, stream in zip(self._lost, self.streams, strict=True))

    def take_finished(self) -> list[StreamMessage]:
        """Messages so far."""
        out, self._found = self._found, []
        return out

    take_all = take_finished

    def _feed(self, side: int, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Piece) and not self._lost[side]:
                self._read(side, event)
            elif not isinstance(event, Piece):
                self._lost[side] = True
                self._buffers[side].clear()

    def _read(self, side: int, piece: Piece) -> None:
        buffer = self._buffers[side]
        buffer += piece.data
        at = 0
        while len(buffer) - at >= 2:
            size = int.from_bytes(buffer[at : at + 2], "big")
            if size < HEADER_BYTES:  # no message: this is another protocol, or was joined in its midst
                self._lost[side] = True
                at = len(buffer)
                break
            if len(buffer) - at < 2 + size:
                break
            self._found.append(StreamMessage(bytes(buffer[at + 2 : at + 2 + size]), piece.n, piece.ts))
            at += 2 + size
        del buffer[:at]
