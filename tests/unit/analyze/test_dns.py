"""DNS rows: streams beside datagrams, any cut into batches, several readings of a stream's trouble."""

from __future__ import annotations

import struct

import dpkt
import polars as pl

from pcaptool.analyze.dns import DnsAnalysis
from pcaptool.analyze.flows import FlowAnalysis
from pcaptool.analyze.pipeline import frames
from pcaptool.tables import DNS
from pcaptool.tables.columns import to_arrow

A, B = "192.0.2.1", "192.0.2.2"


def message(number, *, response=False):
    head = struct.pack(">6H", number, 0x8000 if response else 0, 1, 0, 0, 0)
    return head + b"\3www\7example\0" + b"\0\1\0\1"


def framed(raw):
    return struct.pack(">H", len(raw)) + raw


def run(by_hand, segments, size=1000):
    flows, dns, parts = FlowAnalysis(), DnsAnalysis(), []
    for batch in by_hand.split(segments, size):
        flows.feed(batch)
        parts.append(dns.feed(batch))
    parts.append(dns.finish())
    made = [pl.DataFrame(to_arrow(DNS, part["dns"], complete=True)) for part in parts if part]
    return pl.concat([frame.with_columns(pl.col(pl.Categorical).cast(pl.String)) for frame in made])


def mixed(by_hand):
    """A question by UDP and one by TCP whose answer comes in pieces, out of order."""
    answer = framed(message(9, response=True))
    tcp = {"src": B, "dst": A, "sport": 53, "dport": 5000}
    return [
        by_hand.Segment(A, B, 5000, 53, seq=99, flags=2, ts=1),
        by_hand.Segment(A, B, 4000, 53, data=message(7), ts=10, udp=True),
        by_hand.Segment(A, B, 5000, 53, seq=100, ack=500, data=framed(message(9)), ts=20),
        by_hand.Segment(**tcp, seq=500 + 20, ack=600, data=answer[20:], ts=30),
        by_hand.Segment(B, A, 53, 4000, data=message(7, response=True), ts=40, udp=True),
        by_hand.Segment(**tcp, seq=500, ack=600, data=answer[:20], ts=50),
    ]


def test_both_transports_in_the_order_of_packets(by_hand):
    table = run(by_hand, mixed(by_hand))
    found = table.select("n", "transport", "id", "response_to", "time_ns", "qry_name").rows()
    assert found == [
        (2, "udp", 7, None, None, "www.example"),
        (3, "tcp", 9, None, None, "www.example"),
        (5, "udp", 7, 2, 30, "www.example"),
        (6, "tcp", 9, 3, 30, "www.example"),
    ]


def test_rows_do_not_depend_on_batches(by_hand):
    whole = run(by_hand, mixed(by_hand))
    for size in (1, 2, 3):
        assert run(by_hand, mixed(by_hand), size).equals(whole)


def test_a_stream_that_is_no_dns_gives_no_rows(by_hand):
    segments = [
        *mixed(by_hand)[:2],
        by_hand.Segment(A, B, 5000, 53, seq=100, ack=500, data=b"\0\1x" * 9, ts=20),
        by_hand.Segment(A, B, 5000, 53, seq=127, ack=500, data=framed(message(3)), ts=21),
    ]
    assert run(by_hand, segments)["n"].to_list() == [2]


def pieces(number, size):
    """A response over UDP in IPv4 fragments of that size, last one first; padded by a TXT record."""
    text = bytes([250]) + b"x" * 250
    record = b"\xc0\x0c" + struct.pack(">2HIH", 16, 1, 60, 4 * len(text)) + 4 * text
    raw = message(number, response=True)
    raw = raw[:6] + struct.pack(">H", 1) + raw[8:] + record
    udp = bytes(dpkt.udp.UDP(sport=53, dport=4000, ulen=8 + len(raw), data=raw))
    cuts = [udp[at : at + size] for at in range(0, len(udp), size)]
    frames = []
    for k, part in enumerate(cuts):
        more = 0x2000 if k + 1 < len(cuts) else 0
        ip = dpkt.ip.IP(src=b"\xc0\0\2\2", dst=b"\xc0\0\2\1", p=17, id=number, data=part)
        ip._flags_offset, ip.len = more | k * size // 8, 20 + len(part)
        frames.append(bytes(dpkt.ethernet.Ethernet(type=0x800, data=ip)))
    return raw, frames[::-1]


def test_a_message_in_fragments_is_read_whole(tmp_path):
    query = dpkt.ip.IP(
        src=b"\xc0\0\2\1", dst=b"\xc0\0\2\2", p=17,
        data=dpkt.udp.UDP(sport=4000, dport=53, ulen=8 + len(message(5)), data=message(5)),
    )  # fmt: skip
    raw, fragments = pieces(5, 400)
    assert len(fragments) == 3
    with (tmp_path / "f.pcap").open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for n, frame in enumerate([bytes(dpkt.ethernet.Ethernet(type=0x800, data=query)), *fragments]):
            writer.writepkt(frame, n)
    table = frames(tmp_path / "f.pcap", ["dns"])["dns"]
    assert table.select("n", "response_to", "time_ns", "len_bytes", "trouble").rows() == [
        (1, None, None, len(message(5)), None),
        (4, 1, 3_000_000_000, len(raw), None),
    ]
    assert table["resp_data"].to_list() == [[], ["x" * 1000]]
