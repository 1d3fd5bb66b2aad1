"""bpftrace while a scenario runs: started, waited for, ended; where it cannot be, the reason.

Knows: bpftrace's command line; that its clock is CLOCK_MONOTONIC.
Must not know: the program's meaning (`functions`).
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pcaptool.errors import SystemRefusedError, printable
from pcaptool.lab.commands import run, spawn, stop
from pcaptool.lab.functions import FUNCTIONS, READY, Call, Function, parse_calls, program

__all__ = ["FunctionTracer", "available_functions", "realtime_ahead_ns"]

_START_S = 30  # bpftrace compiles its program
_END_S = 10


def available_functions() -> list[Function]:
    """Those of `FUNCTIONS` that this kernel lets be probed.

    Raises
    ------
    SystemRefusedError
        bpftrace is missing, or no function may be probed.
    """
    if shutil.which("bpftrace") is None:
        raise SystemRefusedError("function stages need bpftrace", hint="apt-get install bpftrace")
    known = set(run("bpftrace", "-l", "kprobe:*", check=False).split())
    found = [function for function in FUNCTIONS if f"kprobe:{function.name}" in known]
    if not found:
        raise SystemRefusedError(
            "this kernel lets no function of the path be probed",
            hint="it needs CONFIG_KPROBES and a kernel without lockdown",
        )
    return found


class FunctionTracer:
    """Records from `with` on until `stop`.

    Parameters
    ----------
    programs : sequence of str
        Names of the programs whose calls count.
    folder : Path
        For bpftrace's output.

    Raises
    ------
    SystemRefusedError
        As `available_functions`, or bpftrace did not start.
    """

    def __init__(self, programs: Sequence[str], folder: Path) -> None:
        self._programs = programs
        self._path = folder / "bpftrace.txt"
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        text = program(available_functions(), self._programs)
        self._process = spawn(["bpftrace", "-B", "line", "-o", str(self._path), "-e", text])
        until = time.monotonic() + _START_S
        while not (self._path.exists() and READY in self._path.read_text(errors="replace")):
            if self._process.poll() is not None or time.monotonic() > until:
                said = self._words()
                self._process = None
                raise SystemRefusedError(f"bpftrace did not start: {said}")
            time.sleep(0.02)
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._process is not None:
            stop(self._process)

    def _words(self) -> str:
        """The first line of what it said of its failure, once it has ended."""
        assert self._process is not None  # noqa: S101 - it was started
        if self._process.poll() is None:
            stop(self._process)
            return f"it was not ready within {_START_S} s"
        _, said = self._process.communicate()
        lines = [line for line in said.splitlines() if "ERROR" in line] or said.splitlines()
        return printable(lines[-1]) if lines else f"code {self._process.returncode}"

    def stop(self) -> tuple[list[Call], int]:
        """End it; all calls, and how many events were lost."""
        assert self._process is not None  # noqa: S101 - within `with`
        self._process.send_signal(signal.SIGINT)  # it hands out what is still in its buffers
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.communicate(timeout=_END_S)
        return parse_calls(self._path.read_text(errors="replace"))


def realtime_ahead_ns() -> int:
    """How far CLOCK_REALTIME, the trace's clock, is ahead of CLOCK_MONOTONIC, bpftrace's: read as close as it goes."""
    best = (1 << 62, 0)
    for _ in range(20):
        before = time.monotonic_ns()
        now = time.time_ns()
        after = time.monotonic_ns()
        best = min(best, (after - before, now - (before + after) // 2))
    return best[1]
