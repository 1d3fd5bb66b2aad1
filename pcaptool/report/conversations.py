"""Flows and HTTP exchanges as tables for a terminal.

Knows: which columns are worth the width. Must not know: which rows matter; the caller sorts and cuts.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from pcaptool.report.rows import Row
from pcaptool.report.words import captured, count, duration, endpoint, size, table

__all__ = ["flow_table", "http_table"]

_TROUBLES = (
    ("retransmissions", "resent"),
    ("out_of_order", "out of order"),
    ("lost_segments", "holes"),
    ("zero_windows", "closed"),
)
_END_STYLES = {"rst": "red", "half": "yellow", "open": "dim"}


def flow_table(flows: Iterable[Row], title: str = "Flows") -> Table:
    """Conversations, one a line; times are integer nanoseconds."""
    out = table(
        title,
        *(("flow", "right"), ("originator", "left"), ("responder", "left"), ("packets ⇄", "right")),
        *(("payload ⇄", "right"), ("duration", "right"), ("handshake", "right"), ("end", "left")),
        ("trouble", "left"),
        spare=("handshake", "duration", "payload ⇄"),
    )
    for row in flows:
        out.add_row(
            str(row["flow"]),
            endpoint(row["src"], row["srcport"]),
            endpoint(row["dst"], row["dstport"]),
            f"{count(row['packets_fwd'])} / {count(row['packets_rev'])}",
            f"{size(row['payload_bytes_fwd'])} / {size(row['payload_bytes_rev'])}",
            duration(row["last_ts"] - row["first_ts"]),
            duration(row["handshake_rtt_ns"]),
            Text(row["end"], style=_END_STYLES.get(row["end"], ""))
            if row["protocol"] == "tcp"
            else Text("udp"),
            Text(_trouble(row), style="yellow"),
        )
    return out


def _trouble(row: Row) -> str:
    """What a healthy conversation has not, both sides together."""
    parts = []
    for column, name in _TROUBLES:
        number = (row.get(f"{column}_fwd") or 0) + (row.get(f"{column}_rev") or 0)
        if number:
            parts.append(f"{number} {name}")
    return ", ".join(parts)


def http_table(http: Iterable[Row], title: str = "HTTP exchanges") -> Table:
    """Exchanges, one a line."""
    out = table(
        title,
        *(("flow", "right"), ("#", "right"), ("request", "left"), ("status", "right"), ("body", "right")),
        *(("server", "right"), ("transfer", "right"), ("packets", "left"), ("trouble", "left")),
        spare=("packets", "#", "body"),
    )
    for row in http:
        asked = "-" if row["method"] is None else f"{row['method']} {row['target']}"
        status = row["status"]
        out.add_row(
            str(row["flow"]),
            str(row["exchange"]),
            captured(asked, 60),
            Text("-" if status is None else str(status), style="red" if status and status >= 400 else ""),
            size(row["response_body_bytes"]),
            duration(row["server_time_ns"]),
            duration(row["transfer_time_ns"]),
            f"{_span(row, 'request')} → {_span(row, 'response')}",
            captured(row["trouble"] or "", 60, "yellow"),
        )
    return out


def _span(row: Row, name: str) -> str:
    first, last = row[f"{name}_first_n"], row[f"{name}_last_n"]
    if first is None:
        return "-"
    if last is None:
        return f"{first}…"
    return str(first) if first == last else f"{first}-{last}"
