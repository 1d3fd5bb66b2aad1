"""What a capture file holds, independent of its format.

Knows: shapes only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["MAX_CAPTURED_BYTES", "MAX_SNAPLEN", "Cut", "Interface", "Record", "Run"]

# libpcap's MAXIMUM_SNAPLEN: what tcpdump writes for "whole packets".
MAX_SNAPLEN = 262_144
# More than any capture source delivers (DBUS messages aside); a larger record length is damage.
MAX_CAPTURED_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Interface:
    """Where packets were captured.

    Parameters
    ----------
    linktype : int
        LINKTYPE_ of tcpdump.org.
    snaplen : int
        Bytes of each packet that were to be captured; 0 is unlimited.
    name, description, filter : str
        As pcapng has them; empty where absent.
    tsresol : int
        Byte of if_tsresol: 10**-n seconds, with the highest bit set 2**-n seconds.
    tsoffset_s : int
        Seconds to add to each time; times of records have it added already.
    fcs_bytes : int or None
        Bytes of frame check sequence at the end of each packet, None where unknown.
    """

    linktype: int
    snaplen: int = MAX_SNAPLEN
    name: str = ""
    description: str = ""
    filter: str = ""
    tsresol: int = 9
    tsoffset_s: int = 0
    fcs_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One packet.

    Parameters
    ----------
    ts_ns : int
        Nanoseconds since 1970-01-01 UTC.
    data : bytes
        What was captured.
    orig_len : int
        Bytes there were on the wire.
    interface : int
        Index into the capture's interfaces.
    flags : int or None
        epb_flags of pcapng (`file.packet_flags`).
    comments : tuple of str
    """

    ts_ns: int
    data: bytes
    orig_len: int
    interface: int = 0
    flags: int | None = None
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cut:
    """Where and why reading ended before the end of the file.

    Parameters
    ----------
    path : str
    offset : int
        Byte, in the uncompressed capture, at which the unreadable part begins.
    packets : int
        Packets that were read before.
    reason : str
        One clause.
    """

    path: str
    offset: int
    packets: int
    reason: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.path}: byte {self.offset}: {self.reason}; {self.packets} packets were read before"


@dataclass(slots=True)
class Run:
    """Consecutive packets as arrays, all of the same length.

    Parameters
    ----------
    first_n : int
        Number of the first packet, 1-based.
    data : numpy.ndarray of uint8
        Holds the bytes of all of them. Overwritten when the next run is read.
    offsets : numpy.ndarray of int64
        Where each begins in `data`.
    ts_ns : numpy.ndarray of int64
    cap_len, orig_len : numpy.ndarray of uint32
    interface : numpy.ndarray of uint16
    linktype : numpy.ndarray of uint16
    flags : numpy.ndarray of int64
        epb_flags, -1 where there is none.
    comments : dict
        Row to its comments, for rows that have some.
    """

    first_n: int
    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    ts_ns: npt.NDArray[np.int64]
    cap_len: npt.NDArray[np.uint32]
    orig_len: npt.NDArray[np.uint32]
    interface: npt.NDArray[np.uint16]
    linktype: npt.NDArray[np.uint16]
    flags: npt.NDArray[np.int64]
    comments: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Packets."""
        return len(self.ts_ns)

    def packet(self, row: int) -> bytes:
        """What was captured of one, copied."""
        begin = int(self.offsets[row])
        return self.data[begin : begin + int(self.cap_len[row])].tobytes()

    def chosen(self, wanted: npt.NDArray[np.bool_]) -> Run:
        """Some of its packets, as if the others had not been there; `data` is shared."""
        rows = np.flatnonzero(wanted)
        place = {int(row): i for i, row in enumerate(rows)} if self.comments else {}
        return Run(
            first_n=self.first_n,
            data=self.data,
            offsets=self.offsets[rows],
            ts_ns=self.ts_ns[rows],
            cap_len=self.cap_len[rows],
            orig_len=self.orig_len[rows],
            interface=self.interface[rows],
            linktype=self.linktype[rows],
            flags=self.flags[rows],
            comments={place[row]: said for row, said in self.comments.items() if row in place},
        )

    def records(self) -> Any:
        """The same packets one by one, as `Record`."""
        starts, sizes, flags = self.offsets.tolist(), self.cap_len.tolist(), self.flags.tolist()
        times, lengths, interfaces = self.ts_ns.tolist(), self.orig_len.tolist(), self.interface.tolist()
        for i, start in enumerate(starts):
            yield Record(
                ts_ns=times[i],
                data=self.data[start : start + sizes[i]].tobytes(),
                orig_len=lengths[i],
                interface=interfaces[i],
                flags=None if flags[i] < 0 else flags[i],
                comments=self.comments.get(i, ()),
            )
