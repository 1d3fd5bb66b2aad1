"""Captures as lists of packets that can be edited: classic pcap, Ethernet, TCP over IPv4.

Independent of the package: bytes are edited with struct, checksums are repaired here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path


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


def moved(p: Packet, ns: int) -> Packet:
    """The packet at another time."""
    when = p.sec * 10**9 + p.frac + ns
    return replace(p, sec=when // 10**9, frac=when % 10**9)


def pieces(p: Packet, size: int) -> Packets:
    """The packets that a segmenting device makes of it: sizes, numbers, PSH and FIN on the last."""
    if not p.is_tcp or p.payload_bytes <= size or not p.whole:
        return [p]
    out, total = [], p.payload_bytes
    for start in range(0, total, size):
        part = p.raw[p.data_at + start : p.data_at + min(start + size, total)]
        raw = bytearray(p.raw[: p.data_at] + part)
        raw[16:18] = (len(raw) - 14).to_bytes(2, "big")
        raw[p.tcp_at + 4 : p.tcp_at + 8] = number(p, p.tcp_at + 4, 4, start)
        raw[18:20] = number(p, 18, 2, start // size)
        if start + size < total:
            raw[p.tcp_at + 13] &= ~0x09
        out.append(repair(Packet(p.sec, p.frac, len(raw), bytes(raw)), partial=is_partial(p)))
    return out
