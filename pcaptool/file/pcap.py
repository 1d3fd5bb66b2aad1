"""The pcap file header: magics, resolution, link type.

Knows: the 24 bytes and their variants. Source: draft-ietf-opsawg-pcap; the "modified" magics are those of
Alexey Kuznetsov's patch, whose record headers are longer.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pcaptool.errors import CaptureError
from pcaptool.file.model import Interface

__all__ = ["HEADER_BYTES", "MAGICS", "PcapHeader", "parse_header"]

HEADER_BYTES = 24


@dataclass(frozen=True, slots=True)
class Magic:
    """What a magic number says.

    Parameters
    ----------
    unit_ns : int
        Nanoseconds in a unit of the time's fraction.
    record_bytes : int
        Bytes of each record's header; all begin with seconds, fraction, captured and original length.
    """

    unit_ns: int
    record_bytes: int


MAGICS: dict[int, Magic] = {
    0xA1B2C3D4: Magic(1000, 16),
    0xA1B23C4D: Magic(1, 16),
    0xA1B2CD34: Magic(1000, 24),  # modified: interface index, protocol, packet type, padding
}


@dataclass(frozen=True, slots=True)
class PcapHeader:
    """A parsed file header.

    Parameters
    ----------
    big_endian : bool
    unit_ns, record_bytes : int
        See `Magic`.
    interface : Interface
    """

    big_endian: bool
    unit_ns: int
    record_bytes: int
    interface: Interface


def parse_header(head: bytes, path: str) -> PcapHeader | None:
    """The header, None if these bytes do not begin a pcap file.

    Raises
    ------
    CaptureError
        A pcap file whose header is cut, or of an unknown version.
    """
    for order in "<>":
        if len(head) < 4 or (magic := MAGICS.get(struct.unpack_from(order + "I", head)[0])) is None:
            continue
        if len(head) < HEADER_BYTES:
            raise CaptureError("the file ends within its header", path=path, offset=len(head))
        major, minor, _, _, snaplen, link = struct.unpack_from(order + "HHiIII", head, 4)
        if major != 2:
            raise CaptureError(f"pcap version {major}.{minor} is not known", path=path, offset=4)
        # Upper 16 bits: bit 26 says that the FCS length (in 16-bit words) stands in bits 28 to 31.
        fcs = (link >> 28) * 2 if link & 0x04000000 else None
        interface = Interface(
            linktype=link & 0xFFFF,
            snaplen=snaplen,
            tsresol=6 if magic.unit_ns == 1000 else 9,
            fcs_bytes=fcs,
        )
        return PcapHeader(order == ">", magic.unit_ns, magic.record_bytes, interface)
    return None
