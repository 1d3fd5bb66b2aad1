"""The comparison from end to end.

Knows: the order of the steps.
Must not know: how files are read, or how a result is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from pcaptool.diff.align import Alignment, align
from pcaptool.diff.arrays import Mask
from pcaptool.diff.causes import explain
from pcaptool.diff.compare import Comparison, compare
from pcaptool.diff.detail import with_bytes, with_echoes
from pcaptool.diff.early import nothing_in_common, nothing_to_compare, strangers
from pcaptool.diff.fields import FIELD_BY_NAME, LAYERS
from pcaptool.diff.listing import alignment_table, listing_of
from pcaptool.diff.pairs import Pairs, pairs_of
from pcaptool.diff.path import clocks_of, one_way_timing
from pcaptool.diff.prepare import Prepared, prepare
from pcaptool.diff.result import DIFFERENCE_SCHEMA, Diff, LayerResult, RuleUse, Timing
from pcaptool.diff.rules import RULES, rules_in_force
from pcaptool.diff.segments import Run, runs_of
from pcaptool.diff.settings import Relation, Settings, Which
from pcaptool.diff.side import Side
from pcaptool.diff.structure import add_flows, add_missing, add_order, add_runs
from pcaptool.diff.timing import add_times, exchange_timing, quantiles, with_elapsed
from pcaptool.diff.tolerance import parse_tolerances

__all__ = ["diff_sides"]


@dataclass(frozen=True, slots=True)
class _Aligned:
    """Units of both sides, which belong together, and what follows from that."""

    a: pl.DataFrame
    b: pl.DataFrame
    alignment: Alignment
    one: Pairs
    cut: Pairs
    runs: list[Run]


def diff_sides(
    a: Side,
    b: Side,
    *,
    relation: Relation | None = None,
    rules: Mapping[str, bool] | None = None,
    tolerances: Mapping[str, str | float] | None = None,
    side: Which | None = None,
) -> Diff:
    """Compare two loaded sides; see `pcaptool.diff.diff`."""
    allowed = parse_tolerances(tolerances)
    rules_in_force(relation or "model", rules)  # a wrong name is told before any work
    short = nothing_to_compare(a, b, relation or "model")
    if short is not None:
        return short
    ready = prepare(a, b, drop_noise="neighbour-noise" in rules_in_force(relation or "model", rules))
    if relation is None:
        relation = _detected(a, b, ready)
        if ready.noise and "neighbour-noise" not in rules_in_force(relation, rules):
            ready = prepare(a, b, drop_noise=False)
    settings = Settings(relation, rules_in_force(relation, rules), allowed, side, ready.bytes_known)
    left, right = (with_elapsed(u) for u in (ready.a, ready.b))
    if relation == "model" and not ready.same_connections:
        left, right = (u.with_columns(identity=pl.lit(None, pl.UInt64)) for u in (left, right))
    alignment = align(left, right)
    runs = runs_of(alignment, left, right)
    if nothing_in_common(alignment, left, right, runs, bytes_known=ready.bytes_known):
        return strangers(a, b, relation, ready)
    pairs, cut = pairs_of(alignment, left, right, ready.flows)
    aligned = _Aligned(left, right, alignment, pairs, cut, runs)
    found, aside = _compared(ready, aligned, settings)
    differences = _ordered(found.differences)
    clocks = clocks_of(pairs) if relation == "path" and (pairs.a["dir"].is_not_null()).any() else None
    verdict, differences = explain(
        differences, found, (left, right), alignment, relation=relation, side=side, clocks=clocks
    )
    differences = with_echoes(with_bytes(differences, (a, b), (left, right)), (left, right))
    table = alignment_table(alignment, left, right)
    return Diff(
        relation=relation,
        exit_code=int(found.differing > 0),
        verdict=verdict,
        name_a=a.name,
        name_b=b.name,
        layers=_layers(found),
        rules=_rule_uses(found, settings, ready.noise),
        alignment=table.drop("row_a", "row_b"),
        differences=differences,
        differing=found.differing,
        timing=tuple(_timing(aligned, relation)),
        listing=listing_of(table, left, right, differences),
        flows=ready.flows.drop("syn_0_a", "syn_0_b"),
        notes=_notes(a, b, ready, found, differences),
        set_aside=aside,
    )


def _detected(a: Side, b: Side, ready: Prepared) -> Relation:
    """Other connections: model. The same ones at the same times: exact; else path."""
    if ready.flows.height == 0:
        same = a.packets == b.packets and a.frames["packets"]["ts"].equals(b.frames["packets"]["ts"])
        return "exact" if same else "model"
    if not ready.same_connections:
        return "model"
    common = pl.concat([ready.a["ts"].unique(), ready.b["ts"].unique()])
    shared = common.len() - common.n_unique()
    return "exact" if shared * 2 >= min(ready.a["ts"].n_unique(), ready.b["ts"].n_unique()) else "path"


def _counted(units: pl.DataFrame, side: Which | None, servers: frozenset[str]) -> Mask:
    if side is None:
        return np.ones(units.height, np.bool_)
    own = pl.col("dir") == (1 if side == "server" else 0)
    is_server = pl.col("sender").is_in(list(servers))
    other = is_server if side == "server" else ~is_server
    return (
        units.select(pl.when(pl.col("flow").is_not_null()).then(own).otherwise(other))
        .to_series()
        .fill_null(value=False)
        .to_numpy()
    )


def _compared(ready: Prepared, aligned: _Aligned, settings: Settings) -> tuple[Comparison, int]:
    """The comparison, and how many differences lie on the side that does not count."""
    wanted = [_counted(u, settings.side, ready.servers) for u in (aligned.a, aligned.b)]
    found = _one_comparison(ready, aligned, settings, wanted)
    if settings.side is None:
        return found, 0
    return found, _one_comparison(ready, aligned, settings, [~w for w in wanted]).differing


def _one_comparison(
    ready: Prepared, aligned: _Aligned, settings: Settings, counted: list[Mask]
) -> Comparison:
    a, b, alignment = aligned.a, aligned.b, aligned.alignment
    out = compare(aligned.one, counted[0][alignment.one_a], settings)
    _merge(out, compare(aligned.cut, counted[0][alignment.seg_a], settings, segments=True))
    add_runs(out, aligned.runs, (a, b), counted[0], settings)
    add_missing(out, a, alignment.only_a, counted[0], side="a")
    add_missing(out, b, alignment.only_b, counted[1], side="b")
    add_flows(out, ready.lone_a, a.with_columns(counted=counted[0])[alignment.only_a], side="a")
    add_flows(out, ready.lone_b, b.with_columns(counted=counted[1])[alignment.only_b], side="b")
    add_order(out, alignment, a, b, counted[0], everywhere=settings.relation == "exact")
    add_times(out, aligned.one.a, aligned.one.b, counted[0][alignment.one_a], settings)
    return out


def _merge(out: Comparison, more: Comparison) -> None:
    for name, r in more.fields.items():
        out.add(FIELD_BY_NAME[name], r.compared, r.equal, r.normalised, r.differing)
    out.differences.extend(more.differences)
    out.uses.update(more.uses)


def _ordered(parts: list[pl.DataFrame]) -> pl.DataFrame:
    if not parts:
        return pl.DataFrame(schema=DIFFERENCE_SCHEMA)
    whole = pl.concat(parts).with_columns(_at=pl.coalesce("n_a", "n_b"))
    return whole.sort(["weight", "_at", "field"], descending=[True, False, False]).drop("_at")


def _layers(found: Comparison) -> tuple[LayerResult, ...]:
    return tuple(LayerResult(x, tuple(f for f in found.fields.values() if f.layer == x)) for x in LAYERS)


def _rule_uses(found: Comparison, settings: Settings, noise: int) -> tuple[RuleUse, ...]:
    uses = found.uses.copy()
    uses["neighbour-noise"] += noise
    listed = [
        RuleUse(r.name, r.what, r.why, on, uses[r.name], on != (settings.relation in r.relations))
        for r in RULES
        for on in (r.name in settings.rules,)
    ]
    allowed = [
        RuleUse(name, "values within the tolerance that was asked for", "asked for", on=True, count=count)
        for name, count in sorted(uses.items())
        if name.startswith("tolerance ")
    ]
    return tuple(listed + allowed)


def _timing(aligned: _Aligned, relation: str) -> list[Timing]:
    out, pairs = [], aligned.one
    in_flow = (pairs.a["pair"] >= 0).to_numpy()
    deltas = (pairs.b["elapsed"] - pairs.a["elapsed"]).to_numpy()[in_flow]
    if relation == "path":
        out += one_way_timing(pairs)
    elif len(deltas):
        out.append(quantiles("packet", deltas))
    return out + exchange_timing(aligned.a, aligned.b)


def _notes(
    a: Side, b: Side, ready: Prepared, found: Comparison, differences: pl.DataFrame
) -> tuple[str, ...]:
    notes = [f"{s.name}: {note}" for s in (a, b) for note in s.notes]
    if not ready.bytes_known:
        notes.append(
            "payload bytes were not compared: a report holds none; give the captures to compare them"
        )
    if not ready.flows.height:
        notes.append("no TCP or UDP conversation in common: packets were aligned by content and order")
    cut = (
        ready.a.filter(pl.col("cap_len") < pl.col("len")).height
        + ready.b.filter(pl.col("cap_len") < pl.col("len")).height
    )
    if cut:
        notes.append(f"{cut} packets were captured only in part: what was cut off is not compared")
    if differences.height < found.differing:
        notes.append(f"{found.differing - differences.height} more differences are counted but not listed")
    return tuple(notes)
