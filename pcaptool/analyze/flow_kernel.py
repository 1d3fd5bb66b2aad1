"""Kernel: which conversation each transport header belongs to, and what each conversation has seen.

Knows: one hash table over four-tuples, one row of integers a conversation; Wireshark 4.0's rule for new TCP
streams, and 4.4's. Must not know: addresses as text, tables, files.
The same source runs as plain Python (small captures) and compiled by numba (large ones): only integers,
flat arrays and loops. The whole call tree and all constants stand in this file, because numba's cache does
not see edits of another one.

Wireshark's rule: a conversation is an unordered pair of (address, port); VLAN and interface are not part of
it. A SYN without ACK whose sequence number differs from the one already known for its direction begins a new
one on the same pair; nothing else ends one. In 4.4 so does a SYN-ACK, and the same number once FIN or RST was seen.

The originator sent the first packet, or is whom a SYN-ACK answers. In a conversation joined in its midst it is the
other side where only the sender's port is a server's (Zeek's rule).

Memory: WIDTH integers of 8 bytes a conversation (328 bytes), and at most 4 hash slots of 8 bytes.
Time: O(1) a header; a full table is given back to the caller, who grows it and calls again.
"""

from __future__ import annotations

from typing import Any

from pcaptool.engine.loads import hot

__all__ = [
    "BYTES",
    "DST",
    "END_FIN",
    "FIN_N",
    "FIRST_N",
    "FIRST_TS",
    "FLIPPED",
    "HANDSHAKE",
    "KEY_HIGH",
    "KEY_LOW",
    "LAST_N",
    "LAST_TS",
    "MSS",
    "PACKETS",
    "PAYLOAD",
    "PROTOCOL",
    "RESET",
    "RST_N",
    "SACK_PERMITTED",
    "SIDE",
    "SRC",
    "STREAM",
    "SYNACK_N",
    "SYN_N",
    "TIMESTAMPS",
    "WIDTH",
    "WSCALE",
    "rehash",
    "track",
]

FIN, SYN, RST, ACK = 1, 2, 4, 16
MASK32 = 0xFFFFFFFF

# Columns of a conversation's row. 0 stands for "no such packet": packet numbers begin at 1.
KEY_LOW, KEY_HIGH = 0, 1  # smaller and larger endpoint: address << 16 | port; the protocol above KEY_HIGH
SRC, DST = 2, 3  # originator's and responder's endpoint
PROTOCOL, STREAM = 4, 5  # IP protocol; number among the TCP conversations, -1 for UDP
FIRST_N, LAST_N, FIRST_TS, LAST_TS = 6, 7, 8, 9
SYN_N, SYN_TS, SYNACK_N, HANDSHAKE, ACK_N = 10, 11, 12, 13, 14
RST_N, END_FIN = 15, 16  # first RST; sides that had sent FIN when it came
FLIPPED = 17  # 1 where the first packet was taken for the responder's
# Columns of each direction, originator's first: SIDE + direction * SIDE_WIDTH + one of these.
SIDE, SIDE_WIDTH = 18, 11
PACKETS, BYTES, PAYLOAD, BASE, BASE_KNOWN = 0, 1, 2, 3, 4
MSS, WSCALE, SACK_PERMITTED, TIMESTAMPS, FIN_N, RESET = 5, 6, 7, 8, 9, 10
ENDED = SIDE + 2 * SIDE_WIDTH  # 1 once a FIN with ACK, or a RST, was seen
WIDTH = ENDED + 1
# Which Wireshark's rules for new conversations: 4.0's, or 4.4's.
RULES_40, RULES_44 = 40, 44

# Ports that Zeek's analyzers register (its `likely_server_ports`).
TCP_SERVERS = (
    *(
        21,
        22,
        25,
        53,
        79,
        80,
        81,
        88,
        135,
        139,
        143,
        389,
        443,
        445,
        465,
        502,
        514,
        563,
        585,
        587,
        614,
        631,
        636,
    ),
    *(989, 990, 992, 993, 995, 1080, 1434, 1883, 2811, 3128, 3268, 3306, 3389, 5222, 5223, 5269, 5432, 6379),
    *(6666, 6667, 6668, 6669, 8000, 8080, 8888, 20000),
)
UDP_SERVERS = (
    *(
        53,
        67,
        88,
        123,
        137,
        161,
        162,
        389,
        443,
        514,
        1812,
        2123,
        2152,
        3389,
        3544,
        4011,
        4754,
        4789,
        5060,
        5072,
    ),
    *(5353, 5355, 6081, 20000),
)
HIGHEST_SERVER = 20000

# Columns of the input, one row a transport header.
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
IN_SEQ, IN_ACK, IN_FLAGS, IN_MSS, IN_WSCALE, IN_SACK_PERMITTED, IN_TIMESTAMPS = 9, 10, 11, 12, 13, 14, 15
# Columns of the output.
OUT_FLOW, OUT_SIDE, OUT_STREAM, OUT_SEQ, OUT_ACK, OUT_REUSED = 0, 1, 2, 3, 4, 5


@hot
def slot_of(low: int, high: int, mask: int) -> int:
    """Where the search for a pair of endpoints begins: a mix that stays within signed 64 bits."""
    h = (low ^ (low >> 29)) & MASK32
    h = (h * 0x5BD1E995) & MASK32
    h = h ^ (h >> 15) ^ ((high ^ (high >> 31)) & MASK32)
    h = (h * 0x2C1B3C6D) & MASK32
    h = h ^ (h >> 13) ^ (((high >> 16) & 0xFFFF) << 7)
    h = (h * 0x297A2D39) & MASK32
    return (h ^ (h >> 16)) & mask


def rehash(flows: Any, count: int, slots: Any) -> None:
    """Enter all conversations into an empty table; of several on one pair the newest stays."""
    mask = len(slots) - 1
    for flow in range(count):
        low, high = flows[flow, KEY_LOW], flows[flow, KEY_HIGH]
        at = slot_of(low, high, mask)
        while slots[at] != 0:
            known = slots[at] - 1
            if flows[known, KEY_LOW] == low and flows[known, KEY_HIGH] == high:
                break
            at = (at + 1) & mask
        slots[at] = flow + 1


@hot
def serves_tcp(port: int) -> bool:
    """Whether Zeek takes a TCP port for a server's: those that its analyzers register."""
    return port <= HIGHEST_SERVER and port in TCP_SERVERS


@hot
def serves_udp(port: int) -> bool:
    """The same of UDP ports."""
    return port <= HIGHEST_SERVER and port in UDP_SERVERS


def is_answer(rows: Any, i: int) -> bool:
    """Whether a conversation's first packet is its responder's: by SYN-ACK, or by Zeek's rule for ports."""
    src, dst, flags = rows[i, IN_SRCPORT], rows[i, IN_DSTPORT], rows[i, IN_FLAGS]
    if rows[i, IN_PROTOCOL] != 6:
        return serves_udp(src) and not serves_udp(dst)
    if flags & SYN:
        return bool(flags & ACK)
    return serves_tcp(src) and (bool(src < dst) or not serves_tcp(dst))


def begin(flows: Any, flow: int, stream: int, low: int, high: int, rows: Any, i: int) -> None:
    """A new conversation: its keys, and who is its originator."""
    src = (rows[i, IN_SRC] << 16) | rows[i, IN_SRCPORT]
    dst = (rows[i, IN_DST] << 16) | rows[i, IN_DSTPORT]
    answers = is_answer(rows, i)
    flows[flow, FLIPPED] = 1 if answers else 0
    flows[flow, KEY_LOW], flows[flow, KEY_HIGH] = low, high
    flows[flow, SRC] = dst if answers else src
    flows[flow, DST] = src if answers else dst
    flows[flow, PROTOCOL] = rows[i, IN_PROTOCOL]
    flows[flow, STREAM] = stream
    flows[flow, FIRST_N], flows[flow, FIRST_TS] = rows[i, IN_N], rows[i, IN_TS]
    flows[flow, HANDSHAKE] = -1
    for side in range(2):
        flows[flow, SIDE + side * SIDE_WIDTH + MSS] = -1
        flows[flow, SIDE + side * SIDE_WIDTH + WSCALE] = -1


@hot
def note_handshake(flows: Any, flow: int, here: int, rows: Any, i: int) -> None:
    """SYN, SYN-ACK, first ACK, FIN and RST: packet numbers, and what the SYNs negotiate."""
    flags, n = rows[i, IN_FLAGS], rows[i, IN_N]
    if flags & SYN:
        if flags & ACK:
            flows[flow, SYNACK_N] = n
        elif flows[flow, ACK_N] == 0:
            flows[flow, SYN_N], flows[flow, SYN_TS] = n, rows[i, IN_TS]
        flows[flow, here + MSS] = rows[i, IN_MSS]
        flows[flow, here + WSCALE] = rows[i, IN_WSCALE]
        flows[flow, here + SACK_PERMITTED] = rows[i, IN_SACK_PERMITTED]
        flows[flow, here + TIMESTAMPS] = rows[i, IN_TIMESTAMPS]
    elif flags & ACK and not flags & RST and flows[flow, ACK_N] == 0:
        flows[flow, ACK_N] = n
        if flows[flow, SYN_N] != 0:
            flows[flow, HANDSHAKE] = rows[i, IN_TS] - flows[flow, SYN_TS]
    if flags & FIN and flows[flow, here + FIN_N] == 0:
        flows[flow, here + FIN_N] = n
    if flags & RST and flows[flow, RST_N] == 0:
        flows[flow, RST_N] = n
        flows[flow, here + RESET] = 1
        fins = 0
        for side in range(2):
            if flows[flow, SIDE + side * SIDE_WIDTH + FIN_N] != 0:
                fins += 1
        flows[flow, END_FIN] = fins


@hot
def number(flows: Any, flow: int, here: int, there: int, rows: Any, i: int, rules: int, out: Any) -> None:
    """Relative sequence and acknowledgement numbers; learns where each side begins."""
    seq, ack, flags = rows[i, IN_SEQ], rows[i, IN_ACK], rows[i, IN_FLAGS]
    if rows[i, IN_PAYLOAD] >= 0 or rules != RULES_40:  # in 4.0 a segment of unknown length teaches nothing
        if flows[flow, here + BASE_KNOWN] == 0:
            flows[flow, here + BASE] = seq if flags & SYN else (seq - 1) & MASK32
            flows[flow, here + BASE_KNOWN] = 1
        elif rules == RULES_40 and (flags & (SYN | ACK)) == (SYN | ACK) and seq != flows[flow, here + BASE]:
            flows[flow, here + BASE] = seq
            out[i, OUT_REUSED] = 1
        if flags & ACK and flows[flow, there + BASE_KNOWN] == 0:
            flows[flow, there + BASE] = (ack - 1) & MASK32
            flows[flow, there + BASE_KNOWN] = 1
    out[i, OUT_SEQ] = (seq - flows[flow, here + BASE]) & MASK32
    out[i, OUT_ACK] = (ack - flows[flow, there + BASE]) & MASK32 if flags & ACK else ack


@hot
def find(flows: Any, slots: Any, low: int, high: int) -> int:
    """The slot that holds a pair of endpoints, or the empty one that is to take it."""
    mask = len(slots) - 1
    at = slot_of(low, high, mask)
    while slots[at] != 0:
        known = slots[at] - 1
        if flows[known, KEY_LOW] == low and flows[known, KEY_HIGH] == high:
            break
        at = (at + 1) & mask
    return at


@hot
def reuses(flows: Any, flow: int, base: int, rows: Any, i: int, rules: int) -> bool:
    """Whether a SYN begins another conversation on a pair of endpoints; `base` is its direction."""
    flags = rows[i, IN_FLAGS] & (SYN | ACK)
    if flows[flow, base + BASE_KNOWN] == 0 or (flags != SYN and (rules == RULES_40 or flags != (SYN | ACK))):
        return False
    if flows[flow, base + BASE] != rows[i, IN_SEQ]:
        return True
    return rules != RULES_40 and flows[flow, ENDED] != 0


def track(rows: Any, start: int, flows: Any, slots: Any, counts: Any, rules: int, out: Any) -> int:
    """Give each header its conversation and count it there.

    Parameters
    ----------
    rows : (headers, 16) int64
        Input columns, IN_*. Payload is -1 where the headers do not say it; MSS and WSCALE -1 where absent.
    start : int
        First row to do.
    flows : (capacity, WIDTH) int64
        Conversations; zero where not used yet.
    slots : (power of two,) int64
        Hash table: conversation + 1, or 0.
    counts : (2,) int64
        Conversations, TCP conversations.
    rules : int
        RULES_40 or RULES_44.
    out : (headers, 6) int64
        Output columns, OUT_*, written.

    Returns
    -------
    int
        The first row that was not done: all are, or the tables are full and must grow.
    """
    for i in range(start, len(rows)):
        if counts[0] >= len(flows) or 2 * counts[0] >= len(slots):
            return i
        out[i, OUT_SEQ] = out[i, OUT_ACK] = -1
        out[i, OUT_REUSED] = 0
        tcp = rows[i, IN_PROTOCOL] == 6
        src = (rows[i, IN_SRC] << 16) | rows[i, IN_SRCPORT]
        dst = (rows[i, IN_DST] << 16) | rows[i, IN_DSTPORT]
        low, high = (src, dst) if src <= dst else (dst, src)
        high |= rows[i, IN_PROTOCOL] << 56
        at = find(flows, slots, low, high)
        flow = slots[at] - 1
        side = 0
        if flow >= 0:
            side = 0 if flows[flow, SRC] == src else 1
            base = SIDE + side * SIDE_WIDTH
            if tcp and reuses(flows, flow, base, rows, i, rules):
                flow = -1
                out[i, OUT_REUSED] = 1
            elif (
                tcp
                and rules != RULES_40
                and flows[flow, base + BASE_KNOWN] == 0
                and (rows[i, IN_FLAGS] & (SYN | ACK)) == SYN
            ):  # Wireshark takes the conversation for a new one
                flows[flow, ENDED] = 0
                out[i, OUT_REUSED] = 2
        if flow < 0:
            flow = counts[0]
            begin(flows, flow, counts[1] if tcp else -1, low, high, rows, i)
            counts[0] += 1
            counts[1] += 1 if tcp else 0
            slots[at] = flow + 1
            side = 0 if flows[flow, SRC] == src else 1
        here, there = SIDE + side * SIDE_WIDTH, SIDE + (1 - side) * SIDE_WIDTH
        flows[flow, LAST_N], flows[flow, LAST_TS] = rows[i, IN_N], rows[i, IN_TS]
        flows[flow, here + PACKETS] += 1
        flows[flow, here + BYTES] += rows[i, IN_LEN]
        if rows[i, IN_PAYLOAD] > 0:
            flows[flow, here + PAYLOAD] += rows[i, IN_PAYLOAD]
        out[i, OUT_FLOW], out[i, OUT_SIDE], out[i, OUT_STREAM] = flow, side, flows[flow, STREAM]
        if tcp:
            if rows[i, IN_FLAGS] & RST or rows[i, IN_FLAGS] & (FIN | ACK) == (FIN | ACK):
                flows[flow, ENDED] = 1
            number(flows, flow, here, there, rows, i, rules, out)
            note_handshake(flows, flow, here, rows, i)
    return len(rows)
