"""A capture that begins later, or ends earlier, than the other: a cause of packets that only one side has.

Knows: numbers of the first and the last packets that both sides have.
Must not know: what a packet is.
A network loses packets of one direction, and their peer notices: where packets of both directions lie before the first
one that is on both sides, the capture was not running yet. A single packet, or packets of one direction, may have been
lost: other causes tell of these.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from pcaptool.diff.arrays import Ints
from pcaptool.diff.compare import direction_text
from pcaptool.diff.recognise import Case, Finding, Spans, Test, count_text, frames_text
from pcaptool.diff.room import spans
from pcaptool.diff.whole import Matches, Whole

__all__ = ["outside", "shared_spans"]

Span = tuple[int, int]


def shared_spans(matches: Matches, a: Whole, b: Whole) -> Spans | None:
    """Of both sides the numbers of the first and the last packet that has a counterpart; None if none has one.

    By direction in words, "" for all.
    """
    ends: dict[str, list[tuple[Span, Span]]] = {}

    def look(at_a: Ints, at_b: Ints) -> None:
        n_a, n_b, ways = a.n[at_a], b.n[at_b], a.way[at_a]
        for way in (None, 0, 1):
            x, y = (n_a, n_b) if way is None else (n_a[ways == way], n_b[ways == way])
            if len(x):
                found = (int(x.min()), int(x.max())), (int(y.min()), int(y.max()))
                ends.setdefault(direction_text(way), []).append(found)

    look(matches.seg_a, matches.seg_b)
    for span in spans(len(matches.to_b)):
        mine = np.flatnonzero(matches.to_b[span] >= 0) + span.start
        look(mine, matches.to_b[mine])

    def whole(parts: list[tuple[Span, Span]], side: int) -> Span:
        return min(p[side][0] for p in parts), max(p[side][1] for p in parts)

    return {name: (whole(parts, 0), whole(parts, 1)) for name, parts in ends.items()} or None


def outside(sentence: str, *, before: bool) -> Test:
    """A cause that is packets before the other capture's first one, or behind its last.

    It tells who (the shorter one), other, count, first. What was on its way when the shorter capture began lies, in the
    longer one, behind the first packet that both have, but before the first one of its own direction.
    """

    def beyond(case: Case, side: int, way: str) -> pl.DataFrame:
        if case.spans is None or way not in case.spans:
            return case.differences.clear()
        key, (first, last) = ("n_a", "n_b")[side], case.spans[way][side]
        frame = (pl.col("field") == "frame") & (pl.col("cause") == "")
        place = pl.col(key) < first if before else pl.col(key) > last
        return case.where(frame & place & (pl.col("direction") == way) if way else frame & place)

    def test(case: Case) -> Finding | None:
        if case.spans is None or case.relation == "model":
            return None
        parts = [beyond(case, side, "") for side in (0, 1)]
        for who, other, side in (("B", "A", 0), ("A", "B", 1)):
            rows = parts[side]
            ways = rows.filter(pl.col("direction") != "")["direction"].unique()
            if parts[1 - side].height or len(ways) < 2:
                continue
            rows = (
                pl.concat([rows, *(beyond(case, side, way) for way in ways.to_list())]).unique("i").sort("i")
            )
            text = sentence.format(
                who=who,
                other=other,
                count=count_text(rows.height, "packet"),
                first=frames_text(rows.row(0, named=True)),
            )
            return Finding(text, rows["i"])
        return None

    return test
