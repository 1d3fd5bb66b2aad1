"""A sample of `make diff-proof`: both ends, copies, segmentation."""

from __future__ import annotations

import pytest

from pcaptool.diff import diff
from tests.proof.copies import COPIES, segmented, skewed
from tests.proof.ends import dropped
from tests.proof.frames import write
from tests.proof.prove import all_ends, capture, copy_case, ends_case, truncated_case

NAMES = ("repeat/loss-mid-cubic.server.pcap", "concurrent-4.server.pcap", "size-10240.server.pcap")
ENDS = {e.name: e for e in all_ends()}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("copy", "relation"), [(c, r) for c, (_, rs) in COPIES.items() for r in rs])
def test_a_copy_is_the_same_in_the_relation_meant(copy, relation, name):
    assert copy_case((copy, name, relation))[1] == []


@pytest.mark.parametrize(
    "name", [*NAMES, "live-synack-twice.server.pcap"]
)  # whose first packets repeat byte for byte
def test_a_copy_that_begins_later_lacks_only_what_it_did_not_see(name):
    assert truncated_case(name)[1] == []


@pytest.mark.parametrize("name", ["loss-mid-cubic", "loss-tail.1", "size-1354"])
def test_losses_between_both_ends_are_the_scenarios_drops(name):
    assert len(dropped(ENDS[name])) == name.startswith("loss")
    assert ends_case(ENDS[name])[1] == []


def test_segmentation_offload_is_no_loss(tmp_path):
    head, packets = capture("size-100k.server.pcap")
    a, b = tmp_path / "a.pcap", tmp_path / "b.pcap"
    write(a, head, packets)
    write(b, head, segmented(packets))
    found = diff(a, b, relation="path")
    assert (found.exit_code, found.differing) == (0, 0)
    assert found.verdict.startswith("Same stream, segmented differently: ")


def test_skew_is_estimated_and_removed(tmp_path):
    """busy-8s lasts eight seconds; the copy's clock runs 50 ppm faster, 0.4 ms over the capture."""
    head, packets = capture("busy-8s.client.pcap")
    a, b = tmp_path / "a.pcap", tmp_path / "b.pcap"
    write(a, head, packets)
    write(b, head, skewed(packets))
    found = diff(a, b, relation="path")
    assert "runs +50.0 ppm against it" in found.verdict
    delays = [t for t in found.timing if t.what.startswith("one_way")]
    assert len(delays) == 2
    assert all(abs(t.max_ns) < 1000 and abs(t.min_ns) < 1000 for t in delays)
