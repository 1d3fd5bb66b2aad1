"""The aligned packets as people read them, and the alignment table.

Knows: in which order a reader wants to see both sides.
Must not know: a terminal (`report.diff`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pcaptool.diff.align import HOW
from pcaptool.diff.arrays import Ints
from pcaptool.diff.compare import direction_text
from pcaptool.diff.path import Clocks, one_way
from pcaptool.diff.result import ALIGNMENT_SCHEMA
from pcaptool.diff.room import rising, spans
from pcaptool.diff.structure import packet_text
from pcaptool.diff.text import options_text
from pcaptool.diff.whole import Matches, Whole

__all__ = ["LISTED", "Packets", "Rows", "listing_of"]

LISTED = 500
_WORDS = [*HOW, "only a", "only b"]
_SEGMENTATION, _ONLY_A, _ONLY_B = HOW.index("segmentation"), len(HOW), len(HOW) + 1

# A side and packet numbers to their units, by number.
Packets = Callable[[str, list[int]], dict[int, dict[str, Any]]]


class Rows:
    """The alignment table (`ALIGNMENT_SCHEMA`), made a bounded number of rows at a time.

    Packets of both sides that belong together, in A's order; those that only B has where they fell.

    Parameters
    ----------
    matches : Matches
    a, b : Whole
    clocks : Clocks or None
        Of two points on a path: what one-way delays need.
    """

    def __init__(self, matches: Matches, a: Whole, b: Whole, clocks: Clocks | None = None) -> None:
        self._matches, self._a, self._b = matches, a, b
        self._clocks = clocks if clocks is not None and clocks.both_ways else None
        self._by_n = None if rising(a.n) else np.argsort(a.n, kind="stable")
        # Most rows: A's packets with at most one partner. The few others: both indices, and behind which number of A.
        few_a = np.concatenate([matches.seg_a, np.full(len(matches.only_b), -1)])
        few_b = np.concatenate([matches.seg_b, matches.only_b])
        place = np.empty(len(few_a), np.int64)
        place[few_a >= 0] = a.n[matches.seg_a]
        place[few_a < 0] = _fell_behind(matches, a, b, matches.only_b)
        order = np.lexsort((b.n[few_b], few_a < 0, place))
        self._few = few_a[order], few_b[order], place[order]
        self._cut = np.unique(matches.seg_a)
        self.height = a.height - len(self._cut) + len(few_a)

    def __call__(self) -> Iterator[pl.DataFrame]:
        """All rows, in parts."""
        few_place, first = self._few[2], 0
        for span in spans(self._a.height):
            base_a = np.arange(span.start, span.stop) if self._by_n is None else self._by_n[span]
            last = span.stop == self._a.height
            behind = (
                len(few_place)
                if last
                else int(np.searchsorted(few_place, self._a.n[base_a[-1]], side="right"))
            )
            yield self._table(*self._joined(base_a, slice(first, behind)))
            first = behind

    def _joined(self, base_a: Ints, few: slice) -> tuple[Ints, Ints, Ints]:
        """Some of A's packets, and the few others among them: both indices, and how."""
        base_a = base_a[~np.isin(base_a, self._cut)] if len(self._cut) else base_a
        base_b = self._matches.to_b[base_a]
        base_how = np.where(base_b >= 0, self._matches.how[base_a], _ONLY_A)
        few_a, few_b, place = (column[few] for column in self._few)
        few_how = np.where(few_a >= 0, _SEGMENTATION, _ONLY_B)
        behind = np.searchsorted(self._a.n[base_a], place, side="right")
        at_a, at_b, how = (
            np.insert(x, behind, y) for x, y in ((base_a, few_a), (base_b, few_b), (base_how, few_how))
        )
        return at_a, at_b, how

    def _table(self, at_a: Ints, at_b: Ints, how: Ints) -> pl.DataFrame:
        """Rows of indices (-1: none) as columns."""
        a, b = self._a, self._b
        has_a, has_b = at_a >= 0, at_b >= 0
        pair = np.full(len(at_a), -1, np.int64)
        way = np.full(len(at_a), -1, np.int8)
        pair[has_b], way[has_b] = b.pair(at_b[has_b]), b.way[at_b[has_b]]
        mine = a.pair(at_a[has_a])
        pair[has_a] = np.maximum(pair[has_a], mine)
        own = a.way[at_a[has_a]]
        way[has_a] = np.where(own >= 0, own, way[has_a])
        directions = pl.Series(["", direction_text(0), direction_text(1)])

        def column(values: npt.NDArray[Any], at: Ints, there: npt.NDArray[np.bool_]) -> pl.Series:
            series = pl.Series(values[at])
            return series if there.all() else pl.select(pl.when(pl.Series(there)).then(series)).to_series()

        table = pl.DataFrame(
            {
                "flow": pair,
                "direction": directions.gather(way.astype(np.int64) + 1),
                "n_a": column(a.n, at_a, has_a),
                "n_b": column(b.n, at_b, has_b),
                "how": pl.Series(_WORDS).gather(how.astype(np.int64)),
                "time_a_ns": column(a.elapsed, at_a, has_a),
                "time_b_ns": column(b.elapsed, at_b, has_b),
            }
        )
        table = table.with_columns(
            delta_ns=pl.col("time_b_ns") - pl.col("time_a_ns"), delay_ns=self._delays(at_a, at_b, how, way)
        )
        return table.select(pl.col(name).cast(kind) for name, kind in ALIGNMENT_SCHEMA.items())

    def _delays(self, at_a: Ints, at_b: Ints, how: Ints, way: npt.NDArray[np.int8]) -> pl.Series:
        """One-way delays of packets that are aligned one to one in their flows; null for others."""
        out = pl.Series([None], dtype=pl.Int64).new_from_index(0, len(at_a))
        some = np.flatnonzero((at_a >= 0) & (at_b >= 0) & (how != _SEGMENTATION) & (way >= 0))
        if self._clocks is None or not len(some):
            return out
        times = self._a.ts[at_a[some]], self._b.ts[at_b[some]]
        return out.scatter(some, pl.Series(one_way(self._clocks, *times, way[some])))


def _fell_behind(matches: Matches, a: Whole, b: Whole, asked: Ints) -> Ints:
    """For some packets of B the number of A's packet that B's last packet before it belongs to; 0 without."""
    wanted = b.n[asked].astype(np.int64)
    best_n, best = np.full(len(asked), -1, np.int64), np.zeros(len(asked), np.int64)

    def look(partner_n: npt.NDArray[Any], partner: npt.NDArray[Any]) -> None:
        if not rising(partner_n):
            order = np.lexsort((partner, partner_n))
            partner_n, partner = partner_n[order], partner[order]
        last = np.searchsorted(partner_n, wanted, side="right") - 1
        n, of = (np.where(last >= 0, x[last].astype(np.int64), -1) for x in (partner_n, partner))
        nearer = (n > best_n) | ((n == best_n) & (of > best))
        best_n[nearer], best[nearer] = n[nearer], of[nearer]

    if len(asked) and len(matches.seg_a):
        look(b.n[matches.seg_b], a.n[matches.seg_a])
    for span in spans(len(matches.to_b) if len(asked) else 0):
        left = np.flatnonzero(matches.to_b[span] >= 0) + span.start
        if len(left):
            look(b.n[matches.to_b[left]], a.n[left])
    return best


def listing_of(table: pl.DataFrame, packets: Packets, differences: pl.DataFrame) -> pl.DataFrame:
    """Rows of the alignment with each packet in words and the fields that differ.

    Parameters
    ----------
    table : polars.DataFrame
        Some rows of the alignment.
    packets : callable
        A side ("a" or "b") and packet numbers to these packets' units by number.
    differences : polars.DataFrame

    Returns
    -------
    polars.DataFrame
        flow, direction, n_a, n_b, time_a_ns, time_b_ns, packet_a, packet_b, options_a, options_b, how,
        fields.
    """
    found = [packets(side, table[f"n_{side}"].drop_nulls().unique().to_list()) for side in "ab"]
    named = differences.group_by("n_a", "n_b", maintain_order=True).agg(
        pl.col("field").unique(maintain_order=True)
    )
    fields = {(x, y): names for x, y, names in named.iter_rows()}
    rows = []
    for row in table.iter_rows(named=True):
        one, two = found[0].get(row["n_a"]), found[1].get(row["n_b"])
        rows.append(
            {
                "flow": row["flow"], "direction": row["direction"], "n_a": row["n_a"], "n_b": row["n_b"],
                "time_a_ns": row["time_a_ns"], "time_b_ns": row["time_b_ns"],
                "packet_a": packet_text(one) if one else "", "packet_b": packet_text(two) if two else "",
                "options_a": _options(one) if one else "",
                "options_b": _options(two) if two else "",
                "how": row["how"], "fields": fields.get((row["n_a"], row["n_b"]), []),
            }
        )  # fmt: skip
    number, text = pl.UInt32, pl.String
    schema: dict[str, Any] = {
        "flow": pl.Int64, "direction": text, "n_a": number, "n_b": number,
        "time_a_ns": pl.Int64, "time_b_ns": pl.Int64,
        "packet_a": text, "packet_b": text, "options_a": text, "options_b": text,
        "how": text, "fields": pl.List(text),
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row")


def _options(unit: dict[str, Any]) -> str:
    return options_text(
        unit["tcp.option_kinds"], unit["tcp.options_mss_val"], unit["tcp.options_wscale_shift"]
    )
