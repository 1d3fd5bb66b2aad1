"""Kernel: of each packet a hash of all its bytes, its shape, and what the flow tables need; nothing else.

Knows: Ethernet (with VLAN tags), raw IP and Linux cooked links; IPv4 and IPv6 without fragments or extension
headers; TCP and UDP (RFC 791, 8200, 9293, 768). Must not know: what is compared.
A packet that could belong to a conversation and is anything else (fragments, tunnels, other links, cut
headers) is counted as `ODD`: whoever calls decodes everything then. One that cannot (ARP, ICMP, IGMP, LLDP) is no more
than its hash.

The *shape* of a packet is all that decides which fields it has and which addresses its link header names: two
packets of one shape that are byte for byte the same on both sides add the same to the comparison.
The hash is a mix of 32-bit words in two lanes of 63 bits: for accidents, not against somebody who crafts packets.
Time: O(captured bytes). Memory: what the caller passes.
"""

from __future__ import annotations

from typing import Any

from pcaptool.engine.loads import be16, be32, le32

__all__ = ["NO_FLOW", "ODD", "SHAPES", "STATE", "skim"]

MASK32 = 0xFFFFFFFF
# Below 2**31, so that no state leaves 63 bits.
FACTOR, FACTOR_TOO = 0x5BD1E995, 0x2C1B3C6D
LAST_BIT = 1 << 62
NO_FLOW, ODD = -1, -2
SHAPES = 4096  # rows of the table of shapes; twice as many slots
# state[...]: shapes, IPv6 addresses, packets that are odd, packets that were cut.
STATE = 4
N_SHAPES, N_ADDRESSES, N_ODD, N_CUT = 0, 1, 2, 3
IPV6_MARK = 1 << 32

# Columns of a row for `analyze.flow_kernel.track`, which this kernel fills.
IN_PROTOCOL, IN_SRC, IN_SRCPORT, IN_DST, IN_DSTPORT, IN_N, IN_TS, IN_LEN, IN_PAYLOAD = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
)
IN_SEQ, IN_ACK, IN_FLAGS, IN_MSS, IN_WSCALE = 9, 10, 11, 12, 13
IN_TSVAL = 15  # where `track` asks whether there are timestamps: the number, -1 without
IN_TSECR = 14  # where `track` asks for SACK, which nobody here does

LINK_ETHERNET, LINK_RAW, LINK_SLL, LINK_IPV4, LINK_IPV6, LINK_SLL2 = 1, 101, 113, 228, 229, 276
TYPE_IPV4, TYPE_IPV6, TYPE_ARP, TYPE_LLDP, TYPE_VLAN, TYPE_SVLAN = (
    0x800,
    0x86DD,
    0x806,
    0x88CC,
    0x8100,
    0x88A8,
)
ICMP, IGMP, TCP, UDP, ICMPV6 = 1, 2, 6, 17, 58
TIMESTAMPS = 8


def mixed(h: int, word: int) -> int:
    """One more word in a state of 32 bits."""
    h = ((h ^ word) * 0x5BD1E995) & MASK32
    return h ^ (h >> 15)


def stirred(h: int, word: int, factor: int) -> int:
    """One more word in a state of 63 bits: a lag-1 multiply-with-carry step (Marsaglia).

    For one word it is one-to-one: states that differ stay different as long as equal words follow.
    """
    return ((h & MASK32) ^ word) * factor + (h >> 32)


def hashed(data: Any, at: int, end: int, seed: int) -> int:
    """62 bits of some bytes and a seed: two lanes that take turns, so that a processor works on both at once."""
    low, high = stirred(seed & MASK32, end - at, FACTOR), stirred(seed >> 32, end - at, FACTOR_TOO)
    while at + 8 <= end:
        low, high = stirred(low, le32(data, at), FACTOR), stirred(high, le32(data, at + 4), FACTOR_TOO)
        at += 8
    if at + 4 <= end:
        low = stirred(low, le32(data, at), FACTOR)
        at += 4
    word = 0
    while at < end:
        word = (word << 8) | data[at]
        at += 1
    high = stirred(high, word, FACTOR_TOO)
    low = stirred(stirred(low, high & MASK32, FACTOR), high >> 32, FACTOR)
    return stirred(stirred(low, 0, FACTOR_TOO), 0, FACTOR) & (LAST_BIT - 1)


def address_number(data: Any, at: int, addresses: Any, slots: Any, state: Any) -> int:
    """A number for an IPv6 address, the same for the same one; -1 if the table is full."""
    high = (be32(data, at) << 31) ^ be32(data, at + 4)
    low = (be32(data, at + 8) << 31) ^ be32(data, at + 12)
    mask = len(slots) - 1
    slot = mixed(mixed(high & MASK32, high >> 32), mixed(low & MASK32, low >> 32)) & mask
    while slots[slot] != 0:
        known = slots[slot] - 1
        if addresses[known, 0] == high and addresses[known, 1] == low:
            same = True
            for k in range(16):
                if addresses[known, 2 + k] != data[at + k]:
                    same = False
            if same:
                return int(IPV6_MARK + known)
        slot = (slot + 1) & mask
    number = state[N_ADDRESSES]
    if number >= len(addresses):
        return -1
    addresses[number, 0], addresses[number, 1] = high, low
    for k in range(16):
        addresses[number, 2 + k] = data[at + k]
    slots[slot] = number + 1
    state[N_ADDRESSES] = number + 1
    return int(IPV6_MARK + number)


def shape_number(signature: int, n: int, shapes: Any, slots: Any, state: Any) -> int:
    """A number for a shape; `ODD` if there are too many."""
    mask = len(slots) - 1
    slot = (signature ^ (signature >> 32)) & mask
    while slots[slot] != 0:
        if shapes[slots[slot] - 1, 0] == signature:
            return int(slots[slot] - 1)
        slot = (slot + 1) & mask
    number = state[N_SHAPES]
    if number >= len(shapes):
        return ODD
    shapes[number, 0], shapes[number, 1] = signature, n
    slots[slot] = number + 1
    state[N_SHAPES] = number + 1
    return int(number)


def network_at(data: Any, at: int, end: int, linktype: int) -> tuple[int, int]:
    """Where the network header begins, and its EtherType; (0, `ODD`) where that is not known."""
    if linktype in (LINK_RAW, LINK_IPV4, LINK_IPV6) and at < end:
        version = data[at] >> 4
        return (at, TYPE_IPV4) if version == 4 else (at, TYPE_IPV6) if version == 6 else (0, ODD)
    if linktype == LINK_SLL and at + 16 <= end:
        return at + 16, be16(data, at + 14)
    if linktype == LINK_SLL2 and at + 20 <= end:
        return at + 20, be16(data, at)
    if linktype != LINK_ETHERNET or at + 14 > end:
        return 0, ODD
    kind, place = be16(data, at + 12), at + 14
    while kind in (TYPE_VLAN, TYPE_SVLAN) and place + 4 <= end:
        kind, place = be16(data, place + 2), place + 4
    return place, kind


def option_signature(data: Any, at: int, end: int, rows: Any, r: int) -> int:
    """Of TCP options the kinds and lengths in their order; -1 where they are malformed. Fills both timestamps."""
    out = 17
    while at < end:
        kind = data[at]
        if kind == 0:
            return mixed(out, 0)
        if kind == 1:
            out = mixed(out, 1)
            at += 1
            continue
        if at + 2 > end or data[at + 1] < 2 or at + data[at + 1] > end:
            return -1
        out = mixed(out, (kind << 8) | data[at + 1])
        if kind == TIMESTAMPS and data[at + 1] == 10:
            rows[r, IN_TSVAL], rows[r, IN_TSECR] = be32(data, at + 2), be32(data, at + 6)
        at += data[at + 1]
    return out


def transport(data: Any, spot: Any, rows: Any, r: int) -> int:
    """Fills the row of a TCP or UDP header; returns what adds to the shape, or `ODD`.

    `spot` is (place, end of what was captured, end by the network header, protocol).
    """
    at, end, wire, protocol = spot
    rows[r, IN_PROTOCOL] = protocol
    rows[r, IN_MSS], rows[r, IN_WSCALE], rows[r, IN_TSVAL], rows[r, IN_TSECR] = -1, -1, -1, -1
    head = 8
    if protocol == TCP:
        if at + 20 > end:
            return ODD
        head = (data[at + 12] >> 4) * 4
        if head < 20 or at + head > end:
            return ODD
    if at + head > wire or at + head > end:
        return ODD
    rows[r, IN_SRCPORT], rows[r, IN_DSTPORT] = be16(data, at), be16(data, at + 2)
    rows[r, IN_PAYLOAD] = wire - at - head
    if protocol == UDP:
        for k in range(2):
            port = rows[r, IN_SRCPORT] if k == 0 else rows[r, IN_DSTPORT]
            if port in (1701, 2152, 3544, 4754, 4789, 6081):
                return ODD  # tunnels
        if be16(data, at + 4) != wire - at:
            return ODD
        return 2 if be16(data, at + 6) == 0 else 1
    rows[r, IN_SEQ], rows[r, IN_ACK] = be32(data, at + 4), be32(data, at + 8)
    rows[r, IN_FLAGS] = be16(data, at + 12) & 0xFFF
    options = option_signature(data, at + 20, at + head, rows, r)
    return ODD if options < 0 else mixed(options, head + (256 if be16(data, at + 16) == 0 else 0))


def one(data: Any, packet: Any, rows: Any, r: int, addresses: Any, address_slots: Any, state: Any) -> int:  # noqa: PLR0917 - kernels take flat arguments
    """The signature of a packet's shape, or `NO_FLOW`, or `ODD`; its row is filled if it has one.

    `packet` is (place, captured bytes, bytes on the wire, link type).
    """
    begin, captured, original, linktype = packet
    end = begin + captured
    at, kind = network_at(data, begin, end, linktype)
    if kind in (TYPE_ARP, TYPE_LLDP):
        return NO_FLOW
    if kind == TYPE_IPV4:
        if at + 20 > end:
            return ODD
        head, protocol = (data[at] & 15) * 4, data[at + 9]
        wire = at + be16(data, at + 2)
        if data[at] >> 4 != 4 or head < 20 or be16(data, at + 6) & 0x3FFF or wire < at + head:
            return ODD
        if protocol in (ICMP, IGMP):
            return NO_FLOW
        rows[r, IN_SRC], rows[r, IN_DST] = be32(data, at + 12), be32(data, at + 16)
    elif kind == TYPE_IPV6:
        if at + 40 > end or data[at] >> 4 != 6 or be16(data, at + 4) == 0:
            return ODD
        head, protocol = 40, data[at + 6]
        if protocol == ICMPV6 or (protocol == 0 and at + 41 <= end and data[at + 40] == ICMPV6):
            return NO_FLOW
        wire = at + 40 + be16(data, at + 4)
        rows[r, IN_SRC] = address_number(data, at + 8, addresses, address_slots, state)
        rows[r, IN_DST] = address_number(data, at + 24, addresses, address_slots, state)
        if rows[r, IN_SRC] < 0 or rows[r, IN_DST] < 0:
            return ODD
    else:
        return ODD
    if protocol not in (TCP, UDP) or wire > begin + original:
        return ODD
    more = transport(data, (at + head, min(end, wire), wire, protocol), rows, r)
    if more == ODD:
        return ODD
    marks = (protocol << 8) | (head << 16) | (linktype << 32)
    marks |= (1 if rows[r, IN_PAYLOAD] > 0 else 0) | (2 if end < wire else 0) | (4 if end > wire else 0)
    marks |= 8 if captured < original else 0
    return hashed(data, begin, at, (more << 31) ^ marks) | (1 << 61)


def skim(data: Any, packets: Any, first_n: int, tables: Any, state: Any, out: Any) -> int:  # noqa: PLR0917 - kernels take flat arguments
    """All packets of a run.

    Parameters
    ----------
    data : uint8 array
    packets : (offsets, cap_len, orig_len, linktype, ts_ns)
        Integers a packet.
    first_n : int
        Number of the first one.
    tables : (addresses, address slots, shapes, shape slots)
        Kept from run to run.
    state : int64 array
        Kept from run to run.
    out : (hashes, shapes, rows)
        Hash and shape of each packet; rows of those with a shape for `flow_kernel.track`, one after another.

    Returns
    -------
    int
        Rows that were filled.
    """
    offsets, cap_len, orig_len, linktype, ts_ns = packets
    addresses, address_slots, shapes, shape_slots = tables
    hashes, shape_of, rows = out
    count = 0
    for i in range(len(offsets)):
        begin, captured, original = int(offsets[i]), int(cap_len[i]), int(orig_len[i])
        hashes[i] = hashed(data, begin, begin + captured, original)
        state[N_CUT] += 1 if captured < original else 0
        found = one(
            data, (begin, captured, original, int(linktype[i])), rows, count, addresses, address_slots, state
        )
        if found >= 0:
            found = shape_number(found, first_n + i, shapes, shape_slots, state)
        if found >= 0:
            rows[count, IN_N], rows[count, IN_TS], rows[count, IN_LEN] = first_n + i, ts_ns[i], original
            count += 1
        elif found == ODD:
            state[N_ODD] += 1
        shape_of[i] = found
    return count
