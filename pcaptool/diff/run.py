"""The comparison from end to end.

Knows: the order of the steps.
Must not know: how files are read, or how a result is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from pcaptool.diff.align import Alignment, align
from pcaptool.diff.arrays import Ints, Mask
from pcaptool.diff.begins import shared_spans
from pcaptool.diff.behaviour import behaviour_of, distributions_of
from pcaptool.diff.bytes_view import bytes_of
from pcaptool.diff.causes import explain
from pcaptool.diff.compare import Comparison, add_same, compare
from pcaptool.diff.detail import with_bytes, with_echoes
from pcaptool.diff.early import nothing_in_common, nothing_to_compare, strangers
from pcaptool.diff.fields import FIELD_BY_NAME, LAYERS
from pcaptool.diff.listing import LISTED, Packets, Rows, listing_of
from pcaptool.diff.pairs import KNOWN_LINKS, Pairs, known_links, pairs_of
from pcaptool.diff.path import clocks_of, delays_of, one_way_timing
from pcaptool.diff.prepare import Prepared, prepare
from pcaptool.diff.result import DIFFERENCE_SCHEMA, Diff, LayerResult, RuleUse, Timing, first_rows
from pcaptool.diff.room import spans
from pcaptool.diff.rules import RULES, rules_in_force
from pcaptool.diff.sample import Sample
from pcaptool.diff.segments import Run, runs_of
from pcaptool.diff.settings import Relation, Settings, Which
from pcaptool.diff.side import EXCHANGES, Side
from pcaptool.diff.stage_times import stage_distributions
from pcaptool.diff.structure import add_flows, add_missing, add_order, add_runs
from pcaptool.diff.timing import add_times, exchange_timing, exchanges_of, quantiles, with_messages
from pcaptool.diff.tolerance import parse_tolerances
from pcaptool.diff.units import alike, units_of
from pcaptool.diff.whole import Couples, Matches, couples_of, kernels

__all__ = ["conclude", "detected", "diff_sides", "of_times"]


@dataclass(frozen=True, slots=True)
class _Aligned:
    """Which packets belong together, and what follows from that."""

    alignment: Alignment
    matches: Matches
    couples: Couples
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

    flows = a.frames.get("flows"), b.frames.get("flows")
    bytes_known = a.prints is not None and b.prints is not None
    if not bytes_known:  # only bytes tell what a tunnel's frame says
        a, b = replace(a, inner=None), replace(b, inner=None)
    # A side's tables are let go of as soon as its units are made: both at once would be the most that is ever held.
    units = [units_of(a)]
    a = a.lean()
    units.append(units_of(b))
    b = b.lean()
    alike(units)

    def prepared(meant: Relation, units: list[pl.DataFrame]) -> Prepared:
        noise = "neighbour-noise" in rules_in_force(meant, rules)
        return prepare(units, flows, bytes_known=bytes_known, drop_noise=noise, same_frames=meant != "model")

    ready = prepared(relation or "path", units if relation else units.copy())
    if relation is None:
        relation = detected(ready)
        if relation == "model":
            del ready
            ready = prepared(relation, units)
    units.clear()
    settings = Settings(relation, rules_in_force(relation, rules), allowed, side, ready.bytes_known)
    return conclude(ready, (a, b), settings, _packets_of(ready))


def conclude(ready: Prepared, sides: tuple[Side, Side], settings: Settings, packets: Packets) -> Diff:
    """The answer, from sides that are ready to align.

    Parameters
    ----------
    ready : Prepared
    sides : tuple of Side
    settings : Settings
    packets : callable
        Units of some packets, for the listing.
    """
    relation = settings.relation
    alignment, known = _alignment(ready, relation)
    runs = runs_of(alignment, ready.a, ready.b)
    if nothing_in_common(ready, alignment, runs):
        return strangers(*sides, relation, ready)
    matches = _matches(ready, alignment)
    couples = couples_of(matches, ready.whole_a, ready.whole_b)
    one, cut = pairs_of(alignment, ready.a, ready.b, ready.flows.matched, known)
    aligned = _Aligned(alignment, matches, couples, one, cut, runs)
    found, aside = _compared(ready, aligned, settings)
    differences = _ordered(found.differences)
    on_path = relation == "path" and couples.way.max(initial=-1) >= 0
    delays = delays_of(ready.whole_a, ready.whole_b, couples) if on_path else None
    clocks = clocks_of(delays) if delays is not None else None
    passed = one_way_timing(delays, clocks) if delays is not None and clocks is not None else []
    del delays
    units, wholes = (ready.a, ready.b), (ready.whole_a, ready.whole_b)
    verdict, differences = explain(
        differences,
        found,
        units,
        wholes,
        alignment,
        relation=relation,
        side=settings.side,
        clocks=clocks,
        spans=shared_spans(matches, *wholes) if len(differences) else None,
    )
    differences = with_echoes(with_bytes(differences, sides, units), wholes)
    rows = Rows(matches, *wholes, clocks)
    pairs = ready.flows.matched.height
    exchanges = (exchanges_of(ready.whole_a, pairs), exchanges_of(ready.whole_b, pairs))
    if relation == "model":
        spoken = (sides[0].frames.get(EXCHANGES), sides[1].frames.get(EXCHANGES))
        exchanges = with_messages(exchanges, spoken, ready.flows.matched)
    return Diff(
        relation=relation,
        exit_code=int(found.differing > 0),
        verdict=verdict,
        name_a=sides[0].name,
        name_b=sides[1].name,
        layers=_layers(found),
        rules=_rule_uses(found, settings, ready.noise),
        aligned=rows.height,
        parts=rows,
        differences=differences,
        differing=found.differing,
        timing=(*(passed if relation == "path" else _timing(ready, couples)), *exchange_timing(*exchanges)),
        behaviour=_behaviour(ready, relation),
        distributions=(
            *distributions_of(*wholes, exchanges, gaps=relation == "model"),
            *stage_distributions(sides[0].stages, sides[1].stages),
        ),
        listing=listing_of(first_rows(rows, LISTED), packets, differences),
        flows=ready.flows.matched.drop("syn_0_a", "syn_0_b"),
        bytes_view=partial(bytes_of, differences, sides, packets),
        notes=_notes(sides, ready, found, differences),
        set_aside=aside,
    )


def _packets_of(ready: Prepared) -> Packets:
    """Units of some packets where all have units."""

    def found(side: str, numbers: list[int]) -> dict[int, dict[str, Any]]:
        units = ready.a if side == "a" else ready.b
        some = units.filter(pl.col("n").is_in(numbers))
        return {unit["n"]: unit for unit in some.iter_rows(named=True)}

    return found


def _alignment(ready: Prepared, relation: Relation) -> tuple[Alignment, pl.DataFrame]:
    """The alignment of all packets with units; and what those without say of addresses (`pairs.links_of`)."""
    a, b = ready.a, ready.b
    none = pl.DataFrame(schema=KNOWN_LINKS)
    if relation == "model" and not ready.flows.same_connections:
        a, b = (u.with_columns(identity=pl.lit(None, pl.UInt64)) for u in (a, b))
    if ready.known is None:
        return align(a, b), none
    at_b = ready.known.to_b[a["at"].to_numpy()]
    mine = np.flatnonzero(at_b >= 0)
    rows_b = b["at"].to_numpy()
    by_at = np.argsort(rows_b)
    found = align(a, b, (mine, by_at[np.searchsorted(rows_b, at_b[mine], sorter=by_at)]))
    if ready.known.units:
        return found, none
    new = ~np.isin(found.one_a, mine)
    rest = replace(found, one_a=found.one_a[new], one_b=found.one_b[new], one_how=found.one_how[new])
    return rest, known_links(ready)


def _matches(ready: Prepared, alignment: Alignment) -> Matches:
    """The alignment in terms of all packets."""
    at_a, at_b = ready.a["at"].to_numpy(), ready.b["at"].to_numpy()
    known = ready.known if ready.known is not None and not ready.known.units else None
    room, height = ready.whole_a.room, ready.whole_a.height
    to_b = room.copy(known.to_b) if known else room.full(height, -1, np.int64)
    how = room.full(height, 0, np.int8)
    to_b[at_a[alignment.one_a]] = at_b[alignment.one_b]
    how[at_a[alignment.one_a]] = alignment.one_how
    return Matches(
        to_b,
        how,
        at_a[alignment.seg_a],
        at_b[alignment.seg_b],
        at_a[alignment.only_a],
        at_b[alignment.only_b],
    )


def detected(ready: Prepared) -> Relation:
    """Other connections: model. The same ones at the same times: exact; else path."""
    a, b = ready.whole_a, ready.whole_b
    if ready.flows.matched.height == 0:
        same = a.height == b.height and bool((np.sort(a.ts) == np.sort(b.ts)).all())
        return "exact" if same else "model"
    same_frames = ready.known.count * 2 >= min(a.height, b.height) if ready.known is not None else False
    if not ready.flows.same_connections and not (same_frames and ready.flows.midstream):
        return "model"
    if ready.known is not None:
        return of_times(a.ts, b.ts, ready.known.to_b)
    shared = len(np.intersect1d(a.ts, b.ts))
    return "exact" if shared * 2 >= min(len(np.unique(a.ts)), len(np.unique(b.ts))) else "path"


def of_times(a: Ints, b: Ints, to_b: Ints) -> Relation:
    """Whether at least half of the packets that are the same have the same time: exact; else path."""
    if not (to_b >= 0).any():
        return "path"
    return "exact" if kernels("equal_pairs", len(to_b))(a, b, to_b) >= 0 else "path"


def _counted(units: pl.DataFrame, side: Which | None, servers: frozenset[str]) -> Mask:
    if side is None:
        return np.ones(units.height, np.bool_)
    own = pl.col("dir") == (1 if side == "server" else 0)
    is_server = pl.col("sender").cast(pl.String).is_in(list(servers))
    other = is_server if side == "server" else ~is_server
    return (
        units.select(pl.when(pl.col("flow").is_not_null()).then(own).otherwise(other))
        .to_series()
        .fill_null(value=False)
        .to_numpy()
    )


def _compared(ready: Prepared, aligned: _Aligned, settings: Settings) -> tuple[Comparison, int]:
    """The comparison, and how many differences lie on the side that does not count."""
    wanted = [_counted(u, settings.side, ready.flows.servers) for u in (ready.a, ready.b)]
    found = _one_comparison(ready, aligned, settings, wanted, settings.side)
    if settings.side is None:
        return found, 0
    others: Which = "client" if settings.side == "server" else "server"
    return found, _one_comparison(ready, aligned, settings, [~w for w in wanted], others).differing


def _one_comparison(
    ready: Prepared, aligned: _Aligned, settings: Settings, counted: list[Mask], side: Which | None
) -> Comparison:
    a, b, alignment, couples = ready.a, ready.b, aligned.alignment, aligned.couples
    # Packets without units are equal ones of flows: their direction says whose they are.
    room, way = ready.whole_a.room, ready.whole_a.way
    whole = room.empty(len(way), np.bool_)
    for span in spans(len(way)):
        whole[span] = way[span] >= 0 if side is None else way[span] == (1 if side == "server" else 0)
    whole[a["at"].to_numpy()] = counted[0]
    out = compare(aligned.one, counted[0][alignment.one_a], settings)
    _merge(out, compare(aligned.cut, counted[0][alignment.seg_a], settings, segments=True))
    if ready.known is not None and not ready.known.units:
        same = np.zeros(ready.known.exemplars.height, np.int64)
        known = ready.known.to_b
        if side is not None:
            known = room.copy(known)
            known[~whole] = -1
        for span in spans(len(known)):
            facts = (known[span], ready.known.shapes[span], ready.whole_a.group[span])
            kernels("tally", len(known))(*facts, same, same[:0])
        add_same(out, ready.known.exemplars, same)
    add_runs(out, aligned.runs, (a, b), counted[0], settings)
    add_missing(out, a, alignment.only_a, counted[0], side="a")
    add_missing(out, b, alignment.only_b, counted[1], side="b")
    add_flows(out, ready.flows.lone[0], a.with_columns(counted=counted[0])[alignment.only_a], side="a")
    add_flows(out, ready.flows.lone[1], b.with_columns(counted=counted[1])[alignment.only_b], side="b")
    wholes, mine = (ready.whole_a, ready.whole_b), room.empty(len(couples.a), np.bool_)
    for span in spans(len(mine)):
        mine[span] = whole[couples.a[span]]
    add_order(out, *wholes, couples, mine, everywhere=settings.relation == "exact")
    add_times(out, wholes, couples, mine, settings)
    return out


def _merge(out: Comparison, more: Comparison) -> None:
    for name, r in more.fields.items():
        out.add(FIELD_BY_NAME[name], r.compared, r.equal, r.normalised, r.differing)
    out.differences.extend(more.differences)
    out.cut_apart += more.cut_apart
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


def _timing(ready: Prepared, couples: Couples) -> list[Timing]:
    a, b = ready.whole_a, ready.whole_b

    def deltas() -> Iterator[Ints]:
        for span in spans(len(couples.a)):
            in_flow = a.pair(couples.a[span]) >= 0
            yield (b.elapsed[couples.b[span]] - a.elapsed[couples.a[span]])[in_flow]

    count = sum(len(part) for part in deltas())
    return [quantiles("packet", Sample(deltas, count))] if count else []


def _behaviour(ready: Prepared, relation: Relation) -> pl.DataFrame:
    """Two runs behave; at two points of a path one run is seen."""
    pairs = ready.flows.matched.height if relation == "model" else 0
    return behaviour_of(ready.whole_a, ready.whole_b, pairs)


def _notes(
    sides: tuple[Side, Side], ready: Prepared, found: Comparison, differences: pl.DataFrame
) -> tuple[str, ...]:
    notes = [f"{s.name}: {note}" for s in sides for note in s.notes]
    if not ready.bytes_known:
        notes.append(
            "payload bytes were not compared: a report holds none; give the captures to compare them"
        )
    if not ready.flows.matched.height:
        notes.append("no TCP or UDP conversation in common: packets were aligned by content and order")
    cut = ready.whole_a.cut + ready.whole_b.cut
    if cut:
        notes.append(f"{cut} packets were captured only in part: what was cut off is not compared")
    if found.cut_apart:
        notes.append(f"{found.cut_apart} packets have more of their payload on one side: it is not compared")
    if differences.height < found.differing:
        notes.append(f"{found.differing - differences.height} more differences are counted but not listed")
    return tuple(notes)
