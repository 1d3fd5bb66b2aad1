"""Link types of capture files (LINKTYPE_ registry of tcpdump.org) that are named in this house."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["LinkType"]


class LinkType(IntEnum):
    """LINKTYPE_ values as they stand in files."""

    NULL = 0
    ETHERNET = 1
    PPP = 9
    PPP_HDLC = 50
    PPP_ETHER = 51
    RAW = 101
    C_HDLC = 104
    IEEE802_11 = 105
    LOOP = 108
    LINUX_SLL = 113
    IEEE802_11_RADIOTAP = 127
    IPV4 = 228
    IPV6 = 229
    NFLOG = 239
    PKTAP = 258
    LINUX_SLL2 = 276
