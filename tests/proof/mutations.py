"""Single known changes of a capture, and what the diff must say of each: field, packet, cause."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tests.proof.frames import Packet, Packets, edit, is_partial, is_sound, moved, number, repair

NONE: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Change:
    """What was done, and what the diff must say: fields, the packet's number on either side."""

    packets: Packets
    fields: frozenset[str]
    n_a: int | None
    n_b: int | None
    may: frozenset[str] = NONE


def field(
    name: str, where: Callable[[Packet], int | None], size: int, step: int, may: frozenset[str] = NONE
) -> Callable[[Packets, int], Change | None]:
    """A mutation that adds to a number in a packet's header."""

    def mutate(packets: Packets, i: int) -> Change | None:
        p = packets[i]
        at = where(p) if p.is_tcp else None
        if at is None:
            return None
        changed = [*packets[:i], edit(p, at, number(p, at, size, step)), *packets[i + 1 :]]
        return Change(changed, frozenset({name}), i + 1, i + 1, may)

    return mutate


def in_tcp(offset: int) -> Callable[[Packet], int]:
    return lambda p: p.tcp_at + offset


def in_option(kind: int, offset: int) -> Callable[[Packet], int | None]:
    def where(p: Packet) -> int | None:
        at = p.option(kind)
        return None if at is None else at + offset

    return where


def seq_at(p: Packet) -> int | None:
    return p.tcp_at + 4 if p.payload_bytes > 0 else None


def ack_at(p: Packet) -> int | None:
    return p.tcp_at + 8 if p.flags & 0x10 and not p.flags & 0x02 else None


def payload_byte(packets: Packets, i: int) -> Change | None:
    p = packets[i]
    if not p.is_tcp or p.payload_bytes < 1 or len(p.raw) <= p.data_at:
        return None
    at = p.data_at + min(p.payload_bytes, len(p.raw) - p.data_at) // 2
    changed = edit(p, at, bytes((p.raw[at] ^ 1,)))
    return Change([*packets[:i], changed, *packets[i + 1 :]], frozenset({"payload"}), i + 1, i + 1)


def push(packets: Packets, i: int) -> Change | None:
    p = packets[i]
    if not p.is_tcp:
        return None
    changed = edit(p, p.tcp_at + 13, bytes((p.flags ^ 0x08,)))
    return Change([*packets[:i], changed, *packets[i + 1 :]], frozenset({"tcp.flags"}), i + 1, i + 1)


def strip_timestamps(packets: Packets, i: int) -> Change | None:
    p = packets[i]
    at = p.option(8) if p.is_tcp else None
    if at is None:
        return None
    fields = {"tcp.option_kinds", "tcp.options_timestamp_tsval", "tcp.options_timestamp_tsecr"}
    return Change(
        [*packets[:i], edit(p, at, b"\x01" * 10), *packets[i + 1 :]], frozenset(fields), i + 1, i + 1
    )


def bad_checksum(packets: Packets, i: int) -> Change | None:
    p = packets[i]
    if not p.is_tcp or not p.whole or not is_sound(p):
        return None
    raw = bytearray(p.raw)
    at = p.tcp_at + 16
    raw[at : at + 2] = number(p, at, 2, 1)
    changed = [*packets[:i], replace(p, raw=bytes(raw)), *packets[i + 1 :]]
    return Change(changed, frozenset({"tcp.checksum"}), i + 1, i + 1)


def link_source(packets: Packets, i: int) -> Change:
    p = packets[i]
    changed = replace(p, raw=p.raw[:6] + b"\x02\0\0\0\xee\xee" + p.raw[12:])
    return Change([*packets[:i], changed, *packets[i + 1 :]], frozenset({"link.src"}), i + 1, i + 1)


def drop(packets: Packets, i: int) -> Change:
    return Change([*packets[:i], *packets[i + 1 :]], frozenset({"frame"}), i + 1, None)


def duplicate(packets: Packets, i: int) -> Change:
    return Change([*packets[: i + 1], *packets[i:]], frozenset({"frame"}), None, i + 2)


def late_retransmission(packets: Packets, i: int) -> Change | None:
    p = packets[i]
    if not p.is_tcp or p.payload_bytes < 1 or i + 4 >= len(packets):
        return None
    again = edit(p, 18, number(p, 18, 2, 50))
    return Change([*packets[: i + 4], again, *packets[i + 4 :]], frozenset({"frame"}), None, i + 5)


def reset(packets: Packets, i: int) -> Change | None:
    p = packets[i]
    if not p.is_tcp or p.flags & 0x07 or p.payload_bytes:
        return None
    rst = edit(p, p.tcp_at + 13, bytes((0x14,)))
    return Change([*packets[: i + 1], rst, *packets[i + 1 :]], frozenset({"frame"}), None, i + 2)


def swap(packets: Packets, i: int) -> Change | None:
    """Exchanges a packet with the next one of its direction; times stay in order."""
    p = packets[i]
    if not p.is_tcp:
        return None
    j = next((j for j in range(i + 1, len(packets)) if packets[j].raw[26:38] == p.raw[26:38]), None)
    if j is None or packets[j].raw[p.tcp_at :] == p.raw[p.tcp_at :] or not packets[j].is_tcp:
        return None
    out = list(packets)
    out[i], out[j] = (
        replace(packets[j], sec=p.sec, frac=p.frac),
        replace(p, sec=packets[j].sec, frac=packets[j].frac),
    )
    return Change(out, frozenset({"order"}), None, None)


def split(packets: Packets, i: int) -> Change | None:
    """Cuts a data packet in two, as a segmenting device does."""
    p = packets[i]
    if not p.is_tcp or p.payload_bytes < 2 or not p.whole or not is_sound(p):
        return None
    cut = p.payload_bytes // 2
    parts = []
    for start, end in ((0, cut), (cut, p.payload_bytes)):
        raw = bytearray(p.raw[: p.data_at] + p.raw[p.data_at + start : p.data_at + end])
        raw[16:18] = (len(raw) - 14).to_bytes(2, "big")
        raw[p.tcp_at + 4 : p.tcp_at + 8] = number(p, p.tcp_at + 4, 4, start)
        part = Packet(p.sec, p.frac, len(raw), bytes(raw))
        parts.append(repair(part, partial=is_partial(p)))
    return Change([*packets[:i], *parts, *packets[i + 1 :]], frozenset({"tcp.segmentation"}), i + 1, i + 1)


def merge(packets: Packets, i: int) -> Change | None:
    """Two packets that follow each other in their stream as one, as GRO does."""
    p, q = packets[i], packets[i + 1] if i + 1 < len(packets) else None
    if q is None or not (p.is_tcp and q.is_tcp and p.whole and q.whole and p.payload_bytes > 0):
        return None
    alike = (
        p.raw[26:38] == q.raw[26:38]
        and p.raw[p.tcp_at + 8 : p.tcp_at + 12] == q.raw[p.tcp_at + 8 : p.tcp_at + 12]
    )
    follows = number(p, p.tcp_at + 4, 4, p.payload_bytes) == q.raw[q.tcp_at + 4 : q.tcp_at + 8]
    if not (
        alike and follows and q.payload_bytes > 0 and q.data_at == p.data_at and is_sound(p) and is_sound(q)
    ):
        return None
    raw = bytearray(p.raw[: p.data_at + p.payload_bytes] + q.raw[q.data_at : q.data_at + q.payload_bytes])
    if len(raw) > 65535:
        return None
    raw[16:18] = (len(raw) - 14).to_bytes(2, "big")
    raw[p.tcp_at + 13] |= q.flags
    one = repair(Packet(q.sec, q.frac, len(raw), bytes(raw)), partial=is_partial(p))
    return Change([*packets[:i], one, *packets[i + 2 :]], frozenset({"tcp.segmentation"}), i + 1, i + 1)


def delay(packets: Packets, i: int) -> Change | None:
    """A packet half of the way to the next one later."""
    if i == 0 or i + 1 >= len(packets):
        return None
    p, q = packets[i], packets[i + 1]
    gap = (q.sec - p.sec) * 10**9 + q.frac - p.frac
    if gap < 2:
        return None
    later = [*packets[:i], moved(p, gap // 2), *packets[i + 1 :]]
    return Change(later, frozenset({"frame.time"}), i + 1, i + 1)


MUTATIONS: dict[str, Callable[[Packets, int], Change | None]] = {
    "ttl": field("ip.ttl", lambda _: 22, 1, -1),
    "dsfield": field("ip.dsfield", lambda _: 15, 1, 4),
    "ip id": field("ip.id", lambda _: 18, 2, 7),
    "df": field("ip.flags", lambda _: 20, 1, -0x40),
    "ip source": field("ip.src", lambda _: 29, 1, 50),
    "source port": field("tcp.srcport", in_tcp(0), 2, 1),
    "destination port": field("tcp.dstport", in_tcp(2), 2, 1),
    "seq": field("tcp.seq", seq_at, 4, 1),
    "ack": field("tcp.ack", ack_at, 4, 1),
    "push": push,
    "window": field("tcp.window_size_value", in_tcp(14), 2, 1),
    "urgent pointer": field("tcp.urgent_pointer", in_tcp(18), 2, 3),
    "mss": field("tcp.options_mss_val", in_option(2, 2), 2, -10),
    "window scale": field("tcp.options_wscale_shift", in_option(3, 2), 1, 1),
    "tsval": field("tcp.options_timestamp_tsval", in_option(8, 2), 4, 5000),
    "tsecr": field("tcp.options_timestamp_tsecr", in_option(8, 6), 4, 5000),
    "sack edge": field("tcp.options_sack", in_option(5, 2), 4, 1),
    "strip timestamps": strip_timestamps,
    "bad checksum": bad_checksum,
    "payload byte": payload_byte,
    "link source": link_source,
    "drop": drop,
    "duplicate": duplicate,
    "late retransmission": late_retransmission,
    "reset": reset,
    "swap": swap,
    "split": split,
    "merge": merge,
    "delay": delay,
}

# Changes that only one relation sees: times do not count in `model`.
ONLY_EXACT = frozenset({"delay"})

CAUSES = {
    "ttl": "hop", "dsfield": "dscp", "ip id": "ip-id", "df": "fragmentation", "ip source": "rewritten",
    "source port": "rewritten", "destination port": "rewritten", "seq": "sequence", "ack": "ack-pattern",
    "push": "flags", "window": "window", "urgent pointer": "flags", "mss": "handshake-options",
    "window scale": "handshake-options", "tsval": "timestamps", "tsecr": "timestamps",
    "sack edge": "ack-pattern", "strip timestamps": "option-missing", "bad checksum": "checksum-offload",
    "payload byte": "payload", "link source": "rewritten", "late retransmission": "retransmission",
    "reset": "ending", "swap": "order", "split": "segmentation", "merge": "segmentation",
    "delay": "capture-time",
}  # fmt: skip


# What a path calls the same changes.
ON_PATH = {
    "mss": "mss-clamp", "ip source": "nat", "source port": "nat", "destination port": "nat",
}  # fmt: skip
# Changes that are none on a path: the same bytes, cut otherwise.
NOT_ON_PATH = frozenset({"split", "merge"})


def cause_of(name: str, packets: Packets, change: Change, relation: str) -> str:
    """The cause that the diff must name."""
    packets = [bare(p) for p in packets]
    change = replace(change, packets=[bare(p) for p in change.packets])
    if relation == "path" and (name in ON_PATH or change.n_a is None or change.n_b is None):
        return ON_PATH[name] if name in ON_PATH else cause_between(name, packets, change)
    if name in CAUSES:
        return CAUSES[name]
    p = packets[(change.n_a or (change.n_b or 0) - 1) - 1]
    if not p.is_tcp:
        return "other-packets"
    if p.flags & 0x04:
        return "ending"
    if not p.payload_bytes and not p.flags & 0x03:
        return "extra-ack"
    again = sum(q.is_tcp and q.raw[26:38] == p.raw[26:38] and seq_of(q) == seq_of(p) for q in packets) > 1
    if name == "duplicate" or again:
        return "retransmission"
    return "lost-data" if p.payload_bytes else "ending"


def bare(p: Packet) -> Packet:
    """What stands between Ethernet and IPv4 left out: tags, labels, a PPPoE session; TCP over IPv6 as over IPv4."""
    return over_ipv4(without_pppoe(without_labels(p)))


def without_labels(p: Packet) -> Packet:
    """An IP packet behind VLAN tags and MPLS labels (RFC 3032: the last has its S bit set) as one behind Ethernet."""
    at = 14
    while p.raw[12:14] in (b"\x81\x00", b"\x88\xa8") and len(p.raw) >= 18:
        p = replace(p, raw=p.raw[:12] + p.raw[16:], length=p.length - 4)
    while p.raw[12:14] == b"\x88\x47" and at + 5 <= len(p.raw):
        at += 4
        if p.raw[at - 2] & 1:
            kind = {4: b"\x08\x00", 6: b"\x86\xdd"}.get(p.raw[at] >> 4)
            return replace(p, raw=p.raw[:12] + kind + p.raw[at:], length=p.length - at + 14) if kind else p
    return p


def without_pppoe(p: Packet) -> Packet:
    """A packet in a PPPoE session (RFC 2516, RFC 1661) as one right behind Ethernet: the same is asked of both."""
    types = {b"\x00\x21": b"\x08\x00", b"\x00\x57": b"\x86\xdd"}
    if p.raw[12:14] != b"\x88\x64" or p.raw[20:22] not in types:
        return p
    return replace(p, raw=p.raw[:12] + types[p.raw[20:22]] + p.raw[22:], length=p.length - 8)


def over_ipv4(p: Packet) -> Packet:
    """A TCP packet over IPv6, without extension header, as one over IPv4: the same is asked of both."""
    if p.raw[12:14] != b"\x86\xdd" or len(p.raw) < 74 or p.raw[20] != 6:
        return p
    size = 20 + int.from_bytes(p.raw[18:20], "big")
    head = struct.pack(">BBHHHBBH", 0x45, 0, size, 0, 0x4000, p.raw[21], 6, 0) + p.raw[34:38] + p.raw[50:54]
    return replace(p, raw=p.raw[:12] + b"\x08\x00" + head + p.raw[54:], length=p.length - 20)


def cause_between(name: str, packets: Packets, change: Change) -> str:
    """Of a packet that one point lacks: A, with the same clock as B, counts as the one nearer to the client."""
    if name == "swap":
        return "order"
    p = packets[(change.n_a or change.n_b) - 1] if change.n_a else change.packets[change.n_b - 1]
    if not p.is_tcp:
        talk = datagram_ends(p)
        if talk is None:
            return "other-packets"
        # A datagram has its direction, too: the first one of its conversation is the client's.
        opened = next(e for e in map(datagram_ends, packets) if e is not None and set(e) == set(talk))
        if (talk == opened) == (change.n_b is None):
            return "lost-between"
        again = name == "duplicate" or len(alike(packets, change.n_a or 0)) > 1
        return "duplicated" if again else "not-captured"
    if change.n_b is None:  # only the point nearer to the client has it
        if not from_client(packets, p):  # the farther point has it once more than its sender's
            return "duplicated" if len(alike(packets, change.n_a)) > 1 else "not-captured"
        return "capture-loss" if acknowledged(p, change.packets) else "lost-between"
    if not from_client(packets, p):
        return "lost-between"
    return "duplicated" if name == "duplicate" else "not-captured"


def datagram_ends(p: Packet) -> tuple[bytes, bytes] | None:
    """Address and port of a datagram's sender and receiver: UDP over Ethernet, no fragment, no extension header."""
    if p.raw[12:14] == b"\x08\x00" and p.raw[23] == 17 and not (p.raw[20] & 0x3F or p.raw[21]):
        size, at, behind = 4, 26, p.tcp_at
    elif p.raw[12:14] == b"\x86\xdd" and p.raw[20] == 17:
        size, at, behind = 16, 22, 54
    else:
        return None
    ports = p.raw[behind : behind + 2], p.raw[behind + 2 : behind + 4]
    return p.raw[at : at + size] + ports[0], p.raw[at + size : at + 2 * size] + ports[1]


def seq_of(p: Packet) -> tuple[bytes, int, int]:
    """Where a packet lies in its stream."""
    return p.raw[p.tcp_at + 4 : p.tcp_at + 8], p.payload_bytes, p.flags & 0x07


def ends_of(p: Packet) -> tuple[bytes, bytes]:
    """Address and port of sender and receiver."""
    return p.raw[26:30] + p.raw[p.tcp_at : p.tcp_at + 2], p.raw[30:34] + p.raw[p.tcp_at + 2 : p.tcp_at + 4]


def from_client(packets: Packets, p: Packet) -> bool:
    """Whether the originator of its conversation sent it: who sends the SYN, else the first packet."""
    mine = set(ends_of(p))
    first = next(q for q in packets if q.is_tcp and set(ends_of(q)) == mine)
    answers = first.flags & 0x12 == 0x12
    return (ends_of(p) == ends_of(first)) != answers


def acknowledged(p: Packet, packets: Packets) -> bool:
    """Whether its data, in sequence space, is acknowledged by the peer although no packet brings any of it.

    Of a pure ACK the timestamp is looked for instead.
    """
    space = p.payload_bytes + bool(p.flags & 2) + bool(p.flags & 1)
    if p.flags & 4:
        return False
    if not space:
        return echoed(p, packets)
    start = int.from_bytes(p.raw[p.tcp_at + 4 : p.tcp_at + 8], "big")
    src, dst = ends_of(p)
    reach, acked = 0, 0
    for q in (q for q in packets if q.is_tcp):
        seq = int.from_bytes(q.raw[q.tcp_at + 4 : q.tcp_at + 8], "big") - start
        seq = (seq + 2**31) % 2**32 - 2**31
        if ends_of(q) == (src, dst) and seq <= 0:
            size = q.payload_bytes + bool(q.flags & 2) + bool(q.flags & 1)
            reach = max(reach, seq + size if size else 0)
        elif ends_of(q) == (dst, src) and q.flags & 0x10:
            ack = int.from_bytes(q.raw[q.tcp_at + 8 : q.tcp_at + 12], "big") - start
            acked = max(acked, (ack + 2**31) % 2**32 - 2**31)
    return reach <= 0 and acked >= space


def echoed(p: Packet, packets: Packets) -> bool:
    """Whether the peer has echoed its timestamp (RFC 7323), which no packet brings: it arrived."""
    if p.option(8) is None:
        return False
    src, dst = ends_of(p)

    def stamps(end: tuple[bytes, bytes], offset: int) -> set[bytes]:
        mine = [q for q in packets if q.is_tcp and ends_of(q) == end and q.option(8) is not None]
        return {q.raw[(q.option(8) or 0) + offset :][:4] for q in mine}

    stamp = p.raw[(p.option(8) or 0) + 2 :][:4]
    return stamp in stamps((dst, src), 6) and stamp not in stamps((src, dst), 2)


def mistakes(name: str, packets: Packets, change: Change, found, relation: str) -> Iterator[str]:
    """What the diff got wrong: missed, too much, at another packet, another cause."""
    rows = found.differences.to_dicts()
    if relation == "path" and name in NOT_ON_PATH:
        if rows or not found.verdict.startswith("Same stream, segmented differently"):
            yield f"too much: {sorted({r['field'] for r in rows})}, {found.verdict[:80]}"
        return
    fields = {r["field"] for r in rows}
    if found.exit_code != 1 or not change.fields <= fields | change.may:
        yield f"missed: {sorted(change.fields)} expected, {sorted(fields)} found"
    if fields - change.fields - change.may:
        yield f"too much: {sorted(fields - change.fields - change.may)}"
    causes = {r["cause"] for r in rows}
    wanted = cause_of(name, packets, change, relation)
    if rows and causes != {wanted}:
        yield f"cause: {wanted} expected, {sorted(causes)} found"
    if name == "swap":
        return
    found_at = {(r["n_a"], r["n_b"]) for r in rows}
    # Of packets that are byte for byte the same, any may be called the missing one, or the one that was changed.
    same = alike(packets, change.n_a or (change.n_b or 0) - 1)
    if name == "duplicate":
        good = {(None, i + (i >= (change.n_b or 0))) for i in same} | {(None, change.n_b)}
    else:
        good = {(i, change.n_b) for i in same} if change.n_a else {(None, change.n_b)}
    if len(found_at) != 1 or not found_at <= good:
        yield f"place: {sorted(good, key=str)} expected, {sorted(found_at, key=str)} found"


def alike(packets: Packets, n: int) -> set[int]:
    """Numbers of the packets that are byte for byte the same as one of them."""
    return {i + 1 for i, q in enumerate(packets) if q.raw == packets[n - 1].raw}
