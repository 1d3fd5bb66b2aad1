"""The table `alignment` tells each packet's one-way delay, whatever the clocks of the two points say."""

from __future__ import annotations

from pathlib import Path

import pytest

from pcaptool.diff import diff
from tests.proof.copies import CLIENT, segmented
from tests.proof.frames import moved, read, write

LAB = Path(__file__).resolve().parents[3] / "fixtures" / "captures" / "lab"
NAME = LAB / "size-10240.server.pcap"
OFFSET_NS = 7_000_000_123


def the_other_point(packets):
    """Seen nearer to the server: packets of the client later, of the server earlier; by number in A how much."""
    delay = {n: 1_000_000 + n * 37 % 5 * 100_000 for n in range(1, len(packets) + 1)}
    delay |= dict.fromkeys(range(1, 9), 1_000_000)
    sign = {n: 1 if p.raw[26:30] == CLIENT else -1 for n, p in enumerate(packets, 1)}
    copies = [moved(p, OFFSET_NS + sign[n] * delay[n]) for n, p in enumerate(packets, 1)]
    return sorted(copies, key=lambda p: (p.sec, p.frac)), delay


@pytest.mark.parametrize("turned", [False, True])
def test_delays_are_those_of_the_path(tmp_path, turned):
    head, packets = read(NAME)
    other, delay = the_other_point(packets)
    b = tmp_path / "b.pcap"
    write(b, head, other)
    found = diff(b, NAME, relation="path") if turned else diff(NAME, b, relation="path")
    key = "n_b" if turned else "n_a"
    rows = found.alignment.filter(found.alignment["flow"] >= 0).select(key, "delay_ns").rows()
    assert len(rows) > 10
    assert [(n, delay[n]) for n, _ in rows] == rows
    times = {t.what: t for t in found.timing}
    assert {times[f"one_way_{way}"].min_ns for way in ("fwd", "rev")} == {1_000_000}


def test_no_delay_where_it_is_not_known(tmp_path):
    head, packets = read(NAME)
    b = tmp_path / "b.pcap"
    write(b, head, segmented([moved(p, OFFSET_NS) for p in packets]))
    cut = diff(NAME, b, relation="path").alignment
    assert cut.filter(cut["how"] == "segmentation")["delay_ns"].null_count() > 1
    assert cut.filter(cut["how"] != "segmentation")["delay_ns"].drop_nulls().to_list()
    one_way = [p for p in packets if p.raw[26:30] == CLIENT]
    write(b, head, one_way)
    a = tmp_path / "a.pcap"
    write(a, head, [moved(p, OFFSET_NS) for p in one_way])
    assert not diff(a, b, relation="path").alignment["delay_ns"].count()
    for relation in ("model", "exact"):
        assert not diff(NAME, NAME, relation=relation).alignment["delay_ns"].count()
