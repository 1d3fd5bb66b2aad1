"""Headers inside tunnels and ICMP errors are rewritten, and every checksum over them stays right (by dpkt)."""

from __future__ import annotations

import struct

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcaptool.engine import Engine
from pcaptool.replay.pace import Pace
from pcaptool.replay.packets import Source
from pcaptool.replay.plan import Planner, Target
from pcaptool.replay.rewriting import Rewriting
from pcaptool.replay.slots import Slot
from tests.property.test_replay_plan import packets, pcap, plan, transport_sum

OUT4, OUT6 = (b"\x0a\0\0\1", b"\x0a\0\0\2"), (b"\xfd" + bytes(14) + b"\1", b"\xfd" + bytes(14) + b"\2")
ALL = ("0.0.0.0/1=128.0.0.0/1", "128.0.0.0/1=0.0.0.0/1", "::/1=8000::/1", "8000::/1=::/1")
MAC = bytes(6)


def flipped(address):
    """What ALL makes of an address."""
    return bytes([address[0] ^ 0x80]) + address[1:]


def ipv4(payload, protocol):
    head = bytearray(struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 7, 0, 64, protocol, 0, *OUT4))
    head[10:12] = dpkt.in_cksum(bytes(head)).to_bytes(2, "big")
    return bytes(head) + payload


def ipv6(payload, protocol):
    return struct.pack("!IHBB16s16s", 6 << 28, len(payload), protocol, 64, *OUT6) + payload


def sealed(message, at, pseudo=b""):
    """The message with its checksum at `at`."""
    blank = message[:at] + b"\0\0" + message[at + 2 :]
    value = dpkt.in_cksum(pseudo + blank)
    return message[:at] + value.to_bytes(2, "big") + message[at + 2 :]


def pseudo(protocol, size, wide):
    if wide:
        return OUT6[0] + OUT6[1] + size.to_bytes(4, "big") + bytes((0, 0, 0, protocol))
    return OUT4[0] + OUT4[1] + bytes((0, protocol)) + size.to_bytes(2, "big")


def udp(port, payload, wide, *, summed):
    message = struct.pack("!HHHH", 5555, port, 8 + len(payload), 0) + payload
    if not summed:
        return message
    message = sealed(message, 6, pseudo(17, len(message), wide))
    return message if message[6:8] != b"\0\0" else message[:6] + b"\xff\xff" + message[8:]


@st.composite
def tunnels(draw):
    """A whole packet in a tunnel, or two: the frame, and the packet inside."""
    inside = draw(packets(most=600))
    data, kind = bytes(inside.data), inside.type
    wide = False
    for _ in range(draw(st.integers(1, 2))):
        wide, summed = draw(st.booleans()), draw(st.booleans())
        wrap = ipv6 if wide else ipv4
        way = draw(st.sampled_from(["ip", "gre", "vxlan", "geneve"]))
        if way == "ip":
            data = wrap(data, 4 if kind == 0x0800 else 41)
        elif way == "gre":
            bridged = draw(st.booleans())
            frame = MAC + MAC + kind.to_bytes(2, "big") + data if bridged else data
            key = draw(st.booleans())
            flags = 0x8000 * summed | 0x2000 * key
            head = struct.pack("!HH", flags, 0x6558 if bridged else kind) + bytes(4 * (summed + key))
            data = wrap(sealed(head + frame, 4) if summed else head + frame, 47)
        else:
            vlan = struct.pack("!HHH", 0x8100, 7, kind) if draw(st.booleans()) else kind.to_bytes(2, "big")
            frame = MAC + MAC + vlan + data
            options = draw(st.integers(0, 3))
            head = struct.pack("!BBHI", 8, 0, 0, 1 << 8)
            if way == "geneve":
                head = struct.pack("!BBHI", options, 0, 0x6558, 1 << 8) + bytes(4 * options)
            data = wrap(udp(4789 if way == "vxlan" else 6081, head + frame, wide, summed=summed), 17)
        kind = 0x86DD if wide else 0x0800
    return MAC + MAC + kind.to_bytes(2, "big") + data, inside.data


def check_tunnel(data, kind):
    """Every checksum on the way in is right; the innermost packet."""
    wide = kind == 0x86DD
    if not wide:
        assert dpkt.in_cksum(data[:20]) == 0
    source, target = (data[8:24], data[24:40]) if wide else (data[12:16], data[16:20])
    protocol, body = (data[6], data[40:]) if wide else (data[9], data[20:])
    ours = {flipped(OUT4[0]), flipped(OUT6[0])}
    if source not in ours:
        return (dpkt.ip6.IP6 if wide else dpkt.ip.IP)(data)
    assert target in {flipped(OUT4[1]), flipped(OUT6[1])}
    if protocol in (4, 41):
        return check_tunnel(body, 0x0800 if protocol == 4 else 0x86DD)
    if protocol == 47:
        flags, inner = struct.unpack_from("!HH", body)
        assert not flags & 0x8000 or dpkt.in_cksum(body) == 0
        begin = 4 + 4 * bool(flags & 0x8000) + 4 * bool(flags & 0x2000)
    else:
        port, given_sum = int.from_bytes(body[2:4], "big"), body[6:8]
        size = len(body).to_bytes(4, "big")
        assert given_sum == b"\0\0" or dpkt.in_cksum(source + target + b"\0\0" + size + b"\0\x11" + body) == 0
        begin = 16 if port == 4789 else 16 + 4 * (body[8] & 63)
        inner = 0x6558
    if inner == 0x6558:
        inner, begin = int.from_bytes(body[begin + 12 : begin + 14], "big"), begin + 14
        if inner == 0x8100:
            inner, begin = int.from_bytes(body[begin + 2 : begin + 4], "big"), begin + 4
    return check_tunnel(body[begin:], inner)


@given(tunnels())
def test_packets_in_tunnels_are_rewritten_and_all_their_checksums_follow(made):
    raw, inside = made
    port = inside.data.dport
    if port in (4789, 6081, 5555):
        return
    rules = Rewriting(addresses=ALL, ports=(f"{port}=4242",), ttl="9")
    [out], reasons = plan([raw], rules, mtu=3000)
    assert not reasons
    found = check_tunnel(out[14:], int.from_bytes(out[12:14], "big"))
    assert (found.src, found.dst) == (flipped(inside.src), flipped(inside.dst))
    assert found.data.dport == 4242
    assert bytes(found.data.data) == bytes(inside.data.data)
    assert transport_sum(found) in (0, 0xFFFF)
    hops = (found.hlim, inside.hlim) if isinstance(found, dpkt.ip6.IP6) else (found.ttl, inside.ttl)
    assert hops[0] == hops[1]  # the outermost one's alone is set


@given(raw=tunnels())
def test_packets_in_tunnels_leave_byte_for_byte_without_rules(raw):
    assert plan([raw[0]], Rewriting(), mtu=3000) == ([raw[0]], [])


@given(packet=packets(most=600), room=st.integers(8, 700), redirect=st.booleans())
def test_what_an_icmp_error_quotes_is_rewritten(packet, room, redirect):
    """The quote, put back together with the rest of its packet, is what the rules make of the packet itself."""
    whole = bytes(packet.data)
    wide = packet.type == 0x86DD
    header = 40 if wide else 20
    quote = whole[: header + room]
    if wide:
        message = bytes([1, 4, 0, 0, 0, 0, 0, 0]) + quote
        message = sealed(message, 2, pseudo(58, len(message), wide=True))
        raw = ipv6(message, 58)
    else:
        message = (bytes([5, 1, 0, 0]) + OUT4[0] if redirect else bytes([3, 3, 0, 0, 0, 0, 0, 0])) + quote
        raw = ipv4(sealed(message, 2), 1)
    kind = packet.type.to_bytes(2, "big")
    port = packet.data.data.sport
    rules = Rewriting(addresses=ALL, ports=(f"{port}=4242",))
    [out], _ = plan([MAC + MAC + kind + raw], rules)
    [alone], _ = plan([packet], rules)
    body = out[14 + header :]
    if wide:
        addresses = flipped(OUT6[0]) + flipped(OUT6[1])
        assert dpkt.in_cksum(addresses + len(body).to_bytes(4, "big") + b"\0\0\0\x3a" + body) == 0
    else:
        assert dpkt.in_cksum(body) == 0
        assert not redirect or body[4:8] == flipped(OUT4[0])
    assert body[8:] == alone[14 : 14 + len(quote)]


@pytest.mark.slow
@settings(max_examples=50)
@given(st.lists(tunnels(), min_size=1, max_size=4))
def test_machine_code_does_the_same(made):
    frames = [raw for raw, _ in made]
    rules = Rewriting(addresses=ALL, ports=("80=81",), ttl="9")
    results = []
    for mode in ("plain", "compiled"):
        source = Source(pcap(frames), split=False, engine=Engine(mode))
        planner, slot = Planner(source, [Target("x", 3000)], Pace(), rules), Slot.alone()
        assert planner.fill(slot)
        results.append([slot.frame(row) for row in range(slot.count)])
    assert results[0] == results[1]
