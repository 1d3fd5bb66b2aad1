"""One buffer's way from send() to the wire: which stage when, with which bytes and headers.

Knows: layout, and which buffer is a good example. Must not know: how stages were recorded.
"""

from __future__ import annotations

import polars as pl
from rich.table import Table

from pcaptool.report.words import captured, count, duration, table

__all__ = ["example_buffer", "way_of_a_buffer"]


def example_buffer(stages: pl.DataFrame, host: str = "server") -> int | None:
    """The `origin` of the first buffer with payload that a program's call made; None where there is none.

    Examples
    --------
    >>> rows = {"host": ["server"], "stage": ["sys_enter_sendto"], "payload_bytes": [9], "origin": [4]}
    >>> example_buffer(pl.DataFrame(rows))
    4
    """
    called = stages.filter(
        (pl.col("host") == host) & (pl.col("stage") == "sys_enter_sendto") & (pl.col("payload_bytes") > 0)
    )
    return None if called.is_empty() else int(called["origin"][0])


def way_of_a_buffer(stages: pl.DataFrame, origin: int) -> Table:
    """The stages that a buffer and its clones passed, in order.

    Parameters
    ----------
    stages : polars.DataFrame
        The table `stages`.
    origin : int
        Value of the column `origin`.
    """
    way = stages.filter(pl.col("origin") == origin).sort("ts", maintain_order=True)
    out = table(
        "One response on its way: from send() to the wire",
        ("stage", "left"),
        ("since send()", "right"),
        ("step", "right"),
        ("bytes", "right"),
        ("headers so far", "left"),
    )
    times = way["ts"].cast(pl.Int64).to_list()
    for index, row in enumerate(way.iter_rows(named=True)):
        step = times[index] - times[index - 1] if index else None
        out.add_row(
            captured(row["stage"]),
            duration(times[index] - times[0]),
            duration(step),
            count(row["len_bytes"]),
            captured(row["headers"].replace(":", " ")),
        )
    return out
