"""Both sides made comparable: packets of matched flows numbered alike, grouped and keyed.

Knows: which packets are set aside beforehand, and what two sides of one connection count from.
Must not know: how flows match (`flows`), what the keys are (`keys`), how packets are paired up (`align`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from pcaptool.diff.flows import match_flows, signatures
from pcaptool.diff.keys import grouped
from pcaptool.diff.side import Side
from pcaptool.diff.units import bases_of, relative, units_of

__all__ = ["Prepared", "prepare"]

_IPPROTO_ICMPV6 = 58
# RFC 4861 neighbour discovery and RFC 3810 multicast listener reports.
_NOISE_TYPES = (133, 134, 135, 136, 143)


@dataclass(frozen=True)
class Prepared:
    """Units of both sides, ready to align.

    Parameters
    ----------
    a, b : polars.DataFrame
        Sorted by group and number; `row` counts from 0, `pair` is the flow pair (-1: none), `g` the group.
    flows : polars.DataFrame
        Matched flows with both sides' ends: pair, flow_a, flow_b, how, src_a ... dstport_b, first_n_a,
        first_n_b.
    lone_a, lone_b : polars.DataFrame
        Signatures of flows without a counterpart.
    noise : int
        Packets set aside as neighbour noise.
    bytes_known : bool
        Whether both sides have fingerprints.
    same_connections : bool
        Whether flows have the same initial sequence numbers: the same packets, not another run.
    """

    a: pl.DataFrame
    b: pl.DataFrame
    flows: pl.DataFrame
    lone_a: pl.DataFrame
    lone_b: pl.DataFrame
    noise: int
    bytes_known: bool
    same_connections: bool
    servers: frozenset[str] = field(default_factory=frozenset)


def prepare(side_a: Side, side_b: Side, *, drop_noise: bool) -> Prepared:
    """Join, match flows, number and key the packets of two sides.

    Parameters
    ----------
    side_a, side_b : Side
    drop_noise : bool
        Whether ICMPv6 neighbour noise is set aside.
    """
    bytes_known = side_a.prints is not None and side_b.prints is not None
    units = [units_of(s) for s in (side_a, side_b)]
    noise = 0
    if drop_noise:
        kept = [u.filter(~_is_noise()) for u in units]
        noise = sum(u.height - k.height for u, k in zip(units, kept, strict=True))
        units = kept
    if not bytes_known:
        nothing = {c: pl.lit(None, pl.UInt64) for c in ("frame_print", "payload_print", "masked_print")}
        units = [u.with_columns(**nothing) for u in units]
    bases = [bases_of(u) for u in units]
    first = [relative(u, x) for u, x in zip(units, bases, strict=True)]
    signs = [
        signatures(u, s.frames["flows"], x) if "flows" in s.frames else _no_signatures()
        for u, s, x in zip(first, (side_a, side_b), bases, strict=True)
    ]
    matched = match_flows(*signs)
    flows = _with_ends(matched, *signs)
    same = bool(flows.height) and bool(
        flows["how"].str.starts_with("same connection").sum() * 2 >= flows.height
    )
    units_b = _paired(first[1], flows, "flow_b")
    units_a = _paired(first[0], flows, "flow_a")
    if (flows["how"] == "same addresses and ports").any():
        units_a, units_b = _shared_bases(units_a, units_b, flows)
    a, b = grouped(units_a, units_b, flows)
    lone = [
        s.filter(~pl.col("flow").is_in(flows[c].implode()))
        for s, c in zip(signs, ("flow_a", "flow_b"), strict=True)
    ]
    servers = frozenset(signs[0]["dst"].to_list()) | frozenset(signs[1]["dst"].to_list())
    return Prepared(a, b, flows, lone[0], lone[1], noise, bytes_known, same, servers)


def _is_noise() -> pl.Expr:
    icmp = pl.col("ip.proto") == _IPPROTO_ICMPV6
    # Without the type (a report): discovery has hop limit 255, listener reports go to a multicast group.
    likely = pl.col("icmpv6_type").is_null() & (
        (pl.col("ip.ttl") == 255) | pl.col("ip.dst").str.starts_with("ff02:")
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


def _paired(units: pl.DataFrame, flows: pl.DataFrame, column: str) -> pl.DataFrame:
    """Adds `pair`; turns the directions of flows whose roles are exchanged on side B."""
    columns = [pl.col(column).alias("flow"), "pair"] + (["flip"] if column == "flow_b" else [])
    units = units.join(flows.select(columns), on="flow", how="left", maintain_order="left")
    if column == "flow_b":
        turned = (
            pl.when(pl.col("flip").fill_null(value=False)).then(1 - pl.col("dir")).otherwise(pl.col("dir"))
        )
        units = units.with_columns(dir=turned.cast(pl.Int8)).drop("flip")
    return units.with_columns(pl.col("pair").fill_null(-1))


def _shared_bases(a: pl.DataFrame, b: pl.DataFrame, flows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The same connection, but one side did not see its beginning: both count from the same number."""
    torn = flows.filter(pl.col("how") == "same addresses and ports")["pair"].implode()
    starts = []
    for units in (a, b):
        own = units.filter(pl.col("pair").is_in(torn) & pl.col("base").is_not_null())
        syn = ((pl.col("tcp.flags") & 2) != 0).any()
        starts.append(own.group_by("pair", "dir").agg(pl.col("base").first(), syn=syn))
    both = starts[0].join(starts[1], on=["pair", "dir"], how="full", coalesce=True, suffix="_b")
    shared = pl.when(pl.col("syn").fill_null(value=False)).then("base").otherwise(pl.coalesce(
        pl.when("syn_b").then("base_b"), pl.min_horizontal("base", "base_b")
    ))  # fmt: skip
    both = both.select("pair", "dir", shared=shared)
    out = []
    for units in (a, b):
        moved = units.join(both, on=["pair", "dir"], how="left", maintain_order="left")
        known = moved.filter(pl.col("flow").is_not_null() & (pl.col("proto") == "tcp"))
        bases = known.group_by("flow", "dir").agg(base=pl.coalesce("shared", "base").first())
        plain = moved.drop(
            "shared",
            "base",
            "peer_base",
            "tcp.seq",
            "tcp.ack",
            "tcp.sack",
            "tcp.sack_raw",
            "start",
            "end",
            "kind",
        )
        out.append(relative(plain, bases))
    return out[0], out[1]
