"""Kernel: headers inside others: what an ICMP error quotes, and what a tunnel carries.

Knows: ICMP errors (RFC 792, RFC 4443 section 2.4), IP in IP (RFC 2003, RFC 2473, RFC 4213), GRE (RFC 2784, RFC 2890),
VXLAN (RFC 7348), Geneve (RFC 8926); up to LEVELS of them in each other.
Must not know: files, interfaces, the outermost headers' rules (`frame_kernel`).

Addresses and ports of inner headers change by the same rules as the outermost ones; their TTLs and MACs stay. Every
checksum that covers what was changed follows by the difference of the sums before and after (RFC 1624), so a valid one
stays valid and a wrong one wrong, also where a quote holds only the beginning of a packet.
Leaves out: GTP, L2TP, ESP, GRE with routing or of version 1 (PPTP), UDP tunnels on other ports than their own.
"""

from __future__ import annotations

from typing import Any

from pcaptool.engine.loads import be16, sum16
from pcaptool.replay.frame_kernel import (
    F_DONE,
    F_L3,
    F_L4,
    F_NEXT,
    F_PROTOCOL,
    F_SIZE,
    F_TYPE,
    adjust_checksum,
    complete_checksums,
    fold,
    map_address,
    map_port,
    put16,
    read_headers,
)

__all__ = ["INNER_SIZE", "edit_inner"]

LEVELS = 4
# inner[...]: a row for each level: what it is in (PLAIN, QUOTE, CARRIED), where its IP header begins, EtherType, end;
# where the checksum stands that covers it (-1: none does), where what that covers begins, its sum before; the protocol
# that checksum belongs to, and whether a device has completed it.
KIND, BEGIN, TYPE, END, CHECKSUM, COVERED, BEFORE, OUTER, DONE, WIDTH = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
INNER_SIZE = LEVELS * WIDTH
QUOTE, CARRIED = 1, 2

IPV4, IPV6, BRIDGED = 0x0800, 0x86DD, 0x6558
ICMP, IP_IN_IP, TCP, UDP, IPV6_IN_IP, GRE, ICMPV6 = 1, 4, 6, 17, 41, 47, 58
REDIRECT = 5
VXLAN_PORT, GENEVE_PORT = 4789, 6081
ETHERNET_BYTES, UDP_BYTES = 14, 8


def edit_inner(data: Any, end: int, frame: Any, scratch: Any, inner: Any, addresses: Any, ports: Any) -> int:
    """Change the headers inside a frame by the rules; to be called before `frame_kernel.edit_frame`.

    Parameters
    ----------
    data : uint8 array
    end : int
        Where the frame ends.
    frame : int64 array
        From `read_headers`, of the outermost headers.
    scratch, inner : int64 arrays
        Room for FRAME_SIZE and INNER_SIZE numbers.
    addresses, ports : int64 arrays
        Rules.

    Returns
    -------
    int
        Levels found.
    """
    if not _may_hold(frame):
        return 0
    for k in range(len(frame)):
        scratch[k] = frame[k]
    found, limit = 0, end
    while found < LEVELS:
        row = found * WIDTH
        limit = min(limit, scratch[F_NEXT] + scratch[F_SIZE]) if scratch[F_SIZE] > 0 else limit
        if _step(data, limit, scratch, inner, row) == 0:
            break
        found += 1
        read_headers(data, inner[row + END], inner[row + BEGIN], inner[row + TYPE], scratch)
    for k in range(found - 1, -1, -1):
        row = k * WIDTH
        read_headers(data, inner[row + END], inner[row + BEGIN], inner[row + TYPE], scratch)
        _edit_ip(data, inner[row + END], scratch, inner[row + KIND], addresses, ports)
        at = inner[row + CHECKSUM]
        if inner[row + KIND] == QUOTE:
            _edit_gateway(data, at, inner[row + TYPE], addresses)
        if at >= 0:
            now = sum16(data, inner[row + COVERED], inner[row + END], 0)
            _follow(data, at, 0xFFFF - inner[row + BEFORE] + now, inner[row + OUTER], inner[row + DONE])
    return found


def _may_hold(frame: Any) -> bool:
    """Whether a frame can hold further headers at all."""
    if frame[F_NEXT] < 0:
        return False
    return frame[F_PROTOCOL] in (ICMP, IP_IN_IP, UDP, IPV6_IN_IP, GRE, ICMPV6)


def _step(data: Any, end: int, frame: Any, inner: Any, row: int) -> int:
    """What is inside the packet of `frame`: fills a row of `inner`; 0 where nothing is."""
    at, protocol = frame[F_NEXT], frame[F_PROTOCOL]
    if at < 0:
        return 0
    inner[row + CHECKSUM], inner[row + KIND] = -1, CARRIED
    begin, kind = -1, 0
    if protocol == IP_IN_IP:
        begin, kind = at, IPV4
    elif protocol == IPV6_IN_IP:
        begin, kind = at, IPV6
    elif protocol in (ICMP, ICMPV6):
        if at + 8 <= end and _is_error(data[at], protocol):
            begin, kind = at + 8, IPV4 if protocol == ICMP else IPV6
            inner[row + KIND], inner[row + CHECKSUM] = QUOTE, at + 2
            inner[row + COVERED] = at + 4
    elif protocol == GRE:
        if at + 4 <= end and be16(data, at) & 0x4007 == 0:
            flags, kind = be16(data, at), be16(data, at + 2)
            begin = at + 4
            for bit in (0x8000, 0x2000, 0x1000):
                begin += 4 if flags & bit else 0
            if flags & 0x8000:
                inner[row + CHECKSUM], inner[row + COVERED] = at + 4, begin
    elif protocol == UDP and at + UDP_BYTES + 8 <= end:
        port, tunnel = be16(data, at + 2), at + UDP_BYTES
        if port == VXLAN_PORT and data[tunnel] & 8:
            begin, kind = tunnel + 8, BRIDGED
        elif port == GENEVE_PORT and data[tunnel] >> 6 == 0:
            begin, kind = tunnel + 8 + (data[tunnel] & 63) * 4, be16(data, tunnel + 2)
        if be16(data, at + 6):
            inner[row + CHECKSUM], inner[row + COVERED] = at + 6, begin
    if kind == BRIDGED and 0 <= begin <= end - ETHERNET_BYTES:
        kind = be16(data, begin + 12)
        begin += ETHERNET_BYTES
    if begin < 0 or begin + 20 > end:
        return 0
    inner[row + BEGIN], inner[row + TYPE], inner[row + END] = begin, kind, end
    if inner[row + CHECKSUM] >= 0:
        inner[row + OUTER], inner[row + DONE] = protocol, frame[F_DONE]
        inner[row + BEFORE] = sum16(data, inner[row + COVERED], end, 0)
    return 1


def _is_error(kind: int, protocol: int) -> bool:
    """Whether an ICMP message quotes a packet."""
    if protocol == ICMPV6:
        return 1 <= kind <= 4
    return kind in (3, 4, REDIRECT, 11, 12)


def _edit_gateway(data: Any, checksum: int, kind: int, addresses: Any) -> int:
    """The gateway's address of an ICMP redirect stands before the quote."""
    if kind == IPV4 and data[checksum - 2] == REDIRECT:
        map_address(data, checksum + 2, 1, addresses)
    return 0


def _edit_ip(data: Any, end: int, frame: Any, kind: int, addresses: Any, ports: Any) -> int:
    """Addresses and ports of one inner packet, of which a quote may hold only the beginning."""
    l3 = frame[F_L3]
    if frame[F_TYPE] == IPV4:
        delta = map_address(data, l3 + 12, 1, addresses) + map_address(data, l3 + 16, 1, addresses)
        if delta:
            adjust_checksum(data, l3 + 10, delta)
    elif frame[F_TYPE] == IPV6 and l3 + 40 <= end:
        delta = map_address(data, l3 + 8, 4, addresses) + map_address(data, l3 + 24, 4, addresses)
    else:
        return 0
    at, protocol = frame[F_NEXT], frame[F_PROTOCOL]
    if at < 0 or at + 4 > end:
        return 0
    to_addresses = delta
    place = -1
    if protocol in (TCP, UDP):
        delta += map_port(data, at, ports) + map_port(data, at + 2, ports)
        place = at + (16 if protocol == TCP else 6)
    elif protocol == ICMPV6:
        place = at + 2
    if place < 0 or place + 2 > end or (protocol == UDP and be16(data, place) == 0):
        return 0
    if frame[F_DONE]:
        if delta:
            adjust_checksum(data, place, delta)
            if protocol == UDP and be16(data, place) == 0:
                put16(data, place, 0xFFFF)
    elif kind == CARRIED and frame[F_L4] >= 0:
        complete_checksums(data, end, frame, 0)
    else:  # quoted before a device completed it: it is the sum of addresses, not its complement
        put16(data, place, fold(be16(data, place) + to_addresses))
    return 0


def _follow(data: Any, at: int, delta: int, protocol: int, done: int) -> int:
    """A checksum that covers changed bytes; one that a device is still to complete is not a sum of them."""
    if done and fold(delta) != 0xFFFF:  # 0xFFFF: nothing was changed
        adjust_checksum(data, at, delta)
        if protocol == UDP and be16(data, at) == 0:
            put16(data, at, 0xFFFF)
    return 0
