"""The counting kernels of the diff against the whole-array steps that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcaptool.diff import couples_kernel, skim_kernel
from pcaptool.engine import Engine


@pytest.fixture(params=["plain", "compiled"], scope="module")
def kernel(request):
    engine = Engine(request.param)
    return lambda name: engine.flat(couples_kernel.__name__, name)


@st.composite
def packets(draw):
    """Two sides' packets, and an injective map from some of A's to B's."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_a, n_b = draw(st.integers(1, 30)), draw(st.integers(1, 30))
    to_b = np.full(n_a, -1, np.int64)
    some = int(rng.integers(0, min(n_a, n_b) + 1))
    to_b[rng.permutation(n_a)[:some]] = rng.permutation(n_b)[:some]
    sides = []
    for n in (n_a, n_b):
        group = rng.integers(-1, 5, n)
        sides.append(
            (group, np.where(rng.random(n) < 0.2, -1, group & 1).astype(np.int8), rng.integers(0, 4, n))
        )
    return to_b, *sides


def pair_of(group, way):
    return np.where((group >= 0) & (way >= 0), group >> 1, -1)


@given(case=packets())
@settings(deadline=None)
def test_couples(kernel, case):
    to_b, (group_a, way_a, ts_a), (group_b, way_b, ts_b) = case
    order = np.lexsort((np.arange(len(to_b)), group_a))
    size = min(len(to_b), len(group_b))
    a, b, pair, way = (
        np.empty(size, np.int32),
        np.empty(size, np.int32),
        np.empty(size, np.int64),
        np.empty(size, np.int8),
    )
    count = kernel("couple")(order, to_b, (group_a, way_a), (group_b, way_b), (a, b, pair, way))
    left = order[to_b[order] >= 0]
    right = to_b[left]
    assert count == len(left)
    a, b, pair, way = a[:count], b[:count], pair[:count], way[:count]
    assert (a == left).all()
    assert (b == right).all()
    own, theirs = pair_of(group_a, way_a)[left], pair_of(group_b, way_b)[right]
    assert (pair == np.where(own >= 0, own, theirs)).all()
    assert (way == np.where((own < 0) & (theirs >= 0), way_b[right], way_a[left])).all()

    counted = (np.arange(count) % 3 != 0).astype(np.uint8)
    assert kernel("equal_times")(ts_a, ts_b, a, b, counted) == np.count_nonzero(
        (ts_a[a] == ts_b[b]) & (counted > 0)
    )
    usable, number = np.zeros(3, np.int64), np.arange(1, len(group_b) + 1, dtype=np.uint32)
    behind = kernel("disorder")((a, b), (group_a, group_b), number, counted, usable)
    some = np.flatnonzero((group_a[a] == group_b[b]) & (counted > 0))
    assert usable[0] == len(some)
    place, group = b[some], group_a[a[some]]
    assert behind == np.count_nonzero((np.diff(place) <= 0) & (np.diff(group) == 0))

    out = [np.empty(int(np.count_nonzero(way == w)), np.int64) for w in (0, 1) for _ in range(2)]
    done = np.zeros(2, np.int64)
    half = count // 2
    for part in (slice(0, half), slice(half, count)):
        kernel("steps")(
            (a[part], b[part], way[part]), ts_a, ts_b, int(ts_a[a].min(initial=9)), tuple(out), done
        )
    for w in (0, 1):
        mine = way == w
        assert (out[2 * w] == (ts_a[a] - ts_a[a].min(initial=9))[mine]).all()
        assert (out[2 * w + 1] == (ts_b[b] - ts_a[a])[mine]).all()


@given(case=packets())
@settings(deadline=None)
def test_counts(kernel, case):
    to_b, (group_a, _, ts_a), (group_b, _, ts_b) = case
    same = np.flatnonzero(to_b >= 0)
    equal = np.count_nonzero(ts_a[same] == ts_b[to_b[same]])
    assert kernel("equal_pairs")(ts_a, ts_b, to_b) == equal - (len(same) - equal)
    to_a = np.full(len(group_b), -1, np.int64)
    assert kernel("turned")(to_b, 0, to_a) == len(same)
    assert (to_a[to_b[same]] == same).all()
    assert np.count_nonzero(to_a >= 0) == len(same)

    shapes, groups = np.zeros(4, np.int64), np.zeros(4, np.int64)
    kernel("tally")(to_b, ts_a, group_a, shapes, groups)
    assert (shapes == np.bincount(ts_a[same], minlength=4)).all()
    assert (
        groups == np.bincount(group_a[same][(group_a[same] >= 0) & (group_a[same] < 4)], minlength=4)
    ).all()

    found_a, found_b = (np.arange(len(x)) % 3 == 0 for x in (group_a, group_b))
    found_a, found_b = found_a.astype(np.uint8), found_b.astype(np.uint8)
    either = (found_a[same] > 0) | (found_b[to_b[same]] > 0)
    kernel("mark_pairs")(to_b, found_a, found_b)
    assert ((found_a[same] > 0) == either).all()
    assert ((found_b[to_b[same]] > 0) == either).all()


@given(
    data=st.binary(max_size=80), at=st.integers(0, 79), change=st.integers(1, 255), seed=st.integers(0, 2**62)
)
@settings(deadline=None)
def test_a_changed_byte_changes_the_hash(data, at, change, seed):
    """One word that differs is never lost: each step is one-to-one."""
    first = skim_kernel.hashed(data, 0, len(data), seed)
    assert 0 <= first < 1 << 62
    if at < len(data):
        other = bytearray(data)
        other[at] ^= change
        assert skim_kernel.hashed(bytes(other), 0, len(data), seed) != first
    assert skim_kernel.hashed(data + b"\0", 0, len(data) + 1, seed) != first


@given(
    state=st.tuples(st.integers(0, 2**32 - 1), st.integers(0, skim_kernel.FACTOR_TOO - 1)),
    word=st.integers(0, 2**32 - 1),
)
def test_a_step_can_be_undone(state, word):
    low, carry = state
    for factor in (skim_kernel.FACTOR, skim_kernel.FACTOR_TOO):
        after = skim_kernel.stirred(low | carry << 32, word, factor)
        assert after < 1 << 63
        assert (after // factor ^ word, after % factor) == (low, carry)
