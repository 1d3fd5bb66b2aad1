"""Room for columns with an element a packet: memory for a few, a temporary file for many.

Knows: how many packets are many, and how to give pages of a mapped file back to the system.
Must not know: what a column holds.
A file has no name (`tempfile.TemporaryFile`): it is gone when its last column is, also after a crash. Its space is
reserved before it is mapped, so that a full disk is an error here and not a signal in the middle of a kernel; then the
column lies in memory after all.
While `letting_go` is in force a thread takes the process's pages of all such columns away, some fifty times a second:
their contents stay in the file (`madvise(MADV_DONTNEED)` of a shared mapping), whoever touches one gets it back. So
what a process holds of them is what it touched since, however long they are.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["IN_MEMORY", "MEMORY", "SPAN", "Room", "let_go", "letting_go", "rising", "spans", "where"]

# Packets of a side whose columns lie in memory: some 200 MB.
IN_MEMORY = 1_500_000
# Elements that whole-array steps take at a time.
SPAN = 1 << 18
_EVERY_SECONDS = 0.02
_LARGE_FILES = Path("/var/tmp")  # noqa: S108 - files without a name; where systems keep large ones (file-hierarchy(7))

_maps: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()
_lock = threading.Lock()


class Room:
    """Makes columns.

    Parameters
    ----------
    in_memory : int
        Longer columns lie in files.

    Examples
    --------
    >>> Room().full(3, -1, np.int64).tolist(), Room(in_memory=2).full(3, -1, np.int64).tolist()
    ([-1, -1, -1], [-1, -1, -1])
    """

    def __init__(self, in_memory: int | None = None) -> None:
        self.in_memory = IN_MEMORY if in_memory is None else in_memory

    def empty(self, height: int, kind: npt.DTypeLike) -> npt.NDArray[Any]:
        """A column of any contents."""
        if height > self.in_memory:
            mapped = _mapped(height * np.dtype(kind).itemsize)
            if mapped is not None:
                return np.frombuffer(mapped, kind)
        return np.empty(height, kind)

    def full(self, height: int, value: int, kind: npt.DTypeLike) -> npt.NDArray[Any]:
        """A column of one value."""
        out = self.empty(height, kind)
        out.fill(value)
        return out

    def copy(self, column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The same values once more."""
        out = self.empty(len(column), column.dtype)
        out[:] = column
        return out


# Nothing is too long for it.
MEMORY = Room(1 << 62)


def _mapped(size: int) -> mmap.mmap | None:
    """A file of this size, mapped; None where there is no space for it."""
    if not hasattr(os, "posix_fallocate"):
        return None
    try:
        with tempfile.TemporaryFile(prefix="pcaptool-", dir=_folder()) as file:
            os.posix_fallocate(file.fileno(), 0, size)
            mapped = mmap.mmap(file.fileno(), size)
    except OSError:
        return None
    with _lock:
        _maps.add(mapped)
    return mapped


def _folder() -> Path | None:
    """Where temporary files go: where the user says, else where large ones are kept, else the usual place."""
    if os.environ.get("TMPDIR") or not os.access(_LARGE_FILES, os.W_OK):
        return None
    return _LARGE_FILES


def let_go() -> None:
    """Pages of all columns in files are given back once."""
    with _lock:
        live = list(_maps)
    for mapped in live:
        mapped.madvise(mmap.MADV_DONTNEED)


@contextmanager
def letting_go() -> Iterator[None]:
    """Pages of columns in files are given back all the time."""
    done = threading.Event()

    def loop() -> None:
        while not done.wait(_EVERY_SECONDS):
            let_go()

    thread = threading.Thread(target=loop, name="pcaptool-pages", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def spans(height: int) -> Iterator[slice]:
    """All elements, a bounded number at a time; pages of columns in files are given back behind each.

    Examples
    --------
    >>> [(s.start, s.stop) for s in spans(SPAN + 1)] == [(0, SPAN), (SPAN, SPAN + 1)]
    True
    """
    for first in range(0, height, SPAN):
        yield slice(first, min(first + SPAN, height))
        if _maps:
            let_go()


def where(column: npt.NDArray[Any], *, below: int) -> npt.NDArray[np.int64]:
    """Indices of elements below a number; of the column a bounded part at a time is looked at.

    Examples
    --------
    >>> where(np.array([3, -1, 0]), below=0).tolist()
    [1]
    """
    parts = [np.flatnonzero(column[span] < below) + span.start for span in spans(len(column))]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def rising(column: npt.NDArray[Any]) -> bool:
    """Whether each element is greater than the one before.

    Examples
    --------
    >>> rising(np.array([1, 2, 4])), rising(np.array([1, 1]))
    (True, False)
    """
    later = column[1:]
    return all(bool((later[span] > column[span]).all()) for span in spans(len(later)))
