"""Captures that have nothing to do with each other are told in one line, whatever their links are."""

from __future__ import annotations

import struct

import pytest

from pcaptool.diff import diff
from pcaptool.report.diff import diff_text

RADIO, USB = 105, 189


@pytest.fixture
def capture(tmp_path):
    def write(name, link, frames):
        path = tmp_path / name
        body = b"".join(struct.pack("<IIII", 1, i, len(f), len(f)) + f for i, f in enumerate(frames))
        path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link) + body)
        return path

    return write


def test_other_links_at_the_same_times_are_one_line(capture):
    a = capture("a.pcap", RADIO, [b"\x80" + bytes([i]) * 40 for i in range(9)])
    b = capture("b.pcap", USB, [bytes([i]) * 40 for i in range(9)])
    found = diff(a, b)
    assert found.exit_code == 1
    assert found.verdict.startswith("Nothing in common")
    assert not found.differences.height
    assert len(diff_text(found).splitlines()) < 8


def test_the_same_packets_of_a_link_without_a_decoder_are_the_same(capture):
    frames = [bytes([i]) * 40 for i in range(9)]
    a = capture("a.pcap", USB, frames)
    assert diff(a, capture("b.pcap", USB, frames)).exit_code == 0
    other = diff(a, capture("c.pcap", USB, [*frames[:4], bytes(40)[:-1] + b"x", *frames[5:]]))
    assert [(r["field"], r["n_a"], r["n_b"]) for r in other.differences.to_dicts()] == [("payload", 5, 5)]


def test_no_packets(capture):
    empty, full = capture("a.pcap", USB, []), capture("b.pcap", USB, [b"abcd"])
    assert diff(empty, empty).exit_code == 2
    assert diff(empty, full).exit_code == 1


def test_one_packet_is_one_packet(capture):
    a = capture("a.pcap", RADIO, [b"\x80" + bytes(40)])
    b = capture("b.pcap", USB, [bytes([i]) * 40 for i in range(9)])
    assert diff(a, b).verdict.startswith("Nothing in common: A has 1 packet in 0 flows, B has 9 in 0,")
