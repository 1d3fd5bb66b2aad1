"""Both sides made comparable: packets of matched flows numbered alike, grouped and keyed.

Knows: which packets are set aside beforehand, and what two sides of one connection count from.
Must not know: how flows match (`flows`), what the keys are (`keys`), how packets are paired up (`align`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pcaptool.diff.arrays import Ints
from pcaptool.diff.flows import SAME_ENDS, match_flows, said_of, signatures
from pcaptool.diff.keys import grouped
from pcaptool.diff.room import Room
from pcaptool.diff.units import bases_of, relative, with_elapsed
from pcaptool.diff.whole import Whole, same_frames, whole_of

__all__ = ["Flows", "Known", "Prepared", "matched_flows", "prepare", "with_pairs"]

_IPPROTO_ICMPV6 = 58
# RFC 4861 neighbour discovery and RFC 3810 multicast listener reports.
_NOISE_TYPES = (133, 134, 135, 136, 143)


@dataclass(frozen=True)
class Known:
    """Packets that are the same on both sides and were paired before any field was looked at.

    Parameters
    ----------
    to_b : numpy.ndarray of int64
        For each packet of A (index into its `Whole`) the one of B, or -1.
    units : bool
        Whether these packets have units like all others.
    count : int
        How many of A's packets have one.
    shapes : numpy.ndarray
        Shape of each packet of A; without units only.
    exemplars : polars.DataFrame
        Units of one packet of each shape, in order of shapes; without units only.
    """

    to_b: Ints
    units: bool
    count: int
    shapes: npt.NDArray[Any] = field(default_factory=lambda: np.zeros(0, np.int16))
    exemplars: pl.DataFrame = field(default_factory=pl.DataFrame)


@dataclass(frozen=True)
class Flows:
    """Flows of both sides, and which belong together.

    Parameters
    ----------
    matched : polars.DataFrame
        Matched flows with both sides' ends: pair, flow_a, flow_b, flip, how, src_a ... dstport_b, first_n_a,
        first_n_b.
    bases : tuple of polars.DataFrame
        Initial sequence numbers; B's directions are turned where its roles are exchanged.
    lone : tuple of polars.DataFrame
        Signatures of flows without a counterpart.
    servers : frozenset of str
        Addresses of the responders.
    """

    matched: pl.DataFrame
    bases: tuple[pl.DataFrame, pl.DataFrame]
    lone: tuple[pl.DataFrame, pl.DataFrame]
    servers: frozenset[str]

    @property
    def same_connections(self) -> bool:
        """Whether flows have the same initial sequence numbers: the same packets, not another run."""
        alike = self.matched["how"].str.starts_with("same connection").sum()
        return bool(self.matched.height) and bool(alike * 2 >= self.matched.height)

    @property
    def midstream(self) -> bool:
        """Whether flows begin in their midst and were matched by their ends alone."""
        return bool((self.matched["how"] == SAME_ENDS).any())


@dataclass(frozen=True)
class Prepared:
    """Units of both sides, ready to align.

    Parameters
    ----------
    a, b : polars.DataFrame
        Units, sorted by group and number; `row` counts from 0, `pair` is the flow pair (-1: none), `g` the group,
        `at` the packet's index in `whole_a`, `whole_b`.
    whole_a, whole_b : Whole
        All packets, also those without units.
    known : Known or None
    flows : Flows
    noise : int
        Packets set aside as neighbour noise.
    bytes_known : bool
        Whether both sides have fingerprints.
    """

    a: pl.DataFrame
    b: pl.DataFrame
    whole_a: Whole
    whole_b: Whole
    known: Known | None
    flows: Flows
    noise: int
    bytes_known: bool


def prepare(
    units: list[pl.DataFrame],
    flow_tables: tuple[pl.DataFrame | None, pl.DataFrame | None],
    *,
    bytes_known: bool,
    drop_noise: bool,
    same_frames: bool,
) -> Prepared:
    """Match flows, number and key the packets of two sides.

    Parameters
    ----------
    units : list of polars.DataFrame
        Of both sides, as `units_of` makes them; emptied, so that each is held once.
    flow_tables : tuple of polars.DataFrame
        Both sides' tables of flows, where there is one.
    bytes_known : bool
        Whether both sides have fingerprints.
    drop_noise : bool
        Whether ICMPv6 neighbour noise is set aside.
    same_frames : bool
        Whether equal frames in equal order are paired beforehand.
    """
    units, given = list(units), units
    given.clear()
    noise = 0
    if drop_noise:
        noise = sum(u.height for u in units)
        units = [u.filter(~_is_noise()) for u in units]
        noise -= sum(u.height for u in units)
    if not bytes_known:
        nothing = {c: pl.lit(None, pl.UInt64) for c in ("frame_print", "payload_print", "masked_print")}
        units = [u.with_columns(**nothing) for u in units]
    bases = [bases_of(u) for u in units]
    first = [relative(u, x) for u, x in zip(units, bases, strict=True)]
    signs = [
        signatures(said_of(u), flows, x) if flows is not None else _no_signatures()
        for u, flows, x in zip(first, flow_tables, bases, strict=True)
    ]
    flows = matched_flows((signs[0], signs[1]), (bases[0], bases[1]))
    torn = flows.midstream
    # From here on a table is held once: with all of its columns it is the most that a comparison needs.
    left = units if torn else first
    del units, first
    for i, side in enumerate("ab"):
        left[i] = with_pairs(left[i], flows.matched, side)
        left[i] = with_elapsed(relative(left[i], flows.bases[i]) if torn else left[i])
    a, b = grouped(left, flows.matched)
    a, b = (u.with_columns(at=pl.col("row")) for u in (a, b))
    known = _same_frames(a, b, flows.matched.height) if same_frames and bytes_known else None
    return Prepared(a, b, whole_of(a, Room()), whole_of(b, Room()), known, flows, noise, bytes_known)


def _same_frames(a: pl.DataFrame, b: pl.DataFrame, pairs: int) -> Known:
    """For each row of A the row of B with the same frame at its place of the order."""
    frame = pl.struct("frame_print", "cap_len", "len").hash().reinterpret(signed=True)
    x, y = ((u.select(frame).to_series().to_numpy(), np.arange(u.height)) for u in (a, b))
    starts = [np.searchsorted(u["g"].to_numpy(), np.arange(2 * pairs + 1)) for u in (a, b)]
    out = np.full(a.height, -1, np.int64)
    return Known(out, units=True, count=same_frames(x, y, starts[0], starts[1], out))


def matched_flows(
    signs: tuple[pl.DataFrame, pl.DataFrame], bases: tuple[pl.DataFrame, pl.DataFrame]
) -> Flows:
    """Which flows belong together, by their signatures."""
    matched = _with_ends(match_flows(*signs), *signs)
    lone = [
        s.filter(~pl.col("flow").is_in(matched[c].implode()))
        for s, c in zip(signs, ("flow_a", "flow_b"), strict=True)
    ]
    turned = bases[1].join(matched.select(flow="flow_b", flip="flip"), on="flow", how="left")
    back = pl.when(pl.col("flip").fill_null(value=False)).then(1 - pl.col("dir")).otherwise("dir")
    both = (bases[0], turned.with_columns(dir=back.cast(pl.Int8)).drop("flip"))
    if (matched["how"] == SAME_ENDS).any():
        both = _shared_bases(*both, matched)
    servers = frozenset(signs[0]["dst"].to_list()) | frozenset(signs[1]["dst"].to_list())
    return Flows(matched, both, (lone[0], lone[1]), servers)


def _is_noise() -> pl.Expr:
    icmp = pl.col("ip.proto") == _IPPROTO_ICMPV6
    # Without the type (a report): discovery has hop limit 255, listener reports go to a multicast group.
    likely = pl.col("icmpv6_type").is_null() & (
        (pl.col("ip.ttl") == 255) | pl.col("ip.dst").cast(pl.String).str.starts_with("ff02:")
    )
    return (icmp & (pl.col("icmpv6_type").is_in(_NOISE_TYPES) | likely)).fill_null(value=False)


def _no_signatures() -> pl.DataFrame:
    kinds = {"flow": pl.UInt32, "proto": pl.String, "src": pl.String, "srcport": pl.UInt16, "dst": pl.String}
    kinds |= {"dstport": pl.UInt16, "first_n": pl.UInt32}
    for way in ("0", "1"):
        kinds |= {
            "first_" + way: pl.UInt64,
            "end_" + way: pl.Int64,
            "base_" + way: pl.Int64,
            "syn_" + way: pl.Boolean,
        }
    return pl.DataFrame(schema=kinds)


def _with_ends(matched: pl.DataFrame, a: pl.DataFrame, b: pl.DataFrame) -> pl.DataFrame:
    ends = ["src", "srcport", "dst", "dstport", "first_n", "syn_0"]
    for name, side in (("a", a), ("b", b)):
        renamed = side.select(
            pl.col("flow").alias(f"flow_{name}"), *[pl.col(e).alias(f"{e}_{name}") for e in ends]
        )
        matched = matched.join(renamed, on=f"flow_{name}", how="left", maintain_order="left")
    proto = a.select(pl.col("flow").alias("flow_a"), "proto")
    matched = matched.join(proto, on="flow_a", how="left", maintain_order="left")
    turned = {}
    for x, y in (("src", "dst"), ("srcport", "dstport")):
        turned[f"{x}_b"] = pl.when("flip").then(f"{y}_b").otherwise(f"{x}_b")
        turned[f"{y}_b"] = pl.when("flip").then(f"{x}_b").otherwise(f"{y}_b")
    return matched.with_columns(**turned)


def with_pairs(units: pl.DataFrame, flows: pl.DataFrame, side: str) -> pl.DataFrame:
    """Adds `pair`; turns the directions of flows whose roles are exchanged on side B."""
    columns = [pl.col(f"flow_{side}").alias("flow"), "pair"] + (["flip"] if side == "b" else [])
    units = units.join(flows.select(columns), on="flow", how="left", maintain_order="left")
    if side == "b":
        turned = (
            pl.when(pl.col("flip").fill_null(value=False)).then(1 - pl.col("dir")).otherwise(pl.col("dir"))
        )
        units = units.with_columns(dir=turned.cast(pl.Int8)).drop("flip")
    return units.with_columns(pl.col("pair").fill_null(-1))


def _shared_bases(a: pl.DataFrame, b: pl.DataFrame, flows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The same connection, but one side did not see its beginning: both count from the same number."""
    torn = flows.filter(pl.col("how") == SAME_ENDS)
    tables = [
        bases.join(torn.select("pair", flow=f"flow_{side}"), on="flow", how="left")
        for bases, side in ((a, "a"), (b, "b"))
    ]
    starts = [
        t.filter(pl.col("pair").is_not_null() & pl.col("base").is_not_null()).select(
            "pair", "dir", "base", "syn"
        )
        for t in tables
    ]
    both = starts[0].join(starts[1], on=["pair", "dir"], how="full", coalesce=True, suffix="_b")
    shared = pl.when(pl.col("syn").fill_null(value=False)).then("base").otherwise(pl.coalesce(
        pl.when("syn_b").then("base_b"), pl.min_horizontal("base", "base_b")
    ))  # fmt: skip
    both = both.select("pair", "dir", shared=shared)
    moved = [
        t.join(both, on=["pair", "dir"], how="left")
        .with_columns(base=pl.coalesce("shared", "base"))
        .drop("pair", "shared")
        for t in tables
    ]
    return moved[0], moved[1]
