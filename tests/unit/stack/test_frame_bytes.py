"""Frames as bytes: the fast ways make what the tables of `wire` and the segments one by one make."""

from __future__ import annotations

import dpkt
from hypothesis import given, settings
from hypothesis import strategies as st

from pcaptool.stack.frame_block import full_segments, segment_run
from pcaptool.stack.frame_bytes import frame_bytes, network_header, transport_header
from pcaptool.stack.segment import segment
from pcaptool.stack.skbuff import Datagram, SkBuff, TcpHeader, UdpHeader
from pcaptool.stack.tap import Tap
from pcaptool.stack.tcp.options import encode_options
from pcaptool.wire.ethernet import EtherType
from pcaptool.wire.ip import IPV4, IPV4_DF, IPV6, IpProtocol
from pcaptool.wire.tcp import TCP, TcpOptions
from pcaptool.wire.udp import UDP

U16, U32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)


@st.composite
def buffers(draw, segments=True, udp=False):
    version4 = draw(st.booleans())
    size = 4 if version4 else 16
    length = draw(st.integers(0, 9000))
    gso = draw(st.integers(1, 1500)) if segments else 0
    payload = (
        draw(st.binary(min_size=length, max_size=length))
        if length < 200
        else bytes((draw(U16) * i + 7) & 0xFF for i in range(length))
    )
    skb = SkBuff(1, 1, length=length, payload=memoryview(payload), seq=draw(U32))
    skb.ethertype = EtherType.IPV4 if version4 else EtherType.IPV6
    skb.destination_mac, skb.source_mac = bytes(range(6)), bytes(range(6, 12))
    stamps = draw(st.none() | st.tuples(U32, U32))
    raw = encode_options(TcpOptions(timestamps=stamps))
    protocol = IpProtocol.UDP if udp else IpProtocol.TCP
    if udp:
        skb.udp = UdpHeader(draw(U16), draw(U16))
    else:
        flags = draw(st.integers(0, 255))
        skb.tcp = TcpHeader(draw(U16), draw(U16), skb.seq, draw(U32), flags, draw(U16), TcpOptions(), raw)
        skb.flags = flags
    address = st.binary(min_size=size, max_size=size)
    skb.ip = Datagram(
        draw(address),
        draw(address),
        protocol,
        ttl=draw(st.integers(0, 255)),
        tos=draw(st.integers(0, 255)),
        identification=draw(U16),
        flow_label=0 if version4 else draw(st.integers(0, 0xFFFFF)),
    )
    if segments and length > gso:
        skb.gso_size, skb.gso_segs = gso, -(-length // gso)
    return skb


@settings(max_examples=60, deadline=None)
@given(buffers())
def test_segments_at_once_are_the_segments_one_by_one(skb):
    if skb.gso_segs == 1:
        return
    rows = [bytes(row) for row in full_segments(segment_run(skb))]
    single = [frame_bytes(piece, partial_sum=False) for piece in segment(skb)]
    assert rows == single[: len(rows)]
    assert len(single) - len(rows) == (skb.length % skb.gso_size > 0)


@settings(max_examples=40, deadline=None)
@given(buffers())
def test_the_wires_tap_sees_them_all(skb):
    tap = Tap("wire", wire=True)
    tap(5, skb, leaving=True)
    assert [f.data for f in tap.frames] == [frame_bytes(p, partial_sum=False) for p in segment(skb)]
    assert {(f.time_ns, f.skb, f.gso_segs, f.checksum_ready) for f in tap.frames} == {(5, 1, 1, True)}
    assert len(tap.frames) == skb.gso_segs


@given(buffers(segments=False))
def test_headers_are_those_of_the_tables(skb):
    tcp, ip, length = skb.tcp, skb.ip, 20 + len(skb.tcp.option_bytes) + skb.length
    assert transport_header(skb)[:20] == TCP.pack(
        srcport=tcp.srcport, dstport=tcp.dstport, seq=tcp.seq, ack=tcp.ack, data_offset=tcp.size // 4,
        flags=tcp.flags, window=tcp.window,
    )  # fmt: skip
    made = network_header(ip, length)
    source, destination = int.from_bytes(ip.source, "big"), int.from_bytes(ip.destination, "big")
    if len(ip.source) == 4:
        read = IPV4.unpack(made)
        assert dpkt.in_cksum(made) == 0
        del read["checksum"]
        assert read == {
            "version": 4, "ihl": 5, "tos": ip.tos, "total_length": 20 + length, "id": ip.identification,
            "flags": IPV4_DF, "frag_offset": 0, "ttl": ip.ttl, "protocol": 6, "src": source, "dst": destination,
        }  # fmt: skip
    else:
        assert made == IPV6.pack(
            version=6, traffic_class=ip.tos, flow_label=ip.flow_label, payload_length=length, next_header=6,
            hop_limit=ip.ttl, src=source, dst=destination,
        )  # fmt: skip


@given(buffers(segments=False, udp=True))
def test_udps_checksum_is_right_and_never_says_none(skb):
    udp = frame_bytes(skb, partial_sum=False)[14 + skb.ip.header_bytes :]
    read = UDP.unpack(udp)
    assert read["length"] == 8 + skb.length == len(udp)
    assert read["checksum"] != 0
    size = len(udp).to_bytes(4, "big")
    pseudo = skb.ip.source + skb.ip.destination + size + bytes((0, 0, 0, 17))
    assert dpkt.in_cksum(pseudo + udp) == 0
