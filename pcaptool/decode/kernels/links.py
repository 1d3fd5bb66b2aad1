"""Kernel: link layers, and what stands between them and the network layer.

Knows: LINKTYPE_ numbers and header layouts of tcpdump.org's registry, IEEE 802.3, 802.1Q, 802.2, RFC 894,
RFC 1661 (PPP), RFC 2516 (PPPoE), RFC 3032 (MPLS), RFC 1547/Cisco HDLC.
Each function looks at the header at the cursor, moves behind it and names the next layer.
"""

from __future__ import annotations

from typing import Any

from pcaptool.decode.kernels.codes import (
    ARP,
    AT,
    CHDLC,
    E_LENGTH,
    E_VERSION,
    END,
    ETH,
    IP,
    IPV6,
    LINK_DST,
    LINK_SRC,
    LINK_TYPE,
    LINK_VLAN,
    LLC,
    LOOP,
    MPLS,
    NEXT,
    NFLOG,
    NONE,
    NULL,
    PKTAP,
    PPP,
    PPPOE,
    RADIOTAP,
    RAW,
    SLL,
    SLL2,
    VLAN,
    WIRE,
    WLAN,
)
from pcaptool.decode.kernels.cursor import fail, has, mac_number, name_pair
from pcaptool.engine.loads import be16, be32, hot, le16, le32

__all__ = [
    "by_ethertype",
    "chdlc",
    "ethernet",
    "first_layer",
    "llc",
    "mpls",
    "nflog",
    "null",
    "pktap",
    "ppp",
    "pppoe",
    "raw",
    "sll",
    "sll2",
    "vlan",
]

MAX_LABELS = 16
MAX_ATTRIBUTES = 32


@hot
def first_layer(linktype: int) -> int:
    """Layer with which packets of a LINKTYPE_ begin."""
    if linktype == 1:
        return ETH
    if linktype == 113:
        return SLL
    if linktype == 276:
        return SLL2
    if linktype == 0:
        return NULL
    if linktype == 108:
        return LOOP
    if linktype in (101, 12, 14):
        return RAW
    if linktype == 228:
        return IP
    if linktype == 229:
        return IPV6
    if linktype in (9, 50):
        return PPP
    if linktype == 51:
        return PPPOE
    if linktype == 104:
        return CHDLC
    if linktype == 127:
        return RADIOTAP
    if linktype == 105:
        return WLAN
    if linktype == 239:
        return NFLOG
    if linktype == 258:
        return PKTAP
    return NONE


@hot
def by_ethertype(kind: int) -> int:
    """Layer behind an EtherType."""
    if kind == 0x0800:
        return IP
    if kind == 0x86DD:
        return IPV6
    if kind in (0x0806, 0x8035):
        return ARP
    if kind in (0x8100, 0x88A8, 0x9100):
        return VLAN
    if kind in (0x8847, 0x8848):
        return MPLS
    if kind in (0x8863, 0x8864):
        return PPPOE
    return NONE


@hot
def type_or_length(data: Any, s: Any, at: int) -> None:
    """The field of IEEE 802.3 that is an EtherType, or below 1536 the length of an LLC frame."""
    kind = be16(data, at)
    s[AT] = at + 2
    if kind >= 1536:
        if s[LINK_TYPE] < 0 or s[LINK_TYPE] in (0x8100, 0x88A8, 0x9100):
            s[LINK_TYPE] = kind
        s[NEXT] = by_ethertype(kind)
        return
    s[NEXT] = LLC
    if kind:
        s[WIRE] = min(s[WIRE], s[AT] + kind)
        s[END] = min(s[END], s[WIRE])


@hot
def ethernet(data: Any, s: Any, names: Any) -> None:
    """Destination, source, type or length."""
    if not has(s, ETH, 14):
        return
    at = s[AT]
    dst = mac_number(data, at, names)
    src = mac_number(data, at + 6, names)
    if s[LINK_SRC] < 0:
        s[LINK_SRC] = src
        s[LINK_DST] = dst
    name_pair(s, src, dst)
    type_or_length(data, s, at + 12)


def vlan(data: Any, s: Any) -> None:
    """An 802.1Q or 802.1ad tag, and the type behind it."""
    if not has(s, VLAN, 4):
        return
    if s[LINK_VLAN] < 0:
        s[LINK_VLAN] = be16(data, s[AT])
    type_or_length(data, s, s[AT] + 2)


def llc(data: Any, s: Any) -> None:
    """IEEE 802.2: only SNAP with an EtherType leads on, and IP's own SAP."""
    if not has(s, LLC, 3):
        return
    at = s[AT]
    s[NEXT] = NONE
    if be16(data, at) == 0xAAAA:
        if has(s, LLC, 8):
            s[AT] = at + 8
            if data[at + 3] == 0 and data[at + 4] == 0 and data[at + 5] == 0:
                s[NEXT] = by_ethertype(be16(data, at + 6))
    elif be16(data, at) == 0x0606:
        s[AT] = at + 3
        s[NEXT] = IP
    else:
        s[AT] = at + 3


def sll(data: Any, s: Any, names: Any) -> None:
    """Linux "cooked" capture, version 1."""
    if not has(s, SLL, 16):
        return
    at = s[AT]
    if be16(data, at + 4) == 6:
        s[LINK_SRC] = mac_number(data, at + 6, names)
        name_pair(s, s[LINK_SRC], -1)
    cooked_type(s, be16(data, at + 14), at + 16)


def sll2(data: Any, s: Any, names: Any) -> None:
    """Linux "cooked" capture, version 2."""
    if not has(s, SLL2, 20):
        return
    at = s[AT]
    if data[at + 11] == 6:
        s[LINK_SRC] = mac_number(data, at + 12, names)
        name_pair(s, s[LINK_SRC], -1)
    cooked_type(s, be16(data, at), at + 20)


def cooked_type(s: Any, kind: int, behind: int) -> None:
    """An EtherType, or one of Linux's numbers below 1536: 4 is LLC."""
    s[AT] = behind
    s[LINK_TYPE] = kind
    s[NEXT] = by_ethertype(kind) if kind >= 1536 else (LLC if kind == 4 else NONE)


def null(data: Any, s: Any, layer: int) -> None:
    """BSD loopback: an address family, in the byte order of the machine that captured."""
    if not has(s, layer, 4):
        return
    family = be32(data, s[AT])
    if family > 0xFFFF:
        family = le32(data, s[AT])
    s[AT] += 4
    if family == 2:
        s[NEXT] = IP
    elif family in (10, 24, 28, 30):
        s[NEXT] = IPV6
    else:
        s[NEXT] = by_ethertype(family) if family >= 1536 else NONE


def raw(data: Any, s: Any) -> None:
    """No link header: the IP version says what follows."""
    if not has(s, RAW, 1):
        return
    version = data[s[AT]] >> 4
    if version == 4:
        s[NEXT] = IP
    elif version == 6:
        s[NEXT] = IPV6
    else:
        fail(s, RAW, E_VERSION, 0, s[END] - s[AT])


def ppp(data: Any, s: Any) -> None:
    """Optional address and control bytes, a protocol number of one or two bytes."""
    if not has(s, PPP, 2):
        return
    at = s[AT]
    if be16(data, at) == 0xFF03:
        at += 2
        s[AT] = at
        if not has(s, PPP, 2):
            return
    if data[at] & 1:
        kind = data[at]
        s[AT] = at + 1
    else:
        kind = be16(data, at)
        s[AT] = at + 2
    if kind == 0x21:
        s[NEXT] = IP
    elif kind == 0x57:
        s[NEXT] = IPV6
    elif kind in (0x281, 0x283):
        s[NEXT] = MPLS
    else:
        s[NEXT] = NONE


def pppoe(data: Any, s: Any) -> None:
    """Session data leads to PPP; discovery to nothing."""
    if not has(s, PPPOE, 6):
        return
    at = s[AT]
    code = data[at + 1]
    length = be16(data, at + 4)
    s[AT] = at + 6
    s[WIRE] = min(s[WIRE], s[AT] + length)
    s[END] = min(s[END], s[WIRE])
    s[NEXT] = PPP if code == 0 else NONE


def chdlc(data: Any, s: Any) -> None:
    """Cisco HDLC: address, control, EtherType."""
    if not has(s, CHDLC, 4):
        return
    s[LINK_TYPE] = be16(data, s[AT] + 2)
    s[AT] += 4
    s[NEXT] = by_ethertype(s[LINK_TYPE])


def nflog(data: Any, s: Any) -> None:
    """Linux netfilter log: attributes in the byte order of the machine; the packet is attribute 9."""
    if not has(s, NFLOG, 4):
        return
    family = data[s[AT]]
    s[AT] += 4
    s[NEXT] = NONE
    for _ in range(MAX_ATTRIBUTES):
        if s[AT] + 4 > s[END]:
            return
        size = le16(data, s[AT])
        kind = le16(data, s[AT] + 2)
        if size < 4 or kind > 255:  # the other byte order
            size = be16(data, s[AT])
            kind = be16(data, s[AT] + 2)
        if size < 4 or s[AT] + size > s[END]:
            fail(s, NFLOG, E_LENGTH, max(size, 4), s[END] - s[AT])
            return
        if kind & 0x7FFF == 9:
            s[AT] += 4
            s[NEXT] = IP if family == 2 else (IPV6 if family == 10 else NONE)
            return
        s[AT] += (size + 3) & -4


def pktap(data: Any, s: Any) -> None:
    """Apple's tap: the header says its own length and the link type behind it."""
    if not has(s, PKTAP, 12):
        return
    size = le32(data, s[AT])
    if size < 12 or not has(s, PKTAP, size):
        s[NEXT] = NONE
        return
    s[NEXT] = first_layer(le32(data, s[AT] + 8))
    s[AT] += size


def mpls(data: Any, s: Any) -> None:
    """Labels up to the bottom of the stack; the first nibble behind tells what follows."""
    for _ in range(MAX_LABELS):
        if not has(s, MPLS, 4):
            return
        entry = be32(data, s[AT])
        s[AT] += 4
        if entry & 0x100:
            break
    s[NEXT] = NONE
    if s[AT] < s[END]:
        nibble = data[s[AT]] >> 4
        if nibble == 4:
            s[NEXT] = IP
        elif nibble == 6:
            s[NEXT] = IPV6
