"""tcpdump's filter language, by libpcap itself: its compiler and its interpreter, through ctypes.

Knows: pcap_open_dead, pcap_compile, pcap_offline_filter (pcap(3)); link types are libpcap's, as in files.
Must not know: what is done with the packets.
libpcap is the shared library that tcpdump brings; Python packages that wrap it need its headers and a compiler.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from pcaptool.errors import SystemRefusedError, UsageError, printable
from pcaptool.file.model import Run

__all__ = ["PacketFilter"]

_SNAPLEN = 262_144
_NETMASK_UNKNOWN = 0xFFFFFFFF
# Where a file's number and libpcap's differ (pcap/dlt.h on Linux).
_DLT = {101: 12, 228: 228, 229: 229}


class _Program(ctypes.Structure):
    _fields_ = (("bf_len", ctypes.c_uint), ("bf_insns", ctypes.c_void_p))


class _Header(ctypes.Structure):
    _fields_ = (
        ("sec", ctypes.c_long),
        ("usec", ctypes.c_long),
        ("caplen", ctypes.c_uint32),
        ("len", ctypes.c_uint32),
    )


class PacketFilter:
    """Tells which recorded packets are wanted.

    Parameters
    ----------
    expression : str
        As tcpdump takes it: pcap-filter(7).

    Raises
    ------
    UsageError
        libpcap does not understand it.
    SystemRefusedError
        There is no libpcap.
    """

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._programs: dict[int, _Program] = {}
        self._library = _libpcap()
        self._program(1)  # what cannot be compiled is said at once

    def _program(self, linktype: int) -> _Program:
        if linktype not in self._programs:
            handle = self._library.pcap_open_dead(_DLT.get(linktype, linktype), _SNAPLEN)
            program = _Program()
            try:
                failed = self._library.pcap_compile(
                    handle, ctypes.byref(program), self._expression.encode(), 1, _NETMASK_UNKNOWN
                )
                if failed:
                    said = self._library.pcap_geterr(handle).decode(errors="replace")
                    raise UsageError(
                        f"--filter {printable(self._expression)!r}: {printable(said)}",
                        hint="the language is tcpdump's: man pcap-filter",
                    )
            finally:
                self._library.pcap_close(handle)
            self._programs[linktype] = program
        return self._programs[linktype]

    def wanted(self, run: Run) -> npt.NDArray[np.bool_]:
        """Which packets of a run fit."""
        found = np.zeros(len(run), np.bool_)
        base, offline = run.data.ctypes.data, self._library.pcap_offline_filter
        header = _Header()
        places = zip(
            run.offsets.tolist(),
            run.cap_len.tolist(),
            run.orig_len.tolist(),
            run.linktype.tolist(),
            strict=True,
        )
        for i, (at, captured, original, linktype) in enumerate(places):
            header.caplen, header.len = captured, original
            program = self._program(linktype)
            found[i] = offline(ctypes.byref(program), ctypes.byref(header), base + at) != 0
        return found


@cache
def _libpcap() -> Any:
    name = ctypes.util.find_library("pcap") or "libpcap.so.0.8"
    try:
        library = ctypes.CDLL(name)
    except OSError as error:
        raise SystemRefusedError(
            "--filter needs libpcap", hint="apt-get install libpcap0.8; tcpdump brings it too"
        ) from error
    library.pcap_open_dead.argtypes = (ctypes.c_int, ctypes.c_int)
    library.pcap_open_dead.restype = ctypes.c_void_p
    library.pcap_close.argtypes = (ctypes.c_void_p,)
    library.pcap_close.restype = None
    library.pcap_geterr.argtypes = (ctypes.c_void_p,)
    library.pcap_geterr.restype = ctypes.c_char_p
    library.pcap_compile.argtypes = (
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_uint32,
    )
    library.pcap_offline_filter.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    return library
