"""Streams made to be slow: time grows with their length, not with its square (tshark 4.0 takes 51 s for the first)."""

from __future__ import annotations

import time

import pytest

from pcaptool.analyze.flows import FlowAnalysis
from pcaptool.analyze.http import HttpAnalysis

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


def seconds(by_hand, segments):
    best = 1e9
    for _ in range(3):
        flows, http = FlowAnalysis(), HttpAnalysis()
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
