r"""One direction of an HTTP/1 connection: stream pieces in, messages out.

Knows: where heads, bodies, chunks and trailers begin and end (RFC 9112 sections 2.1, 6, 7.1), across any cut
into pieces, and what a gap does to each of them: inside a body of known length, or inside a chunk, it is
counted and reading goes on; anywhere else the reader is lost until a piece begins with a start line again.
Must not know: what the other direction says, except through the answers of its `Listener`.

The framing is ours and not llhttp's, because only so gaps can be passed, message borders fall on exact
bytes, and bodies need not be copied.
Memory: HEAD_BYTES of an unfinished head or line. Time: O(bytes of heads and chunk lines), O(1) a piece of
body.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, Protocol

from pcaptool.analyze.http_head import Framing
from pcaptool.analyze.streams import Gap, Piece, Run, StreamEnd

__all__ = ["HEAD_BYTES", "Listener", "MessageReader"]

HEAD_BYTES = 256 << 10  # servers take 8 to 64 KiB; what is longer is called trouble and not kept
LINE_BYTES = 16 << 10  # a chunk's size line with extensions
_METHOD_BYTES = 64  # a start line shows its kind within these
_HEAD_END = re.compile(rb"\n\r?\n")


class Listener(Protocol):
    """Who is told what a reader finds; `n` and `ts` are the completing packet's."""

    def on_start(self, piece: Piece, at: int) -> None:
        """The first byte of a message has come: byte `at` of the piece."""

    def on_head(self, raw: bytes, piece: Piece) -> tuple[Framing, int]:
        """A whole head; answers how the body ends and its length. LOST: this is no head."""
        ...

    def on_head_cut(self, raw: bytes, why: str) -> None:
        """The beginning of a head, of which no more will come."""

    def on_body(self, size: int, n: int, ts: int) -> None:
        """Body bytes, transfer coding removed; 0 for the last byte of the coding itself."""

    def on_data(self, data: memoryview | bytes) -> None:
        """These bytes, before `on_body` counts them; only where they are kept."""

    def on_trailer(self, line: bytes) -> None:
        """A trailer field, without its line end."""

    def on_body_gap(self, size: int) -> None:
        """Body bytes that the capture lacks, counted by `on_body` too."""

    def on_end(self) -> None:
        """The message is complete; its last byte came with the last head or body bytes."""

    def on_broken(self, why: str) -> None:
        """The message began and cannot be followed to its end."""

    def on_lost(self) -> None:
        """Reading stopped between or in messages; it begins again at the next start line."""

    def may_begin(self, raw: bytes) -> bool:
        """Whether a message may begin with these bytes (perhaps too few to tell)."""
        ...


_ENDLESS = 1 << 62  # more bytes than any stream has


class _State(Enum):
    HEAD = 0
    LENGTH = 1
    CLOSE = 2
    CHUNK_SIZE = 3
    CHUNK_DATA = 4
    CHUNK_END = 5
    TRAILER = 6
    LOST = 7
    OPAQUE = 8


class MessageReader:
    """Reads the messages of one direction; see the module.

    Parameters
    ----------
    listener : Listener
    keeps : bool
        Whether the listener wants the bytes of bodies (`on_data`); then none can be skipped.
    """

    __slots__ = ("_buffer", "_keeps", "_left", "_listener", "_state")

    def __init__(self, listener: Listener, *, keeps: bool = False) -> None:
        self._listener = listener
        self._keeps = keeps
        self._state = _State.HEAD
        self._buffer = bytearray()  # an unfinished head, line or trailer
        self._left = 0  # bytes of body or chunk still to come

    def rest(self) -> tuple[Any, ...]:
        """All that it knows, as plain values; `wake` of another one goes on from there."""
        return self._state.value, bytes(self._buffer), self._left

    def wake(self, state: tuple[Any, ...]) -> None:
        """Go on where another one was."""
        self._state, self._buffer, self._left = _State(state[0]), bytearray(state[1]), state[2]

    def let_go(self) -> None:
        """It is not used any more, and tells nobody."""
        del self._listener

    @property
    def idle(self) -> bool:
        """Between messages, or not reading at all."""
        return self._state in (_State.LOST, _State.OPAQUE) or (
            self._state is _State.HEAD and not self._buffer
        )

    @property
    def opaque(self) -> bool:
        """Not reading any more: another protocol follows, or the stream has ended."""
        return self._state is _State.OPAQUE

    @property
    def lost(self) -> bool:
        """Waiting for a start line after bytes that could not be read."""
        return self._state is _State.LOST

    @property
    def room(self) -> int:
        """How many of the next bytes are body and do not end it, so that their content is not looked at."""
        if self._keeps:
            return 0
        if self._state is _State.CLOSE:
            return _ENDLESS
        return self._left - 1 if self._state in (_State.LENGTH, _State.CHUNK_DATA) else 0

    def skip(self, size: int) -> None:
        """Such bytes have come; the listener is told by who skips them."""
        self._left -= size

    def become_opaque(self) -> None:
        """What follows is another protocol."""
        self._break("the connection changed its protocol first")
        self._state = _State.OPAQUE

    def feed(self, event: Piece | Gap | StreamEnd | Run) -> None:
        """Take the next event of the stream."""
        if self._state is _State.OPAQUE:
            return
        if isinstance(event, Piece):
            self._piece(event)
        elif isinstance(event, Gap):
            self._gap(event)
        elif isinstance(event, Run):
            self._run(event)
        else:
            self.end("closed before the message was complete", closed=True)

    def end(self, why: str, *, closed: bool) -> None:
        """No more bytes: by FIN (`closed`), which ends a body without length, or for the reason `why`."""
        if self._state is _State.CLOSE and closed:
            self._listener.on_end()
        else:
            self._break(why)
        self._state = _State.OPAQUE

    def _break(self, why: str) -> None:
        """Give up the message that is being read, if there is one."""
        if self._state is _State.HEAD and self._buffer:
            self._listener.on_head_cut(bytes(self._buffer), why)
        elif not self.idle:
            self._listener.on_broken(why)
        self._buffer.clear()

    def _lose(self, why: str) -> None:
        self._break(why)
        self._state = _State.LOST
        self._listener.on_lost()

    def _run(self, run: Run) -> None:
        """Of a run that is the middle of a body only the size is of interest."""
        if run.size <= self.room:
            self.skip(run.size)
            self._listener.on_body_gap(run.missing)
            self._listener.on_body(run.size, run.n, run.ts)
            return
        for event in run.events():
            self.feed(event)

    def _gap(self, gap: Gap) -> None:
        if self._state is _State.CLOSE:
            self._listener.on_body_gap(gap.size)
            self._listener.on_body(gap.size, gap.n, gap.ts)
        elif self._state in (_State.LENGTH, _State.CHUNK_DATA):
            inside = min(gap.size, self._left)
            self._listener.on_body_gap(inside)
            self._body(inside, gap.n, gap.ts)
            if gap.size > inside:
                self._lose("gap")
        else:
            self._lose("gap")

    def _piece(self, piece: Piece) -> None:
        size, at = len(piece.data), 0
        raw: bytes | None = None  # the piece as bytes, made once if its content is looked at
        while at < size and self._state is not _State.OPAQUE:
            if self._state in (_State.LENGTH, _State.CHUNK_DATA):
                step = min(size - at, self._left)
                if self._keeps:
                    self._listener.on_data(piece.data[at : at + step])
                self._body(step, piece.n, piece.ts)
                at += step
                continue
            if self._state is _State.CLOSE:
                if self._keeps:
                    self._listener.on_data(piece.data[at:])
                self._listener.on_body(size - at, piece.n, piece.ts)
                return
            if raw is None:
                raw = bytes(piece.data)
            if self._state is _State.LOST:
                if at or not self._listener.may_begin(raw[:LINE_BYTES]):
                    return
                self._state = _State.HEAD
            if self._state is _State.HEAD:
                at = self._head(raw, at, piece)
            elif self._state is _State.TRAILER:
                at = self._trailer(raw, at, piece)
            else:
                at = self._chunk_line(raw, at)

    def _body(self, size: int, n: int, ts: int) -> None:
        if size:
            self._listener.on_body(size, n, ts)
        self._left -= size
        if self._left == 0:
            if self._state is _State.LENGTH:
                self._state = _State.HEAD
                self._listener.on_end()
            else:
                self._state = _State.CHUNK_END

    def _head(self, raw: bytes, at: int, piece: Piece) -> int:
        """Collect a head; returns where the piece goes on."""
        if not self._buffer:
            while at < len(raw) and raw[at] in b"\r\n":  # RFC 9112 section 2.2: empty lines before a request
                at += 1
            if at == len(raw):
                return at
            if not self._listener.may_begin(raw[at : at + LINE_BYTES]):
                self._lose("")
                return len(raw)
            self._listener.on_start(piece, at)
            end = _HEAD_END.search(raw, at)
            if end is not None:
                return self._take_head(raw[at : end.end()], end.end(), piece)
            self._keep(raw, at)
            return len(raw)
        before = len(self._buffer)
        self._buffer += raw[at:]
        end = _HEAD_END.search(self._buffer, max(before - 2, 0))
        if end is not None:
            head = bytes(self._buffer[: end.end()])
            self._buffer.clear()
            return self._take_head(head, at + end.end() - before, piece)
        # The first line may show only now that this is no HTTP.
        early = before < _METHOD_BYTES or (before < LINE_BYTES and b"\n" in raw)
        if early and not self._listener.may_begin(bytes(self._buffer[:LINE_BYTES])):
            self._lose("no start line")
        elif len(self._buffer) > HEAD_BYTES:
            self._lose(f"head longer than {HEAD_BYTES} bytes")
        return len(raw)

    def _keep(self, raw: bytes, at: int) -> None:
        self._buffer += raw[at:]
        if len(self._buffer) > HEAD_BYTES:
            self._lose(f"head longer than {HEAD_BYTES} bytes")

    def _take_head(self, head: bytes, at: int, piece: Piece) -> int:
        framing, length = self._listener.on_head(head, piece)
        if framing is Framing.TUNNEL:
            self._state = _State.OPAQUE
            self._listener.on_end()
        elif framing is Framing.LOST:
            self._state = _State.LOST
            self._listener.on_broken("body length cannot be known")
            self._listener.on_lost()
        elif framing is Framing.NONE or (framing is Framing.LENGTH and length == 0):
            self._listener.on_end()
        elif framing is Framing.LENGTH:
            self._state, self._left = _State.LENGTH, length
        elif framing is Framing.CHUNKED:
            self._state = _State.CHUNK_SIZE
        else:
            self._state = _State.CLOSE
        return at

    def _line(self, raw: bytes, at: int) -> tuple[bytes | None, int]:
        """The next line without its end, None while it is not whole."""
        end = raw.find(b"\n", at)
        if end < 0:
            self._buffer += raw[at:]
            if len(self._buffer) > LINE_BYTES:
                self._lose("chunk line too long")
            return None, len(raw)
        line = bytes(self._buffer) + raw[at:end]
        self._buffer.clear()
        return line.rstrip(b"\r"), end + 1

    def _chunk_line(self, raw: bytes, at: int) -> int:
        line, at = self._line(raw, at)
        if line is None:
            return at
        if self._state is _State.CHUNK_END:  # the CRLF behind a chunk's data
            self._state = _State.CHUNK_SIZE
            if line:
                self._lose("chunk longer than it says")
            return at
        digits = line.partition(b";")[0].strip()
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", digits):
            self._lose("no chunk size")
            return at
        self._left = int(digits, 16)
        self._state = _State.CHUNK_DATA if self._left else _State.TRAILER
        return at

    def _trailer(self, raw: bytes, at: int, piece: Piece) -> int:
        """Trailer fields up to the empty line."""
        line, at = self._line(raw, at)
        if line == b"":
            self._state = _State.HEAD
            self._listener.on_body(0, piece.n, piece.ts)
            self._listener.on_end()
        elif line:
            self._listener.on_trailer(line)
        return at
