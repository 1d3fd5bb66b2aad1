"""What a path does to packets is called by its name: NAT, clamped MSS, stripped option, TTL, DSCP, capture loss."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pcaptool.diff import diff
from pcaptool.diff.path import heard_of
from pcaptool.diff.whole import Whole
from tests.proof.copies import readdressed, reported
from tests.proof.frames import edit, number, read, write

LAB = Path(__file__).resolve().parents[3] / "fixtures" / "captures" / "lab"
NAME = LAB / "repeat" / "python-1k.1.server.pcap"


def changed(at, value):
    """Every TCP packet for which `at` tells a place, with other bytes there."""

    def copy(packets):
        places = [at(p) if p.is_tcp else None for p in packets]
        return [p if x is None else edit(p, x, value(p, x)) for p, x in zip(packets, places, strict=True)]

    return copy


def translated(packets):
    """As NAT does it: IP addresses and ports; ARP stays."""
    return [q if q.is_tcp else p for p, q in zip(packets, reported_behind(packets), strict=True)]


def reported_behind(packets):
    return readdressed(reported(packets))


@pytest.mark.parametrize(
    ("copy", "cause", "words"),
    [
        (translated, "nat", "192.0.2.2 to 10.0.0.9"),
        (changed(lambda p: p.option(2), lambda p, at: p.raw[at : at + 2] + number(p, at + 2, 2, -60)),
         "mss-clamp", "1460 in A, 1400 in B"),
        (changed(lambda p: p.option(8), lambda *_: b"\x01" * 10), "option-missing", "B lacks TCP option ts"),
        (changed(lambda p: p.option(4), lambda *_: b"\x01" * 2), "option-missing", "B lacks TCP option sackOK"),
        (changed(lambda _: 22, lambda p, _: bytes((p.raw[22] - 3,))), "hop", "time to live"),
        (changed(lambda _: 15, lambda *_: b"\x28"), "dscp", "0x00 in A, 0x28 in B"),
    ],
)  # fmt: skip
def test_a_rewriting_is_one_named_cause(tmp_path, copy, cause, words):
    head, packets = read(NAME)
    b = tmp_path / "b.pcap"
    write(b, head, copy([replace(p, sec=p.sec + 7) for p in packets]))
    found = diff(NAME, b, relation="path")
    assert found.exit_code == 1
    assert set(found.differences["cause"]) == {cause}, found.differences
    assert words in found.verdict


def test_the_same_connection_behind_nat_is_a_path(tmp_path):
    head, packets = read(NAME)
    b = tmp_path / "b.pcap"
    write(b, head, translated([replace(p, sec=p.sec + 7) for p in packets]))
    found = diff(NAME, b)
    assert found.relation == "path"
    assert found.flows["how"].to_list() == ["same connection, other addresses"]


@pytest.mark.parametrize(("which", "cause"), [("client", "capture-loss"), ("server", "not-captured")])
def test_a_packet_that_a_capture_missed_was_not_lost(tmp_path, which, cause):
    """Nobody sent it again, and its receiver acknowledged it: the network is not to blame."""
    ends = {end: LAB / "repeat" / f"loss-tail.1.{end}.pcap" for end in ("client", "server")}
    head, packets = read(ends[which])
    missed = next(i for i, p in enumerate(packets) if i > 8 and p.is_tcp and p.payload_bytes > 1000)
    ends[which] = tmp_path / "cut.pcap"
    write(ends[which], head, [p for i, p in enumerate(packets) if i != missed])
    found = diff(ends["client"], ends["server"], relation="path")
    key = "n_b" if which == "client" else "n_a"
    assert cause in set(found.differences["cause"])
    assert found.differences.filter(cause=cause).height == 1
    assert found.differences.filter(cause=cause)[key].null_count() == 0


def test_heard_is_what_the_other_side_acknowledges_without_having_it():
    asked = tuple(np.array(x, np.int64) for x in ((0, 0, 0), (1, 11, 21), (11, 21, 31)))
    nothing = np.zeros(2, np.int64)
    group, start, end, ack = (np.array(x, np.int64) for x in ((0, 1), (1, 1), (11, 1), (1, 21)))
    other = Whole(
        np.array([1, 2], np.uint32), nothing, nothing, group, group, nothing, start, end, ack, nothing, nothing,
        np.array([0, 1]), 0,
    )  # fmt: skip
    # 1:11 is there; 11:21 is not, but acknowledged; 21:31 is neither.
    assert np.array_equal(heard_of(asked, other), [False, True, False])


def test_a_cause_counts_what_the_list_leaves_out(monkeypatch, tmp_path):
    monkeypatch.setattr("pcaptool.diff.compare.DIFFERENCES_A_FIELD", 3)
    head, packets = read(NAME)
    b = tmp_path / "b.pcap"
    lower = changed(lambda _: 22, lambda p, _: bytes((p.raw[22] - 3,)))
    write(b, head, lower([replace(p, sec=p.sec + 7) for p in packets]))
    count = sum(p.is_tcp for p in packets)
    assert count > 3
    assert f"The time to live differs in {count} packets" in diff(NAME, b, relation="path").verdict
