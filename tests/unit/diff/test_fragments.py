"""First fragments of datagrams: an ephemeral port inside is random by nature, nothing else is."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from pcaptool.diff import diff

CAPTURE = Path(__file__).resolve().parents[3] / "fixtures" / "captures" / "lab" / "udp-v4.server.pcap"


def fragments(data):
    """Frame numbers and places of the UDP headers of first fragments in a little-endian capture of Ethernet."""
    at, n = 24, 0
    while at < len(data):
        n += 1
        size = struct.unpack_from("<I", data, at + 8)[0]
        ip = at + 16 + 14
        if data[ip - 2 : ip] == b"\x08\x00" and data[ip + 9] == 17 and data[ip + 6 : ip + 8] == b"\x20\x00":
            yield n, ip + 20
        at += 16 + size


@pytest.fixture
def changed(tmp_path):
    """A copy with some bytes of the first fragment's payload replaced; its frame number."""
    data = bytearray(CAPTURE.read_bytes())
    n, at = next(fragments(data))

    def write(offset, new):
        data[at + offset : at + offset + len(new)] = new
        path = tmp_path / "b.pcap"
        path.write_bytes(data)
        return path, n

    write.header = bytes(data[at : at + 8])
    return write


def test_the_header_is_the_one_that_is_meant(changed):
    source, destination = struct.unpack(">HH", changed.header[:4])
    assert source < 32768 <= destination


def places(found):
    return {(r["field"], r["n_a"], r["n_b"]) for r in found.differences.to_dicts()}


def test_another_ephemeral_port_and_checksum_are_equal_by_the_rule(changed):
    """The last fragment, where the datagram is whole again, tells that it is another conversation."""
    path, n = changed(2, b"\xc0\x01")
    path, n = changed(6, b"\x12\x34")
    assert ("payload", n, n) not in places(diff(CAPTURE, path, relation="model"))
    assert ("payload", n, n) in places(diff(CAPTURE, path, relation="model", rules={"client-port": False}))
    assert ("payload", n, n) in places(diff(CAPTURE, path, relation="path"))


@pytest.mark.parametrize(
    ("offset", "new"), [(0, b"\x00\x36"), (4, b"\x0f\x00"), (8, b"\xff"), (700, b"\xff")]
)
def test_another_service_length_or_byte_is_a_difference(changed, offset, new):
    path, n = changed(offset, new)
    found = places(diff(CAPTURE, path, relation="model"))
    assert ("payload", n, n) in found
    assert {at for _, at, _ in found if at is not None} <= {n, n + 2}  # and where the datagram is whole again
