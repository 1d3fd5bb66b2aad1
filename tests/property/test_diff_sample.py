"""Ranks of long samples, and the longest common order by stretches, against sorting and searching all at once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pcaptool.diff import couples_kernel
from pcaptool.diff.sample import Sample
from pcaptool.diff.structure import _outside_longest

NUMBERS = st.integers(-(1 << 61), 1 << 61) | st.integers(-50, 50)


@given(
    parts=st.lists(st.lists(NUMBERS, max_size=20), min_size=1, max_size=6),
    few=st.integers(1, 5),
    data=st.data(),
)
def test_ranks(parts, few, data):
    arrays = [np.array(part, np.int64) for part in parts]
    ordered = np.sort(np.concatenate(arrays)).tolist()
    if not ordered:
        return
    ranks = tuple(data.draw(st.lists(st.integers(0, len(ordered) - 1), min_size=1, max_size=4)))
    sample = Sample(lambda: arrays, len(ordered), few)
    assert sample.at_ranks(ranks) == tuple(ordered[r] for r in ranks)
    middle = len(ordered) // 2
    assert sample.twice_median() == ordered[middle] + ordered[(len(ordered) - 1) // 2]


@given(
    order=st.integers(0, 60).flatmap(lambda n: st.permutations(range(n))),
    near=st.booleans(),
    seed=st.integers(0, 99),
)
def test_moved_packets_by_stretches(order, near, seed):
    if near:  # mostly in order, as captures are
        rng = np.random.default_rng(seed)
        order = np.argsort(np.arange(len(order)) + rng.random(len(order)) * 4).tolist()
    number = np.array(order, np.uint32)
    count = len(number)
    group = np.sort(np.random.default_rng(seed).integers(0, 3, count))
    marks, top, at = np.zeros(count, np.uint8), np.zeros(count, np.int64), np.arange(count)
    counted = np.ones(count, np.uint8)
    couples_kernel.unsettled((at, at), (group, group), number, counted, top, marks)
    rows, moved = np.flatnonzero(marks), []
    for stretch in np.split(rows, np.flatnonzero(marks[rows] == 2)[:-1] + 1):
        assert len(stretch) != 1
        assert len(set(group[stretch].tolist())) <= 1
        moved += [int(stretch[i]) for i in _outside_longest(number[stretch])]
    whole = []
    for g in range(3):
        mine = np.flatnonzero(group == g)
        whole += [int(mine[i]) for i in _outside_longest(number[mine])]
    assert moved == whole
