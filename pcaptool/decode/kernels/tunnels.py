"""Kernel: tunnels that carry a packet with its own link or network header.

Knows: GRE (RFC 2784, 2890), VXLAN (RFC 7348).
"""

from __future__ import annotations

from typing import Any

from pcaptool.decode.kernels.codes import AT, ETH, GRE, NEXT, NONE, PPP, VXLAN
from pcaptool.decode.kernels.cursor import has
from pcaptool.decode.kernels.links import by_ethertype
from pcaptool.engine.loads import be16

__all__ = ["gre", "vxlan"]


def gre(data: Any, s: Any) -> None:
    """GRE version 0, and the enhanced version 1 of PPTP (RFC 2637)."""
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
    else:
        s[NEXT] = by_ethertype(kind) if not flags & 0x4000 else NONE


def vxlan(_data: Any, s: Any) -> None:
    """Eight bytes, then an Ethernet frame."""
    if not has(s, VXLAN, 8):
        return
    s[AT] += 8
    s[NEXT] = ETH
