"""The verdict: which causes of the catalogue apply, and one paragraph of them.

Knows: the order of the paragraph: what was compared, the weightiest causes, what is left.
Must not know: how a cause is recognised (`catalogue`), how differences were found.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from pcaptool.diff.align import Alignment
from pcaptool.diff.arrays import Mask
from pcaptool.diff.catalogue import CAUSES
from pcaptool.diff.compare import Comparison
from pcaptool.diff.numbers_kernel import NONE
from pcaptool.diff.path import Clocks, echoed_of, heard_of
from pcaptool.diff.recognise import Case, Spans, count_text, frames_text
from pcaptool.diff.waits import waits_of
from pcaptool.diff.whole import Whole

__all__ = ["explain"]

_TOLD = 4


def explain(
    differences: pl.DataFrame,
    found: Comparison,
    sides: tuple[pl.DataFrame, pl.DataFrame],
    wholes: tuple[Whole, Whole],
    alignment: Alignment,
    *,
    relation: str,
    side: str | None,
    clocks: Clocks | None,
    spans: Spans | None,
) -> tuple[str, pl.DataFrame]:
    """The verdict, and the differences with their causes filled in.

    Parameters
    ----------
    differences : polars.DataFrame
        Most important first.
    found : Comparison
    sides : tuple of polars.DataFrame
        Units of A and B.
    wholes : tuple of Whole
        All packets of A and B.
    alignment : Alignment
    relation : str
    side : str or None
        Which hosts' packets count.
    clocks : Clocks or None
        For the relation path.
    spans : tuple or None
        As `begins.shared_spans` finds them.
    """
    a, b = sides
    waits = waits_of(alignment, a, b, side) if relation == "model" else []
    rows = _with_kinds(differences, sides, wholes, on_path=relation == "path")
    totals = {name: one.differing for name, one in found.fields.items()}
    heights = wholes[0].height, wholes[1].height
    case = Case(rows, a, b, waits, clocks, relation, heights, totals, spans)
    sentences = []
    for cause in CAUSES:
        finding = cause.test(case)
        if finding is None:
            continue
        sentences.append(finding.sentence)
        claimed = pl.col("i").is_in(finding.claims.implode())
        marked = pl.when(claimed).then(pl.lit(cause.name)).otherwise("cause")
        case = replace(case, differences=case.differences.with_columns(cause=marked))
    rest = case.differences.filter(pl.col("cause") == "")
    if rest.height:
        fields = ", ".join(rest["field"].unique(maintain_order=True).head(_TOLD).to_list())
        first = frames_text(rest.row(0, named=True))
        sentences.append(f"{count_text(rest.height, 'more difference')} in {fields} (first {first}).")
    hidden = len(sentences) - _TOLD
    more = [f"{count_text(hidden, 'further cause')} in the list of differences."] if hidden > 0 else []
    clock = [_clock_sentence(clocks)] if clocks is not None and clocks.both_ways else []
    verdict = " ".join([_opening(found, relation, side), *sentences[:_TOLD], *more, *clock])
    return verdict, case.differences.drop("i", "kind", "repeated", "twice", "heard")


def _opening(found: Comparison, relation: str, side: str | None) -> str:
    compared = sum(f.compared for f in found.fields.values())
    normalised = sum(f.normalised for f in found.fields.values())
    whose = f"the {side}'s frames of both sides" if side else "both sides"
    cut = found.uses["segmentation"]
    if found.differing == 0 and cut:
        return (
            f"Same stream, segmented differently: {count_text(cut, 'run')} of bytes cut into other packets; all"
            f" {compared} compared values are equal, {normalised} of them by a rule."
        )
    if found.differing == 0:
        alike = {"model": "say the same", "path": "hold the same packets", "exact": "are equal"}[relation]
        by_rule = f", {normalised} of them by a rule" if normalised else ""
        return f"Same: {whose} {alike}; all {compared} compared values are equal{by_rule}."
    fields = sum(1 for f in found.fields.values() if f.differing)
    return (
        f"Different: {count_text(found.differing, 'difference')} in {count_text(fields, 'field')}; the other"
        f" {compared - found.differing} compared values of {whose} are equal."
    )


def _clock_sentence(clocks: Clocks) -> str:
    ahead = "ahead of" if clocks.offset_ns >= 0 else "behind"
    nearer = "A" if clocks.a_is_nearer else "B"
    micros = abs(clocks.offset_ns) // 1000
    skew = f" and runs {clocks.skew_ppb / 1000:+.1f} ppm against it" if clocks.skew_ppb else ""
    return f"{nearer} is nearer to the client; B's clock is {micros // 1000}.{micros % 1000:03d} ms {ahead} A's{skew}."


def _with_kinds(
    differences: pl.DataFrame,
    sides: tuple[pl.DataFrame, pl.DataFrame],
    wholes: tuple[Whole, Whole],
    *,
    on_path: bool,
) -> pl.DataFrame:
    """Adds row numbers, and what is known of a lone packet.

    Its kind, whether its side sent the range again (`repeated`), whether its side has the very same packet
    once more (`twice`), and whether the other side shows that it arrived (`heard`).
    """
    rows = differences.with_row_index("i")
    lone = {"n_a": pl.col("n_b").is_null(), "n_b": pl.col("n_a").is_null()}
    for side, (units, key) in enumerate(((sides[0], "n_a"), (sides[1], "n_b"))):
        mine = differences.filter(lone[key] & (pl.col("field") == "frame"))[key].implode()
        some = units.filter(pl.col("n").is_in(mine))
        facts = some.select(
            pl.col("n").alias(key),
            pl.col("kind").alias(f"kind_{key}"),
            _several(units, some, ("g", "kind", "start", "end")).alias(f"repeated_{key}"),
            _several(units, some, ("g", "content", "ip.id", "tcp.options_timestamp_tsval")).alias(
                f"twice_{key}"
            ),
            pl.Series(_heard(some, (wholes[side], wholes[1 - side]) if on_path else None)).alias(
                f"heard_{key}"
            ),
        )
        rows = rows.join(facts, on=key, how="left", maintain_order="left")
    new = {
        what: pl.when(lone["n_a"]).then(f"{what}_n_a").when(lone["n_b"]).then(f"{what}_n_b")
        for what in ("kind", "repeated", "twice", "heard")
    }
    columns = [c for c in rows.columns if c.endswith(("_n_a", "_n_b"))]
    return (
        rows.with_columns(**new)
        .with_columns(pl.col("repeated", "twice", "heard").fill_null(value=False))
        .drop(columns)
    )


def _several(units: pl.DataFrame, some: pl.DataFrame, on: tuple[str, ...]) -> pl.Series:
    """For some packets whether their side has more with the same values (null is a value) in some columns."""
    counted = units.select(on).join(some.select(on).unique(), on=on, how="semi", nulls_equal=True)
    counts = counted.group_by(on).len("_count")
    return (
        some.select(on).join(counts, on=on, how="left", nulls_equal=True, maintain_order="left")["_count"] > 1
    )


def _heard(some: pl.DataFrame, wholes: tuple[Whole, Whole] | None) -> Mask:
    """For some packets of the first side: the second one, which lacks them, shows that they arrived.

    Data is acknowledged and never sent again; the timestamp of a pure ACK is echoed.
    """
    if wholes is None or not some.height:
        return np.zeros(some.height, np.bool_)
    asked = [some[c].fill_null(NONE).to_numpy() for c in ("g", "start", "end")]
    heard = heard_of((asked[0], asked[1], asked[2]), wholes[1])
    acks = np.flatnonzero((some["kind"] == "ack").fill_null(value=False).to_numpy())
    tsval = some["tcp.options_timestamp_tsval"].cast(pl.Int64).fill_null(-1).to_numpy()
    heard[acks] = echoed_of(asked[0][acks], tsval[acks], *wholes)
    return heard
