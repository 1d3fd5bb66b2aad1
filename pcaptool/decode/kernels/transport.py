"""Kernel: TCP and UDP headers, and what ICMP, IGMP and the like stand for.

Knows: RFC 9293, RFC 768; ports of tunnels over UDP.
Writes a row for each header.
"""

from __future__ import annotations

from typing import Any

from pcaptool.decode.kernels.codes import (
    AT,
    E_LENGTH,
    END,
    GENEVE,
    GRE,
    GTP,
    ICMP,
    ICMP_DEPTH,
    ICMPV6,
    IGMP,
    IP,
    IP_ROW,
    IPV6,
    L2TP,
    NEXT,
    NONE,
    QUOTED,
    R_A,
    T_ICMP,
    T_IGMP,
    T_TCP,
    T_UDP,
    TCP,
    TCP_DEPTH,
    TEREDO,
    UDP,
    UDP_DEPTH,
    VXLAN,
    WIRE,
)
from pcaptool.decode.kernels.cursor import fail, has, ports, put_row
from pcaptool.engine.loads import be16, hot

__all__ = ["icmp", "igmp", "tcp", "udp"]


@hot
def tcp(data: Any, s: Any, rows: Any, sizes: Any) -> None:
    """One TCP header."""
    if not has(s, TCP, 20):
        return
    at = s[AT]
    row = sizes[T_TCP]
    put_row(s, rows, row, s[TCP_DEPTH], s[IP_ROW])
    sizes[T_TCP] = row + 1
    s[TCP_DEPTH] += 1
    ports(s, be16(data, at), be16(data, at + 2))
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
    ports(s, be16(data, at), be16(data, at + 2))
    length = be16(data, at + 4)
    if length < 8:
        fail(s, UDP, E_LENGTH, 8, length)
        return
    s[WIRE] = min(s[WIRE], at + length)
    s[END] = min(s[END], s[WIRE])
    s[AT] = at + 8
    s[NEXT] = NONE if s[QUOTED] else by_port(be16(data, at), be16(data, at + 2))


def by_port(src: int, dst: int) -> int:
    """Tunnels over UDP by their ports, the lower one first, as Wireshark does."""
    low = min(src, dst)
    high = max(src, dst)
    found = tunnel(low)
    return found if found != NONE else tunnel(high)


def tunnel(port: int) -> int:
    """Tunnel of a port."""
    if port == 4789:
        return VXLAN
    if port == 6081:
        return GENEVE
    if port == 4754:  # RFC 8086
        return GRE
    if port == 2152:
        return GTP
    if port == 3544:
        return TEREDO
    if port == 1701:
        return L2TP
    return NONE


def icmp(data: Any, s: Any, rows: Any, sizes: Any, layer: int) -> None:
    """One ICMP or ICMPv6 header; an error quotes the packet that it is about."""
    if not has(s, layer, 4):
        return
    at = s[AT]
    kind = data[at]
    row = sizes[T_ICMP]
    put_row(s, rows, row, s[ICMP_DEPTH], s[IP_ROW])
    rows[row, R_A] = 4 if layer == ICMP else 6
    sizes[T_ICMP] = row + 1
    s[ICMP_DEPTH] += 1
    if not has(s, layer, 8):
        return
    s[AT] = at + 8
    s[NEXT] = NONE
    if layer == ICMP and kind in (3, 4, 5, 11, 12):
        s[QUOTED] = 1
        s[NEXT] = IP
    elif layer == ICMPV6 and 1 <= kind <= 4:
        s[QUOTED] = 1
        s[NEXT] = IPV6


def igmp(_data: Any, s: Any, rows: Any, sizes: Any) -> None:
    """One IGMP message."""
    if not has(s, IGMP, 8):
        return
    row = sizes[T_IGMP]
    put_row(s, rows, row, 0, s[IP_ROW])
    sizes[T_IGMP] = row + 1
    s[AT] += 8
    s[NEXT] = NONE
