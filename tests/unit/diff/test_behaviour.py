"""Rounds, bursts, recoveries, timers; and the test of two distributions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcaptool.diff import diff
from pcaptool.diff.behaviour_kernel import MEASURES, STATE, behave
from pcaptool.diff.distributions import distribution_of, ks_probability, ks_statistic
from pcaptool.diff.numbers_kernel import ACK, DATA, NONE

LAB = Path(__file__).resolve().parents[3] / "fixtures" / "captures" / "lab" / "repeat"
MS = 1_000_000


def measures(*packets):
    """Of (group, start, end, ack, ms): data where end > start, else a pure ACK."""
    group, start, end, ack, ts = (np.array(c, np.int64) for c in zip(*packets, strict=True))
    kind = np.where(end > start, DATA, ACK)
    state = np.zeros((2, STATE), np.int64)
    behave(
        (group.data, kind.data, start.data, end.data, ack.data, (ts * MS).data), range(len(ts)), state.data
    )
    return dict(zip(MEASURES, state[1].tolist(), strict=False))


def test_a_round_ends_with_the_acknowledgement_of_its_first_segment():
    found = measures(
        (1, 1, 11, 1, 0), (1, 11, 21, 1, 0), (0, 1, 1, 11, 20), (1, 21, 31, 1, 20), (1, 31, 41, 1, 20),
        (0, 1, 1, 21, 21), (1, 41, 51, 1, 21), (0, 1, 1, 31, 40), (1, 51, 61, 1, 40),
    )  # fmt: skip
    assert found == {
        "rounds": 3, "bursts": 4, "largest burst": 20, "largest flight": 30, "repeated segments": 0,
        "recoveries": 0, "timers": 0,
    }  # fmt: skip


def test_one_recovery_repeats_several_segments_until_its_end_is_acknowledged():
    sent = [(1, at, at + 10, NONE, 0) for at in range(1, 51, 10)]
    again = [(1, 1, 11, NONE, 5), (1, 11, 21, NONE, 6)]
    found = measures(*sent, *again, (0, 1, 1, 51, 7), (1, 51, 61, NONE, 7), (1, 51, 61, NONE, 300))
    assert (found["repeated segments"], found["recoveries"], found["timers"]) == (3, 2, 1)


@pytest.mark.parametrize(
    ("name", "recoveries", "timers"), [("loss-mid-cubic", 1, 0), ("loss-tail.1", 1, 1), ("python-1k.1", 0, 0)]
)
def test_the_scenarios_losses_are_recovered_from(name, recoveries, timers):
    path = LAB / f"{name}.server.pcap"
    rows = diff(path, path, relation="model").behaviour.filter(direction="server to client").to_dicts()
    found = {row["measure"]: row["a"] for row in rows}
    assert (found["recoveries"], found["timers"]) == (recoveries, timers)
    assert all(row["a"] == row["b"] and not row["differing"] for row in rows)


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=30),
    st.lists(st.integers(0, 50), min_size=1, max_size=30),
)
def test_the_statistic_is_the_largest_distance_of_the_step_functions(x, y):
    slow = max(abs(sum(v <= t for v in x) / len(x) - sum(v <= t for v in y) / len(y)) for t in {*x, *y})
    assert ks_statistic(np.sort(x), np.sort(y)) == pytest.approx(slow, abs=1e-12)


def test_the_probability_is_that_of_random_relabelling():
    """A permutation test is the oracle: how often does chance part the samples as far?"""
    rng = np.random.default_rng(7)
    x, y = rng.normal(0, 1, 60), rng.normal(0.45, 1, 70)
    distance = ks_statistic(np.sort(x), np.sort(y))
    both, hits = np.concatenate([x, y]), 0
    for _ in range(4000):
        mixed = rng.permutation(both)
        hits += ks_statistic(np.sort(mixed[:60]), np.sort(mixed[60:])) >= distance - 1e-12
    assert ks_probability(distance, 60, 70) == pytest.approx(hits / 4000, abs=0.03)


def test_few_values_are_not_tested():
    few = distribution_of("gap_fwd", np.array([1, 2, 3]), np.arange(9))
    assert (few.distance, few.probability) == (None, None)
    assert distribution_of("gap_fwd", np.array([], np.int64), np.arange(9)) is None
