"""tcpdump at a host's device, from before the first packet until it is told to stop.

Knows: tcpdump's options and what it says at its end.
Must not know: what is captured.
"""

from __future__ import annotations

import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pcaptool.errors import SystemRefusedError, printable
from pcaptool.lab.namespaces import Namespace

__all__ = ["Capture"]

_BUFFER_KIB = 32768


@dataclass(frozen=True, slots=True)
class Counts:
    """What tcpdump said at its end."""

    captured: int
    received: int
    lost: int


class Capture:
    """A tcpdump that is running.

    Parameters
    ----------
    namespace : Namespace
    device : str
    path : Path
        The pcap file, with nanoseconds.
    snaplen : int
        0: whole frames.
    max_frames, max_bytes : int
        It ends by itself beyond them.
    cpu : int or None
        Processor that it stays on; None: wherever the scheduler puts it.

    Raises
    ------
    SystemRefusedError
        tcpdump did not start.
    """

    def __init__(
        self,
        namespace: Namespace,
        device: str,
        path: Path,
        *,
        snaplen: int,
        max_frames: int,
        max_bytes: int,
        cpu: int | None = None,
    ) -> None:
        self._process: subprocess.Popen[str] = namespace.spawn(
            [
                "prlimit",
                f"--fsize={max_bytes}",
                "tcpdump",
                *("-i", device, "-n", "-U", "--immediate-mode", "-Z", "root", "-B", str(_BUFFER_KIB)),
                *("--time-stamp-precision=nano", "-s", str(snaplen), "-c", str(max_frames), "-w", str(path)),
            ],
            cpu=cpu,
        )
        self._said: list[str] = []
        assert self._process.stderr is not None  # noqa: S101 - spawn pipes it
        for line in self._process.stderr:
            self._said.append(line.strip())
            if "listening on" in line:
                return
        raise SystemRefusedError(f"tcpdump did not start: {printable(' '.join(self._said))}")

    def stop(self) -> Counts:
        """End it; everything it has seen is in the file.

        Raises
        ------
        SystemRefusedError
            It had ended before: a limit was reached.
        """
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        _, said = self._process.communicate(timeout=20)
        if self._process.returncode:
            raise SystemRefusedError(
                f"tcpdump ended with {self._process.returncode}: {printable(' '.join(said.split()))}",
                hint="the capture reached its limit, or the disk is full",
            )
        numbers = [int(n) for n in re.findall(r"^(\d+) packets", said, re.MULTILINE)]
        return Counts(*[*numbers, 0, 0, 0][:3])
