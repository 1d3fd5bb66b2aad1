"""DNS rows: streams beside datagrams, any cut into batches, several readings of a stream's trouble."""

from __future__ import annotations

import struct

import polars as pl

from pcaptool.analyze.dns import DnsAnalysis
from pcaptool.analyze.flows import FlowAnalysis
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
    frames = [pl.DataFrame(to_arrow(DNS, part["dns"], complete=True)) for part in parts if part]
    return pl.concat([frame.with_columns(pl.col(pl.Categorical).cast(pl.String)) for frame in frames])


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
