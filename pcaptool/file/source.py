"""Bytes of a capture, decompressed, in blocks of bounded size.

Knows: compression by content (gzip, zstd, lz4), pipes, a sliding window over the stream.
Must not know: records.
Bounded: the window holds one block and at most one record; a compressed stream is expanded block by block, the next
one while this one is used, so a decompression bomb costs time, not memory.
"""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from pcaptool.errors import CaptureError
from pcaptool.file.read_ahead import ReadAhead

__all__ = ["BLOCK_BYTES", "ByteSource", "open_bytes"]

# Reading some MiB at a time was as fast as mmap in measurements, and does not count the file as memory used. 12 MiB of
# full-size packets make batches of 12,000: what each batch costs beside its packets is a tenth less than with 8.
BLOCK_BYTES = 12 << 20

# Of a compressed file the next block is expanded into a second window, behind room for what is left of the first. Of
# another file it costs more than it saves: another processor's cache has the block then.
_ROOM_BYTES = 512 << 10

_WAIT_S = 0.1  # between looks at a file that may grow

_MAGICS = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"\x04\x22\x4d\x18", "lz4"))


def open_bytes(source: str | Path | BinaryIO, until: Callable[[], bool] | None = None) -> ByteSource:
    """Open a file, `-` for standard input, or take a binary stream.

    Parameters
    ----------
    source : path or binary file
    until : callable, optional
        A file is read on as it grows, until this says that its end is the end. Pipes end by themselves.

    Raises
    ------
    CaptureError
        The file cannot be opened.
    """
    if not isinstance(source, (str, Path)):
        return ByteSource(source, str(getattr(source, "name", "<stream>")), owned=False)
    if str(source) == "-":
        return ByteSource(sys.stdin.buffer, "-", owned=False)
    try:
        stream = Path(source).open("rb", buffering=0)  # noqa: SIM115 - ByteSource.close
    except OSError as error:
        raise CaptureError(
            f"cannot be opened: {(error.strerror or str(error)).lower()}", path=source
        ) from error
    growing = stream if until is None else _Growing(stream, until)
    return ByteSource(growing, str(source), owned=True)


class ByteSource:
    """A window over a stream: data[start:end] is what was read and not consumed yet.

    Parameters
    ----------
    stream : binary file
    name : str
        For messages.
    owned : bool
        Whether `close` closes the stream.
    """

    def __init__(self, stream: BinaryIO | io.RawIOBase, name: str, *, owned: bool) -> None:
        self.name = name
        self.compression = ""
        self.fault = ""  # why the stream ended early
        self.ended = False
        self._stream: Any = stream
        self._owned = owned
        self.size_bytes = _size(stream)
        self._regular = self.size_bytes is not None
        room = BLOCK_BYTES if self.size_bytes is None else min(BLOCK_BYTES, self.size_bytes + 1)
        self.data = np.empty(max(room, 4096), np.uint8)
        self.start = 0
        self.end = 0
        self._base = 0  # stream position of data[0]
        self._ahead: ReadAhead | None = None
        self._alone = self._drained = False  # nothing is read ahead; all that was read ahead is in the window
        self._fill()
        self._decompress()

    @property
    def position(self) -> int:
        """Position of data[start] in the (uncompressed) stream."""
        return self._base + self.start

    def position_of(self, at: int) -> int:
        """Position of data[at] in the (uncompressed) stream."""
        return self._base + at

    def more(self, need: int = 0) -> bool:
        """Read on; what was not consumed moves to the front.

        Parameters
        ----------
        need : int
            Bytes that must be in the window afterwards: it grows to hold them.

        Returns
        -------
        bool
            Whether any byte was added.
        """
        if self._ahead is None and self._worth_reading_ahead():
            self._ahead = ReadAhead(self._read)
            self._ahead.order(np.empty(_ROOM_BYTES + BLOCK_BYTES, np.uint8), _ROOM_BYTES)
        if self._ahead is not None:
            return self._turn(self._ahead, need)
        left = self.end - self.start
        if need > len(self.data):
            grown = np.empty(need + BLOCK_BYTES, np.uint8)
            grown[:left] = self.data[self.start : self.end]
            self.data = grown
        elif self.start:
            self.data[:left] = self.data[self.start : self.end].copy()
        self._base += self.start
        self.start, self.end = 0, left
        return self._fill()

    def take(self, count: int) -> bytes:
        """The next bytes, consumed; fewer at the end of the stream."""
        while self.end - self.start < count and self.more(count):
            pass
        out = self.data[self.start : min(self.end, self.start + count)].tobytes()
        self.start += len(out)
        return out

    def peek(self, count: int) -> bytes:
        """The next bytes, not consumed; fewer at the end of the stream."""
        while self.end - self.start < count and self.more(count):
            pass
        return self.data[self.start : min(self.end, self.start + count)].tobytes()

    def close(self) -> None:
        """Close what was opened."""
        if self._ahead is not None:
            self._ahead.stop()
        if self._owned:
            self._stream.close()

    def _fill(self) -> bool:
        before = self.end
        self.end = self._read(self.data, before)
        return self.end > before

    def _read(self, window: npt.NDArray[np.uint8], at: int) -> int:
        """Fill a window from some place on; the place behind what was read."""
        view = window.data
        while at < len(view) and not self.ended:
            try:
                count = self._stream.readinto(view[at:])
            except (OSError, EOFError) as error:
                self.fault = str(error).strip().splitlines()[0] if str(error) else "read error"
                count = 0
            if not count:
                self.ended = True
            else:
                at += count
        return at

    def _worth_reading_ahead(self) -> bool:
        """A file that is expanded. What comes through a pipe, or still grows, comes when it comes."""
        if not (self._owned and self._regular) or self._alone or self.ended:
            return False
        return bool(self.compression)

    def _turn(self, ahead: ReadAhead, need: int) -> bool:
        """What was read ahead becomes the window, with what is left of this one before it."""
        if self._drained:
            return False
        rest = self.data[self.start : self.end]
        window, end = ahead.result()
        self._drained = end < len(window)
        begin = _ROOM_BYTES - len(rest)
        if begin < 0 or (need > end - begin and not self._drained):
            self._stay(ahead, rest, window[_ROOM_BYTES:end], need)
            return True
        window[begin:_ROOM_BYTES] = rest
        spare, self.data = self.data, window
        self._base += self.start - begin
        self.start, self.end = begin, end
        if not self._drained:
            ahead.order(spare, _ROOM_BYTES)
        return end > _ROOM_BYTES

    def _stay(
        self, ahead: ReadAhead, rest: npt.NDArray[np.uint8], more: npt.NDArray[np.uint8], need: int
    ) -> None:
        """A record longer than the room for it: from now on in one window that grows."""
        ahead.stop()
        self._ahead, self._alone = None, True
        self._base += self.start
        self.start, self.end = 0, len(rest) + len(more)
        self.data = np.empty(max(need, self.end) + BLOCK_BYTES, np.uint8)
        self.data[: self.end] = np.concatenate([rest, more])
        self._fill()

    def _decompress(self) -> None:
        head = self.data[:4].tobytes() if self.end >= 4 else b""
        kind = next((name for magic, name in _MAGICS if head.startswith(magic)), "")
        if not kind:
            return
        import pyarrow as pa  # noqa: PLC0415 - only for compressed captures

        raw = _Rest(self.data[: self.end].tobytes(), self._stream)
        self.compression = kind
        self.size_bytes = None
        # What is built around the stream must not close standard input; `close` closes what was opened.
        self._owned_stream = self._stream
        self._stream = _Inflated(pa.CompressedInputStream(pa.PythonFile(raw, "r"), kind), self._owned_stream)
        self.data = np.empty(BLOCK_BYTES, np.uint8)
        self.start = self.end = 0
        self.ended = False
        self._fill()


class _Rest(io.RawIOBase):
    """Bytes that were already read, then the rest of the stream."""

    def __init__(self, head: bytes, stream: Any) -> None:
        super().__init__()
        self._head = memoryview(head)
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if len(self._head):
            count = min(len(buffer), len(self._head))
            buffer[:count] = self._head[:count]
            self._head = self._head[count:]
            return count
        return int(self._stream.readinto(buffer) or 0)


class _Growing(io.RawIOBase):
    """A file whose end is waited at, not believed."""

    def __init__(self, stream: io.RawIOBase, until: Callable[[], bool]) -> None:
        super().__init__()
        self._stream, self._until = stream, until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not (count := int(self._stream.readinto(buffer) or 0)):
            if self._until():
                return int(self._stream.readinto(buffer) or 0)  # what came before it was said
            time.sleep(_WAIT_S)
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()


class _Inflated:
    """The decompressed stream, with `readinto`."""

    def __init__(self, stream: Any, raw: Any) -> None:
        self._stream = stream
        self._raw = raw

    def readinto(self, buffer: memoryview) -> int:
        piece = self._stream.read(min(len(buffer), 1 << 20))
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self._raw.close()


def _size(stream: Any) -> int | None:
    """Bytes of a regular file, None for a pipe."""
    try:
        about = os.fstat(stream.fileno())
    except (OSError, AttributeError, ValueError):  # `_Growing` has no size yet
        return len(stream.getbuffer()) if isinstance(stream, io.BytesIO) else None
    return about.st_size if (about.st_mode & 0o170000) == 0o100000 else None
