"""Two network namespaces of our own: made, entered, removed with all that runs in them.

Knows: ip netns; names that carry our process (`owner`).
Must not know: what is set up in them (`hosts`).
Nothing here touches a namespace, device or process that pcaptool did not make; the host's own network stays as it is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from pcaptool.errors import PcapToolError, SystemRefusedError
from pcaptool.lab.commands import run, spawn, stop
from pcaptool.lab.owner import is_leftover, own_name

__all__ = ["LINK_ROLE", "Namespace", "namespaces", "remove_leftovers", "require_root"]

LINK_ROLE = "link"
_FOLDER = Path("/run/netns")


def require_root() -> None:
    """Namespaces need root.

    Raises
    ------
    SystemRefusedError
        This process is not root.
    """
    if os.geteuid() != 0:
        raise SystemRefusedError(
            "the laboratory needs root: it makes network namespaces and captures in them",
            hint="run it with sudo, or in a container of your own with --privileged",
        )


class Namespace:
    """One host of the laboratory.

    Parameters
    ----------
    role : {"server", "client", "link"}
    """

    def __init__(self, role: str) -> None:
        self.role = role
        self.name = own_name(role[0])
        self._children: list[subprocess.Popen[str]] = []

    def add(self) -> None:
        """Make it, with loopback up."""
        run("ip", "netns", "add", self.name)
        self.ip("link", "set", "lo", "up")

    def ip(self, *words: str) -> str:
        """`ip -n NAME ...`."""
        return run("ip", "-n", self.name, *words)

    def run(self, *argv: str, check: bool = True, given: str | None = None) -> str:
        """Run a program in it to its end."""
        return run("ip", "netns", "exec", self.name, *argv, check=check, given=given)

    def spawn(
        self, argv: Sequence[str], *, cpu: int | None = None, stdout: int = subprocess.DEVNULL
    ) -> subprocess.Popen[str]:
        """Start a program in it, on one processor if asked for."""
        pinned = [] if cpu is None else ["taskset", "-c", str(cpu)]
        child = spawn(["ip", "netns", "exec", self.name, *pinned, *argv], stdout=stdout)
        self._children.append(child)
        return child

    def remove(self) -> None:
        """End its programs, then remove it with its devices."""
        for child in reversed(self._children):
            stop(child)
        _remove(self.name)


@contextlib.contextmanager
def namespaces() -> Iterator[tuple[Namespace, Namespace]]:
    """The server's and the client's namespace; both are gone after the block, whatever happens in it."""
    pair = Namespace("server"), Namespace("client")
    try:
        for namespace in pair:
            namespace.add()
        yield pair
    finally:
        for namespace in pair:
            with contextlib.suppress(PcapToolError):
                namespace.remove()
        with contextlib.suppress(PcapToolError):
            _remove(own_name(LINK_ROLE[0]))  # of `between`, where there was one


def remove_leftovers() -> list[str]:
    """Remove namespaces of runs that were killed; returns their names."""
    names = [entry.name for entry in _FOLDER.iterdir()] if _FOLDER.is_dir() else []
    found = sorted(name for name in names if is_leftover(name))
    for name in found:
        _remove(name)
    return found


def _remove(name: str) -> None:
    if not (_FOLDER / name).exists():
        return
    for pid in run("ip", "netns", "pids", name, check=False).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    run("ip", "netns", "del", name, check=False)
