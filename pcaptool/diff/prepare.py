"""Both sides made comparable: packets grouped by matched flow and direction, with the keys of the alignment.

Knows: what makes two packets candidates for each other, and which packets are set aside beforehand.
Must not know: how they are paired up (`align`) or compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from pcaptool.diff.flows import match_flows, signatures
from pcaptool.diff.side import Side
from pcaptool.diff.units import bases_of, relative, units_of

__all__ = ["Prepared", "prepare"]

_IPPROTO_ICMPV6 = 58
# RFC 4861 neighbour discovery and RFC 3810 multicast listener reports.
_NOISE_TYPES = (133, 134, 135, 136, 143)
_OTHER_GROUPS = 1 << 40
_ACK_KINDS = ("ack", "probe")


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
    same = bool(flows.height) and bool((flows["how"] == "same connection").sum() * 2 >= flows.height)
    units_b = _paired(first[1], flows, "flow_b")
    units_a = _paired(first[0], flows, "flow_a")
    if (flows["how"] == "same addresses and ports").any():
        units_a, units_b = _shared_bases(units_a, units_b, flows)
    a, b = _grouped(units_a, units_b, flows)
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


def _grouped(a: pl.DataFrame, b: pl.DataFrame, flows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Adds group and keys, sorts by group and number, counts rows."""
    stands_for = _addresses(flows)
    a = a.with_columns(
        _canonical("sender", stands_for).alias("_from"),
        _canonical("ip.dst", stands_for).alias("_to"),
        _canonical("arp.dst_proto_ipv4", stands_for).alias("_asked"),
    )
    b = b.with_columns(
        pl.col("sender").alias("_from"),
        pl.col("ip.dst").alias("_to"),
        pl.col("arp.dst_proto_ipv4").alias("_asked"),
    )
    kinds = pl.concat([a["kind"], b["kind"]]).drop_nulls().unique().sort()
    number = {k: _OTHER_GROUPS + i for i, k in enumerate(kinds.to_list())}
    out = []
    for units in (a, b):
        group = (
            pl.when(pl.col("proto") == "other")
            .then(pl.col("kind").replace_strict(number, default=_OTHER_GROUPS, return_dtype=pl.Int64))
            .when(pl.col("pair") < 0).then(-1)
            .otherwise(pl.col("pair") * 2 + pl.col("dir").cast(pl.Int64))
        )  # fmt: skip
        keyed = units.with_columns(g=group, **_keys()).drop("_from", "_to", "_asked")
        out.append(keyed.sort("g", "n").with_row_index("row").with_columns(pl.col("row").cast(pl.Int64)))
    return out[0], out[1]


def _keys() -> dict[str, pl.Expr]:
    tcp, other = pl.col("proto") == "tcp", pl.col("proto") == "other"
    acked = pl.when(pl.col("kind").is_in(_ACK_KINDS)).then("tcp.ack")
    sack = pl.col("tcp.sack").cast(pl.List(pl.String)).list.join(",")
    place_tcp = pl.struct("kind", "start", "end", ack=acked).hash()
    content_tcp = pl.struct(
        "kind", "start", "end", "tcp.ack", "tcp.flags", "tcp.window_size_value", "masked_print", sack=sack
    ).hash()
    raw_tcp = pl.struct("tcp.seq_raw", "tcp.ack_raw", "tcp.flags", "tcp.len").hash()
    identity_tcp = pl.struct(
        "tcp.seq_raw",
        "tcp.ack_raw",
        "tcp.flags",
        "tcp.len",
        "tcp.window_size_value",
        "ip.id",
        "tcp.options_timestamp_tsval",
    ).hash()
    place_other = pl.struct("kind", "_from", "_to", "_asked", "arp.opcode").hash()
    content_other = pl.struct(
        "kind", "_from", "_to", "_asked", "arp.opcode", "payload_print", "payload.bytes"
    ).hash()
    content_udp = pl.struct("masked_print", "payload.bytes").hash()
    identity_other = pl.struct("frame_print", "ip.id", "payload.bytes").hash()
    return {
        "identity": pl.when(tcp).then(identity_tcp).otherwise(identity_other),
        "content": pl.when(tcp).then(content_tcp).when(other).then(content_other).otherwise(content_udp),
        "place": pl.when(tcp)
        .then(place_tcp)
        .when(other)
        .then(place_other)
        .otherwise(pl.struct("payload.bytes").hash()),
        "stray": pl.when(tcp).then(raw_tcp),
    }


def _addresses(flows: pl.DataFrame) -> dict[str, str]:
    """Side A's addresses and what they are called on side B, by majority over the matched flows."""
    ends = pl.concat([flows.select(x="src_a", y="src_b"), flows.select(x="dst_a", y="dst_b")]).drop_nulls()
    counted = ends.group_by("x", "y").len().sort("len", "x", "y", descending=[True, False, False])
    out: dict[str, str] = {}
    used: set[str] = set()
    for x, y, _ in counted.iter_rows():
        if x not in out and y not in used:
            out[x] = y
            used.add(y)
    return out


def _canonical(column: str, stands_for: dict[str, str]) -> pl.Expr:
    return pl.col(column).replace(stands_for) if stands_for else pl.col(column)
