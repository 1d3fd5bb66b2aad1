"""MPTCP against tshark: which acknowledgements Wireshark does not call duplicates, because of their operations."""

from __future__ import annotations

import random
import struct

import pytest

from pcaptool.analyze.pipeline import frames
from pcaptool.engine import Engine
from tests.analyzed import tshark
from tests.oracle.test_tcp_analysis import ANALYSIS, differences

pytestmark = pytest.mark.oracle

KEY, OTHER_KEY = b"KEYKEY01", b"KEYKEY02"
# RFC 8684 section 3: the option's bytes behind its kind.
OPERATIONS = {
    "capable": b"\x0c\x01\x81" + KEY,
    "capable-ack": b"\x14\x01\x81" + KEY + OTHER_KEY,
    "dss": b"\x08\x20\x01" + bytes(4),
    "add": b"\x08\x34\x01\x0a\x01\x01\x01",
    "remove": b"\x04\x40\x01",
    "priority": b"\x03\x50",
    "fail": b"\x0c\x60\x00" + bytes(8),
}


def options(*names):
    return b"".join(b"\x1e" + OPERATIONS[name] for name in names)


def segment(side, seq, ack, flags, window=1000, option_bytes=b"", data=b""):
    """An IPv4 packet between two hosts; side 0 is the client."""
    option_bytes += b"\1" * (-len(option_bytes) % 4)
    ports = (1234, 80) if side == 0 else (80, 1234)
    words = (20 + len(option_bytes)) << 10 | flags
    tcp = struct.pack("!HHIIHHHH", *ports, seq, ack, words, window, 0, 0) + option_bytes + data
    hosts = (bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]))
    addresses = hosts[side] + hosts[1 - side]
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0) + addresses + tcp


def conversation(chance):
    """Mostly acknowledgements that are repeated, with operations that come and go; with a handshake or without."""
    some = lambda *names: options(*names) if chance.random() < 0.7 else b""  # noqa: E731
    seq, out = [101, 501], []
    if chance.random() < 0.7:
        out.append(segment(0, 100, 0, 2, option_bytes=some("capable")))
        out.append(segment(1, 500, 101, 18, option_bytes=some("capable")))
        out.append(segment(0, 101, 501, 16, option_bytes=some("capable-ack")))
    for _ in range(60):
        side, what = chance.randrange(2), chance.random()
        names = chance.choice([(), (), (), ("dss",), ("dss",), ("add",), ("remove",), ("priority",), ("fail",),
                               ("dss", "add"), ("dss", "priority")])  # fmt: skip
        data = b"x" * chance.randrange(1, 20) if what < 0.1 else b""
        window = chance.choice([0, 900, 1000]) if 0.1 <= what < 0.15 else 1000
        back = chance.randrange(3) if 0.15 <= what < 0.18 else 0
        out.append(segment(side, seq[side], seq[1 - side] - back, 16, window, options(*names), data))
        seq[side] += len(data) if chance.random() < 0.9 else 0
    return out


@pytest.mark.parametrize("seed", range(6))
def test_duplicates_among_operations(tmp_path, seed):
    packets = conversation(random.Random(seed))
    path = tmp_path / "mptcp.pcap"
    records = (struct.pack("<IIII", 1, 1000 * i, len(p), len(p)) + p for i, p in enumerate(packets))
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101) + b"".join(records))
    theirs = tshark(path, ["frame.number", "tcp.srcport", *(c.wireshark for c in ANALYSIS)])
    for mode in ("plain", "compiled"):
        tcp = frames(path, ["tcp"], engine=Engine(mode))["tcp"]
        assert differences(tcp, theirs, ANALYSIS)[:10] == []
    assert tcp["analysis_duplicate_ack_num"].drop_nulls().len() > 20
