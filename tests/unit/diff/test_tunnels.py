"""Tunnels: the inner IP headers are compared like the first, each known change at its packet and nothing else."""

from __future__ import annotations

import struct

import pytest

from pcaptool.diff import diff

CLIENT, SERVER = bytes((10, 1, 0, 1)), bytes((10, 1, 0, 2))
NEAR, FAR = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2))
LINK = bytes.fromhex("020000000002020000000001")
CHANGED = 4


def sum16(data):
    data += b"\0" * (len(data) & 1)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


def ip(src, dst, proto, behind, *, ident=7, ttl=64, tos=0, flags=0x4000):
    head = struct.pack(">BBHHHBBH", 0x45, tos, 20 + len(behind), ident, flags, ttl, proto, 0) + src + dst
    return head[:10] + sum16(head).to_bytes(2, "big") + head[12:] + behind


def tcp(src, dst, ports, seq, ack, flags, data=b""):
    head = struct.pack(">HHIIBBHHH", *ports, seq, ack, 0x50, flags, 500, 0, 0) + data
    pseudo = src + dst + struct.pack(">BBH", 0, 6, len(head))
    return head[:16] + sum16(pseudo + head).to_bytes(2, "big") + head[18:]


def conversation():
    """Direction, sequence number, acknowledgement, flags, data."""
    yield 0, 1000, 0, 0x02, b""
    yield 1, 5000, 1001, 0x12, b""
    yield 0, 1001, 5001, 0x10, b""
    yield 0, 1001, 5001, 0x18, b"GET / HTTP/1.1\r\n\r\n"
    yield 1, 5001, 1019, 0x18, b"HTTP/1.1 200 OK\r\n\r\n" + bytes(range(200))
    yield from ((0, 1019, 5220, 0x10, b"") for _ in range(4))


def ip_in_ip(way, inner):
    return ip(*((NEAR, FAR) if way == 0 else (FAR, NEAR)), 4, inner, ident=100)


def gre(way, inner):
    return ip(*((NEAR, FAR) if way == 0 else (FAR, NEAR)), 47, b"\0\0\x08\0" + inner, ident=100)


def vxlan(way, inner):
    frame = bytes.fromhex("0800000000000700") + LINK + b"\x08\0" + inner
    udp = struct.pack(">HHHH", 40000, 4789, 8 + len(frame), 0) + frame
    return ip(*((NEAR, FAR) if way == 0 else (FAR, NEAR)), 17, udp, ident=100)


def capture(path, tunnel, **change):
    """One conversation in a tunnel; of its packet `CHANGED` the inner IP header has other values."""
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)]
    for n, (way, seq, ack, flags, data) in enumerate(conversation(), 1):
        ends, ports = ((CLIENT, SERVER), (4000, 80)) if way == 0 else ((SERVER, CLIENT), (80, 4000))
        values = {"ident": 20 + n, **(change if n == CHANGED else {})}
        inner = ip(*ends, 6, tcp(*ends, ports, seq, ack, flags, data), **values)
        raw = LINK + b"\x08\0" + tunnel(way, inner)
        out.append(struct.pack("<IIII", 1_700_000_000, n * 1000, len(raw), len(raw)) + raw)
    path.write_bytes(b"".join(out))
    return path


CHANGES = {
    "ip.ttl#2": ({"ttl": 63}, "hop"),
    "ip.dsfield#2": ({"tos": 0xB8}, "dscp"),
    "ip.flags#2": ({"flags": 0}, "fragmentation"),
    "ip.id#2": ({"ident": 9000}, "ip-id"),
}


@pytest.mark.parametrize("tunnel", [ip_in_ip, gre, vxlan])
@pytest.mark.parametrize("relation", ["model", "path", "exact"])
@pytest.mark.parametrize("field", CHANGES)
def test_a_change_of_the_inner_header_is_found(tmp_path, tunnel, relation, field):
    change, cause = CHANGES[field]
    a, b = capture(tmp_path / "a.pcap", tunnel), capture(tmp_path / "b.pcap", tunnel, **change)
    assert diff(a, a, relation=relation).exit_code == 0
    found = diff(a, b, relation=relation)
    told = found.differences.select("field", "n_a", "n_b", "cause").rows()
    assert told == [(field, CHANGED, CHANGED, cause)]
    assert diff(a, b, relation=relation, tolerances={"ip.ttl#2": 1}).exit_code == (field != "ip.ttl#2")


def gre_in_ip_in_ip(way, inner):
    return ip_in_ip(way, gre(way, inner))


@pytest.mark.parametrize("relation", ["model", "path", "exact"])
@pytest.mark.parametrize("field", CHANGES)
def test_a_change_of_the_third_header_is_found(tmp_path, relation, field):
    change, cause = CHANGES[field]
    a = capture(tmp_path / "a.pcap", gre_in_ip_in_ip)
    b = capture(tmp_path / "b.pcap", gre_in_ip_in_ip, **change)
    assert diff(a, a, relation=relation).exit_code == 0
    told = diff(a, b, relation=relation).differences.select("field", "n_a", "n_b", "cause").rows()
    assert told == [(field.replace("#2", "#3"), CHANGED, CHANGED, cause)]


@pytest.mark.parametrize("tunnel", [ip_in_ip, gre, vxlan])
def test_inner_addresses_may_stand_for_others_in_two_runs(tmp_path, monkeypatch, tunnel):
    a = capture(tmp_path / "a.pcap", tunnel)
    monkeypatch.setitem(globals(), "CLIENT", bytes((10, 9, 9, 9)))
    b = capture(tmp_path / "b.pcap", tunnel)
    found = diff(a, b, relation="model")
    assert found.exit_code == 0, found.verdict
    assert next(r for r in found.rules if r.name == "address-map").count > 0
    moved = diff(a, b, relation="path")
    assert set(moved.differences["field"]) >= {"ip.src#2", "ip.dst#2"}


def test_a_tunnel_against_none_has_the_columns_of_both(tmp_path):
    a = capture(tmp_path / "a.pcap", ip_in_ip)
    b = capture(tmp_path / "b.pcap", lambda _way, inner: inner)
    found = diff(a, b, relation="exact")
    assert found.exit_code == 1
    assert found.differences.filter(field="ip.ttl#2").select("value_a", "value_b").unique().rows() == [
        ("64", "-")
    ]
