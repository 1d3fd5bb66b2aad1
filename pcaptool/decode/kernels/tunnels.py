"""Kernel: tunnels that carry a packet with its own link or network header.

Knows: GRE (RFC 2784, 2890, 2637; in UDP: 8086), ERSPAN (draft-foschiano-erspan), VXLAN (RFC 7348), GENEVE (RFC 8926),
GTP-U (3GPP TS 29.281), Teredo (RFC 4380), L2TP data messages (RFC 2661).
"""

from __future__ import annotations

from typing import Any

from pcaptool.decode.kernels.codes import (
    AT,
    END,
    ERSPAN,
    ETH,
    GENEVE,
    GRE,
    GTP,
    IP,
    IPV6,
    L2TP,
    NEXT,
    NONE,
    PPP,
    TEREDO,
    VXLAN,
)
from pcaptool.decode.kernels.cursor import has
from pcaptool.decode.kernels.links import by_ethertype
from pcaptool.engine.loads import be16

__all__ = ["erspan", "geneve", "gre", "gtp", "l2tp", "teredo", "vxlan"]

MAX_GTP_EXTENSIONS = 8


def gre(data: Any, s: Any) -> None:
    """GRE version 0, and the enhanced version 1 of PPTP."""
    if not has(s, GRE, 4):
        return
    at = s[AT]
    flags = be16(data, at)
    kind = be16(data, at + 2)
    size = 4
    if flags & 0xC000:  # checksum or routing: both fields stand there
        size += 4
    if flags & 0x2000:
        size += 4
    if flags & 0x1000:
        size += 4
    if flags & 7 == 1 and flags & 0x80:
        size += 4
    if not has(s, GRE, size):
        return
    s[AT] = at + size
    if kind == 0x6558:
        s[NEXT] = ETH
    elif kind == 0x880B:
        s[NEXT] = PPP
    elif kind == 0x88BE:
        s[NEXT] = ERSPAN if flags & 0x1000 else ETH  # type I has no header of its own
    elif kind == 0x22EB:
        s[NEXT] = ERSPAN
    else:
        s[NEXT] = by_ethertype(kind) if not flags & 0x4000 else NONE


def erspan(data: Any, s: Any) -> None:
    """Type II has 8 bytes, type III 12 and perhaps 8 more."""
    if not has(s, ERSPAN, 8):
        return
    at = s[AT]
    size = 8
    if data[at] >> 4 == 2:
        if not has(s, ERSPAN, 12):
            return
        size = 20 if data[at + 11] & 1 else 12
    if not has(s, ERSPAN, size):
        return
    s[AT] = at + size
    s[NEXT] = ETH


def vxlan(_data: Any, s: Any) -> None:
    """Eight bytes, then an Ethernet frame."""
    if not has(s, VXLAN, 8):
        return
    s[AT] += 8
    s[NEXT] = ETH


def geneve(data: Any, s: Any) -> None:
    """Eight bytes and options, then what the protocol field says."""
    if not has(s, GENEVE, 8):
        return
    at = s[AT]
    size = 8 + (data[at] & 0x3F) * 4
    if not has(s, GENEVE, size):
        return
    kind = be16(data, at + 2)
    s[AT] = at + size
    s[NEXT] = ETH if kind == 0x6558 else by_ethertype(kind)


def gtp(data: Any, s: Any) -> None:
    """User data (message type 255) of version 1."""
    if not has(s, GTP, 8):
        return
    at = s[AT]
    s[NEXT] = NONE
    if data[at] >> 5 != 1 or data[at + 1] != 255:
        return
    size = 8
    if data[at] & 7:
        size = 12
        if not has(s, GTP, size):
            return
        kind = data[at + 11]
        for _ in range(MAX_GTP_EXTENSIONS):
            if kind == 0:
                break
            if not has(s, GTP, size + 4):
                return
            units = data[at + size]
            if units == 0 or not has(s, GTP, size + units * 4):
                s[NEXT] = NONE
                return
            size += units * 4
            kind = data[at + size - 1]
    s[AT] = at + size
    by_nibble(data, s)


def by_nibble(data: Any, s: Any) -> None:
    """IPv4 or IPv6 by the version that stands there."""
    s[NEXT] = NONE
    if s[AT] < s[END]:
        version = data[s[AT]] >> 4
        if version == 4:
            s[NEXT] = IP
        elif version == 6:
            s[NEXT] = IPV6


def teredo(data: Any, s: Any) -> None:
    """Optional authentication and origin, then IPv6."""
    if not has(s, TEREDO, 4):
        return
    at = s[AT]
    if be16(data, at) == 1:
        size = 13 + data[at + 2] + data[at + 3]
        if not has(s, TEREDO, size + 2):
            return
        at += size
    if be16(data, at) == 0:
        s[AT] = at
        if not has(s, TEREDO, 8):
            return
        at += 8
    s[AT] = at
    by_nibble(data, s)
    if s[NEXT] == IP:
        s[NEXT] = NONE


def l2tp(data: Any, s: Any) -> None:
    """Data messages of version 2 carry PPP."""
    if not has(s, L2TP, 6):
        return
    at = s[AT]
    flags = be16(data, at)
    s[NEXT] = NONE
    if flags & 0x8000 or flags & 15 != 2:
        return
    size = 6
    if flags & 0x4000:
        size += 2
    if flags & 0x0800:
        size += 4
    if flags & 0x0200:
        if not has(s, L2TP, size + 2):
            return
        size += 2 + be16(data, at + size)
    if not has(s, L2TP, size):
        return
    s[AT] = at + size
    s[NEXT] = PPP
