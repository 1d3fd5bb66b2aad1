"""Kernel: the packet that most packets are, in one step.

Knows: Ethernet, IPv4 or IPv6, TCP, their headers whole: no tag, IP option, extension header or fragment between
them. Writes what `chain` would write going from header to header (a property test holds them equal), and leaves
every other packet to it.
Must not know: anything about packets that are not so.

Addresses come in few pairs, so a small memory in front of the hash table keeps the numbers of the pairs seen last.
"""

from __future__ import annotations

from typing import Any

from pcaptool.decode.kernels.codes import (
    ETH,
    F_IPV4,
    F_IPV6,
    F_MAC,
    IP,
    IPV6,
    LAYER_BITS,
    MEMO_SIZE,
    R_A,
    R_AT,
    R_B,
    R_C,
    R_D,
    R_DEPTH,
    R_END,
    R_FINAL,
    R_IP,
    R_PACKET,
    R_QUOTED,
    R_WIRE,
    T_IP,
    T_TCP,
    TCP,
)
from pcaptool.decode.kernels.names import number_of
from pcaptool.engine.loads import be16, be32, be64, hot

__all__ = ["common_segment", "forget"]

PATH_IP = (((ETH << LAYER_BITS) | IP) << LAYER_BITS) | TCP
PATH_IPV6 = (((ETH << LAYER_BITS) | IPV6) << LAYER_BITS) | TCP

# An entry of the memory: the pair as two numbers (of IPv4 addresses the second is -1), and the two addresses' numbers.
M_KEY, M_MORE, M_SRC, M_DST, M_WIDTH = 0, 1, 2, 3, 4
NOTHING = -2
MIX = 0x2545F491


def forget(memo: Any) -> None:
    """Empty the memory: numbers may have been given anew."""
    for k in range(M_MORE, MEMO_SIZE, M_WIDTH):
        memo[k] = NOTHING


@hot
def place_of(key: int, more: int) -> int:
    """Where in the memory a pair stands, if it does."""
    mixed = (key ^ (key >> 32) ^ (more << 7)) & 0xFFFFFFFF
    return (((mixed * MIX) >> 26) & 63) * M_WIDTH


def note_macs(data: Any, at: int, memo: Any, place: int, names: Any) -> None:
    """Enter the two addresses of an Ethernet header."""
    keys, slots, counts = names
    dst = (be16(data, at) << 32) | be32(data, at + 2)
    src = (be16(data, at + 6) << 32) | be32(data, at + 8)
    memo[place + M_DST] = number_of(0, dst, F_MAC, keys, slots, counts)
    memo[place + M_SRC] = number_of(0, src, F_MAC, keys, slots, counts)
    memo[place + M_KEY] = be64(data, at)
    memo[place + M_MORE] = be32(data, at + 8)


def note_ipv4(data: Any, at: int, memo: Any, place: int, names: Any) -> None:
    """Enter the two addresses of an IPv4 header."""
    keys, slots, counts = names
    memo[place + M_SRC] = number_of(0, be32(data, at + 12), F_IPV4, keys, slots, counts)
    memo[place + M_DST] = number_of(0, be32(data, at + 16), F_IPV4, keys, slots, counts)
    memo[place + M_KEY] = be64(data, at + 12)
    memo[place + M_MORE] = -1


@hot
def common_segment(
    data: Any,
    i: int,
    begin: int,
    captured: int,
    original: int,
    tables: Any,
    sizes: Any,
    names: Any,
    memo: Any,
    packets: Any,
    links: Any,
) -> int:
    """Rows and columns of packet `i`; the low number of its path, or 0: it is another packet, nothing was written."""
    if captured < 54:
        return 0
    kind = be16(data, begin + 12)
    at = begin + 14
    last = begin + captured
    wire = begin + max(original, captured)
    path = 0
    if kind == 0x0800:
        total = be16(data, at + 2)
        if data[at] != 0x45 or data[at + 9] != 6 or total == 0 or be16(data, at + 6) & 0x3FFF != 0:
            return 0
        wire = min(wire, at + total)
        behind = at + 20
        path = PATH_IP
    elif kind == 0x86DD:
        length = be16(data, at + 4)
        if data[at] >> 4 != 6 or data[at + 6] != 6 or captured < 74 or length == 0:
            return 0
        wire = min(wire, at + 40 + length)
        behind = at + 40
        path = PATH_IPV6
    else:
        return 0
    end = min(last, wire)
    if behind + 20 > end:
        return 0
    head = (data[behind + 12] >> 4) * 4
    if head < 20 or behind + head > end:
        return 0

    if path == PATH_IP:
        pair = place_of(be64(data, at + 12), -1)
        if memo[pair + M_KEY] != be64(data, at + 12) or memo[pair + M_MORE] != -1:
            note_ipv4(data, at, memo, pair, names)
        src = memo[pair + M_SRC]
        dst = memo[pair + M_DST]
        final = at + 16
    else:
        keys, slots, counts = names
        src = number_of(be64(data, at + 8), be64(data, at + 16), F_IPV6, keys, slots, counts)
        dst = number_of(be64(data, at + 24), be64(data, at + 32), F_IPV6, keys, slots, counts)
        final = at + 24

    ip_rows, tcp_rows, _udp, _arp, _icmp, _igmp, _fragments = tables
    row = sizes[T_IP]
    sizes[T_IP] = row + 1
    ip_rows[row, R_PACKET] = i
    ip_rows[row, R_DEPTH] = 0
    ip_rows[row, R_AT] = at
    ip_rows[row, R_END] = end
    ip_rows[row, R_WIRE] = wire
    ip_rows[row, R_IP] = -1
    ip_rows[row, R_A] = src
    ip_rows[row, R_B] = dst
    ip_rows[row, R_C] = 6
    ip_rows[row, R_D] = behind
    ip_rows[row, R_QUOTED] = 0
    ip_rows[row, R_FINAL] = final
    segment = sizes[T_TCP]
    sizes[T_TCP] = segment + 1
    tcp_rows[segment, R_PACKET] = i
    tcp_rows[segment, R_DEPTH] = 0
    tcp_rows[segment, R_AT] = behind
    tcp_rows[segment, R_END] = end
    tcp_rows[segment, R_WIRE] = wire
    tcp_rows[segment, R_IP] = row
    tcp_rows[segment, R_QUOTED] = 0

    (
        path_column,
        src_column,
        dst_column,
        srcport,
        dstport,
        offset,
        payload,
        err_layer,
        err_kind,
        need,
        have,
    ) = packets
    if len(path_column) > 0:
        src_column[i] = src
        dst_column[i] = dst
        srcport[i] = be16(data, behind)
        dstport[i] = be16(data, behind + 2)
        offset[i] = behind + head - begin
        payload[i] = wire - behind - head
        err_layer[i] = 0
        err_kind[i] = 0
        need[i] = 0
        have[i] = 0
    kind_column, link_src, link_dst, type_column, vlan_column, hdr_bytes, padding = links
    if len(kind_column) > 0:
        macs = place_of(be64(data, begin), be32(data, begin + 8))
        if memo[macs + M_KEY] != be64(data, begin) or memo[macs + M_MORE] != be32(data, begin + 8):
            note_macs(data, begin, memo, macs, names)
        kind_column[i] = ETH
        link_src[i] = memo[macs + M_SRC]
        link_dst[i] = memo[macs + M_DST]
        type_column[i] = kind
        vlan_column[i] = -1
        hdr_bytes[i] = 14
        padding[i] = last - wire if last > wire else 0
    return path
