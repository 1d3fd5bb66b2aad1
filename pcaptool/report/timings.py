"""Where the time of exchanges went, as a table for a terminal.

Knows: which parts are worth a column together. Must not know: which rows matter; the caller sorts and cuts.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table

from pcaptool.report.rows import Row
from pcaptool.report.words import duration, table
from pcaptool.tables.timings import REQUEST_PARTS

__all__ = ["GROUPS", "timing_table"]

# Heading -> columns of `timings` that it adds up; together they are all parts, so a line adds up to its total.
GROUPS: dict[str, tuple[str, ...]] = {
    "request": tuple(name for name in REQUEST_PARTS if name != "request_retransmission_ns"),
    "resent": ("request_retransmission_ns", "server_retransmission_ns", "transfer_retransmission_ns"),
    "network": ("server_network_ns",),
    "server": ("server_think_ns", "transfer_idle_ns"),
    "in flight": ("transfer_application_ns",),
    "rwnd": ("transfer_rwnd_ns",),
    "cwnd": ("transfer_cwnd_ns",),
    "other": ("transfer_other_ns",),
}


def timing_table(rows: Iterable[Row], title: str) -> Table:
    """Exchanges whose total is known, one a line; times are integer nanoseconds."""
    out = table(
        title,
        *(("flow", "right"), ("#", "right"), ("total", "right")),
        *((name, "right") for name in (*GROUPS, "delivery")),
        spare=("delivery", "other", "request", "rwnd", "cwnd"),
    )
    for row in rows:
        sums = [sum(row[part] or 0 for part in parts) for parts in GROUPS.values()]
        shown = [duration(ns) if ns else "-" for ns in sums]
        out.add_row(
            str(row["flow"]),
            str(row["exchange"]),
            duration(row["total_time_ns"]),
            *shown,
            duration(row["delivery_time_ns"]),
        )
    return out
