"""Pairs as people have them: other snap lengths, other links, mirror ports, captures that begin in the midst."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from pcaptool.diff import diff
from tests.proof.copies import SERVER
from tests.proof.frames import moved, read, write

LAB = Path(__file__).resolve().parents[3] / "fixtures" / "captures" / "lab"
NAME = LAB / "gro-100k.server.pcap"
LINKTYPE_SLL2 = 276


@pytest.fixture
def pair(tmp_path):
    """A capture, its packets, and how to write another one."""
    head, packets = read(NAME)

    def other(changed, *, linktype=None):
        path = tmp_path / "b.pcap"
        start = head[:20] + linktype.to_bytes(4, "little") if linktype else head
        write(path, start, changed)
        return path

    return NAME, packets, other


@pytest.mark.parametrize(("relation", "exit_code"), [("path", 0), ("exact", 1)])
def test_another_snap_length_is_no_other_payload(pair, relation, exit_code):
    a, packets, other = pair
    b = other([replace(p, raw=p.raw[:80]) for p in packets])
    found = diff(a, b, relation=relation)
    assert found.exit_code == exit_code, found.verdict
    assert set(found.differences["field"]) <= {"payload"}
    assert any("more of their payload on one side" in note for note in found.notes) == (relation == "path")


def test_a_changed_byte_in_front_of_the_cut_is_found(pair):
    """Of packets that are captured up to the same place."""
    a, packets, other = pair
    cut = [replace(p, raw=p.raw[:80]) for p in packets]
    at = next(i for i, p in enumerate(cut) if p.is_tcp and p.payload_bytes > 100)
    raw = bytearray(packets[at].raw)
    raw[70] ^= 1
    cut[at] = replace(packets[at], raw=bytes(raw))
    found = diff(a, other(cut), relation="path")
    assert found.differences.select("field", "n_a").rows() == [("payload", at + 1)]


@pytest.mark.parametrize(
    ("linktype", "change", "field"),
    [
        (None, lambda p: p.raw[:12] + b"\x81\x00\x00\x2a" + p.raw[12:], "link.vlan_id"),
        (
            LINKTYPE_SLL2,
            lambda p: (
                p.raw[12:14]
                + struct.pack(">HIHBB", 0, 2, 1, 4 * (p.raw[26:30] == SERVER), 6)
                + p.raw[6:12]
                + bytes(2)
                + p.raw[14:]
            ),
            "link.kind",
        ),
    ],
)
def test_another_link_is_one_cause(pair, linktype, change, field):
    a, packets, other = pair
    b = other(
        [replace(p, raw=change(p), length=p.length + len(change(p)) - len(p.raw)) for p in packets],
        linktype=linktype,
    )
    found = diff(a, b, relation="path")
    assert set(found.differences.select("field", "cause").rows()) == {(field, "other-link")}
    assert f"The link layer differs in {len(packets)} packets" in found.verdict


@pytest.mark.parametrize("turned", [False, True])
def test_packets_of_a_mirror_port_are_not_lost(pair, turned):
    a, packets, other = pair
    b = other([copy for p in packets for copy in (p, moved(p, 1500))])
    found = diff(b, a, relation="path") if turned else diff(a, b, relation="path")
    assert set(found.differences.select("field", "cause").rows()) == {("frame", "captured-twice")}
    assert f"{'A' if turned else 'B'} has {len(packets)} packets twice" in found.verdict


@pytest.mark.parametrize("turned", [False, True])
def test_two_captures_that_begin_in_the_midst_are_a_path(tmp_path, turned):
    """What was on its way when the later one began was not lost either."""
    name = LAB / "repeat" / "loss-mid-cubic"
    sides = []
    for end, first in (("client", 20), ("server", 50)):
        head, packets = read(Path(f"{name}.{end}.pcap"))
        path = tmp_path / f"{end}.pcap"
        write(path, head, packets[first:])
        sides.append(path)
    found = diff(*sides[::-1]) if turned else diff(*sides)
    assert found.relation == "path"
    causes = found.differences.filter(found.differences["field"] == "frame")["cause"]
    assert set(causes) == {"begins-later"}, found.differences
    assert f"{'A' if turned else 'B'}'s capture begins later" in found.verdict
