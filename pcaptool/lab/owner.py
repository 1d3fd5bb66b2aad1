"""Whose things these are: names that say which process made them, so that leftovers can be told and removed.

Knows: the form of a name; whether the process it speaks of still runs (number and start time: numbers are reused);
temporary folders of such names.
Must not know: namespaces, tracing.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["CLIENT_COMM", "SERVER_COMM", "is_leftover", "own_name", "scratch_folder", "set_comm"]

PREFIX = "pcaptool"
# How the programs are called in ps and in a trace: at most 15 letters.
SERVER_COMM = "pcaptool-serve"
CLIENT_COMM = "pcaptool-client"
_NAME = re.compile(r"\.?pcaptool-([0-9]{1,10})-([0-9]{1,20})(-[a-z]{1,10})?")


def own_name(suffix: str = "") -> str:
    """A name of this process: for a namespace, a tracing instance, a folder.

    Examples
    --------
    >>> is_leftover(own_name("s"))
    False
    """
    name = f"{PREFIX}-{os.getpid()}-{_started(os.getpid())}"
    return f"{name}-{suffix}" if suffix else name


def is_leftover(name: str) -> bool:
    """Whether a name is one of ours and its process has ended.

    Examples
    --------
    >>> is_leftover("pcaptool-1-0-s"), is_leftover("other-1-0-s")
    (True, False)
    """
    match = _NAME.fullmatch(name)
    return match is not None and _started(int(match[1])) != int(match[2])


@contextlib.contextmanager
def scratch_folder(word: str) -> Iterator[Path]:
    """A temporary folder of this process, gone after the block; those of killed processes are removed first."""
    parent = Path(tempfile.gettempdir())
    for entry in parent.glob(f"{PREFIX}-*-{word}"):
        if is_leftover(entry.name) and entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
    folder = parent / own_name(word)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _started(pid: int) -> int:
    """Start time of a process in clock ticks since boot (proc(5), field 22); -1 where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return -1
    return int(stat.rpartition(")")[2].split()[19])


def set_comm(name: str) -> None:
    """Give this process and the threads that it starts from now on a name, for ps and for traces."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(name)
