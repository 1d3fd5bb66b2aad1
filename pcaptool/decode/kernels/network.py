"""Kernel: ARP, IPv4, IPv6 with its extension headers.

Knows: RFC 826, RFC 791, RFC 8200, RFC 4302 (AH). Total length 0 is a super-packet of segmentation offload
whose length did not fit the field: the packet ends where it ended on the wire.
Writes a row for each header, and one for each fragment.
"""

from __future__ import annotations

from typing import Any

from pcaptool.decode.kernels.codes import (
    AH,
    ARP,
    AT,
    E_LENGTH,
    E_LIMIT,
    E_VERSION,
    END,
    ESP,
    F_IPV4,
    F_IPV6,
    FRAGMENT,
    GRE,
    ICMP,
    ICMPV6,
    IGMP,
    IP,
    IP_DEPTH,
    IP_ROW,
    IPV6,
    LINK_END,
    NET_END,
    NEXT,
    NONE,
    QUOTED,
    R_A,
    R_B,
    R_C,
    R_D,
    R_FINAL,
    SCTP,
    T_ARP,
    T_FRAGMENT,
    T_IP,
    TCP,
    UDP,
    WIRE,
)
from pcaptool.decode.kernels.cursor import fail, has, name_pair, put_row
from pcaptool.decode.kernels.names import number_of
from pcaptool.engine.loads import be16, be32, be64, hot

__all__ = ["arp", "by_protocol", "ipv4", "ipv6"]

MAX_EXTENSIONS = 16


@hot
def by_protocol(protocol: int) -> int:
    """Layer behind an IP protocol number."""
    if protocol == 6:
        return TCP
    if protocol == 17:
        return UDP
    if protocol == 1:
        return ICMP
    if protocol == 58:
        return ICMPV6
    if protocol == 2:
        return IGMP
    if protocol == 4:
        return IP
    if protocol == 41:
        return IPV6
    if protocol == 47:
        return GRE
    if protocol == 50:
        return ESP
    if protocol == 51:
        return AH
    if protocol == 132:
        return SCTP
    return NONE


def arp(data: Any, s: Any, rows: Any, sizes: Any) -> None:
    """Fixed part and four addresses whose sizes stand in it."""
    if not has(s, ARP, 8):
        return
    at = s[AT]
    size = 8 + 2 * (data[at + 4] + data[at + 5])
    if not has(s, ARP, size):
        return
    row = sizes[T_ARP]
    put_row(s, rows, row, 0, -1)
    sizes[T_ARP] = row + 1
    s[AT] = at + size
    if s[NET_END] < 0:
        s[LINK_END] = at
        s[NET_END] = s[AT]
    s[END] = min(s[END], s[AT])
    s[WIRE] = min(s[WIRE], s[AT])
    s[NEXT] = NONE


@hot
def ipv4(data: Any, s: Any, tables: Any, sizes: Any, names: Any) -> None:
    """One IPv4 header with its options."""
    if not has(s, IP, 20):
        return
    rows, fragments = tables
    keys, slots, counts = names
    at = s[AT]
    if data[at] >> 4 != 4:
        fail(s, IP, E_VERSION, 20, s[END] - at)
        return
    head = (data[at] & 15) * 4
    total = be16(data, at + 2)
    if total == 0:
        total = s[WIRE] - at
    if head < 20 or total < head:
        fail(s, IP, E_LENGTH, max(head, 20), head if head < 20 else total)
        return
    src = number_of(0, be32(data, at + 12), F_IPV4, keys, slots, counts)
    dst = number_of(0, be32(data, at + 16), F_IPV4, keys, slots, counts)
    name_pair(s, src, dst)
    s[WIRE] = min(s[WIRE], at + total)
    s[END] = min(s[END], s[WIRE])
    if s[NET_END] < 0:
        s[LINK_END] = at
        s[NET_END] = s[WIRE]
    row = sizes[T_IP]
    put_row(s, rows, row, s[IP_DEPTH], -1)
    rows[row, R_A] = src
    rows[row, R_B] = dst
    rows[row, R_C] = data[at + 9]
    rows[row, R_D] = at + head
    rows[row, R_FINAL] = at + 16
    sizes[T_IP] = row + 1
    s[IP_ROW] = row
    s[IP_DEPTH] += 1
    if not has(s, IP, head):
        return
    s[AT] = at + head
    where = be16(data, at + 6)
    if where & 0x3FFF:
        fragment(s, fragments, sizes, row, (where & 0x1FFF) * 8, where & 0x2000)
        return
    follow(data, s, data[at + 9])


def fragment(s: Any, rows: Any, sizes: Any, ip_row: int, offset: int, more: int) -> None:
    """Note a fragment: its content is decoded when the datagram is whole."""
    s[FRAGMENT] = 1
    s[NEXT] = NONE
    if s[QUOTED]:
        return
    row = sizes[T_FRAGMENT]
    put_row(s, rows, row, s[IP_DEPTH] - 1, ip_row)
    rows[row, R_A] = offset
    rows[row, R_B] = 1 if more else 0
    sizes[T_FRAGMENT] = row + 1


@hot
def follow(data: Any, s: Any, protocol: int) -> None:
    """What an IP header's payload is."""
    s[NEXT] = by_protocol(protocol)
    if s[NEXT] == AH and has(s, AH, 12):
        size = (data[s[AT] + 1] + 2) * 4
        protocol = data[s[AT]]
        if size >= 12 and has(s, AH, size):
            s[AT] += size
            s[NEXT] = by_protocol(protocol)
            if s[NEXT] == AH:
                fail(s, AH, E_LIMIT, 0, 0)


def ipv6(data: Any, s: Any, tables: Any, sizes: Any, names: Any) -> None:
    """One IPv6 header with its extension headers."""
    if not has(s, IPV6, 40):
        return
    rows, fragments = tables
    keys, slots, counts = names
    at = s[AT]
    if data[at] >> 4 != 6:
        fail(s, IPV6, E_VERSION, 40, s[END] - at)
        return
    src = number_of(be64(data, at + 8), be64(data, at + 16), F_IPV6, keys, slots, counts)
    dst = number_of(be64(data, at + 24), be64(data, at + 32), F_IPV6, keys, slots, counts)
    name_pair(s, src, dst)
    length = be16(data, at + 4)
    if length:  # 0 is a jumbogram or a super-packet: to the end
        s[WIRE] = min(s[WIRE], at + 40 + length)
        s[END] = min(s[END], s[WIRE])
    if s[NET_END] < 0:
        s[LINK_END] = at
        s[NET_END] = s[WIRE]
    row = sizes[T_IP]
    put_row(s, rows, row, s[IP_DEPTH], -1)
    rows[row, R_A] = src
    rows[row, R_B] = dst
    rows[row, R_C] = data[at + 6]
    rows[row, R_D] = at + 40
    rows[row, R_FINAL] = at + 24
    sizes[T_IP] = row + 1
    s[IP_ROW] = row
    s[IP_DEPTH] += 1
    s[AT] = at + 40
    extensions(data, s, rows, row, fragments, sizes)


def extensions(data: Any, s: Any, rows: Any, row: int, fragments: Any, sizes: Any) -> None:
    """Extension headers, until something else follows or a fragment begins."""
    kind = rows[row, R_C]
    for _ in range(MAX_EXTENSIONS):
        if kind in (0, 43, 60):
            if not has(s, IPV6, 8):
                return
            size = (data[s[AT] + 1] + 1) * 8
            if not has(s, IPV6, size):
                return
            if kind == 43 and data[s[AT] + 2] in (0, 2) and data[s[AT] + 3] and size >= 24:
                rows[row, R_FINAL] = s[AT] + size - 16  # RFC 8200 8.1: the last address of the route
            kind = data[s[AT]]
            s[AT] += size
        elif kind == 44:
            if not has(s, IPV6, 8):
                return
            where = be16(data, s[AT] + 2)
            kind = data[s[AT]]
            s[AT] += 8
            rows[row, R_C] = kind
            rows[row, R_D] = s[AT]
            if where & 0xFFF9:
                fragment(s, fragments, sizes, row, where & 0xFFF8, where & 1)
                return
        else:
            rows[row, R_C] = kind
            rows[row, R_D] = s[AT]
            follow(data, s, kind)
            return
    fail(s, IPV6, E_LIMIT, 0, 0)
