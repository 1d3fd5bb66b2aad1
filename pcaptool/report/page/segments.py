"""The segments of some conversations, as a time-sequence graph and a ladder need them.

Knows: which columns of `tcp` make a picture; how to thin out long conversations without losing what matters.
Must not know: drawing.
A sample keeps the first segments, then those that the analysis marks, then of the rest some that are spread evenly.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from pcaptool.report.words import endpoint
from pcaptool.tables.report import Report

__all__ = ["MARKS", "flow_segments"]

# Bit of a segment's `mark` -> column that says so.
MARKS = (
    "analysis_retransmission",
    "analysis_fast_retransmission",
    "analysis_spurious_retransmission",
    "analysis_out_of_order",
    "analysis_lost_segment",
    "analysis_duplicate_ack",
    "analysis_zero_window",
    "analysis_window_full",
    "analysis_keep_alive",
    "analysis_zero_window_probe",
)
_LEAST = 50
_PLAIN = ("n", "t", "seq", "ack", "len", "win", "flags", "mark", "rtt", "flight")


def flow_segments(
    report: Report, flows: pl.DataFrame, begin_ns: int, most: int, most_in_all: int
) -> list[dict[str, Any]]:
    """One entry a conversation.

    Parameters
    ----------
    report : Report
        Has tcp and packets.
    flows : polars.DataFrame
        Rows of the table `flows`.
    begin_ns : int
        What times count from.
    most, most_in_all : int
        Segments of one conversation, and of all together.

    Returns
    -------
    list of dict
        flow, name, total, then one list a column: n, t (ns), fwd (0, 1), seq, ack, len (bytes), win (bytes),
        flags, mark (bits, see MARKS), sack (edges relative like ack), rtt (ns), flight (bytes).
    """
    if not flows.height:
        return []
    each = max(_LEAST, min(most, most_in_all // flows.height))
    frame = _segments(report, flows, begin_ns).filter(_kept(each)).collect()
    parts = {key[0]: part for key, part in frame.partition_by("flow", as_dict=True).items()}
    out = []
    for row in flows.iter_rows(named=True):
        part = parts.get(row["flow"])
        if part is None:
            continue
        a, b = endpoint(row["src"], row["srcport"]).plain, endpoint(row["dst"], row["dstport"]).plain
        entry: dict[str, Any] = {"flow": row["flow"], "a": a, "b": b, "total": part["total"][0]}
        entry |= {name: part[name].to_list() for name in _PLAIN}
        entry["fwd"] = part["fwd"].cast(pl.Int8).to_list()
        entry["sack"] = _sack(part)
        out.append(entry)
    return out


def _segments(report: Report, flows: pl.DataFrame, begin_ns: int) -> pl.LazyFrame:
    mark = pl.sum_horizontal(pl.col(name).cast(pl.Int32) * (1 << bit) for bit, name in enumerate(MARKS))
    position = pl.int_range(pl.len()).over("flow")
    return (
        report.tcp.join(flows.lazy().select("flow"), on="flow", how="semi")
        .join(report.packets.select("n", "ts"), on="n", how="left")
        .select(
            "flow",
            "n",
            (pl.col("ts").cast(pl.Int64) - begin_ns).alias("t"),
            "fwd",
            "seq",
            "ack",
            pl.col("len").fill_null(0),
            pl.coalesce("window_size", "window_size_value").alias("win"),
            "flags",
            mark.alias("mark"),
            pl.col("analysis_ack_rtt_ns").alias("rtt"),
            pl.col("analysis_bytes_in_flight").alias("flight"),
            "ack_raw",
            "options_sack_le",
            "options_sack_re",
        )
        .sort("n")  # joins keep no order, and positions count on it
        .with_columns(pl.len().over("flow").alias("total"), position.alias("position"))
        .with_columns(pl.col("mark").gt(0).cum_sum().over("flow").alias("marked"))
    )


def _kept(most: int) -> pl.Expr:
    """Which segments of a conversation a sample of so many holds: a third each of first, marked, and spread."""
    third = most // 3
    # Multiplicative hashing (Knuth): a step would keep one kind only of traffic whose period divides it.
    mixed = pl.col("position").cast(pl.UInt64) * 2_654_435_761 % 2**32
    spread = mixed * pl.col("total") < third * 2**32
    return (
        (pl.col("total") <= most)
        | (pl.col("position") < third)
        | ((pl.col("mark") > 0) & (pl.col("marked") <= third))
        | spread
    )


def _sack(part: pl.DataFrame) -> list[list[int]]:
    """SACK edges, counted from where the acknowledgement counts: left, right, left, ..."""
    out = []
    columns = ("ack", "ack_raw", "options_sack_le", "options_sack_re")
    for ack, raw, left, right in part.select(columns).iter_rows():
        base = raw - (ack or 0)
        out.append([(edge - base) % 2**32 for pair in zip(left, right, strict=False) for edge in pair])
    return out
