"""802.11 frames of all kinds, made here: tshark finds the same addresses and headers in every packet."""

from __future__ import annotations

import binascii
import random
import struct

import pytest

from pcaptool.analyze.pipeline import frames
from pcaptool.engine import Engine
from pcaptool.verify import verify
from pcaptool.wire.checksum import sum16

pytestmark = pytest.mark.oracle

SNAP = bytes.fromhex("aaaa030000000800")
TO_DS, FROM_DS, MORE, PROTECTED, ORDER = 0x01, 0x02, 0x04, 0x40, 0x80


def datagram(chance):
    tcp = struct.pack("!HHIIBBHHH", 4000, 80, chance.getrandbits(32), 1, 5 << 4, 0x10, 500, 0, 0) + b"GET"
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 7, 0x4000, 64, 6, 0) + bytes(
        [10, 0, 0, 1, 10, 0, 0, 2]
    )
    return ip[:10] + struct.pack("!H", ~sum16(ip, 0) & 0xFFFF) + ip[12:] + tcp


def frame(chance, padded):
    """A data frame mostly; sometimes management or control."""
    kind = chance.choice([2, 2, 2, 2, 0, 1])
    subtype = {0: 8, 1: chance.choice([12, 13]), 2: chance.choice([0, 0, 8, 8, 4, 12])}[kind]
    flags = chance.choice([0, TO_DS, FROM_DS, TO_DS | FROM_DS]) if kind == 2 else 0
    flags |= chance.choice([0, 0, 0, 0, MORE, PROTECTED]) if kind == 2 and not subtype & 4 else 0
    flags |= ORDER if subtype == 8 and kind == 2 and chance.random() < 0.2 else 0
    head = bytes([subtype << 4 | kind << 2, flags]) + b"\0\0" + b"\2" + chance.randbytes(5)
    if kind == 1:
        return head
    fragment = 1 if flags & MORE and chance.random() < 0.5 else 0
    # Each sequence number once: tshark joins fragments of the same.
    head += b"\2" + chance.randbytes(5) + b"\2" + chance.randbytes(5) + struct.pack("<H", fragment)
    if kind == 0:
        return head + bytes(12)
    head += b"\2" + chance.randbytes(5) if flags & 3 == 3 else b""
    head += b"\0\0" if subtype & 8 else b""
    head += bytes(4) if flags & ORDER else b""
    if padded:
        head += bytes(-len(head) % 4)
    return head if subtype & 4 else head + SNAP + datagram(chance)


def with_radiotap(chance):
    """A header with or without time of arrival, flags, and a second word of fields."""
    time, more = chance.random() < 0.5, chance.random() < 0.3
    flags = chance.choice([None, 0, 0x10, 0x20, 0x30])
    present = [int(time) | (2 if flags is not None else 0) | (1 << 31 if more else 0)] + ([0] if more else [])
    words = b"".join(struct.pack("<I", word) for word in present)
    fields = b""
    if time:
        fields += bytes(-(4 + len(words)) % 8) + chance.randbytes(8)
    if flags is not None:
        fields += bytes([flags])
    body = frame(chance, bool(flags and flags & 0x20))
    if flags and flags & 0x10:
        body += struct.pack("<I", binascii.crc32(body))
    return struct.pack("<BBH", 0, 0, 4 + len(words) + len(fields)) + words + fields + body


@pytest.mark.parametrize("linktype", [105, 127])
@pytest.mark.parametrize("mode", ["plain", "compiled"])
def test_frames_equal_tshark(tmp_path, linktype, mode):
    chance = random.Random(linktype)
    make = with_radiotap if linktype == 127 else lambda chance: frame(chance, padded=False)
    packets = [make(chance) for _ in range(600)]
    path = tmp_path / "wlan.pcap"
    records = (struct.pack("<IIII", 1, i, len(p), len(p)) + p for i, p in enumerate(packets))
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, linktype) + b"".join(records))
    verdict = verify(path, engine=Engine(mode))
    assert not verdict.mismatches, "\n".join(map(str, verdict.mismatches[:10]))
    found = frames(path, ["link", "ip", "tcp"], engine=Engine(mode))
    assert found["tcp"].height == found["ip"].height > 100  # the comparison was not empty
    assert found["link"]["src"].null_count() > 50  # control frames name no source
    assert set(found["link"]["kind"]) == {"radiotap" if linktype == 127 else "wlan"}
