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
        """A whole TCP header over IPv4, no fragment."""
        raw = self.raw
        return (
            raw[12:14] == b"\x08\x00"
            and len(raw) >= 54
            and raw[23] == 6
            and not (raw[20] & 0x3F or raw[21])
            and len(raw) >= self.tcp_at + 20
            and len(raw) >= self.data_at
        )

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


def editable(path: Path) -> bool:
    """Whether this is a classic pcap of Ethernet, in the byte order that `read` knows."""
    head = path.read_bytes()[:24]
    return (
        len(head) == 24
        and head[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1")
        and head[20:24] == b"\1\0\0\0"
    )


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


def ip_sum(p: Packet) -> bytes:
    """The IPv4 header's right checksum."""
    head = p.raw[14:24] + b"\0\0" + p.raw[26 : 14 + p.ihl]
    return (0xFFFF - sum16(head)).to_bytes(2, "big")


def tcp_sum(p: Packet) -> bytes:
    """The segment's right checksum; all of it must have been captured."""
    at, end = p.tcp_at, 14 + int.from_bytes(p.raw[16:18], "big")
    segment = p.raw[at : at + 16] + b"\0\0" + p.raw[at + 18 : end]
    return (0xFFFF - sum16(pseudo(p) + segment)).to_bytes(2, "big")


def is_right(p: Packet) -> bool:
    """Whether the TCP checksum is right; unknown counts as right."""
    return not p.whole or p.raw[p.tcp_at + 16 : p.tcp_at + 18] == tcp_sum(p)


def is_sound(p: Packet) -> bool:
    """Whether both checksums are right, or the TCP one is left to the device."""
    return p.raw[24:26] == ip_sum(p) and (is_right(p) or is_partial(p))


def edit(p: Packet, at: int, value: bytes, *, partial: bool | None = None) -> Packet:
    """The packet with some bytes replaced and its checksums right again; what was wrong before stays as it was."""
    partial = is_partial(p) if partial is None else partial
    raw = bytearray(p.raw)
    raw[at : at + len(value)] = value
    changed = replace(p, raw=bytes(raw))
    fixed = bytearray(repair(changed, partial=partial).raw)
    if p.raw[24:26] != ip_sum(p):
        fixed[24:26] = raw[24:26]
    if not partial and not is_right(p):
        fixed[p.tcp_at + 16 : p.tcp_at + 18] = raw[p.tcp_at + 16 : p.tcp_at + 18]
    return replace(p, raw=bytes(fixed))


def repair(p: Packet, *, partial: bool) -> Packet:
    raw = bytearray(p.raw)
    raw[24:26] = ip_sum(p)
    at = p.tcp_at + 16
    if partial or p.whole:
        raw[at : at + 2] = (
            sum16(pseudo(p)).to_bytes(2, "big") if partial else tcp_sum(replace(p, raw=bytes(raw)))
        )
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
