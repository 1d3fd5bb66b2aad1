"""Kernel: from header to header of each packet.

Knows: the order of layers; that `common` does most packets at once. Writes what the packet list and the link table
say of each packet, and one row for each header of the other tables.
Bounded: at most MAX_LAYERS headers a packet; every step moves the cursor forward or ends the packet.
"""

from __future__ import annotations

from typing import Any

from pcaptool.decode.kernels.codes import (
    ARP,
    AT,
    CHDLC,
    CURSOR_SIZE,
    DST,
    DSTPORT,
    E_LIMIT,
    END,
    ERR_HAVE,
    ERR_KIND,
    ERR_LAYER,
    ERR_NEED,
    ERSPAN,
    ETH,
    F_PATH,
    GENEVE,
    GRE,
    GTP,
    ICMP,
    ICMPV6,
    IGMP,
    IP,
    IPV6,
    L2TP,
    LAYER_BITS,
    LINK_DST,
    LINK_END,
    LINK_SRC,
    LINK_TYPE,
    LINK_VLAN,
    LLC,
    LOOP,
    MAX_LAYERS,
    MPLS,
    NET_END,
    NEXT,
    NFLOG,
    NONE,
    NULL,
    PACKET,
    PATH_HIGH,
    PATH_LOW,
    PKTAP,
    PPP,
    PPPOE,
    RADIOTAP,
    RAW,
    SLL,
    SLL2,
    SRC,
    SRCPORT,
    STEPS,
    T_ARP,
    T_FRAGMENT,
    T_ICMP,
    T_IGMP,
    T_IP,
    T_TCP,
    T_UDP,
    TCP,
    TEREDO,
    UDP,
    VLAN,
    VXLAN,
    WIRE,
    WLAN,
)
from pcaptool.decode.kernels.common import common_segment, forget
from pcaptool.decode.kernels.cursor import fail
from pcaptool.decode.kernels.links import (
    chdlc,
    ethernet,
    first_layer,
    llc,
    mpls,
    nflog,
    null,
    pktap,
    ppp,
    pppoe,
    raw,
    sll,
    sll2,
    vlan,
)
from pcaptool.decode.kernels.names import number_of
from pcaptool.decode.kernels.network import arp, ipv4, ipv6
from pcaptool.decode.kernels.transport import icmp, igmp, tcp, udp
from pcaptool.decode.kernels.tunnels import erspan, geneve, gre, gtp, l2tp, teredo, vxlan
from pcaptool.decode.kernels.wlan import radiotap, wlan
from pcaptool.engine.loads import hot, prefetch

__all__ = ["chain"]

ETHERNET = 1  # LINKTYPE_ETHERNET
SOON = 8  # packets ahead whose first cache lines are asked for: headers lie far apart


def chain(
    data: Any,
    first: int,
    run: Any,
    tables: Any,
    sizes: Any,
    names: Any,
    paths: Any,
    s: Any,
    memo: Any,
    packets: Any,
    links: Any,
) -> int:
    """Walk through packets.

    Parameters
    ----------
    data : uint8 array
    first : int
        Packet of the run to begin with.
    run : tuple of arrays
        offsets, cap_len, orig_len, linktype.
    tables : tuple of (capacity, ROW_SIZES) int64 arrays
        Rows of ip, tcp, udp, arp, icmp, igmp, fragments.
    sizes : (TABLE_COUNT,) int64 array
        Rows written so far.
    names, paths : tuple of arrays
        Tables of `number_of`.
    s : (CURSOR_SIZE,) int64 array
        Scratch.
    memo : (MEMO_SIZE,) int64 array
        Scratch of `common_segment`.
    packets, links : tuple of arrays
        Columns, one element a packet; without elements where they are not wanted.

    Returns
    -------
    int
        The first packet that was not done: the end of the run, or there may be no room for another one's rows.
    """
    offsets, cap_len, orig_len, linktype = run
    ip_rows, tcp_rows, udp_rows, arp_rows, _icmp, _igmp, fragments = tables
    room = min(len(tcp_rows), len(udp_rows), len(ip_rows), len(arp_rows), len(fragments)) - MAX_LAYERS
    both = (ip_rows, fragments)
    path_column = packets[0]
    forget(memo)
    last_high = -1
    last_low = -1
    last_path = 0
    most = fullest(sizes)
    for i in range(first, len(offsets)):
        if most > room:
            return i
        if i + SOON < len(offsets):
            prefetch(data, offsets[i + SOON])
            prefetch(data, offsets[i + SOON] + 64)
        begin, captured, original = offsets[i], cap_len[i], orig_len[i]
        high = 0
        low = 0
        if linktype[i] == ETHERNET:
            low = common_segment(
                data, i, begin, captured, original, tables, sizes, names, memo, packets, links
            )
        most += 1
        if low == 0:
            begin_packet(s, i, begin, captured, original)
            s[NEXT] = first_layer(linktype[i])
            kind = s[NEXT]
            layers(data, s, tables, both, sizes, names)
            most = fullest(sizes)
            if len(path_column) > 0:
                write_packet(s, i, begin, packets)
            if len(links[0]) > 0:
                write_link(s, i, begin, kind, captured, links)
            high, low = s[PATH_HIGH], s[PATH_LOW]
        if len(path_column) == 0:
            continue
        if high != last_high or low != last_low:
            keys, slots, counts = paths
            last_path = number_of(high, low, F_PATH, keys, slots, counts)
            last_high, last_low = high, low
        path_column[i] = last_path
    return len(offsets)


@hot
def fullest(sizes: Any) -> int:
    """Rows of the table that has the most."""
    transport = max(sizes[T_IP], sizes[T_TCP], sizes[T_UDP], sizes[T_ICMP])
    most: int = max(transport, sizes[T_ARP], sizes[T_IGMP], sizes[T_FRAGMENT])
    return most


def layers(data: Any, s: Any, tables: Any, both: Any, sizes: Any, names: Any) -> None:
    """From header to header, to the packet's end."""
    _ip, tcp_rows, udp_rows, arp_rows, icmp_rows, igmp_rows, _fragments = tables
    while s[NEXT] != NONE:
        layer = s[NEXT]
        if s[STEPS] == MAX_LAYERS:
            fail(s, layer, E_LIMIT, 0, 0)
            break
        s[STEPS] += 1
        s[PATH_HIGH] = (s[PATH_HIGH] << LAYER_BITS) | (s[PATH_LOW] >> 54)
        s[PATH_LOW] = ((s[PATH_LOW] & 0x3FFFFFFFFFFFFF) << LAYER_BITS) | layer
        if layer == ETH:
            ethernet(data, s, names)
        elif layer == IP:
            ipv4(data, s, both, sizes, names)
        elif layer == TCP:
            tcp(data, s, tcp_rows, sizes)
        elif layer == IPV6:
            ipv6(data, s, both, sizes, names)
        elif layer == UDP:
            udp(data, s, udp_rows, sizes)
        elif layer == ARP:
            arp(data, s, arp_rows, sizes)
        elif layer in (ICMP, ICMPV6):
            icmp(data, s, icmp_rows, sizes, layer)
        elif layer == IGMP:
            igmp(data, s, igmp_rows, sizes)
        else:
            other(data, s, layer, names)


@hot
def begin_packet(s: Any, i: int, begin: int, captured: int, original: int) -> None:
    """The cursor at the first byte of a packet."""
    for k in range(CURSOR_SIZE):
        s[k] = 0
    s[PACKET] = i
    s[AT] = begin
    s[END] = begin + captured
    s[WIRE] = begin + max(original, captured)
    for k in range(SRC, NET_END + 1):
        s[k] = -1


def other(data: Any, s: Any, layer: int, names: Any) -> None:
    """The layers that most packets do not have."""
    if layer == VLAN:
        vlan(data, s)
    elif layer == LLC:
        llc(data, s)
    elif layer == SLL:
        sll(data, s, names)
    elif layer == SLL2:
        sll2(data, s, names)
    elif layer in (NULL, LOOP):
        null(data, s, layer)
    elif layer == RAW:
        raw(data, s)
    elif layer == PPP:
        ppp(data, s)
    elif layer == PPPOE:
        pppoe(data, s)
    elif layer == CHDLC:
        chdlc(data, s)
    elif layer == MPLS:
        mpls(data, s)
    elif layer == GRE:
        gre(data, s)
    elif layer == VXLAN:
        vxlan(data, s)
    elif layer == GENEVE:
        geneve(data, s)
    elif layer == GTP:
        gtp(data, s)
    elif layer == TEREDO:
        teredo(data, s)
    elif layer == L2TP:
        l2tp(data, s)
    elif layer == ERSPAN:
        erspan(data, s)
    elif layer == RADIOTAP:
        radiotap(data, s)
    elif layer == WLAN:
        wlan(data, s, names)
    elif layer == NFLOG:
        nflog(data, s)
    elif layer == PKTAP:
        pktap(data, s)
    else:
        s[NEXT] = NONE


@hot
def write_packet(s: Any, i: int, begin: int, packets: Any) -> None:
    """What the packet list says."""
    _path, src, dst, srcport, dstport, payload_offset, payload_bytes, layer, kind, need, have = packets
    src[i] = s[SRC]
    dst[i] = s[DST]
    srcport[i] = s[SRCPORT]
    dstport[i] = s[DSTPORT]
    payload_offset[i] = s[AT] - begin
    payload_bytes[i] = max(s[WIRE] - s[AT], 0)
    layer[i] = s[ERR_LAYER]
    kind[i] = s[ERR_KIND]
    need[i] = s[ERR_NEED]
    have[i] = s[ERR_HAVE]


@hot
def write_link(s: Any, i: int, begin: int, kind: int, captured: int, links: Any) -> None:
    """What the link table says."""
    kind_column, src, dst, type_column, vlan_column, hdr_bytes, padding = links
    kind_column[i] = kind
    src[i] = s[LINK_SRC]
    dst[i] = s[LINK_DST]
    type_column[i] = s[LINK_TYPE]
    vlan_column[i] = s[LINK_VLAN]
    hdr_bytes[i] = (s[LINK_END] if s[LINK_END] >= 0 else s[AT]) - begin
    padding[i] = max(begin + captured - s[NET_END], 0) if s[NET_END] >= 0 else 0
