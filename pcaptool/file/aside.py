"""Files that appear whole or not at all.

Knows: writing aside in the same folder, renaming, compression by the name's ending.
Must not know: what is written.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any

from pcaptool.errors import OutputError

__all__ = ["AsideFile", "write_whole"]

_CODECS = {".gz": "gzip", ".zst": "zstd", ".lz4": "lz4"}
_BUFFER_BYTES = 1 << 20


class AsideFile:
    """A file beside its final name, until `commit` renames it.

    Parameters
    ----------
    path : Path
        Final name; its folder must exist.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        except OSError as error:
            raise _refused(path, error) from error
        self._aside = Path(name)
        umask = os.umask(0)
        os.umask(umask)
        os.fchmod(handle, 0o666 & ~umask)  # what open() would have given it
        self._raw = os.fdopen(handle, "wb", buffering=_BUFFER_BYTES)
        self._out: Any = self._raw
        codec = _CODECS.get(path.suffix)
        if codec:
            import pyarrow as pa  # noqa: PLC0415 - only for compressed output

            self._out = pa.CompressedOutputStream(pa.PythonFile(self._raw, "w"), codec)

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""
        try:
            self._out.write(data)
        except OSError as error:
            raise _refused(self.path, error) from error

    def commit(self) -> None:
        """Complete the file and give it its name."""
        try:
            if self._out is not self._raw:
                self._out.close()
            self._raw.close()
            self._aside.replace(self.path)
        except OSError as error:
            self.discard()
            raise _refused(self.path, error) from error

    def discard(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(OSError):
            self._raw.close()
        self._aside.unlink(missing_ok=True)


def _refused(path: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot be written: {(error.strerror or str(error)).lower()}", path=path)


def write_whole(path: Path, data: bytes) -> None:
    """A file with these bytes, or none.

    Raises
    ------
    OutputError
        The place cannot be written.
    """
    file = AsideFile(path)
    try:
        file.write(data)
        file.commit()
    except OutputError:
        file.discard()
        raise
