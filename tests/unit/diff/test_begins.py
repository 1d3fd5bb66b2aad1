"""A capture that began later or ended earlier is told as that, not as losses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pcaptool.diff import diff
from tests.proof.frames import read, write

LAB = Path(__file__).resolve().parents[3] / "fixtures" / "captures" / "lab"
NAMES = ["size-1m.server", "loss-mid-reno.server", "keepalive-5.client", "gro-100k.client"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("relation", ["path", "exact"])
@pytest.mark.parametrize("turned", [False, True])
def test_a_late_start_and_an_early_end(tmp_path, name, relation, turned):
    source = LAB / f"{name}.pcap"
    head, packets = read(source)
    part = tmp_path / "part.pcap"
    for cut, cause in ((packets[9:], "begins-later"), (packets[:-9], "ends-earlier")):
        write(part, head, cut)
        found = diff(part, source, relation=relation) if turned else diff(source, part, relation=relation)
        told = found.differences.filter(field="frame")
        assert told.height == 9
        assert set(told["cause"]) == {cause}
        assert (
            found.verdict.count("'s capture begins later"),
            found.verdict.count("'s capture ends earlier"),
        ) == ((1, 0) if cause == "begins-later" else (0, 1))
        assert ("A's capture" if turned else "B's capture") in found.verdict


@pytest.mark.parametrize("n", [0, 3, 5])
def test_a_packet_alone_may_have_been_lost(tmp_path, n):
    head, packets = read(LAB / "size-1m.server.pcap")
    part = tmp_path / "part.pcap"
    write(part, head, packets[:n] + packets[n + 1 :])
    found = diff(LAB / "size-1m.server.pcap", part, relation="path")
    assert not set(found.differences["cause"]) & {"begins-later", "ends-earlier"}


def test_who_talks_about_other_things_has_nothing_in_common(tmp_path):
    """Without a packet or a flow in common kinds and lengths say nothing, nor does a SYN."""
    head, packets = read(LAB / "size-1m.server.pcap")
    syn = next(p for p in packets if p.is_tcp and p.flags == 2)
    at = syn.tcp_at
    other = syn.raw[: at + 14] + b"\x12\x34" + syn.raw[at + 16 :]  # another window
    other = other[: at + 4] + b"abcd" + other[at + 8 :]
    write(tmp_path / "syn.pcap", head, [type(syn)(syn.sec, syn.frac, syn.length, other)])
    found = diff(LAB / "size-1m.server.pcap", tmp_path / "syn.pcap")
    assert found.verdict.startswith("Nothing in common")
    write(tmp_path / "same.pcap", head, [syn])
    assert not diff(LAB / "size-1m.server.pcap", tmp_path / "same.pcap").verdict.startswith(
        "Nothing in common"
    )


def test_foreign_traffic_is_told_as_that(tmp_path):
    """UDP, ICMPv6 and IPv6 fragments of somebody else: no difference is without a cause, none in our own flow."""
    head, packets = read(LAB / "size-1m.server.pcap")
    _, others = read(LAB / "udp-v6.server.pcap")
    write(tmp_path / "both.pcap", head, packets + [replace(p, sec=packets[-1].sec + 1) for p in others])
    found = diff(LAB / "size-1m.server.pcap", tmp_path / "both.pcap", relation="path")
    assert set(found.differences["cause"]) == {"flow-missing", "other-packets"}
    assert found.differences["n_b"].min() > len(packets)
