"""Which conversation of one side is which of the other.

Knows: flows are the same by what they say: the same connection (addresses, ports and initial sequence
numbers), else the same service, first request and amount of bytes, else the same service, else the same
protocol; within equals by order of appearance.
Must not know: single packets beyond the first data of each direction.
Complexity: a handful of hash joins over flows.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

__all__ = ["SAME_ENDS", "WEAK", "match_flows", "said_of", "signatures"]

# How a connection is called whose beginning one side did not see.
SAME_ENDS = "same addresses and ports"

# From the surest to the weakest; a level takes what the levels above left over, in order of appearance.
_SAME_CONNECTION = ["proto", "src", "srcport", "dst", "dstport", "base_0", "base_1"]
_LEVELS: tuple[tuple[str, list[str]], ...] = (
    ("same connection", _SAME_CONNECTION),
    ("same connection, other addresses", ["proto", "base_0", "base_1"]),
    ("same request and sizes", ["proto", "dstport", "first_0", "end_0", "end_1"]),
    ("same request", ["proto", "dstport", "first_0"]),
    ("same request and sizes, other port", ["proto", "first_0", "end_0", "end_1"]),
    ("same service and sizes", ["proto", "dstport", "end_0", "end_1"]),
    ("same service", ["proto", "dstport"]),
    ("same protocol", ["proto"]),
)


# Levels that look at no byte and no number of what is said.
WEAK = ("same service", "same protocol")


def said_of(units: pl.DataFrame) -> pl.DataFrame:
    """What each direction of a flow says: flow, dir, first (print of its first data), end, syn.

    Parameters
    ----------
    units : polars.DataFrame
        With relative numbers (`units.relative`).
    """
    data = units.filter(pl.col("flow").is_not_null())
    return data.group_by("flow", "dir", maintain_order=True).agg(
        first=pl.col("masked_print").filter(pl.col("payload.bytes") > 0).first(),
        end=pl.coalesce(pl.col("end").max(), pl.col("payload.bytes").sum()),
        syn=(pl.col("kind") == "syn").any(),
    )


def signatures(said: pl.DataFrame, flows: pl.DataFrame, bases: pl.DataFrame) -> pl.DataFrame:
    """One row a flow with the columns that the levels join by, in order of appearance.

    Parameters
    ----------
    said : polars.DataFrame
        As `said_of` gives it.
    flows : polars.DataFrame
        The report's `flows`.
    bases : polars.DataFrame
        As `units.bases_of` gives them.
    """
    who = flows.select(
        pl.col("flow").cast(pl.UInt32),
        pl.col("protocol").cast(pl.String).alias("proto"),
        pl.col("src").cast(pl.String),
        pl.col("srcport").cast(pl.UInt16),
        pl.col("dst").cast(pl.String),
        pl.col("dstport").cast(pl.UInt16),
        pl.col("first_n").cast(pl.UInt32),
    ).sort("flow")
    for way in (0, 1):
        one = said.filter(pl.col("dir") == way)
        who = who.join(
            one.select("flow", *[pl.col(c).alias(f"{c}_{way}") for c in ("first", "end", "syn")]),
            on="flow", how="left", maintain_order="left",
        )  # fmt: skip
        start = bases.filter(pl.col("dir") == way)
        who = who.join(
            start.select("flow", pl.col("base").alias(f"base_{way}")),
            on="flow", how="left", maintain_order="left",
        )  # fmt: skip
    return who


def match_flows(a: pl.DataFrame, b: pl.DataFrame) -> pl.DataFrame:
    """Pairs of flows: pair (numbered in A's order), flow_a, flow_b, flip (B's roles are exchanged), how.

    Parameters
    ----------
    a, b : polars.DataFrame
        Signatures of both sides.
    """
    found: list[pl.DataFrame] = []

    def take(left: pl.DataFrame, right: pl.DataFrame, on: list[str], how: str, *, flip: bool = False) -> None:
        nonlocal a, b
        occurrence = pl.int_range(pl.len()).over(on).alias("_k")
        pairs = left.with_columns(occurrence).join(
            right.with_columns(occurrence), on=[*on, "_k"], suffix="_b", nulls_equal=True
        )
        if pairs.height:
            found.append(pairs.select(flow_a="flow", flow_b="flow_b", flip=pl.lit(flip), how=pl.lit(how)))
            a = a.filter(~pl.col("flow").is_in(pairs["flow"].implode()))
            b = b.filter(~pl.col("flow").is_in(pairs["flow_b"].implode()))

    for level, (how, on) in enumerate(_LEVELS):
        if level == 1:  # rewritten on the way (NAT): told by both initial sequence numbers
            whole = pl.col("syn_0").fill_null(value=False) & pl.col("base_1").is_not_null()
            take(a.filter(whole), b.filter(whole), on, how)
            continue
        take(a, b, on, how)
        if level == 0:
            _match_torn(lambda: (a, b), take)
    if not found:
        return pl.DataFrame(
            schema={
                "pair": pl.Int64,
                "flow_a": pl.UInt32,
                "flow_b": pl.UInt32,
                "flip": pl.Boolean,
                "how": pl.String,
            }
        )
    return pl.concat(found).sort("flow_a").with_row_index("pair").with_columns(pl.col("pair").cast(pl.Int64))


def _match_torn(rest: Callable[[], tuple[pl.DataFrame, pl.DataFrame]], take: Callable[..., None]) -> None:
    """Connections whose beginning one side did not see: same addresses and ports, perhaps roles exchanged."""
    ends = ["proto", "src", "srcport", "dst", "dstport"]
    torn = ~pl.col("syn_0").fill_null(value=False)
    for first in (True, False):
        a, b = rest()
        take(a.filter(torn) if first else a, b if first else b.filter(torn), ends, SAME_ENDS)
    for first in (True, False):
        a, b = rest()
        turned = b.rename({"src": "dst", "dst": "src", "srcport": "dstport", "dstport": "srcport"})
        left, right = (a.filter(torn), turned) if first else (a, turned.filter(torn))
        take(left, right, ends, SAME_ENDS, flip=True)
