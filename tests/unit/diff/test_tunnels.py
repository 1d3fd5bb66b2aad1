"""Tunnels: the inner IP and link headers are compared like the first, each known change at its packet, nothing else."""

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


INNER = bytes.fromhex("0200000000aa0200000000bb")
OUTER = {0: (NEAR, FAR), 1: (FAR, NEAR)}


def turned(link, way):
    return link if way == 0 else link[6:] + link[:6]


def datagram(way, port, data):
    udp = struct.pack(">HHHH", 40000, port, 8 + len(data), 0) + data
    return ip(*OUTER[way], 17, udp, ident=100)


def bridged_vxlan(way, frame):
    return datagram(way, 4789, bytes.fromhex("0800000000000700") + frame)


def bridged_geneve(way, frame):
    return datagram(way, 6081, bytes.fromhex("0240655800000700") + b"\x01\x02\x03\x01abcd" + frame)


def bridged_gre(way, frame):
    return ip(*OUTER[way], 47, bytes.fromhex("2000655800000007") + frame, ident=100)


def bridged_gre_in_udp(way, frame):
    return datagram(way, 4754, bytes.fromhex("00006558") + frame)


BRIDGES = [bridged_vxlan, bridged_geneve, bridged_gre, bridged_gre_in_udp]
LINKS = {
    "link.src#2": (INNER[:6] + bytes.fromhex("0200000000cc"), b"", "rewritten"),
    "link.dst#2": (bytes.fromhex("0200000000cc") + INNER[6:], b"", "rewritten"),
    # The column of the outermost tag: where there is none in front, it is the inner one.
    "link.vlan_id": (INNER, bytes.fromhex("81000005"), "other-link"),
}


def bridge(path, tunnel, link=INNER, tag=b"", *, everywhere=False):
    """One conversation whose frames are in a tunnel; of packet `CHANGED`, or all, the inner link header is another."""

    def framed(way, inner):
        nonlocal n
        n += 1
        mine, mark = (link, tag) if everywhere or n == CHANGED else (INNER, b"")
        return tunnel(way, turned(mine, way) + mark + b"\x08\0" + inner)

    n = 0
    return capture(path, framed)


@pytest.mark.parametrize("tunnel", BRIDGES)
@pytest.mark.parametrize("relation", ["model", "path", "exact"])
@pytest.mark.parametrize("field", LINKS)
def test_a_change_of_the_inner_link_header_is_found(tmp_path, tunnel, relation, field):
    link, tag, cause = LINKS[field]
    a, b = bridge(tmp_path / "a.pcap", tunnel), bridge(tmp_path / "b.pcap", tunnel, link, tag)
    assert diff(a, a, relation=relation).exit_code == 0
    found = diff(a, b, relation=relation).differences.filter(layer="link")
    assert found.select("field", "n_a", "n_b", "cause").rows() == [(field, CHANGED, CHANGED, cause)]


@pytest.mark.parametrize("relation", ["model", "path", "exact"])
def test_an_inner_vlan_behind_an_outer_one(tmp_path, monkeypatch, relation):
    monkeypatch.setitem(globals(), "LINK", LINK + bytes.fromhex("81000009"))
    a = bridge(tmp_path / "a.pcap", bridged_vxlan, tag=bytes.fromhex("81000004"))
    b = bridge(tmp_path / "b.pcap", bridged_vxlan, tag=bytes.fromhex("81000005"))
    found = diff(a, b, relation=relation).differences
    assert found.select("field", "n_a", "n_b", "value_a", "value_b").rows() == [
        ("link.vlan_id#2", CHANGED, CHANGED, "4", "5")
    ]


@pytest.mark.parametrize("tunnel", BRIDGES)
def test_inner_link_addresses_may_stand_for_others_throughout(tmp_path, tunnel):
    a = bridge(tmp_path / "a.pcap", tunnel)
    b = bridge(tmp_path / "b.pcap", tunnel, bytes.fromhex("0200000000dd0200000000ee"), everywhere=True)
    assert diff(a, b, relation="path").exit_code == 0
    raw = diff(a, b, relation="exact")
    assert set(raw.differences["field"]) == {"link.src#2", "link.dst#2"}
    assert raw.differences.filter(field="link.src#2", n_a=1).select("value_a", "value_b").rows() == [
        ("02:00:00:00:00:bb", "02:00:00:00:00:ee")
    ]


def test_a_frame_that_was_cut_inside_its_inner_link_header_has_none(tmp_path):
    a = bridge(tmp_path / "a.pcap", bridged_vxlan)
    data = a.read_bytes()
    out, at = [data[:24]], 24
    while at < len(data):
        sec, frac, size, length = struct.unpack_from("<IIII", data, at)
        out.append(
            struct.pack("<IIII", sec, frac, 14 + 20 + 8 + 8 + 13, length) + data[at + 16 : at + 16 + 63]
        )
        at += 16 + size
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(b"".join(out))
    assert diff(cut, cut, relation="exact").exit_code == 0
    assert "link.src#2" not in {f.name for layer in diff(cut, cut).layers for f in layer.fields}
