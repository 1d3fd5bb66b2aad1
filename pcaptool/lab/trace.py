"""The kernel's tracepoints while a scenario runs: a private tracefs instance, read in its binary form.

Knows: tracefs; how it is reached without mounting anything where others would see it (fsopen, fsmount: the mount is
attached nowhere and is gone with this process).
Must not know: what the events mean (`stages`).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pcaptool.errors import SystemRefusedError
from pcaptool.lab.owner import is_leftover, own_name
from pcaptool.lab.ring_buffer import Event, Format, parse_format, read_page

__all__ = ["CALLS", "EVENTS", "Tracer"]

# The calls with which a program lets bytes go; setsockopt() for TCP_CORK and TCP_NODELAY.
CALLS = ("sendto", "write", "writev", "sendmsg", "sendfile64", "setsockopt")
EVENTS = (
    *(f"syscalls/sys_{edge}_{call}" for call in CALLS for edge in ("enter", "exit")),
    "tcp/tcp_sendmsg_locked",
    "net/net_dev_queue",
    "qdisc/qdisc_enqueue",
    "qdisc/qdisc_dequeue",
    "net/net_dev_start_xmit",
    "net/net_dev_xmit",
)
# Older kernels have fewer: the stage is missing then, not the run.
_OPTIONAL = frozenset({"tcp/tcp_sendmsg_locked", "qdisc/qdisc_enqueue", "qdisc/qdisc_dequeue"})
_BUFFER_KIB = 16384  # for each processor
_PAGE_BYTES = 4096
# System calls have the same numbers on every architecture since 5.1.
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_CMD_CREATE = 6


class Tracer:
    """Records from `with` on until `stop`; then `events` reads.

    Parameters
    ----------
    filters : dict
        Event ("net/net_dev_queue") or group ("net") to the kernel's filter expression.
    events : sequence of str
        Which ones; those that this kernel does not have are left out where it may lack them.

    Raises
    ------
    SystemRefusedError
        The kernel does not let this process trace.
    """

    def __init__(self, filters: dict[str, str], events: Sequence[str] = EVENTS) -> None:
        self._filters = filters
        self._events = events
        self._formats: dict[int, Format] = {}
        self._root = -1
        self._enabled: list[str] = []

    def __enter__(self) -> Self:
        if sys.byteorder != "little" or platform.architecture()[0] != "64bit":
            raise SystemRefusedError("traces are read on 64-bit little-endian machines only")
        self._root = _tracefs()
        root = Path(f"/proc/self/fd/{self._root}")
        self._folder = root / "instances" / own_name()
        try:
            for entry in (root / "instances").iterdir():
                if is_leftover(entry.name):
                    _switch_off(entry)
            self._folder.mkdir()
            self._put("buffer_size_kb", str(_BUFFER_KIB))
            self._put("trace_clock", "tai")
            for event in self._events:
                self._enable(event)
        except OSError as error:
            self.close()
            raise _refused(error) from error
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def stop(self) -> None:
        """Record no more."""
        self._put("tracing_on", "0")

    def close(self) -> None:
        """Remove the instance."""
        if self._root < 0:
            return
        with contextlib.suppress(OSError):
            _switch_off(self._folder)
        os.close(self._root)
        self._root = -1

    def events(self) -> list[Event]:
        """All events in the order of time (CLOCK_REALTIME, as in a pcap)."""
        ahead_ns = _tai_ahead_ns()
        out = [event for page in self._pages() for event in read_page(page, self._formats)]
        return sorted((event._replace(time_ns=event.time_ns - ahead_ns) for event in out), key=lambda e: e[0])

    def lost(self) -> int:
        """Events that did not fit into the buffers."""
        total = 0
        for stats in self._folder.glob("per_cpu/cpu*/stats"):
            found = re.findall(
                r"^(?:overrun|commit overrun|dropped events): (\d+)", stats.read_text(), re.MULTILINE
            )
            total += sum(map(int, found))
        return total

    def _put(self, name: str, value: str) -> None:
        (self._folder / name).write_text(value)

    def _enable(self, event: str) -> None:
        folder = self._folder / "events" / event
        if event in _OPTIONAL and not folder.exists():
            return
        layout = parse_format((folder / "format").read_text())
        self._formats[layout.identity] = layout
        wanted = self._filters.get(event) or self._filters.get(event.partition("/")[0])
        if wanted:
            self._put(f"events/{event}/filter", wanted)
        self._put(f"events/{event}/enable", "1")

    def _pages(self) -> list[bytes]:
        pages = []
        for cpu in sorted((self._folder / "per_cpu").glob("cpu*")):
            handle = os.open(cpu / "trace_pipe_raw", os.O_RDONLY | os.O_NONBLOCK)
            try:
                while page := os.read(handle, _PAGE_BYTES):
                    pages.append(page)
            except BlockingIOError:
                pass
            finally:
                os.close(handle)
        return pages


def _tracefs() -> int:
    """A descriptor of a tracefs that is mounted nowhere."""
    libc = ctypes.CDLL(None, use_errno=True)
    context = libc.syscall(_FSOPEN, b"tracefs", 0)
    if context < 0:
        raise _refused(OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno())))
    try:
        if libc.syscall(_FSCONFIG, context, _CMD_CREATE, None, None, 0) < 0:
            raise _refused(OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno())))
        mount: int = libc.syscall(_FSMOUNT, context, 0, 0)
        if mount < 0:
            raise _refused(OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno())))
        return mount
    finally:
        os.close(context)


def _switch_off(folder: Path) -> None:
    """Remove an instance; one whose events are on is busy."""
    (folder / "events" / "enable").write_text("0")
    folder.rmdir()


def _tai_ahead_ns() -> int:
    """How far TAI, the trace's clock, is ahead of CLOCK_REALTIME: whole seconds."""
    difference = time.clock_gettime_ns(time.CLOCK_TAI) - time.clock_gettime_ns(time.CLOCK_REALTIME)
    return round(difference / 1e9) * 10**9


def _refused(error: OSError) -> SystemRefusedError:
    return SystemRefusedError(
        f"the kernel cannot be traced: {(error.strerror or str(error)).lower()}",
        hint="it needs tracefs and CAP_SYS_ADMIN, and no lockdown",
    )
