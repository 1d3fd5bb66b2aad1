"""Streams made to be slow: time grows with their length, not with its square (tshark 4.0 takes 51 s for the first)."""

from __future__ import annotations

import struct
import time

import pytest

from pcaptool.analyze.dns import DnsAnalysis
from pcaptool.analyze.flows import FlowAnalysis
from pcaptool.analyze.http import HttpAnalysis
from pcaptool.analyze.timings import TimingAnalysis
from pcaptool.tables.columns import row_count

RESOLVER = ("192.0.2.1", "192.0.2.2", 5000, 53)
C, S = ("192.0.2.1", "192.0.2.2", 5000, 80), ("192.0.2.2", "192.0.2.1", 80, 5000)


def endless_header(by_hand, count):
    out = [by_hand.Segment(*C, seq=1, ack=1, data=b"GET / HTTP/1.1\r\nX: ")]
    return out + [by_hand.Segment(*C, seq=20 + 30 * k, ack=1, data=b"a" * 30) for k in range(count)]


def endless_lines(by_hand, count):
    out = [by_hand.Segment(*C, seq=1, ack=1, data=b"GET / HTTP/1.1\r\nX: ")]
    return out + [
        by_hand.Segment(*C, seq=20 + 30 * k, ack=1, data=b"a\r\nb: 1234567890123456789012345")
        for k in range(count)
    ]


def endless_chunk_size(by_hand, count):
    head = b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n"
    out = [by_hand.Segment(*S, seq=1, ack=1, data=head)]
    return out + [by_hand.Segment(*S, seq=1 + len(head) + k, ack=1, data=b"0") for k in range(count)]


def endless_hole(by_hand, count):
    """Every segment but the first one, from the back."""
    out = [by_hand.Segment(*C, seq=1, ack=1, data=b"GET / HTTP/1.1\r\n")]
    return out + [by_hand.Segment(*C, seq=27 + 2 * (count - k), ack=1, data=b"b") for k in range(count)]


def many_names(by_hand, count):
    """Queries of one conversation, each with another name of many labels, and no answer."""
    tail = b"\x01a" * 60 + b"\0\0\1\0\1"
    query = [
        struct.pack(">HHHHHHB5s", k & 0xFFFF, 0x100, 1, 0, 0, 0, 5, b"%05d" % k) + tail for k in range(count)
    ]
    return [by_hand.Segment(*RESOLVER, udp=True, data=data, ts=k) for k, data in enumerate(query)]


def many_messages(by_hand, count):
    """As many messages as fit into a segment, over TCP."""
    message = (
        b"\0\x1d" + bytes.fromhex("0007 0100 0001 0000 0000 0000 03777777076578616d706c65 00 0001 0001")[:29]
    )
    tcp = ("192.0.2.1", "192.0.2.2", 5000, 53)
    size = 20 * len(message)
    return [by_hand.Segment(*tcp, seq=1 + size * k, ack=1, data=message * 20) for k in range(count // 10)]


def seconds(by_hand, segments, kind=HttpAnalysis):
    best = 1e9
    for _ in range(3):
        flows, http = FlowAnalysis(), kind()
        batches = list(by_hand.split(segments, 2000))
        for batch in batches:
            flows.feed(batch)
        begin = time.process_time()
        for batch in batches:
            http.feed(batch)
        best = min(best, time.process_time() - begin)
    return best


@pytest.mark.slow
@pytest.mark.parametrize("make", [endless_header, endless_lines, endless_chunk_size, endless_hole])
def test_linear(by_hand, make):
    short, long = (seconds(by_hand, make(by_hand, count)) for count in (2000, 16_000))
    assert long < 8 * 2.5 * short + 0.2  # a square would be 64 times
    assert long < 5  # of 8,000 packets tshark's 51 s


@pytest.mark.parametrize(("make", "rows"), [(many_names, 1000), (many_messages, 2000)])
def test_these_dns_messages_are_read(by_hand, make, rows):
    flows, dns, found = FlowAnalysis(), DnsAnalysis(), 0
    for batch in by_hand.split(make(by_hand, 1000), 300):
        flows.feed(batch)
        found += sum(row_count(table["n"]) for table in dns.feed(batch).values())
    assert found + sum(row_count(table["n"]) for table in dns.finish().values()) == rows


@pytest.mark.slow
@pytest.mark.parametrize("make", [many_names, many_messages])
def test_many_dns_messages_are_linear(by_hand, make):
    short, long = (seconds(by_hand, make(by_hand, count), DnsAnalysis) for count in (2000, 16_000))
    assert long < 8 * 2.5 * short + 0.2


def one_way_responses(by_hand, count):
    """What a tap on one direction sees of a connection that is kept: responses, none of which is ever acknowledged."""
    answer = b"HTTP/1.1 204 No Content\r\n\r\n"
    return [
        by_hand.Segment(*S, seq=1 + len(answer) * k, ack=100 + 50 * k, data=answer, ts=k)
        for k in range(count)
    ]


def seconds_of_timings(by_hand, segments):
    flows, http, timings = FlowAnalysis(), HttpAnalysis(), TimingAnalysis()
    timings.http, rows, spent = http, 0, 0.0
    for batch in by_hand.split(segments, 2000):
        flows.feed(batch)
        http.feed(batch)
        begin = time.process_time()
        found = timings.feed(batch)
        spent += time.process_time() - begin
        rows += row_count(found["timings"]["flow"]) if found else 0
    http.finish()
    rest = timings.finish()
    assert rows + row_count(rest["timings"]["flow"]) == len(segments)
    return spent


@pytest.mark.slow
def test_responses_that_nobody_acknowledges_are_linear(by_hand):
    short, long = (seconds_of_timings(by_hand, one_way_responses(by_hand, count)) for count in (2000, 16_000))
    assert long < 8 * 2.5 * short + 0.2  # a square would be 64 times
