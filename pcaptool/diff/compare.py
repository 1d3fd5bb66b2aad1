"""Field by field over aligned packets: equal, equal by a rule, or different.

Knows: the order of the questions (raw values, then tolerance, then the field's rules) and what is counted.
Must not know: how packets were aligned, or what a difference is caused by.
Complexity: one vectorised comparison a field; text is made only for a bounded number of differences.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from pcaptool.diff.arrays import Ints, Mask
from pcaptool.diff.fields import IN_ORDER, LATER, ComparedField, plain_name
from pcaptool.diff.normalise import NORMALISERS
from pcaptool.diff.pairs import Pairs, View
from pcaptool.diff.result import DIFFERENCE_SCHEMA, FieldResult
from pcaptool.diff.settings import Settings
from pcaptool.diff.text import value_text

__all__ = ["DIFFERENCES_A_FIELD", "Comparison", "add_same", "compare", "direction_text"]


DIFFERENCES_A_FIELD = 10_000
_UNVERIFIED = 2  # checksum_status of what was cut off


@dataclass
class Comparison:
    """What came out: counts a field, rows of differences, uses a rule."""

    fields: dict[str, FieldResult] = field(default_factory=dict)
    differences: list[pl.DataFrame] = field(default_factory=list)
    uses: Counter[str] = field(default_factory=Counter)
    differing: int = 0
    cut_apart: int = 0  # packets with more of their payload on one side: it is not compared

    def add(self, found: ComparedField, compared: int, equal: int, normalised: int, differing: int) -> None:
        """Adds to a field's counts."""
        old = self.fields.get(found.name, FieldResult(found.name, found.layer, 0, 0, 0, 0))
        self.fields[found.name] = FieldResult(
            found.name, found.layer, old.compared + compared, old.equal + equal,
            old.normalised + normalised, old.differing + differing,
        )  # fmt: skip
        self.differing += differing


def compare(
    pairs: Pairs,
    counted: Mask,
    settings: Settings,
    *,
    segments: bool = False,
) -> Comparison:
    """Compare all fields of aligned packets.

    Parameters
    ----------
    pairs : Pairs
        All aligned packets: rules may need those that do not count.
    counted : numpy.ndarray of bool
        Which of them count.
    settings : Settings
    segments : bool
        Only fields that every segment of a super-packet shares.
    """
    out = Comparison()
    differing_rows: dict[str, Ints] = {}
    for item in IN_ORDER:
        if (segments and not item.per_segment) or (item.name == "payload" and not settings.bytes_known):
            continue
        column = item.column or item.name
        if column not in pairs.a.units.columns:  # no packet has so many IP headers
            continue
        x, y = pairs.a[column], pairs.b[column]
        present = (x.is_not_null() | y.is_not_null()).to_numpy() & counted
        if item.name == "payload" and settings.relation != "exact":
            apart = _cut_apart(pairs) & present
            out.cut_apart += int(np.count_nonzero(apart))
            present &= ~apart
        unequal = x.ne_missing(y)
        if plain_name(item.name).endswith(".checksum"):
            unequal &= ~_unknown_sum(x, y)
        rows = np.flatnonzero(unequal.to_numpy() & present)
        total, differing = int(np.count_nonzero(present)), len(rows)
        if differing:
            rows, followed, uses = _left_over(pairs, item, rows, settings, differing_rows)
            out.uses.update(uses)
            differing_rows[item.name] = np.concatenate([rows, followed])
        out.add(item, total, total - differing, differing - len(rows), len(rows))
        if len(rows):
            out.differences.append(_told(pairs, item, rows[:DIFFERENCES_A_FIELD]))
    return out


def _cut_apart(pairs: Pairs) -> Mask:
    """Where packets of one size were captured up to different places of their payload."""
    apart = pairs.a["payload_captured"].ne_missing(pairs.b["payload_captured"])
    return (apart & pairs.a["payload.bytes"].eq_missing(pairs.b["payload.bytes"])).to_numpy()


def _unknown_sum(x: pl.Series, y: pl.Series) -> pl.Series:
    """Where checksums have one value and only one side could tell whether it is right."""
    same = (x % 0x10000).eq_missing(y % 0x10000)
    return (same & ((x // 0x10000 % 16 == _UNVERIFIED) | (y // 0x10000 % 16 == _UNVERIFIED))).fill_null(
        value=False
    )


def add_same(out: Comparison, exemplars: pl.DataFrame, counts: Ints) -> None:
    """Adds packets that are the same on both sides: every field that they have is equal.

    Parameters
    ----------
    out : Comparison
    exemplars : polars.DataFrame
        A packet of each shape.
    counts : numpy.ndarray of int64
        How many packets have that shape.
    """
    for item in IN_ORDER:
        if item.name.endswith(LATER):  # a packet with a second IP header has no shape
            continue
        there = exemplars[item.column or item.name].is_not_null().to_numpy()
        total = int(counts[there].sum())
        out.add(item, total, total, 0, 0)


def _left_over(
    pairs: Pairs,
    item: ComparedField,
    rows: Ints,
    settings: Settings,
    differing_rows: Mapping[str, Ints],
) -> tuple[Ints, Ints, Counter[str]]:
    """The rows that nothing explains, those that follow from other differences, and uses of each rule."""
    rules, uses, followed = settings.rules, Counter[str](), rows[:0]
    if item.name in settings.tolerances:
        x, y = pairs.pick(rows, item.column or item.name)
        within = settings.tolerances[item.name].within(x, y)
        uses[f"tolerance {item.name}"] += int(np.count_nonzero(within))
        rows, followed = rows[~within], rows[within]  # a sum over a tolerated value is tolerated, too
    for name in item.rules:
        if name in rules and len(rows):
            equal = NORMALISERS[name](pairs, item, rows)
            uses[name] += int(np.count_nonzero(equal))
            rows = rows[~equal]
    if "follows" in rules and len(rows):
        reasons = [differing_rows[f] for f in item.follows if f in differing_rows]
        explained = np.isin(rows, np.concatenate(reasons)) if reasons else np.zeros(len(rows), np.bool_)
        if plain_name(item.name).endswith(".checksum"):
            explained &= NORMALISERS["checksum"](pairs, item, rows)
        uses["follows"] += int(np.count_nonzero(explained))
        rows, followed = rows[~explained], np.concatenate([followed, rows[explained]])
    return rows, followed, uses


def direction_text(way: int | None) -> str:
    """In words: 0 is from the originator."""
    return {0: "client to server", 1: "server to client"}.get(-1 if way is None else way, "")


def _told(pairs: Pairs, item: ComparedField, rows: Ints) -> pl.DataFrame:
    shown = item.shown or item.column or item.name
    x, y = pairs.pick(rows, shown)
    if shown != (item.column or item.name) and x.eq_missing(y).any():
        # Equal when shown relative: the rule is off, so the raw numbers are the difference.
        x, y = pairs.pick(rows, item.column or item.name)
    values = [[value_text(item.name, v) for v in side.to_list()] for side in (x, y)]
    return _told_rows(pairs.a, pairs.b, rows, item, (values[0], values[1]))


def _told_rows(
    a: View, b: View, rows: Ints, item: ComparedField, values: tuple[list[str], list[str]]
) -> pl.DataFrame:
    """Rows of differences of one field at aligned packets."""
    return pl.DataFrame(
        {
            "layer": [item.layer] * len(rows),
            "field": [item.name] * len(rows),
            "flow": a["pair"].gather(rows),
            "direction": [direction_text(d) for d in a["dir"].gather(rows)],
            "n_a": a["n"].gather(rows),
            "n_b": b["n"].gather(rows),
            "value_a": values[0],
            "value_b": values[1],
            "cause": [""] * len(rows),
            "weight": [item.weight] * len(rows),
        },
        schema=DIFFERENCE_SCHEMA,
    )
