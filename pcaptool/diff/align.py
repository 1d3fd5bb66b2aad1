"""Which packet of one side is which of the other.

Knows: keys of decreasing strictness within a group (a flow's direction, or packets of one kind), the
packet that was aligned before (anchor), and byte ranges for data that was cut differently.
Must not know: what the keys are made of, or which values differ in the end.

Passes, each over what the ones before left:
 0. what is known beforehand (frames that are the same, in the same order);
 1. rows whose key occurs equally often on both sides, in order (identity, content, place);
 2. the same keys behind equal anchors (in their direction and in the whole flow; in their direction), then
    anywhere, in order;
 3. the FINs; data whose ranges overlap: cut differently;
 4. packets of one kind and length, then of one place, between equal anchors: a field of the key itself
 differs.
Complexity: hash joins and sorts, O(n log n); never all against all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pcaptool.diff.arrays import Ints, Mask

__all__ = ["HOW", "Alignment", "align"]


HOW = ("identity", "content", "place", "segmentation", "kind", "stray")
_IDENTITY, _CONTENT, _PLACE, _SEGMENTATION, _KIND, _STRAY = range(6)
_SPAN = 1 << 44
# Rows are taken out again and again: other columns would only be copied with them.
_LOOKED_AT = {
    "row", "n", "g", "identity", "content", "place", "stray", "kind", "start", "end",
    *(f"{what}_{of}" for what in ("anchor", "heard") for of in ("n", "name")),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Alignment:
    """Rows that belong together.

    Parameters
    ----------
    one_a, one_b : numpy.ndarray of int64
        Row numbers of packets aligned one to one.
    one_how : numpy.ndarray of int64
        Index into `HOW`.
    seg_a, seg_b : numpy.ndarray of int64
        Row numbers of overlapping data packets where one side cut the bytes differently.
    seg_run : numpy.ndarray of int64
        Number of the run of bytes each of these rows belongs to.
    only_a, only_b : numpy.ndarray of int64
        Rows without a counterpart.
    """

    one_a: Ints
    one_b: Ints
    one_how: Ints
    seg_a: Ints
    seg_b: Ints
    seg_run: Ints
    only_a: Ints
    only_b: Ints


class _State:
    """Rows of both sides while they find their partners."""

    def __init__(self, a: pl.DataFrame, b: pl.DataFrame) -> None:
        self.a, self.b = (x.select([c for c in x.columns if c in _LOOKED_AT]) for x in (a, b))
        self.names = a["n"].cast(pl.Int64).to_numpy()
        self.to_b = np.full(a.height, -1, np.int64)
        self.to_a = np.full(b.height, -1, np.int64)
        self.how = np.full(a.height, -1, np.int64)
        self.in_run_a = np.zeros(a.height, np.bool_)
        self.in_run_b = np.zeros(b.height, np.bool_)

    def rest(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        free_a = np.flatnonzero((self.to_b < 0) & ~self.in_run_a)
        free_b = np.flatnonzero((self.to_a < 0) & ~self.in_run_b)
        return self.a[free_a], self.b[free_b]

    def take(self, on: list[str], how: int, *, equal: bool = False, where: pl.Expr | None = None) -> None:
        a, b = self.rest()
        if where is not None:
            a, b = a.filter(where), b.filter(where)
        if not a.height or not b.height:
            return
        if "anchor" in on:
            a, b = self._anchored(a, self.a, self.to_b >= 0), self._anchored(b, self.b, self.to_a >= 0)
        if "heard" in on:
            a, b = self._heard(a, self.a, self.to_b >= 0), self._heard(b, self.b, self.to_a >= 0)
        keys = [x.select(pl.struct(on).hash()).to_series().to_numpy() for x in (a, b)]
        at_a, at_b = _matches(keys[0], keys[1], equal=equal)
        self.put(a["row"].to_numpy()[at_a], b["row"].to_numpy()[at_b], how)

    def put(self, rows_a: npt.NDArray[Any], rows_b: npt.NDArray[Any], how: int) -> None:
        self.to_b[rows_a] = rows_b
        self.to_a[rows_b] = rows_a
        self.how[rows_a] = how

    def _anchored(self, some: pl.DataFrame, whole: pl.DataFrame, done: Mask) -> pl.DataFrame:
        """Adds the nearest aligned packet before each row in its group, as a number of side A, or -1."""
        order = np.arange(whole.height)
        anchor = self._latest(whole, whole["g"].to_numpy(), done, order, "anchor")
        return some.with_columns(anchor=pl.Series(anchor[some["row"].to_numpy()], dtype=pl.Int64))

    def _heard(self, some: pl.DataFrame, whole: pl.DataFrame, done: Mask) -> pl.DataFrame:
        """The same, but of both directions of the flow in capture order: what its sender had heard."""
        group = whole["g"].to_numpy() // 2
        heard = self._latest(whole, group, done, np.lexsort((whole["n"].to_numpy(), group)), "heard")
        return some.with_columns(heard=pl.Series(heard[some["row"].to_numpy()], dtype=pl.Int64))

    def _latest(self, whole: pl.DataFrame, group: Ints, done: Mask, order: Ints, what: str) -> Ints:
        """For each row the latest aligned one no later in `order` within its group, named by side A's number."""
        of_a = whole is self.a
        place = np.maximum.accumulate(np.where(done[order], np.arange(len(order)), -1))
        at = np.where(place >= 0, order[place], -1)
        same = (at >= 0) & (group[at] == group[order])
        name = np.where(same, self.names[at if of_a else self.to_a[at]], -1)
        if f"{what}_n" in whole.columns:  # packets without a row here that were aligned beforehand
            here = np.where(same, whole["n"].to_numpy()[at], -1)
            past, past_name = (whole[f"{what}_{c}"].to_numpy()[order] for c in ("n", "name"))
            name = np.where(past > here, past_name, name)
        out = np.full(len(order), -1, np.int64)
        out[order] = name
        return out


def align(a: pl.DataFrame, b: pl.DataFrame, known: tuple[Ints, Ints] | None = None) -> Alignment:
    """Align two sets of rows.

    Parameters
    ----------
    a, b : polars.DataFrame
        Sorted by `g` and then by time order, with columns row (0, 1, 2 ...), g (group, negative: only stray),
        n (packet number), identity, content, place, stray (keys, u64; null: none), kind, start, end. Groups
        2k and 2k + 1 are the two directions of one flow. Where packets without rows were aligned beforehand,
        anchor_n, anchor_name, heard_n, heard_name tell of the latest one before each row, in its group and in its
        flow: its number, and that of its partner in A.
    known : tuple of numpy.ndarray, optional
        Rows that are aligned already.

    Returns
    -------
    Alignment
    """
    state = _State(a, b)
    if known is not None:
        state.put(*known, _IDENTITY)
    grouped = pl.col("g") >= 0
    for key, how in (("identity", _IDENTITY), ("content", _CONTENT), ("place", _PLACE)):
        state.take(["g", key], how, equal=True, where=grouped & pl.col(key).is_not_null())
    for extra in (["anchor", "heard"], ["anchor"], []):
        for key, how in (("content", _CONTENT), ("place", _PLACE)):
            state.take(["g", key, *extra], how, where=grouped & pl.col(key).is_not_null())
    # One FIN a side: the end of the stream, wherever it lies.
    state.take(["g", "kind"], _KIND, equal=True, where=grouped & (pl.col("kind") == "fin"))
    runs = _take_runs(state)
    size = pl.col("end") - pl.col("start")
    state.a, state.b = state.a.with_columns(size=size), state.b.with_columns(size=size)
    state.take(["g", "kind", "size", "anchor"], _KIND, where=grouped)
    state.take(["g", "start", "size", "anchor"], _KIND, where=grouped & pl.col("start").is_not_null())
    state.take(["stray"], _STRAY, equal=True, where=pl.col("stray").is_not_null())
    one = np.flatnonzero(state.to_b >= 0)
    return Alignment(
        one, state.to_b[one], state.how[one], *runs,
        np.flatnonzero((state.to_b < 0) & ~state.in_run_a),
        np.flatnonzero((state.to_a < 0) & ~state.in_run_b),
    )  # fmt: skip


def _matches(a: npt.NDArray[np.uint64], b: npt.NDArray[np.uint64], *, equal: bool) -> tuple[Ints, Ints]:
    """Indices of equal keys, the k-th occurrence with the k-th; if `equal`, only of keys as frequent in both."""
    order_a, order_b = np.argsort(a, kind="stable"), np.argsort(b, kind="stable")
    keys_a, first_a, count_a = np.unique(a[order_a], return_index=True, return_counts=True)
    keys_b, first_b, count_b = np.unique(b[order_b], return_index=True, return_counts=True)
    _, in_a, in_b = np.intersect1d(keys_a, keys_b, assume_unique=True, return_indices=True)
    if equal:
        same = count_a[in_a] == count_b[in_b]
        in_a, in_b = in_a[same], in_b[same]
    sizes = np.minimum(count_a[in_a], count_b[in_b])
    kth = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    at_a = np.repeat(first_a[in_a], sizes) + kth
    at_b = np.repeat(first_b[in_b], sizes) + kth
    return order_a[at_a], order_b[at_b]


def _take_runs(state: _State) -> tuple[Ints, Ints, Ints]:
    """Data ranges that overlap: runs of bytes that both sides sent, cut differently."""
    none = np.zeros(0, np.int64)
    a, b = (x.filter((pl.col("g") >= 0) & pl.col("kind").is_in(["data", "fin"])) for x in state.rest())
    if not a.height or not b.height:
        return none, none, none
    both = pl.concat(
        [x.select("g", "start", "end", "row", side=pl.lit(s, pl.Int8)) for s, x in enumerate((a, b))]
    ).filter(pl.col("start").is_not_null())
    base = (pl.col("g").rank("dense").cast(pl.Int64)) * _SPAN
    both = both.with_columns(_s=base + pl.col("start"), _e=base + pl.col("end")).sort(
        "_s", "_e", "side", "row"
    )
    begin, end = both["_s"].to_numpy(), both["_e"].to_numpy()
    side, row = both["side"].to_numpy(), both["row"].to_numpy()
    reach = np.maximum.accumulate(end)
    run = np.cumsum(np.r_[True, begin[1:] >= reach[:-1]]) - 1
    has_a = np.bincount(run, side == 0) > 0
    has_b = np.bincount(run, side == 1) > 0
    lone = (np.bincount(run) == 2) & has_a & has_b
    pair = np.flatnonzero(lone[run])
    state.put(row[pair[side[pair] == 0]], row[pair[side[pair] == 1]], _PLACE)
    mixed = (has_a & has_b & ~lone)[run]
    return _overlaps(state, (begin[mixed], end[mixed]), side[mixed], row[mixed], run[mixed])


def _overlaps(
    state: _State, spans: tuple[Ints, Ints], side: npt.NDArray[Any], row: npt.NDArray[Any], run: Ints
) -> tuple[Ints, Ints, Ints]:
    """Pairs of overlapping rows in runs: each row with the other side's row in which it begins."""
    begin, end = spans
    pairs = []
    for mine, other in ((0, 1), (1, 0)):
        at = np.flatnonzero(side == mine)
        theirs = np.flatnonzero(side == other)
        # Of the other side's rows that begin no later, the one that reaches furthest.
        furthest = np.maximum.accumulate(end[theirs])
        best = np.maximum.accumulate(np.where(end[theirs] == furthest, np.arange(len(theirs)), 0))
        found = np.searchsorted(begin[theirs], begin[at], side="right") - 1
        ok = found >= 0
        found = best[found]
        ok[ok] = end[theirs[found[ok]]] > begin[at[ok]]
        left, right = row[at[ok]], row[theirs[found[ok]]]
        pairs.append(np.stack([left, right, run[at[ok]]] if mine == 0 else [right, left, run[at[ok]]]))
    joined = np.unique(np.concatenate(pairs, axis=1), axis=1)
    state.in_run_a[joined[0]] = True
    state.in_run_b[joined[1]] = True
    order = np.lexsort((joined[1], joined[0]))
    seg_a, seg_b, seg_run = (np.ascontiguousarray(x[order], dtype=np.int64) for x in joined)
    return seg_a, seg_b, seg_run
