"""Writing behind: bytes are gathered in one block while the block before is written by a thread of its own.

Knows: two blocks, their order, a thread that holds no lock of the interpreter while the system copies a block.
Must not know: what the bytes are.
A fault of the thread is raised where the next block is handed over, at the latest by `finish`. What fits in one block
is written without a thread.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from pcaptool.file.aside import AsideFile

__all__ = ["WriteBehind"]

BLOCK_BYTES = 4 << 20


class WriteBehind:
    """Bytes on their way to a file.

    Parameters
    ----------
    file : AsideFile
    block_bytes : int
        Bytes that are written at once.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp()) / "x"
    >>> out = WriteBehind(AsideFile(path), block_bytes=8)
    >>> out.write(b"one, "); out.write(b"two, "); out.room(5)[:] = b"three"; out.finish()
    >>> path.read_bytes()
    b'one, two, three'
    """

    def __init__(self, file: AsideFile, block_bytes: int = BLOCK_BYTES) -> None:
        self._file = file
        self._block_bytes = block_bytes
        self._block = bytearray()  # takes its size with the first byte
        self._spare = bytearray()
        self._used = 0
        self._thread: ThreadPoolExecutor | None = None
        self._written: Future[Any] | None = None

    def write(self, data: bytes) -> None:
        """Append bytes.

        Raises
        ------
        OutputError
            Earlier ones could not be written.
        """
        self.room(len(data))[:] = data

    def room(self, size: int) -> memoryview:
        """The next `size` bytes, to be filled in before anything else is asked of this.

        Raises
        ------
        OutputError
            Earlier ones could not be written.
        """
        if self._used + size > len(self._block):
            self._hand_over(size)
        self._used += size
        return memoryview(self._block)[self._used - size : self._used]

    def finish(self) -> None:
        """Write what is left; the file gets its name.

        Raises
        ------
        OutputError
            Something could not be written.
        """
        self._wait()
        self._end_thread()
        if self._used:
            self._file.write(memoryview(self._block)[: self._used])
        self._file.commit()

    def discard(self) -> None:
        """Leave nothing behind."""
        self._end_thread()
        self._file.discard()

    def _hand_over(self, size: int) -> None:
        """Let the thread write the block that is full; go on with the other one, once that is written."""
        full, used = self._block, self._used
        self._wait()
        if used:
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, "pcaptool-writer")
            self._written = self._thread.submit(self._file.write, memoryview(full)[:used])
        if len(self._spare) < size:
            self._spare = bytearray(max(size, self._block_bytes))
        self._block, self._spare, self._used = self._spare, full, 0

    def _wait(self) -> None:
        written, self._written = self._written, None
        if written is not None:
            written.result()

    def _end_thread(self) -> None:
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
