"""What `pcaptool analyze` says at its end: traffic, slowest exchanges, flows in trouble, biggest flows.

Knows: what a person asks first. Must not know: Parquet, or how a report was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from pcaptool.report.conversations import flow_table, http_table
from pcaptool.report.rows import largest, numbers
from pcaptool.report.timings import timing_table
from pcaptool.report.traffic import TRAFFIC, Traffic
from pcaptool.report.words import count

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Tables", "carried", "summary"]

_TROUBLES = tuple(
    f"{name}_{side}"
    for name in ("retransmissions", "out_of_order", "lost_segments", "zero_windows")
    for side in ("fwd", "rev")
)


class Tables(Protocol):
    """A report: its tables as batches of rows."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Rows of each table."""
        ...

    def batches(self, name: str, columns: Iterable[str] | None = None) -> Iterator[pa.RecordBatch]:
        """A table's rows, or some of its columns."""
        ...


def summary(report: Tables, rows: int = 10) -> RenderableType:
    """Traffic, the slowest exchanges and where their time went, flows in trouble, the biggest flows.

    Parameters
    ----------
    report : Tables
        Has the tables packets, flows and http; perhaps timings.
    rows : int
        Lines of each table.
    """
    traffic = Traffic()
    for batch in report.batches("packets", TRAFFIC):
        traffic.add(batch)
    parts: list[RenderableType] = [traffic.shown()]
    if report.counts["http"]:
        slow, exchanges = largest(report.batches("http"), _took, rows)
        parts += [Text(""), http_table(slow, _title("HTTP exchanges", exchanges, len(slow), "slowest"))]
    if report.counts.get("timings"):
        longest, known = largest(report.batches("timings"), _total, rows)
        if longest:
            parts += [
                Text(""),
                timing_table(longest, _title("Where the time went", known, len(longest), "longest")),
            ]
    if report.counts["flows"]:
        worst, ill = largest(report.batches("flows"), _trouble, rows)
        if ill:
            parts += [Text(""), flow_table(worst, _title("Flows in trouble", ill, len(worst), "worst"))]
        big, conversations = largest(report.batches("flows"), carried, rows)
        parts += [Text(""), flow_table(big, _title("Flows", conversations, len(big), "biggest"))]
    return Group(*parts)


def _took(http: pa.RecordBatch) -> Any:
    return numbers(http, "server_time_ns") + numbers(http, "transfer_time_ns")


def _total(timings: pa.RecordBatch) -> Any:
    total = numbers(timings, "total_time_ns")
    return np.where(total > 0, total, -1)


def _trouble(flows: pa.RecordBatch) -> Any:
    sums = np.sum([numbers(flows, name).astype(np.int64) for name in _TROUBLES], axis=0)
    return np.where(sums > 0, sums, -1)


def carried(flows: pa.RecordBatch) -> Any:
    """Bytes of each conversation."""
    return numbers(flows, "bytes_fwd").astype(np.int64) + numbers(flows, "bytes_rev").astype(np.int64)


def _title(what: str, total: int, shown: int, order: str) -> str:
    return f"{what}: {count(total)}" if shown == total else f"{what}: {order} {shown} of {count(total)}"
