"""The quick way to `Prepared`: two captures in which most packets are the same, byte for byte.

Knows: which packets have to be looked at field by field: those without an equal one at their place of the order, and
those that share a place in their flow's stream with such a one. All others are counted by shape.
Must not know: fields, rules.
The answer is the one of the full way (`prepare`): tests/property/test_diff_quick.py holds them against each other.
Memory: units of the packets that are looked at, what flows need, and a bounded number of columns of about 120 bytes a
packet together: of long captures they lie in files (`room`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from pcaptool.diff import numbers_kernel as nk
from pcaptool.diff.arrays import Ints
from pcaptool.diff.flows import SAME_ENDS, signatures
from pcaptool.diff.keys import grouped
from pcaptool.diff.listing import LISTED, Packets
from pcaptool.diff.load import stages_beside
from pcaptool.diff.prepare import Flows, Known, Prepared, matched_flows, with_pairs
from pcaptool.diff.result import Diff
from pcaptool.diff.room import spans, where
from pcaptool.diff.rules import rules_in_force
from pcaptool.diff.run import conclude, of_times
from pcaptool.diff.settings import Relation, Settings, Which
from pcaptool.diff.side import Side
from pcaptool.diff.skim import Skim
from pcaptool.diff.some import load_some
from pcaptool.diff.start import Skimming
from pcaptool.diff.tolerance import parse_tolerances
from pcaptool.diff.units import placed, units_of, voted_bases
from pcaptool.diff.whole import Whole, kernels, same_frames
from pcaptool.engine import Engine

__all__ = ["diff_quickly"]

# With fewer equal packets than this part of the smaller side, nothing is gained.
_ENOUGH = 0.5
_MARKS = 1 << 20

_T = TypeVar("_T")
_R = TypeVar("_R")


def diff_quickly(
    begun: Skimming,
    *,
    relation: Relation | None = None,
    rules: Mapping[str, bool] | None = None,
    tolerances: Mapping[str, str | float] | None = None,
    side: Which | None = None,
    engine: Engine,
) -> Diff | None:
    """Compare two captures that are being skimmed; None where that needs everything decoded.

    Parameters as `pcaptool.diff.diff`, of which `start.quickly` lets only some pass.
    """
    allowed = parse_tolerances(tolerances)
    left, right = (one.result() for one in begun)
    if left.odd or right.odd or not left.height or not right.height:
        return None
    flows = _flows((left, right), engine)
    if relation is None and not flows.same_connections:
        return None
    way = _Quick((left, right), flows, engine)
    relation = relation or of_times(left.packets["ts"], right.packets["ts"], way.to_b)
    if way.same < _ENOUGH * min(left.height, right.height):
        return None
    sides, ready = way.prepared()
    settings = Settings(relation, rules_in_force(relation, rules), allowed, side, bytes_known=True)
    return conclude(ready, sides, settings, way.packets(ready))


def _both(work: Callable[[_T], _R], sides: tuple[_T, _T]) -> list[_R]:
    """Something for both sides at the same time: kernels and numpy leave the interpreter to the other."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(work, sides))


def _flows(sides: tuple[Skim, Skim], engine: Engine) -> Flows:
    """Which flows belong together; what they say first is read only if their ends and numbers do not tell."""
    bases = (_bases(sides[0]), _bases(sides[1]))
    said = [_said(s, x) for s, x in zip(sides, bases, strict=True)]
    signs = [signatures(d, s.flows, x) for d, s, x in zip(said, sides, bases, strict=True)]
    flows = matched_flows((signs[0], signs[1]), bases)
    sure = pl.col("how").str.starts_with("same connection") | (pl.col("how") == SAME_ENDS)
    if flows.matched.select(sure.all()).item():
        return flows
    signs = [
        signatures(_with_first(d, s, engine), s.flows, x) for d, s, x in zip(said, sides, bases, strict=True)
    ]
    return matched_flows((signs[0], signs[1]), bases)


def _bases(side: Skim) -> pl.DataFrame:
    """Initial sequence numbers; of TCP directions that have packets."""
    firsts = pl.DataFrame(
        {
            "flow": np.repeat(side.flows["flow"].to_numpy(), 2),
            "dir": np.tile(np.array([0, 1], np.int8), side.flows.height),
            "proto": np.repeat(side.flows["protocol"].to_numpy(), 2),
            "seen": side.ways[:, nk.SEEN] > 0,
            "syn_seq": side.ways[:, nk.SYN_RAW],
            "next_seq": side.ways[:, nk.NEXT_RAW],
            "any_seq": side.ways[:, nk.ANY_RAW],
            "acked": side.ways[:, nk.FIRST_ACK_RAW],
        }
    ).filter(pl.col("seen") & (pl.col("proto") == "tcp"))
    numbers = ["syn_seq", "next_seq", "any_seq", "acked"]
    known = [pl.when(pl.col(c) != nk.NONE).then(c).alias(c) for c in numbers]
    return voted_bases(firsts.select("flow", "dir", *known))


def _said(side: Skim, bases: pl.DataFrame) -> pl.DataFrame:
    """What each direction says, without the print of its first data; and the number of that packet."""
    seen = np.flatnonzero(side.ways[:, nk.SEEN] > 0)
    moved = _moves(side, bases)[0]
    reach = side.ways[:, nk.REACH]
    end = np.where((moved != nk.NONE) & (reach != nk.NONE), reach + moved, nk.NONE)
    tcp = (side.flows["protocol"] == "tcp").to_numpy()[seen >> 1]
    said = pl.DataFrame(
        {
            "flow": (seen >> 1).astype(np.uint32),
            "dir": (seen & 1).astype(np.int8),
            "end": np.where(tcp & (end[seen] != nk.NONE), end[seen], side.ways[seen, nk.PAYLOAD]),
            "syn": side.ways[seen, nk.HAS_SYN] > 0,
            "n": side.ways[seen, nk.FIRST_DATA_N].astype(np.uint32),
        }
    )
    return said.with_columns(first=pl.lit(None, pl.UInt64))


def _with_first(said: pl.DataFrame, side: Skim, engine: Engine) -> pl.DataFrame:
    """Adds the print of each direction's first data."""
    chosen = np.sort(said["n"].filter(said["n"] > 0).to_numpy())
    flow = side.packets["group"][chosen.astype(np.int64) - 1] >> 1
    some = load_some(side.path, engine, chosen, flow, side.flows)
    if some.prints is None:
        return said
    prints = some.prints.select(pl.col("n").cast(pl.UInt32), first=pl.col("masked_print"))
    return said.drop("first").join(prints, on="n", how="left", maintain_order="left")


def _moves(side: Skim, bases: pl.DataFrame) -> tuple[Ints, Ints]:
    """What is to be added to the numbers of each direction, and to its acknowledgements; `NONE`: not known."""
    base = np.full(len(side.ways), nk.NONE)
    base[2 * bases["flow"].to_numpy().astype(np.int64) + bases["dir"].to_numpy()] = (
        bases["base"].fill_null(nk.NONE).to_numpy()
    )
    peer = base.reshape(-1, 2)[:, ::-1].ravel()
    seq, ack = side.ways[:, nk.ANY_RAW], side.ways[:, nk.FIRST_ACK_RAW]
    known = (base != nk.NONE) & (seq != nk.NONE)
    known_ack = (peer != nk.NONE) & (ack != nk.NONE)
    return (
        np.where(known, (seq - base + 2**31) % 2**32 - 2**31, nk.NONE),
        np.where(known_ack, (ack - peer + 2**31) % 2**32 - 2**31, nk.NONE),
    )


class _Quick:
    """Both sides' packets as `Whole`s, and the equal ones paired."""

    def __init__(self, sides: tuple[Skim, Skim], flows: Flows, engine: Engine) -> None:
        self.sides, self.flows, self.engine = sides, flows, engine
        self.groups = 2 * flows.matched.height
        self.wholes = _both(self._whole, ("a", "b"))
        ordered = _both(lambda whole: self._by_group(whole, self.groups), (self.wholes[0], self.wholes[1]))
        self.orders = [order for order, _ in ordered]
        self.to_b, self.same = self._same(*(starts for _, starts in ordered))

    def _whole(self, name: str) -> Whole:
        side = self.sides[name == "b"]
        matched, packets = self.flows.matched, side.packets
        pair_of = np.full(side.flows.height, -1, np.int64)
        pair_of[matched[f"flow_{name}"].to_numpy()] = matched["pair"].to_numpy()
        flip = np.zeros(side.flows.height, np.int64)
        if name == "b":
            flip[matched["flow_b"].to_numpy()] = matched["flip"].to_numpy()
        bases = self.flows.bases[0] if name == "a" else _unturned(self.flows)
        first, seen = side.ways[:, nk.FIRST_TS].reshape(-1, 2), side.ways[:, nk.SEEN].reshape(-1, 2) > 0
        begin = np.where(seen, first, np.iinfo(np.int64).max).min(axis=1)
        way = np.tile([0, 1], side.flows.height) ^ np.repeat(flip, 2)
        pairs = np.repeat(pair_of, 2)
        ways = (
            np.append(np.where(pairs >= 0, 2 * pairs + way, -1), -1), np.append(way, -1).astype(np.int8),
            *(np.append(m, nk.NONE) for m in _moves(side, bases)),
            np.append(np.repeat(begin, 2), packets["ts"].min()),
        )  # fmt: skip
        height = side.height
        room = side.room
        group, elapsed, end = (room.empty(height, np.int64) for _ in range(3))
        direction = room.empty(height, np.int8)
        n = room.empty(height, np.uint32)
        for span in spans(height):
            n[span] = np.arange(span.start + 1, span.stop + 1, dtype=np.uint32)
        moved = tuple(packets[c] for c in ("group", "ts", "start", "space", "ack"))
        out, kernel = (group, direction, elapsed, end), kernels("settle", height)
        for span in spans(height):
            kernel(tuple(c[span] for c in moved), ways, tuple(c[span] for c in out))
        return Whole(
            n, packets["ts"], elapsed, group, direction, packets["kind"],
            packets["start"], end, packets["ack"], packets["tsval"], packets["tsecr"],
            np.empty(0, np.int64), side.cut, room,
        )  # fmt: skip

    @staticmethod
    def _by_group(whole: Whole, count: int) -> tuple[Ints, Ints]:
        starts = np.zeros(count + 1, np.int64)
        order = whole.room.empty(whole.height, np.int64)
        kernels("by_group", whole.height)(whole.group, starts, order)
        return order[: starts[-1]], starts

    def _same(self, starts_a: Ints, starts_b: Ints) -> tuple[Ints, int]:
        """For each packet of A the equal one of B, or -1; and how many have one."""
        x, y = ((s.packets["hash"], o) for s, o in zip(self.sides, self.orders, strict=True))
        to_b = self.wholes[0].room.full(self.wholes[0].height, -1, np.int64)
        return to_b, same_frames(x, y, starts_a, starts_b, to_b)

    def prepared(self) -> tuple[tuple[Side, Side], Prepared]:
        """Units of the packets that have to be looked at."""
        to_a = self.wholes[1].room.full(self.wholes[1].height, -1, np.int64)
        for span in spans(len(self.to_b)):
            kernels("turned", len(self.to_b))(self.to_b[span], span.start, to_a)
        chosen = self._chosen(to_a)
        sides = _both(
            lambda job: self._some(*job, stages=True),
            ((self.sides[0], chosen[0]), (self.sides[1], chosen[1])),
        )
        units = [self._units(x, name) for x, name in zip(sides, "ab", strict=True)]
        a, b = grouped(units, self.flows.matched)
        wholes = [self._finished(w, u, o) for w, u, o in zip(self.wholes, (a, b), self.orders, strict=True)]
        self.orders = []  # the wholes have their own
        ends = ((a, 0, self.to_b, None), (b, 1, to_a, to_a))
        a, b = _both(lambda job: self._anchored(*job), ends)
        exemplars = a.join(
            pl.DataFrame({"n": self.sides[0].exemplars.astype(np.uint32)}).with_row_index("shape"), on="n"
        ).sort("shape")
        known = Known(
            self.to_b,
            units=False,
            count=self.same,
            shapes=self.sides[0].packets["shape"],
            exemplars=exemplars,
        )
        ready = Prepared(a, b, wholes[0], wholes[1], known, self.flows, 0, bytes_known=True)
        return (sides[0], sides[1]), ready

    def _chosen(self, to_a: Ints) -> list[Ints]:
        """Numbers of the packets to decode: without an equal one, at a place of such a one, or an exemplar."""
        marks = np.zeros(_MARKS, np.uint8)
        lone = [where(x, below=0) for x in (self.to_b, to_a)]
        places = [(w.group, w.kind, w.start, w.end, w.ack) for w in self.wholes]
        keys = []
        for rows, packets in zip(lone, places, strict=True):
            in_flow = rows[packets[0][rows] >= 0]
            keys.append(np.empty(len(in_flow), np.int64))
            kernels("mark_places", len(in_flow))(in_flow, packets, marks, keys[-1])
        asked = np.unique(np.concatenate(keys))
        out: list[npt.NDArray[np.uint8]] = []
        for i, packets in enumerate(places):
            found = self.wholes[i].room.full(len(packets[0]), 0, np.uint8)
            for span in spans(len(found)):
                kernels("marked_places", len(found))(
                    tuple(c[span] for c in packets), marks, asked, found[span]
                )
            found[lone[i]] = 1
            found[:LISTED] = 1  # what a reader sees first is asked for in any case
            out.append(found)
        out[0][self.sides[0].exemplars - 1] = 1
        # A packet and its equal are decoded both, or neither.
        kernels("mark_pairs", len(self.to_b))(self.to_b, out[0], out[1])
        return [np.flatnonzero(found) + 1 for found in out]

    def _some(self, side: Skim, chosen: Ints, *, stages: bool = False) -> Side:
        flow = side.packets["group"][chosen - 1] >> 1
        some = load_some(side.path, self.engine, chosen, flow, side.flows)
        some.notes.extend(side.notes)
        return replace(some, stages=stages_beside(side.path)) if stages else some

    def _units(self, some: Side, name: str) -> pl.DataFrame:
        """Units with the numbers that only the whole capture gives."""
        whole = self.wholes[name == "b"]
        units = with_pairs(units_of(some), self.flows.matched, name)
        at = units["n"].to_numpy().astype(np.int64) - 1

        def column(values: npt.NDArray[Any]) -> pl.Series:
            there = pl.Series(values[at])
            return pl.select(pl.when(there != nk.NONE).then(there)).to_series()

        kinds = pl.Series([*nk.KINDS, None], dtype=pl.String)
        numbers = pl.DataFrame(
            {
                "n": units["n"], "start": column(whole.start), "end": column(whole.end),
                "tcp.ack": column(whole.ack), "kind": kinds.gather(whole.kind[at].astype(np.int64) % len(kinds)),
                "elapsed": whole.elapsed[at], "at": at,
            }
        )  # fmt: skip
        return placed(units, self.flows.bases[name == "b"], numbers)

    @staticmethod
    def _finished(whole: Whole, units: pl.DataFrame, order: Ints) -> Whole:
        """Groups of the packets of no flow, and the order of all."""
        at, group = units["at"].to_numpy(), units["g"].to_numpy()
        whole.group[at] = group
        limit = int(whole.group[order[-1]]) + 1 if len(order) else 0  # behind all directions of flows
        strays, behind = where(whole.group, below=0), at[group >= limit]
        whole_order = whole.room.empty(len(strays) + len(order) + len(behind), np.int64)
        np.concatenate([strays, order, behind], out=whole_order)
        return replace(whole, order=whole_order)

    def _anchored(self, units: pl.DataFrame, side: int, known: Ints, to_a: Ints | None) -> pl.DataFrame:
        """Adds the latest equal packet (not -1 in `known`) before each, in its group and in its flow.

        Its name is its number in A.
        """
        at = units["at"].to_numpy()
        by_n = np.argsort(at)
        last = (np.full(self.groups, -1, np.int64), np.full(self.groups // 2, -1, np.int64))
        out = (np.empty(len(at), np.int64), np.empty(len(at), np.int64))
        kernels("latest_known", len(known))(self.wholes[side].group, known, at[by_n], last, out)
        new = []
        for what, found in zip(("anchor", "heard"), out, strict=True):
            here = np.empty(len(at), np.int64)
            here[by_n] = found
            new.append(pl.Series(f"{what}_n", np.where(here >= 0, here + 1, -1)))
            name = here if to_a is None else to_a[here]
            new.append(pl.Series(f"{what}_name", np.where(here >= 0, name + 1, -1)))
        return units.with_columns(new)

    def packets(self, ready: Prepared) -> Packets:
        """Units of any packets, decoded when asked for."""

        def found(name: str, numbers: list[int]) -> dict[int, dict[str, Any]]:
            side = self.sides[name == "b"]
            units = ready.b if name == "b" else ready.a
            have = units.filter(pl.col("n").is_in(numbers))
            missing = np.array(sorted(set(numbers) - set(have["n"].to_list())), np.int64)
            parts = [have]
            if len(missing):
                parts.append(self._units(self._some(side, missing), name))
            return {unit["n"]: unit for part in parts for unit in part.iter_rows(named=True)}

        return found


def _unturned(flows: Flows) -> pl.DataFrame:
    """B's initial numbers by its own directions."""
    flip = flows.matched.select(flow="flow_b", flip="flip")
    bases = flows.bases[1].join(flip, on="flow", how="left")
    back = pl.when(pl.col("flip").fill_null(value=False)).then(1 - pl.col("dir")).otherwise("dir")
    return bases.with_columns(dir=back.cast(pl.Int8)).drop("flip")
