"""The aligned packets as people read them, and the alignment table.

Knows: in which order a reader wants to see both sides.
Must not know: a terminal (`report.diff`).
"""

from __future__ import annotations

from typing import Any

import polars as pl

from pcaptool.diff.align import HOW, Alignment
from pcaptool.diff.compare import direction_text
from pcaptool.diff.result import ALIGNMENT_SCHEMA
from pcaptool.diff.structure import packet_text
from pcaptool.diff.text import options_text

__all__ = ["LISTED", "alignment_table", "listing_of"]

LISTED = 500


def alignment_table(alignment: Alignment, a: pl.DataFrame, b: pl.DataFrame) -> pl.DataFrame:
    """Rows of both sides that belong together, in A's order, packets that only B has where they fell.

    Columns of `ALIGNMENT_SCHEMA`, with row_a and row_b in front.
    """
    null = pl.lit(None, pl.Int64)
    parts = [
        pl.DataFrame({"row_a": alignment.one_a, "row_b": alignment.one_b}).with_columns(
            how=pl.Series([HOW[i] for i in alignment.one_how.tolist()], dtype=pl.String)
        ),
        pl.DataFrame({"row_a": alignment.seg_a, "row_b": alignment.seg_b}).with_columns(
            how=pl.lit("segmentation")
        ),
        pl.DataFrame({"row_a": alignment.only_a}).select("row_a", row_b=null, how=pl.lit("only a")),
        pl.DataFrame({"row_b": alignment.only_b}).select(null.alias("row_a"), "row_b", how=pl.lit("only b")),
    ]
    rows = pl.concat(parts)
    facts = ["row", "n", "elapsed", "pair", "dir"]
    rows = rows.join(a.select(facts), left_on="row_a", right_on="row", how="left")
    rows = rows.join(b.select(facts), left_on="row_b", right_on="row", how="left", suffix="_b")
    rows = rows.with_columns(
        flow=pl.max_horizontal("pair", "pair_b"),
        way=pl.coalesce("dir", "dir_b"),
        at=pl.when(pl.col("n").is_not_null()).then("n").otherwise(None),
    )
    # A packet of B alone stands behind B's packet before it that has a place in A.
    rows = rows.sort("n_b", "n", nulls_last=True).with_columns(place=pl.col("at").forward_fill().fill_null(0))
    rows = rows.with_columns(place=pl.coalesce("at", "place"), lone=pl.col("at").is_null()).sort(
        "place", "lone", "n_b"
    )
    words = pl.col("way").replace_strict(
        {0: direction_text(0), 1: direction_text(1)}, default="", return_dtype=pl.String
    )
    table = rows.select(
        "row_a", "row_b", "flow", words.alias("direction"), pl.col("n").alias("n_a"), "n_b", "how",
        time_a_ns="elapsed", time_b_ns="elapsed_b", delta_ns=pl.col("elapsed_b") - pl.col("elapsed"),
    )  # fmt: skip
    return table.cast({k: v for k, v in ALIGNMENT_SCHEMA.items() if k in table.columns})


def listing_of(
    table: pl.DataFrame, a: pl.DataFrame, b: pl.DataFrame, differences: pl.DataFrame, limit: int = LISTED
) -> pl.DataFrame:
    """The first `limit` rows of the alignment with each packet in words and the fields that differ.

    Returns
    -------
    polars.DataFrame
        flow, direction, n_a, n_b, time_a_ns, time_b_ns, packet_a, packet_b, options_a, options_b, how,
        fields.
    """
    head = table.head(limit)
    named = differences.group_by("n_a", "n_b", maintain_order=True).agg(
        pl.col("field").unique(maintain_order=True)
    )
    fields = {(x, y): names for x, y, names in named.iter_rows()}
    rows = []
    for row in head.iter_rows(named=True):
        one = a.row(row["row_a"], named=True) if row["row_a"] is not None else None
        two = b.row(row["row_b"], named=True) if row["row_b"] is not None else None
        rows.append(
            {
                "flow": row["flow"], "direction": row["direction"], "n_a": row["n_a"], "n_b": row["n_b"],
                "time_a_ns": row["time_a_ns"], "time_b_ns": row["time_b_ns"],
                "packet_a": packet_text(one) if one else "", "packet_b": packet_text(two) if two else "",
                "options_a": _options(one) if one else "",
                "options_b": _options(two) if two else "",
                "how": row["how"], "fields": fields.get((row["n_a"], row["n_b"]), []),
            }
        )  # fmt: skip
    number, text = pl.UInt32, pl.String
    schema: dict[str, Any] = {
        "flow": pl.Int64, "direction": text, "n_a": number, "n_b": number,
        "time_a_ns": pl.Int64, "time_b_ns": pl.Int64,
        "packet_a": text, "packet_b": text, "options_a": text, "options_b": text,
        "how": text, "fields": pl.List(text),
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row")


def _options(unit: dict[str, Any]) -> str:
    return options_text(
        unit["tcp.option_kinds"], unit["tcp.options_mss_val"], unit["tcp.options_wscale_shift"]
    )
