"""Compiling many kernels at once, by this process and by a second one beside it.

Knows: what is to be compiled, by name and by kind of arguments; where compiled kernels are kept, for that is the way
back from the second process. Must not know: how they are compiled, what they compute.

numba compiles under one lock and mostly in Python, so threads are of no use, and what a second process has compiled
can only come back as a file: where none is kept, this process compiles alone. Each takes the largest of what is left.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO

from pcaptool.engine import sources

__all__ = ["Wanted", "compile_all"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A kernel that is to be compiled.

    Parameters
    ----------
    module, name : str
    kinds : str
        What its arguments are (`engine.calls.kinds_of`).
    """

    module: str
    name: str
    kinds: str

    @property
    def size_bytes(self) -> int:
        """Of its sources: how long compiling takes, roughly."""
        return sum(sources.source_path(module).stat().st_size for module in sources.closure(self.module))


def compile_all(wanted: Iterable[Wanted]) -> None:
    """Have machine code of all these kernels at hand.

    Parameters
    ----------
    wanted : iterable of Wanted

    Examples
    --------
    >>> compile_all([])
    """
    from pcaptool.engine.machine import kernel  # noqa: PLC0415 - only when something is compiled

    waiting = deque(sorted(set(wanted), key=lambda each: (-each.size_bytes, each.module, each.name)))
    helper = _Beside(waiting) if len(waiting) > 1 and _worth_it(waiting[0].module) else None
    while waiting:
        try:
            each = waiting.popleft()
        except IndexError:  # the other took the last
            break
        kernel(each.module, each.name).prepare(each.kinds)
    if helper is not None:
        helper.join()


def _worth_it(module: str) -> bool:
    """Whether there is a second processor, and a place for what is compiled."""
    versions = sources.compiler()
    kept = versions is not None and sources.cache_folder(module, versions) is not None
    return kept and len(os.sched_getaffinity(0)) > 1 and bool(sys.executable)


class _Beside(threading.Thread):
    """Hands kernels to a process of its own, one by one, as long as it keeps what it compiles."""

    def __init__(self, waiting: deque[Wanted]) -> None:
        super().__init__(name="pcaptool-beside", daemon=True)
        self._waiting = waiting
        self.start()

    def run(self) -> None:
        """Until nothing is left; what it could not do is left to the process that asked."""
        command = [sys.executable, "-m", __name__]
        try:
            with subprocess.Popen(  # noqa: S603 - our own words, no shell
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            ) as process:
                self._talk(process.stdin, process.stdout)
        except OSError:
            pass

    def _talk(self, tell: IO[str] | None, answers: IO[str] | None) -> None:
        while self._waiting and tell is not None and answers is not None:
            try:
                each = self._waiting.popleft()
            except IndexError:
                return
            tell.write(json.dumps((each.module, each.name, each.kinds)) + "\n")
            tell.flush()
            if not answers.readline():
                return


def _serve(orders: Iterable[str], answers: IO[str]) -> None:
    from pcaptool.engine.machine import kernel  # noqa: PLC0415 - as above

    for line in orders:
        module, name, kinds = json.loads(line)
        if not kernel(module, name).prepare(kinds):
            return
        answers.write("kept\n")
        answers.flush()


if __name__ == "__main__":
    _serve(sys.stdin, sys.stdout)
