"""One known change in a real capture: the diff finds it at the right packet, names its cause, and reports nothing else.

The changes are those of `make diff-proof`, which takes many more of them; here hypothesis draws the packets.
"""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pcaptool.diff import diff
from tests.proof.frames import write
from tests.proof.mutations import MUTATIONS, ONLY_EXACT, mistakes
from tests.proof.prove import capture, mutation_case

NAMES = tuple(
    f"repeat/{n}.server.pcap" for n in ("python-1k.1", "nginx-1k.1", "loss-tail.1", "loss-mid-cubic")
)


@cache
def places(mutation):
    """Every packet of the captures that a mutation applies to."""
    return [
        (name, i)
        for name in NAMES
        for i in range(len(capture(name)[1]))
        if MUTATIONS[mutation](capture(name)[1], i) is not None
    ]


@pytest.mark.parametrize("relation", ["model", "exact"])
@pytest.mark.parametrize("mutation", sorted(MUTATIONS.keys() - {"merge"}))
@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_change_is_found_where_it_is_and_nothing_else(mutation, relation, data):
    name, i = data.draw(st.sampled_from(places(mutation)))
    relation = "exact" if mutation in ONLY_EXACT else relation
    assert mutation_case((mutation, name, i, relation))[1] == []


def test_two_merged_packets_are_found():
    name = "size-100k.server.pcap"
    i = next(i for i in range(len(capture(name)[1])) if MUTATIONS["merge"](capture(name)[1], i))
    assert mutation_case(("merge", name, i, "exact"))[1] == []


@pytest.mark.parametrize(("done", "claimed"), [("ttl", "window"), ("drop", "swap"), ("push", "payload byte")])
def test_the_judge_sees_a_wrong_answer(done, claimed, tmp_path):
    name, i = "repeat/python-1k.1.server.pcap", 7
    head, packets = capture(name)
    a, b = tmp_path / "a.pcap", tmp_path / "b.pcap"
    write(a, head, packets)
    write(b, head, MUTATIONS[done](packets, i).packets)
    expected = MUTATIONS[claimed](packets, i)
    kinds = {
        m.split(":")[0] for m in mistakes(claimed, packets, expected, diff(a, b, relation="exact"), "exact")
    }
    assert {"missed", "too much", "cause"} <= kinds
