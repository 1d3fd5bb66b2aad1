"""What `pcaptool analyze` says at its end: traffic, slowest exchanges, flows in trouble, biggest flows.

Knows: what a person asks first. Must not know: Parquet, or how a report was made.
"""

from __future__ import annotations

from typing import Protocol

import polars as pl
from rich.console import Group, RenderableType
from rich.text import Text

from pcaptool.report.conversations import flow_table, http_table
from pcaptool.report.words import captured, clock, count, duration, grid, size

__all__ = ["Tables", "summary", "traffic"]


_TROUBLES = ("retransmissions", "out_of_order", "lost_segments", "zero_windows")


class Tables(Protocol):
    """A report: its tables as lazy frames."""

    @property
    def packets(self) -> pl.LazyFrame:
        """The packet list."""
        ...

    @property
    def flows(self) -> pl.LazyFrame:
        """Conversations."""
        ...

    @property
    def http(self) -> pl.LazyFrame:
        """HTTP exchanges."""
        ...


def summary(report: Tables, rows: int = 10) -> RenderableType:
    """Traffic, the slowest exchanges, flows in trouble, the biggest flows.

    Parameters
    ----------
    report : Tables
        Has the tables packets, flows and http.
    rows : int
        Lines of each table.
    """
    parts: list[RenderableType] = [traffic(report.packets)]
    http = report.http
    exchanges = http.select(pl.len()).collect().item()
    if exchanges:
        whole = pl.col("server_time_ns").fill_null(0) + pl.col("transfer_time_ns").fill_null(0)
        slow = http.sort(whole, descending=True).head(rows).collect()
        parts += [Text(""), http_table(slow, _title("HTTP exchanges", exchanges, slow.height, "slowest"))]
    flows = report.flows
    conversations = flows.select(pl.len()).collect().item()
    if conversations:
        trouble = pl.sum_horizontal(f"{name}_{side}" for name in _TROUBLES for side in ("fwd", "rev"))
        ill = flows.filter(trouble > 0)
        count_ill = ill.select(pl.len()).collect().item()
        if count_ill:
            worst = ill.sort(trouble, descending=True).head(rows).collect()
            parts += [
                Text(""),
                flow_table(worst, _title("Flows in trouble", count_ill, worst.height, "worst")),
            ]
        carried = pl.col("bytes_fwd") + pl.col("bytes_rev")
        big = flows.sort(carried, descending=True).head(rows).collect()
        parts += [Text(""), flow_table(big, _title("Flows", conversations, big.height, "biggest"))]
    return Group(*parts)


def traffic(packets: pl.LazyFrame) -> RenderableType:
    """Packets, bytes, time span, protocols, what could not be decoded."""
    ns = pl.col("ts").cast(pl.Int64)
    whole = packets.select(
        pl.len().alias("packets"),
        pl.col("len").cast(pl.UInt64).sum().alias("bytes"),
        (pl.col("cap_len") < pl.col("len")).sum().alias("cut"),
        pl.col("err_layer").is_not_null().sum().alias("faulty"),
        ns.min().alias("first"),
        ns.max().alias("last"),
    ).collect()
    row = whole.row(0, named=True)
    if not row["packets"]:
        return Text("no packets")
    names = (
        packets.group_by(pl.col("protocol").cast(pl.String))
        .agg(pl.len())
        .sort("len", "protocol", descending=[True, False])
    )
    shown = Text(", ").join(
        [
            captured(name).append(f" {count(packets_of)}")
            for name, packets_of in names.head(8).collect().iter_rows()
        ]
    )
    lasted = row["last"] - row["first"]
    rate = f", {size(round(row['bytes'] * 10**9 / lasted))}/s" if lasted > 0 else ""
    lines: list[tuple[str, str | Text]] = [
        ("packets", f"{count(row['packets'])}, {size(row['bytes'])}{rate}"),
        ("time", f"{clock(row['first'])}, {duration(lasted)}"),
        ("protocols", shown),
    ]
    if row["cut"]:
        lines.append(("cut", f"{count(row['cut'])} packets were captured in part (snap length)"))
    if row["faulty"]:
        lines.append(("undecoded", f"{count(row['faulty'])} packets; see err_layer, err_kind in packets"))
    return grid(lines)


def _title(what: str, total: int, shown: int, order: str) -> str:
    return f"{what}: {count(total)}" if shown == total else f"{what}: {order} {shown} of {count(total)}"
