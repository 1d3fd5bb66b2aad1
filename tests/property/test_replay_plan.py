"""Frames as they are sent again: checksums by dpkt, segments against the stream they were cut from."""

from __future__ import annotations

import io
import ipaddress
import struct
from fractions import Fraction

import dpkt
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pcaptool.engine import Engine
from pcaptool.replay.pace import Clockwork, Pace
from pcaptool.replay.packets import Source
from pcaptool.replay.plan import Planner, Target
from pcaptool.replay.rewriting import Rewriting
from pcaptool.replay.slots import Slot

MACS = st.binary(min_size=6, max_size=6)
PORTS = st.integers(1, 65535)
V4 = st.binary(min_size=4, max_size=4)
V6 = st.binary(min_size=16, max_size=16)


def transport_sum(ip):
    """The checksum by dpkt: 0 where the one that is there is right."""
    inner = ip.data
    body = bytes(inner)
    if isinstance(ip, dpkt.ip.IP):
        pseudo = ip.src + ip.dst + bytes((0, ip.p)) + len(body).to_bytes(2, "big")
    else:
        pseudo = ip.src + ip.dst + len(body).to_bytes(4, "big") + bytes((0, 0, 0, ip.nxt))
    return dpkt.in_cksum(pseudo + body)


@st.composite
def packets(draw, least=0, most=3000):
    """An Ethernet frame with a valid IPv4 or IPv6, TCP or UDP packet, written by dpkt."""
    data = draw(st.binary(min_size=least, max_size=min(most, least + 3000)))
    if draw(st.booleans()):
        options = draw(st.sampled_from([b"", b"\1\1\x08\x0a" + bytes(8), b"\2\4\5\xb4"]))
        inner = dpkt.tcp.TCP(
            sport=draw(PORTS), dport=draw(PORTS), seq=draw(st.integers(0, 2**32 - 1)), data=data,
            flags=draw(st.sampled_from([0x10, 0x18, 0x19, 0x90, 0x99])), opts=options,
            off=5 + len(options) // 4,
        )  # fmt: skip
        number = 6
    else:
        inner = dpkt.udp.UDP(sport=draw(PORTS), dport=draw(PORTS), data=data, ulen=8 + len(data))
        number = 17
    if draw(st.booleans()):
        ip = dpkt.ip.IP(
            src=draw(V4), dst=draw(V4), p=number, id=draw(st.integers(0, 65535)),
            ttl=draw(st.integers(1, 255)), data=inner, len=20 + len(inner),
        )  # fmt: skip
        kind = 0x0800
    else:
        ip = dpkt.ip6.IP6(
            src=draw(V6),
            dst=draw(V6),
            nxt=number,
            hlim=draw(st.integers(1, 255)),
            data=inner,
            plen=len(inner),
        )
        ip.extension_hdrs = {}
        kind = 0x86DD
    inner.sum = 0
    inner.sum = transport_sum(ip) or 0xFFFF
    raw = bytes(ip) if kind == 0x86DD else bytes(dpkt.ip.IP(bytes(ip_with_sum(ip))))
    return dpkt.ethernet.Ethernet(src=draw(MACS), dst=draw(MACS), type=kind, data=raw)


def ip_with_sum(ip):
    raw = bytearray(bytes(ip))
    raw[10:12] = b"\0\0"
    raw[10:12] = dpkt.in_cksum(bytes(raw[:20])).to_bytes(2, "big")
    return raw


def pcap(frames, linktype=1, orig_len=None):
    """A capture in memory."""
    out = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, linktype)]
    for i, frame in enumerate(frames):
        data = bytes(frame)
        out.append(struct.pack("<IIII", 1, i * 1000, len(data), orig_len or len(data)) + data)
    return io.BytesIO(b"".join(out))


def plan(frames, rewriting, *, mtu=1500, orig_len=None):
    """Frames as they would leave, and why others would not."""
    source = Source(pcap(frames, orig_len=orig_len), split=False, engine=Engine("plain"))
    planner, slot = Planner(source, [Target("x", mtu)], Pace(), rewriting), Slot.alone()
    out, reasons = [], []
    while planner.fill(slot):
        out += [slot.frame(row) for row in range(slot.count) if slot.size[row]]
        reasons += [int(r) for r in slot.reason[: slot.count] if r]
    return out, reasons


def check(frame):
    """Both checksums of a frame are right."""
    ip = frame.data
    if isinstance(ip, dpkt.ip.IP):
        assert dpkt.in_cksum(bytes(ip)[: ip.hl * 4]) == 0
    assert transport_sum(ip) in (0, 0xFFFF)


@given(
    packet=packets(most=1400),
    ttl=st.sampled_from(["", "9", "-1", "+3"]),
    new=st.binary(min_size=16, max_size=16),
)
def test_changed_packets_have_right_checksums(packet, ttl, new):
    old = packet.data
    wide = len(old.src) == 16
    size = 64 if wide else 24
    net = ipaddress.ip_network((new[: len(old.src)], size), strict=False)
    home = ipaddress.ip_network((old.src, size), strict=False)
    port = old.data.dport
    rewriting = Rewriting(
        addresses=(f"{home}={net}",), ports=(f"{port}=4242",), ttl=ttl, macs=("dst=02:00:00:00:00:09",)
    )
    [raw], reasons = plan([packet], rewriting)
    made = dpkt.ethernet.Ethernet(raw)
    check(made)
    assert not reasons
    assert made.dst == bytes.fromhex("020000000009")
    assert made.src == packet.src
    assert ipaddress.ip_address(made.data.src) in net
    host = (1 << (8 * len(old.src) - size)) - 1
    assert (int.from_bytes(made.data.src, "big") ^ int.from_bytes(old.src, "big")) & host == 0
    assert made.data.data.dport == 4242
    assert bytes(made.data.data.data) == bytes(old.data.data)


@given(packet=packets(most=1400))
def test_what_is_not_changed_leaves_byte_for_byte(packet):
    assert plan([packet], Rewriting()) == ([bytes(packet)], [])


@given(packet=packets(most=1400), wrong=st.integers(1, 0xFFFE))
def test_a_wrong_checksum_stays_wrong_unless_it_is_to_be_fixed(packet, wrong):
    raw = bytearray(bytes(packet))
    place = (
        len(raw) - len(bytes(packet.data.data)) + (16 if isinstance(packet.data.data, dpkt.tcp.TCP) else 6)
    )
    right = int.from_bytes(raw[place : place + 2], "big")
    raw[place : place + 2] = ((right + wrong - 1) % 0xFFFF + 1).to_bytes(2, "big")
    broken = dpkt.ethernet.Ethernet(bytes(raw))
    if transport_sum(broken.data) in (0, 0xFFFF):
        return
    rule = f"{packet.data.data.sport}=99"
    [kept], _ = plan([broken], Rewriting(ports=(rule,)))
    [fixed], _ = plan([broken], Rewriting(ports=(rule,), fix_checksums=True))
    partial = kept[place : place + 2] == fixed[place : place + 2]
    if not partial:  # one in 65536 looks like a checksum that a device was to complete
        assert transport_sum(dpkt.ethernet.Ethernet(kept).data) not in (0, 0xFFFF)
    check(dpkt.ethernet.Ethernet(fixed))


@given(packet=packets(least=200, most=6_000), mtu=st.integers(120, 1500))
def test_segments_join_to_the_packet_they_were_cut_from(packet, mtu):
    ip, tcp = packet.data, packet.data.data
    frames, reasons = plan([packet], Rewriting(), mtu=mtu)
    if len(bytes(ip)) <= mtu:
        assert frames == [bytes(packet)]
        return
    if not isinstance(tcp, dpkt.tcp.TCP):
        assert (frames, len(reasons)) == ([], 1)
        return
    made = [dpkt.ethernet.Ethernet(raw) for raw in frames]
    for frame in made:
        check(frame)
        assert len(bytes(frame.data)) <= mtu
    segments = [frame.data.data for frame in made]
    assert b"".join(bytes(s.data) for s in segments) == bytes(tcp.data)
    at = 0
    for k, (frame, segment) in enumerate(zip(made, segments, strict=True)):
        last = k == len(made) - 1
        assert segment.seq == (tcp.seq + at) % 2**32
        assert segment.flags & 0x09 == (tcp.flags & 0x09 if last else 0)  # PSH, FIN
        assert segment.flags & 0x80 == (0 if k else tcp.flags & 0x80)  # CWR
        assert segment.flags & 0x10
        assert (segment.opts, segment.win, segment.ack) == (tcp.opts, tcp.win, tcp.ack)
        if isinstance(ip, dpkt.ip.IP):
            assert frame.data.id == (ip.id + k) % 65536
        assert last or len(bytes(frame.data)) == mtu
        at += len(segment.data)


@given(packet=packets(most=1000), cut=st.integers(1, 50))
def test_cut_packets_are_refused_or_filled_up(packet, cut):
    raw = bytes(packet)
    kept = raw[: max(14, len(raw) - cut)]
    if len(kept) == len(raw):
        return
    assert plan([kept], Rewriting(), orig_len=len(raw)) == ([], [1])
    [filled], _ = plan([kept], Rewriting(pad=True), orig_len=len(raw))
    assert len(filled) == len(raw)
    if len(kept) >= len(raw) - len(bytes(packet.data.data)) + 20:
        assert transport_sum(dpkt.ethernet.Ethernet(filled).data) in (0, 0xFFFF)


@given(
    frames=st.lists(st.binary(max_size=200), max_size=5),
    linktype=st.sampled_from([0, 1, 12, 101, 104, 105, 108, 113, 228, 229, 276]),
    ethernet=st.booleans(),
    segment=st.booleans(),
    mtu=st.integers(0, 200),
)
def test_whatever_bytes_there_are_nothing_raises(frames, linktype, ethernet, segment, mtu):
    everything = Rewriting(
        addresses=("0.0.0.0/0=0.0.0.0/0", "::/0=::/0"), macs=("src=02:00:00:00:00:01", "dst=02:00:00:00:00:02"),
        ports=("0=1",), vlan="add:7", ttl="-1", fix_checksums=True, segment=segment,
    )  # fmt: skip
    source = Source(pcap(frames, linktype), split=False, engine=Engine("plain"))
    planner, slot = Planner(source, [Target("x", mtu, ethernet)], Pace(), everything), Slot.alone()
    planner.fill(slot)
    assert planner.counts.packets == len(frames)
    assert slot.count >= len(frames)
    assert all(
        bool(size) != bool(reason) for size, reason in zip(slot.size[: slot.count], slot.reason, strict=False)
    )


@given(
    gaps=st.lists(st.integers(0, 10**12), min_size=1, max_size=40),
    speed=st.fractions(min_value="1/1000", max_value=1000, max_denominator=1000),
    cut=st.integers(0, 40),
)
@example([10**12] * 3, Fraction(3), 1)
def test_deadlines_are_the_recorded_times_scaled_and_do_not_depend_on_batches(gaps, speed, cut):
    ts = 1_700_000_000 * 10**9 + np.cumsum(gaps)
    clockwork = Clockwork(Pace.of(speed=str(speed)))
    due = [*clockwork.recorded(ts[:cut]).tolist(), *clockwork.recorded(ts[cut:]).tolist()]
    assert due == [(t - int(ts[0])) * speed.denominator // speed.numerator for t in ts.tolist()]


@given(
    sizes=st.lists(st.integers(60, 1514), min_size=1, max_size=50),
    rate=st.sampled_from(["1", "999.9", "1e6", "1/3"]),
    cut=st.integers(0, 50),
)
def test_rates_add_up_exactly(sizes, rate, cut):
    array = np.array(sizes, np.int64)
    for words in ({"pps": rate}, {"mbps": rate}):
        pace = Pace.of(**words)
        clockwork, parts = Clockwork(pace), []
        for piece in (array[:cut], array[cut:]):
            parts += clockwork.deadlines(clockwork.recorded(np.zeros(len(piece), np.int64)), piece).tolist()
        if "pps" in words:
            wanted = [k * 10**9 / pace.rate for k in range(len(sizes))]
        else:
            wanted = [sum(sizes[:k]) * 8 * 1000 / pace.rate for k in range(len(sizes))]
        assert parts == [int(w) for w in wanted]


@pytest.mark.slow
def test_compiled_and_plain_kernels_plan_the_same(lab_captures):
    rewriting = Rewriting(addresses=("192.0.2.0/24=10.0.0.0/24",), ports=("80=81",), ttl="-1", vlan="add:5")
    for name in ("size-100k.server.pcap", "v6-off-100k.server.pcap", "mtu-576-100k.server.pcap"):
        made = []
        for mode in ("plain", "compiled"):
            source = Source(lab_captures / name, split=True, engine=Engine(mode))
            planner = Planner(source, [Target("a"), Target("b", 900)], Pace(), rewriting, digest=True)
            slot = Slot.alone()
            assert planner.fill(slot)
            columns = (slot.n, slot.part, slot.size, slot.digest, slot.due_ns, slot.interface)
            made.append(
                [[c[: slot.count].tolist() for c in columns], [slot.frame(k) for k in range(slot.count)]]
            )
        assert made[0] == made[1]
