"""One known change in a real capture: the diff finds it, at the right packet, and reports nothing else.

The generator is independent of the package: it edits the capture's bytes with struct and repairs checksums.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pcaptool.diff import diff

LAB = Path(__file__).resolve().parents[2] / "fixtures" / "captures" / "lab" / "repeat"
CAPTURES = ("python-1k.1", "nginx-1k.1", "loss-tail.1", "loss-mid-cubic")
NONE: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Packet:
    sec: int
    frac: int
    length: int
    raw: bytes

    @property
    def ihl(self) -> int:
        return (self.raw[14] & 15) * 4

    @property
    def tcp_at(self) -> int:
        return 14 + self.ihl

    @property
    def is_tcp(self) -> bool:
        return self.raw[12:14] == b"\x08\x00" and self.raw[23] == 6

    @property
    def flags(self) -> int:
        return self.raw[self.tcp_at + 13]

    @property
    def data_at(self) -> int:
        return self.tcp_at + (self.raw[self.tcp_at + 12] >> 4) * 4

    @property
    def payload_bytes(self) -> int:
        return int.from_bytes(self.raw[16:18], "big") - self.ihl - (self.data_at - self.tcp_at)

    @property
    def whole(self) -> bool:
        return len(self.raw) == self.length

    def option(self, kind: int) -> int | None:
        """Where an option's kind byte stands."""
        at = self.tcp_at + 20
        while at < self.data_at:
            if self.raw[at] == kind:
                return at
            if self.raw[at] == 0:
                return None
            at += 1 if self.raw[at] == 1 else self.raw[at + 1]
        return None


Packets = list[Packet]


@dataclass(frozen=True)
class Change:
    """What was done, and what the diff must say: fields, and the packet's number on either side."""

    packets: Packets
    fields: frozenset[str]
    n_a: int | None
    n_b: int | None
    may: frozenset[str] = NONE


def read(path: Path) -> tuple[bytes, Packets]:
    data = path.read_bytes()
    head, at, out = data[:24], 24, []
    while at < len(data):
        sec, frac, caplen, length = struct.unpack_from("<IIII", data, at)
        out.append(Packet(sec, frac, length, data[at + 16 : at + 16 + caplen]))
        at += 16 + caplen
    return head, out


def write(path: Path, head: bytes, packets: Packets) -> None:
    records = (struct.pack("<IIII", p.sec, p.frac, len(p.raw), p.length) + p.raw for p in packets)
    path.write_bytes(head + b"".join(records))


def sum16(data: bytes) -> int:
    total = sum(struct.unpack(f">{len(data) // 2}H", data[: len(data) & ~1]))
    total += data[-1] << 8 if len(data) & 1 else 0
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def pseudo(p: Packet) -> bytes:
    return p.raw[26:34] + bytes((0, 6)) + (int.from_bytes(p.raw[16:18], "big") - p.ihl).to_bytes(2, "big")


def is_partial(p: Packet) -> bool:
    return int.from_bytes(p.raw[p.tcp_at + 16 : p.tcp_at + 18], "big") == sum16(pseudo(p))


def edit(p: Packet, at: int, value: bytes, *, partial: bool | None = None) -> Packet:
    """The packet with some bytes replaced and its checksums right again."""
    partial = is_partial(p) if partial is None else partial
    raw = bytearray(p.raw)
    raw[at : at + len(value)] = value
    return repair(replace(p, raw=bytes(raw)), partial=partial)


def repair(p: Packet, *, partial: bool) -> Packet:
    raw = bytearray(p.raw)
    raw[24:26] = b"\0\0"
    raw[24:26] = (0xFFFF - sum16(bytes(raw[14 : 14 + p.ihl]))).to_bytes(2, "big")
    at = p.tcp_at + 16
    if partial or p.whole:
        raw[at : at + 2] = b"\0\0"
        total = sum16(pseudo(p)) if partial else 0xFFFF - sum16(pseudo(p) + bytes(raw[p.tcp_at :]))
        raw[at : at + 2] = total.to_bytes(2, "big")
    return replace(p, raw=bytes(raw))


def number(p: Packet, at: int, size: int, step: int) -> bytes:
    value = int.from_bytes(p.raw[at : at + size], "big") + step
    return (value % (1 << 8 * size)).to_bytes(size, "big")


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
    if not p.is_tcp or not p.whole:
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
    if not p.is_tcp or p.payload_bytes < 2 or not p.whole:
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
}


@cache
def capture(name: str) -> tuple[bytes, Packets]:
    return read(LAB / f"{name}.server.pcap")


@cache
def places(mutation: str) -> list[tuple[str, int]]:
    """Every packet of the captures that a mutation applies to."""
    return [
        (name, i)
        for name in CAPTURES
        for i in range(len(capture(name)[1]))
        if MUTATIONS[mutation](capture(name)[1], i) is not None
    ]


def mistakes(name: str, packets: Packets, change: Change, found) -> Iterator[str]:
    rows = found.differences.to_dicts()
    fields = {r["field"] for r in rows}
    if found.exit_code != 1 or not change.fields <= fields | change.may:
        yield f"{name}: {sorted(change.fields)} expected, {sorted(fields)} found"
    if fields - change.fields - change.may:
        yield f"{name}: also reported {sorted(fields - change.fields - change.may)}"
    if name == "swap":
        return
    found_at = {(r["n_a"], r["n_b"]) for r in rows}
    if name in ("drop", "duplicate"):
        # Of packets that are byte for byte the same, any may be called the missing one.
        p = packets[(change.n_a or change.n_b - 1) - 1]
        alike = {i + 1 for i, q in enumerate(packets) if q.raw == p.raw}
        good = {(i, None) for i in alike} if name == "drop" else {(None, i) for i in alike | {change.n_b}}
        if len(found_at) != 1 or not found_at <= good:
            yield f"{name}: at {sorted(good)} expected, at {found_at} found"
    elif found_at != {(change.n_a, change.n_b)}:
        yield f"{name}: at {(change.n_a, change.n_b)} expected, at {found_at} found"


@pytest.mark.parametrize("relation", ["model", "exact"])
@pytest.mark.parametrize("name", MUTATIONS)
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_change_is_found_where_it_is_and_nothing_else(name, relation, tmp_path, data):
    where, i = data.draw(st.sampled_from(places(name)))
    head, packets = capture(where)
    change = MUTATIONS[name](packets, i)
    assert change is not None
    original, mutated = tmp_path / "a.pcap", tmp_path / "b.pcap"
    write(original, head, packets)
    write(mutated, head, change.packets)
    rules = {"absolute-time": True, "http-date": False}
    found = diff(original, mutated, relation=relation, rules=rules)
    assert list(mistakes(name, packets, change, found)) == []
