"""Other programs: which are needed, how they are run, what their failures mean.

Knows: the Debian package of each program.
Must not know: what the programs are asked.
Children die with this process (PR_SET_PDEATHSIG, by setpriv), whatever ends it.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from pcaptool.errors import SystemRefusedError, printable

__all__ = ["PACKAGES", "need", "run", "spawn", "stop"]

PACKAGES = {
    "ip": "iproute2",
    "tc": "iproute2",
    "ethtool": "ethtool",
    "nft": "nftables",
    "sysctl": "procps",
    "setpriv": "util-linux",
    "prlimit": "util-linux",
    "taskset": "util-linux",
    "tcpdump": "tcpdump",
    "nginx": "nginx",
    "node": "nodejs",
    "curl": "curl",
    "wrk": "wrk",
}
_TIMEOUT_S = 20


def need(programs: Sequence[str]) -> None:
    """Check that programs are installed.

    Raises
    ------
    SystemRefusedError
        Names what is missing and the command that installs it.
    """
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        packages = " ".join(sorted({PACKAGES[name] for name in missing}))
        raise SystemRefusedError(
            f"the laboratory needs {', '.join(missing)}", hint=f"apt-get install {packages}"
        )


def run(*argv: str, check: bool = True, given: str | None = None) -> str:
    """Run a program to its end; its standard output.

    Raises
    ------
    SystemRefusedError
        It failed or hung, and `check` is on.
    """
    try:
        done = subprocess.run(  # noqa: S603 - our own words, no shell
            argv, text=True, capture_output=True, input=given, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SystemRefusedError(f"{argv[0]} did not end within {_TIMEOUT_S} s") from error
    if check and done.returncode:
        said = " ".join((done.stderr.strip() or f"code {done.returncode}").splitlines()[:3])
        raise SystemRefusedError(f"{printable(' '.join(argv))}: {printable(said)}")
    return done.stdout


def spawn(argv: Sequence[str], *, stdout: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
    """Start a program in the background, in a session of its own: Ctrl-C is ours to handle."""
    return subprocess.Popen(  # noqa: S603 - our own words, no shell
        ["setpriv", "--pdeathsig", "KILL", *argv],  # noqa: S607 - wherever the system has it
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def stop(process: subprocess.Popen[str]) -> None:
    """End a program that `spawn` started: politely, then not."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
