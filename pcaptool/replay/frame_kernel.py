"""Kernel: headers of one frame: where they are, and how they are changed before it is sent again.

Knows: Ethernet with 802.1Q tags, ARP, IPv4, IPv6 with extension headers, TCP, UDP, neighbour discovery; checksums
(RFC 1071) and their incremental update (RFC 1624 equation 3), which keeps a valid checksum valid, a wrong one wrong,
and is right for fragments and cut packets too.
Must not know: files, interfaces, sockets.
Leaves out: headers inside tunnels and those that an ICMP error quotes (`inner_kernel`).
"""

from __future__ import annotations

from typing import Any

from pcaptool.engine.loads import be16, be32, sum16

__all__ = [
    "FRAME_SIZE",
    "F_DONE",
    "F_L3",
    "F_L4",
    "F_NEXT",
    "F_PROTOCOL",
    "F_SIZE",
    "F_TYPE",
    "adjust_checksum",
    "complete_checksums",
    "edit_frame",
    "fold",
    "map_address",
    "map_port",
    "put16",
    "put32",
    "read_headers",
    "transport_sum",
]

# frame[...]: what is known of a frame: EtherType, where layer 3 and 4 begin (-1: nowhere), layer 4's protocol, bytes
# of layer 4, and whether its checksum is still to be completed by a device; where the first fragment's layer 4 begins,
# also where it is cut short or none of those that F_L4 is for.
F_TYPE, F_L3, F_L4, F_PROTOCOL, F_SIZE, F_DONE, F_NEXT = 0, 1, 2, 3, 4, 5, 6
FRAME_SIZE = 7

# rules[...]: a row of words each.
MAC_ANY, MAC_SOURCE, MAC_DESTINATION = 0, 1, 2  # kind of a MAC rule: kind, old, new
ADDRESS_WIDTH = 13  # family, 4 words of the old network, 4 of its mask, 4 of the new network
TTL_KEEP, TTL_SET, TTL_ADD = 0, 1, 2

IPV4, ARP, IPV6, VLAN, QINQ = 0x0800, 0x0806, 0x86DD, 0x8100, 0x88A8
HOPOPT, TCP, UDP, ROUTING, FRAGMENT, ICMPV6, DSTOPTS = 0, 6, 17, 43, 44, 58, 60
SOLICITATION, ADVERTISEMENT = 135, 136
CHECKSUM_OF_TCP, CHECKSUM_OF_UDP, CHECKSUM_OF_ICMPV6 = 16, 6, 2


def put16(data: Any, at: int, value: int) -> int:
    """Write 16 bits, big-endian."""
    data[at] = (value >> 8) & 0xFF
    data[at + 1] = value & 0xFF
    return 0


def put32(data: Any, at: int, value: int) -> int:
    """Write 32 bits, big-endian."""
    put16(data, at, (value >> 16) & 0xFFFF)
    put16(data, at + 2, value & 0xFFFF)
    return 0


def read_headers(data: Any, end: int, l3: int, ether_type: int, frame: Any) -> int:
    """Find the headers of a frame whose layer 3 begins at `l3` and that ends before `end`; 802.1Q tags are passed.

    Returns
    -------
    int
        Where layer 3 begins, behind the tags.
    """
    while (ether_type in (VLAN, QINQ)) and l3 + 4 <= end:
        ether_type = be16(data, l3 + 2)
        l3 += 4
    frame[F_TYPE], frame[F_L3], frame[F_L4], frame[F_PROTOCOL] = ether_type, l3, -1, -1
    frame[F_SIZE], frame[F_DONE], frame[F_NEXT] = 0, 1, -1
    if ether_type == IPV4:
        _read_ipv4(data, end, l3, frame)
    elif ether_type == IPV6:
        _read_ipv6(data, end, l3, frame)
    if frame[F_L4] >= 0:
        frame[F_DONE] = _is_complete(data, end, frame)
    return l3


def _read_ipv4(data: Any, end: int, l3: int, frame: Any) -> int:
    if l3 + 20 > end or data[l3] >> 4 != 4:
        frame[F_TYPE] = 0  # not what it says: nothing in it is touched
        return 0
    header = (data[l3] & 15) * 4
    if header < 20 or l3 + header > end:
        frame[F_TYPE] = 0
        return 0
    total = be16(data, l3 + 2)
    frame[F_PROTOCOL] = data[l3 + 9]
    frame[F_SIZE] = total - header if total else end - l3 - header  # 0: too long for the field
    if be16(data, l3 + 6) & 0x1FFF == 0:
        frame[F_NEXT] = l3 + header
        frame[F_L4] = _at_layer4(l3 + header, end, frame[F_PROTOCOL])
    return 0


def _read_ipv6(data: Any, end: int, l3: int, frame: Any) -> int:
    if l3 + 40 > end or data[l3] >> 4 != 6:
        frame[F_TYPE] = 0
        return 0
    size = be16(data, l3 + 4)
    kind, at = data[l3 + 6], l3 + 40
    last = at + size if size else end
    while kind in (HOPOPT, ROUTING, DSTOPTS, FRAGMENT) and at + 8 <= end:
        if kind == FRAGMENT and be16(data, at + 2) & 0xFFF8:
            frame[F_PROTOCOL], frame[F_SIZE] = data[at], 0
            return 0
        size = 8 if kind == FRAGMENT else (data[at + 1] + 1) * 8
        kind = data[at]
        at += size
    frame[F_PROTOCOL], frame[F_SIZE] = kind, last - at
    if at <= end:
        frame[F_NEXT] = at
        frame[F_L4] = _at_layer4(at, end, kind)
    return 0


def _at_layer4(at: int, end: int, protocol: int) -> int:
    if protocol == TCP:
        return at if at + 20 <= end else -1
    if protocol == UDP:
        return at if at + 8 <= end else -1
    if protocol == ICMPV6:
        return at if at + 4 <= end else -1
    return -1


def _checksum_at(frame: Any) -> int:
    """Where layer 4's checksum stands; -1 where it has none that covers the addresses."""
    if frame[F_L4] < 0:
        return -1
    if frame[F_PROTOCOL] == TCP:
        return frame[F_L4] + CHECKSUM_OF_TCP  # type: ignore[no-any-return]
    if frame[F_PROTOCOL] == UDP:
        return frame[F_L4] + CHECKSUM_OF_UDP  # type: ignore[no-any-return]
    return frame[F_L4] + CHECKSUM_OF_ICMPV6  # type: ignore[no-any-return]


def _pseudo_sum(data: Any, frame: Any, size: int) -> int:
    """Sum of the pseudo-header for a segment of `size` bytes (wire.checksum.pseudo_header)."""
    l3 = frame[F_L3]
    rest = frame[F_PROTOCOL] + (size >> 16) + (size & 0xFFFF)
    rest = (rest & 0xFFFF) + (rest >> 16)
    if frame[F_TYPE] == IPV4:
        return sum16(data, l3 + 12, l3 + 20, rest)
    return sum16(data, l3 + 8, l3 + 40, rest)


def _is_fragment(data: Any, frame: Any) -> int:
    l3 = frame[F_L3]
    if frame[F_TYPE] == IPV4:
        return 1 if be16(data, l3 + 6) & 0x3FFF else 0
    return 1 if data[l3 + 6] == FRAGMENT else 0


def _is_complete(data: Any, end: int, frame: Any) -> int:
    """Whether layer 4's checksum is not just the pseudo-header's sum (CHECKSUM_PARTIAL)."""
    at = _checksum_at(frame)
    if at + 2 > end or frame[F_PROTOCOL] == ICMPV6 or _is_fragment(data, frame):
        return 1
    return 0 if be16(data, at) == _pseudo_sum(data, frame, frame[F_SIZE]) else 1


def transport_sum(data: Any, frame: Any, size: int) -> int:
    """The value for the checksum field, which must be zero, of a segment of `size` bytes.

    UDP's 0 means no checksum, so it becomes 0xFFFF (RFC 768).
    """
    begin = frame[F_L4]
    value = 0xFFFF - sum16(data, begin, begin + size, _pseudo_sum(data, frame, size))
    if value == 0 and frame[F_PROTOCOL] == UDP:
        return 0xFFFF
    return value


def complete_checksums(data: Any, end: int, frame: Any, everything: int) -> int:
    """Compute the checksum that a device would have filled in; with `everything` all of the frame's.

    A segment of which bytes are missing, and a fragment, has none that can be computed here: it stays.
    """
    l3 = frame[F_L3]
    if everything and frame[F_TYPE] == IPV4:
        put16(data, l3 + 10, 0)
        put16(data, l3 + 10, 0xFFFF - sum16(data, l3, l3 + (data[l3] & 15) * 4, 0))
    at = _checksum_at(frame)
    if at < 0 or (frame[F_DONE] and not everything) or _is_fragment(data, frame):
        return 0
    if frame[F_L4] + frame[F_SIZE] > end or at + 2 > end or frame[F_SIZE] < at + 2 - frame[F_L4]:
        return 0
    if frame[F_DONE] and frame[F_PROTOCOL] == UDP and be16(data, at) == 0:
        return 0
    put16(data, at, 0)
    put16(data, at, transport_sum(data, frame, frame[F_SIZE]))
    frame[F_DONE] = 1
    return 1


def fold(total: int) -> int:
    """A ones' complement sum in 16 bits."""
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def adjust_checksum(data: Any, at: int, delta: int) -> int:
    """Change a checksum field by a sum of ~old + new (RFC 1624 equation 3)."""
    put16(data, at, 0xFFFF - fold(0xFFFF - be16(data, at) + delta))
    return 0


def _change16(data: Any, at: int, value: int) -> int:
    """Write 16 bits; what a checksum over them changes by."""
    delta = 0xFFFF - be16(data, at) + value
    put16(data, at, value)
    return delta


def map_address(data: Any, at: int, words: int, rules: Any) -> int:
    """Give an address of 1 or 4 words the first rule that fits; what checksums change by."""
    for k in range(len(rules) // ADDRESS_WIDTH):
        rule = k * ADDRESS_WIDTH
        if rules[rule] != words:
            continue
        fits = True
        for w in range(words):
            if be32(data, at + 4 * w) & rules[rule + 5 + w] != rules[rule + 1 + w]:
                fits = False
        if not fits:
            continue
        delta = 0
        for w in range(words):
            old = be32(data, at + 4 * w)
            new = rules[rule + 9 + w] | (old & (0xFFFFFFFF - rules[rule + 5 + w]))
            delta += _change16(data, at + 4 * w, (new >> 16) & 0xFFFF)
            delta += _change16(data, at + 4 * w + 2, new & 0xFFFF)
        return fold(delta)
    return 0


def _map_mac(data: Any, at: int, which: int, rules: Any) -> int:
    """Give a MAC the first rule that fits; what a checksum over it changes by."""
    old = (be16(data, at) << 32) | be32(data, at + 2)
    for k in range(len(rules) // 3):
        kind = rules[3 * k]
        if kind == which or (kind == MAC_ANY and rules[3 * k + 1] == old):
            new = rules[3 * k + 2]
            delta = _change16(data, at, (new >> 32) & 0xFFFF)
            delta += _change16(data, at + 2, (new >> 16) & 0xFFFF)
            return fold(delta + _change16(data, at + 4, new & 0xFFFF))
    return 0


def edit_frame(
    data: Any,
    start: int,
    end: int,
    frame: Any,
    ethernet: int,
    ttl: Any,
    macs: Any,
    addresses: Any,
    ports: Any,
) -> int:
    """Change a frame's headers by the rules; checksums follow.

    Parameters
    ----------
    data : uint8 array
    start, end : int
        The frame.
    frame : int64 array
        From `read_headers`.
    ethernet : int
        Whether it begins with an Ethernet header.
    ttl : int64 array
        How (keep, set, add), and the number.
    macs, addresses, ports : int64 arrays
        Rules: kind, old, new; ADDRESS_WIDTH words; old, new.
    """
    if ethernet and len(macs):
        _map_mac(data, start, MAC_DESTINATION, macs)
        _map_mac(data, start + 6, MAC_SOURCE, macs)
    l3 = frame[F_L3]
    if frame[F_TYPE] == ARP:
        return _edit_arp(data, l3, end, macs, addresses)
    if frame[F_TYPE] == IPV4:
        delta = map_address(data, l3 + 12, 1, addresses) + map_address(data, l3 + 16, 1, addresses)
        hops = _new_ttl(data[l3 + 8], ttl)
        ip_delta = delta + _change16(data, l3 + 8, (hops << 8) | data[l3 + 9])
        if ip_delta != 0xFFFF:  # 0xFFFF: nothing was changed
            adjust_checksum(data, l3 + 10, ip_delta)
    elif frame[F_TYPE] == IPV6:
        delta = map_address(data, l3 + 8, 4, addresses) + map_address(data, l3 + 24, 4, addresses)
        data[l3 + 7] = _new_ttl(data[l3 + 7], ttl)
    else:
        return 0
    return _edit_transport(data, end, frame, delta, macs, addresses, ports)


def _new_ttl(old: int, ttl: Any) -> int:
    if ttl[0] == TTL_SET:
        return ttl[1]  # type: ignore[no-any-return]
    if ttl[0] == TTL_ADD:
        return min(255, max(1, old + ttl[1]))  # type: ignore[no-any-return]
    return old


def _edit_transport(
    data: Any, end: int, frame: Any, delta: int, macs: Any, addresses: Any, ports: Any
) -> int:
    at = frame[F_L4]
    if at < 0:
        return 0
    if frame[F_PROTOCOL] in (TCP, UDP):
        delta += map_port(data, at, ports) + map_port(data, at + 2, ports)
    elif data[at] in (SOLICITATION, ADVERTISEMENT) and at + 24 <= end:
        delta += map_address(data, at + 8, 4, addresses)
        delta += _map_neighbour_options(data, at + 24, min(end, at + frame[F_SIZE]), macs)
    place = _checksum_at(frame)
    if delta and place + 2 <= end and frame[F_DONE]:
        if frame[F_PROTOCOL] == UDP and be16(data, place) == 0:
            return 0
        adjust_checksum(data, place, delta)
        if frame[F_PROTOCOL] == UDP and be16(data, place) == 0:
            put16(data, place, 0xFFFF)
    return 0


def map_port(data: Any, at: int, ports: Any) -> int:
    """Give a port the first rule that fits; what checksums change by."""
    old = be16(data, at)
    for k in range(len(ports) // 2):
        if ports[2 * k] == old:
            return _change16(data, at, ports[2 * k + 1])
    return 0


def _map_neighbour_options(data: Any, at: int, end: int, macs: Any) -> int:
    """Link-layer address options of neighbour discovery (RFC 4861 section 4.6.1)."""
    delta = 0
    while at + 8 <= end and data[at + 1]:
        if data[at] in (1, 2):
            delta += _map_mac(data, at + 2, MAC_SOURCE if data[at] == 1 else MAC_ANY, macs)
        at += data[at + 1] * 8
    return delta


def _edit_arp(data: Any, l3: int, end: int, macs: Any, addresses: Any) -> int:
    """Addresses inside ARP for IPv4 on Ethernet follow the same rules."""
    if l3 + 28 > end or be16(data, l3) != 1 or be16(data, l3 + 2) != IPV4:
        return 0
    if len(macs):
        _map_mac(data, l3 + 8, MAC_SOURCE, macs)
        if be16(data, l3 + 6) == 2:  # in a request the target's is not known
            _map_mac(data, l3 + 18, MAC_DESTINATION, macs)
    map_address(data, l3 + 14, 1, addresses)
    map_address(data, l3 + 24, 1, addresses)
    return 0
