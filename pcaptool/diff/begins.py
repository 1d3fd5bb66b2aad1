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

from pcaptool.diff.recognise import Case, Finding, Test, count_text, frames_text
from pcaptool.diff.room import spans
from pcaptool.diff.whole import Matches, Whole

__all__ = ["outside", "shared_spans"]

Span = tuple[int, int]


def shared_spans(matches: Matches, a: Whole, b: Whole) -> tuple[Span, Span] | None:
    """Of both sides the numbers of the first and the last packet that has a counterpart; None if none has one."""
    found = [(a.n[matches.seg_a], b.n[matches.seg_b])]
    ends: list[tuple[list[int], list[int]]] = []
    for span in spans(len(matches.to_b)):
        mine = np.flatnonzero(matches.to_b[span] >= 0) + span.start
        found.append((a.n[mine], b.n[matches.to_b[mine]]))
        ends += [([int(x.min()), int(x.max())], [int(y.min()), int(y.max())]) for x, y in found if len(x)]
        found = []
    if not ends:
        return None
    n_a, n_b = ([n for one in ends for n in one[side]] for side in (0, 1))
    return (min(n_a), max(n_a)), (min(n_b), max(n_b))


def outside(sentence: str, *, before: bool) -> Test:
    """A cause that is packets before the other capture's first one, or behind its last.

    It tells who (the shorter one), other, count, first.
    """

    def test(case: Case) -> Finding | None:
        if case.spans is None or case.relation == "model":
            return None
        frame = (pl.col("field") == "frame") & (pl.col("cause") == "")
        beyond = []
        for key, span in (("n_a", case.spans[0]), ("n_b", case.spans[1])):
            place = pl.col(key) < span[0] if before else pl.col(key) > span[1]
            beyond.append(case.where(frame & place))
        for who, other, rows, others in (("B", "A", beyond[0], beyond[1]), ("A", "B", beyond[1], beyond[0])):
            if others.height or rows.filter(pl.col("direction") != "")["direction"].n_unique() < 2:
                continue
            text = sentence.format(
                who=who,
                other=other,
                count=count_text(rows.height, "packet"),
                first=frames_text(rows.row(0, named=True)),
            )
            return Finding(text, rows["i"])
        return None

    return test
