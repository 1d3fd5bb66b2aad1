"""Kernel: TCP and UDP headers, and what ICMP, IGMP and the like stand for.

Knows: RFC 9293, RFC 768; ports of tunnels over UDP.
Writes a row for each header.
"""

from __future__ import annotations

from typing import Any

from pcaptool.decode.kernels.codes import (
    AT,
    DSTPORT,
    E_LENGTH,
    END,
    IP_ROW,
    NEXT,
    NONE,
    SRCPORT,
    T_TCP,
    T_UDP,
    TCP,
    TCP_DEPTH,
    UDP,
    UDP_DEPTH,
    VXLAN,
    WIRE,
)
from pcaptool.decode.kernels.cursor import fail, has, put_row
from pcaptool.engine.loads import be16

__all__ = ["tcp", "udp"]


def tcp(data: Any, s: Any, rows: Any, sizes: Any) -> None:
    """One TCP header."""
    if not has(s, TCP, 20):
        return
    at = s[AT]
    row = sizes[T_TCP]
    put_row(s, rows, row, s[TCP_DEPTH], s[IP_ROW])
    sizes[T_TCP] = row + 1
    s[TCP_DEPTH] += 1
    s[SRCPORT] = be16(data, at)
    s[DSTPORT] = be16(data, at + 2)
    head = (data[at + 12] >> 4) * 4
    if head < 20:
        fail(s, TCP, E_LENGTH, 20, head)
        return
    if not has(s, TCP, head):
        return
    s[AT] = at + head
    s[NEXT] = NONE


def udp(data: Any, s: Any, rows: Any, sizes: Any) -> None:
    """One UDP header; the payload of known tunnel ports leads on."""
    if not has(s, UDP, 8):
        return
    at = s[AT]
    row = sizes[T_UDP]
    put_row(s, rows, row, s[UDP_DEPTH], s[IP_ROW])
    sizes[T_UDP] = row + 1
    s[UDP_DEPTH] += 1
    s[SRCPORT] = be16(data, at)
    s[DSTPORT] = be16(data, at + 2)
    length = be16(data, at + 4)
    if length < 8:
        fail(s, UDP, E_LENGTH, 8, length)
        return
    s[WIRE] = min(s[WIRE], at + length)
    s[END] = min(s[END], s[WIRE])
    s[AT] = at + 8
    s[NEXT] = VXLAN if s[DSTPORT] == 4789 else NONE
