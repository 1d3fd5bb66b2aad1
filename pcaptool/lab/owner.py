"""Whose things these are: names that say which process made them, so that leftovers can be told and removed.

Knows: the form of a name; whether the process it speaks of still runs (number and start time: numbers are reused).
Must not know: namespaces, tracing.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["is_leftover", "own_name"]

PREFIX = "pcaptool"
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


def _started(pid: int) -> int:
    """Start time of a process in clock ticks since boot (proc(5), field 22); -1 where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return -1
    return int(stat.rpartition(")")[2].split()[19])
