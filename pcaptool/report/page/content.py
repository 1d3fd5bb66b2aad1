"""What a page shows of a report: plain values, ready for JSON, bounded in number and size.

Knows: what people look at first, and how much of it a page can hold.
Must not know: HTML, or how anything is drawn.
Whatever is left out is said in words beside what is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from pcaptool.errors import printable
from pcaptool.report.page.details import Frames, frame_bytes, frame_stages, time_parts
from pcaptool.report.page.segments import flow_segments
from pcaptool.report.page.values import rows_within
from pcaptool.report.words import clock, count, duration, size
from pcaptool.tables import TABLES
from pcaptool.tables.report import Report

__all__ = ["Limits", "content"]

_TROUBLES = ("retransmissions", "out_of_order", "lost_segments", "zero_windows")
_EXCHANGE = (
    *("flow", "exchange", "method", "target", "status", "response_body_bytes", "trouble"),
    *("request_first_n", "request_last_n", "response_first_n", "response_last_n"),
)
_TIMES = ("request_first_ts", "request_last_ts", "response_first_ts", "response_last_ts")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a page holds.

    Parameters
    ----------
    exchanges : int
        Exchanges in the waterfall: the slowest.
    flows : int
        TCP conversations that are drawn: those with trouble first, then the biggest.
    segments : int
        Segments of one of these; of longer ones a sample.
    all_segments : int
        Segments of all of them together.
    table_bytes : int
        JSON text of one table.
    frames : int
        Packets whose bytes it holds, the first of each.
    staged : int
        Frames whose stages it holds.
    """

    exchanges: int = 200
    flows: int = 40
    segments: int = 3000
    all_segments: int = 15_000
    table_bytes: int = 170_000
    frames: int = 1500
    staged: int = 300


def content(report: Report, limits: Limits, frames: Frames | None = None) -> dict[str, Any]:
    """Everything a page shows.

    Returns
    -------
    dict
        title, command, notes (list of str), overview (list of name and value), exchanges, flows (list: how to
        draw each), timings, packets, frames, stages (`page.details`), tables (list). Times are integers: nanoseconds
        since `begin_ns`.
    """
    begin, overview = _overview(report)
    sources = ", ".join(str(source.get("name", "")) for source in report.sources)
    shown = _shown_flows(report, limits)
    flows = flow_segments(report, shown, begin, limits.segments, limits.all_segments)
    packets = report.counts.get("packets", 0)
    return {
        "title": printable(sources or report.path.name),
        "command": printable(report.command),
        "begin_ns": str(begin),
        "notes": [printable(notice) for notice in report.notices],
        "overview": overview,
        "exchanges": _exchanges(report, limits, begin),
        "timings": time_parts(report, limits.exchanges),
        "flows": flows,
        "flows_total": report.counts.get("flows", 0),
        "packets": packets,
        "frames": frame_bytes(frames, flows, packets, limits.frames),
        "stages": frame_stages(report, limits.staged),
        "tables": [_table(report, name, limits) for name in report.tables],
    }


def _overview(report: Report) -> tuple[int, list[tuple[str, str]]]:
    """Time of the first packet, and a few lines about the whole."""
    lines: list[tuple[str, str]] = []
    begin = 0
    if "packets" in report:
        ns = pl.col("ts").cast(pl.Int64)
        row = (
            report.packets.select(
                pl.len().alias("packets"),
                pl.col("len").cast(pl.UInt64).sum().alias("bytes"),
                (pl.col("cap_len") < pl.col("len")).sum().alias("cut"),
                pl.col("err_layer").is_not_null().sum().alias("faulty"),
                ns.min().alias("first"),
                ns.max().alias("last"),
            )
            .collect()
            .row(0, named=True)
        )
        begin = row["first"] or 0
        lines = [("Packets", count(row["packets"])), ("Bytes", size(row["bytes"]))]
        if row["packets"]:
            lines += [("First packet", clock(begin)), ("Duration", duration(row["last"] - begin))]
        if row["cut"]:
            lines.append(("Cut by snap length", count(row["cut"])))
        if row["faulty"]:
            lines.append(("Not decoded to their end", count(row["faulty"])))
    if "flows" in report:
        kinds = report.flows.group_by(pl.col("protocol").cast(pl.String)).agg(pl.len()).sort("len").collect()
        said = ", ".join(f"{count(number)} {kind.upper()}" for kind, number in kinds.iter_rows())
        lines.append(("Flows", said or "0"))
        sums = report.flows.select(
            (pl.col(f"{name}_fwd").cast(pl.Int64) + pl.col(f"{name}_rev")).sum().alias(name)
            for name in _TROUBLES
        ).collect()
        lines += [
            (name.replace("_", " ").capitalize(), count(n)) for name, n in sums.row(0, named=True).items()
        ]
    if "http" in report:
        lines.append(("HTTP exchanges", count(report.counts["http"])))
    return begin, lines


def _exchanges(report: Report, limits: Limits, begin: int) -> dict[str, Any]:
    """The slowest exchanges in the order of their beginnings: one list a column."""
    if "http" not in report:
        return {"total": 0, "shown": 0, "columns": {}}
    times = [pl.col(name).cast(pl.Int64) - begin for name in _TIMES]
    lasted = (pl.col("server_time_ns").fill_null(0) + pl.col("transfer_time_ns").fill_null(0)).alias("lasted")
    frame = (
        report.http.select(*_EXCHANGE, *times, lasted)
        .top_k(limits.exchanges, by="lasted")
        .sort("request_first_ts", "flow", "exchange", nulls_last=True)
        .drop("lasted")
        .collect()
    )
    columns = {name: frame[name].to_list() for name in frame.columns}
    for name in ("method", "target", "trouble"):
        columns[name] = [None if v is None else printable(str(v))[:120] for v in columns[name]]
    return {"total": report.counts["http"], "shown": frame.height, "columns": columns}


def _shown_flows(report: Report, limits: Limits) -> pl.DataFrame:
    """Rows of `flows` whose segments are drawn, in the order of the capture."""
    if not {"flows", "tcp", "packets"} <= set(report.tables):
        return pl.DataFrame({"flow": []}, schema={"flow": pl.UInt32})
    trouble = pl.sum_horizontal(f"{name}_{side}" for name in _TROUBLES for side in ("fwd", "rev")) > 0
    carried = pl.col("bytes_fwd") + pl.col("bytes_rev")
    tcp = report.flows.filter(pl.col("protocol").cast(pl.String) == "tcp")
    half = limits.flows // 2
    ill = tcp.filter(trouble).top_k(half, by=carried).select("flow")
    big = tcp.top_k(limits.flows, by=carried).select("flow")
    chosen = pl.concat([ill, big]).unique("flow", maintain_order=True).head(limits.flows)
    return report.flows.join(chosen, on="flow", how="semi").sort("flow").collect()


def _table(report: Report, name: str, limits: Limits) -> dict[str, Any]:
    """The first rows of a table, as many as fit; columns that are null in all of them are left out."""
    definition = TABLES[name]
    frame = report[name].head(2000).collect()
    used = (
        [c for c in frame.columns if frame[c].null_count() < frame.height] if frame.height else frame.columns
    )
    rows = rows_within(frame.select(used), limits.table_bytes)
    return {
        "name": name,
        "doc": definition.doc,
        "total": report.counts[name],
        "columns": [[c, definition[c].doc] for c in used],
        "unused": [c for c in frame.columns if c not in used],
        "rows": rows,
    }
