"""When packets passed, on both sides: differences of packet times and of exchanges.

Knows: times count from the first packet of the flow (of the capture for packets of no flow), integers in ns.
Must not know: what else differs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from pcaptool.diff.compare import DIFFERENCES_A_FIELD, Comparison, told_rows
from pcaptool.diff.fields import ComparedField
from pcaptool.diff.pairs import View
from pcaptool.diff.result import Timing
from pcaptool.diff.settings import Settings

__all__ = ["add_times", "exchange_timing", "quantiles", "with_elapsed"]

_TIME = ComparedField("frame.time", "link", 15)


def with_elapsed(units: pl.DataFrame) -> pl.DataFrame:
    """Adds `elapsed`: ns since the flow's first packet, or the capture's for packets of no flow."""
    flow_start = pl.col("ts").min().over("flow")
    start = pl.when(pl.col("flow").is_not_null()).then(flow_start).otherwise(pl.col("ts").min())
    return units.with_columns(elapsed=pl.col("ts") - start)


def quantiles(what: str, deltas: npt.NDArray[np.int64]) -> Timing:
    """Quantiles by rank, so that every figure is one that occurred."""
    ordered = np.sort(deltas)
    last = len(ordered) - 1
    p50, p95 = int(ordered[last // 2]), int(ordered[-(-last * 95 // 100)])
    return Timing(what, len(ordered), int(ordered[0]), p50, p95, int(ordered[-1]))


def add_times(
    out: Comparison,
    a: View,
    b: View,
    counted: npt.NDArray[np.bool_],
    settings: Settings,
) -> None:
    """Compares capture times of aligned packets.

    With a tolerance for `time`, the times since the flow's start must agree within it; else the capture
    times themselves, unless the rule `absolute-time` is in force.
    """
    total = int(np.count_nonzero(counted))
    tolerances, rules = settings.tolerances, settings.rules
    by_clock = "time" not in tolerances
    x, y = (a["ts"], b["ts"]) if by_clock else (a["elapsed"], b["elapsed"])
    differs = (x != y).to_numpy() & counted
    equal = total - int(np.count_nonzero(differs))
    if by_clock and "absolute-time" in rules:
        out.uses["absolute-time"] += total - equal
        out.add(_TIME, total, equal, total - equal, 0)
        return
    if not by_clock:
        differs &= ~tolerances["time"].within(x, y)
    rows = np.flatnonzero(differs)
    out.uses["tolerance time"] += (total - equal - len(rows)) if not by_clock else 0
    out.add(_TIME, total, equal, total - equal - len(rows), len(rows))
    if len(rows):
        some = rows[:DIFFERENCES_A_FIELD]
        values = [[_seconds(v) for v in side.gather(some).to_list()] for side in (x, y)]
        out.differences.append(told_rows(a, b, some, _TIME, (values[0], values[1])))


def _seconds(ns: int) -> str:
    return f"{ns // 1_000_000_000}.{ns % 1_000_000_000:09d} s"


def exchange_timing(a: pl.DataFrame, b: pl.DataFrame) -> list[Timing]:
    """Server time and transfer time of exchanges, paired by flow and number on the connection.

    An exchange is one turn of the conversation: new data of the originator, then of the responder. That is a
    request and its response wherever nobody speaks before the other has finished (no pipelining).
    """
    both = _exchanges(a).join(_exchanges(b), on=["pair", "exchange"], suffix="_b")
    out = []
    for column in ("server_time", "transfer_time"):
        deltas = both.select(pl.col(f"{column}_b") - pl.col(column)).to_series().to_numpy()
        if len(deltas):
            out.append(quantiles(column, deltas))
    return out


def _exchanges(units: pl.DataFrame) -> pl.DataFrame:
    """One row an exchange of a TCP connection: pair, exchange, server_time, transfer_time (ns)."""
    data = units.lazy().filter((pl.col("kind") == "data") & (pl.col("pair") >= 0))
    data = data.select("pair", "dir", "n", "ts", "end").sort("pair", "n")
    before = pl.col("end").cum_max().shift(1).over("pair", "dir")
    new = data.filter(before.is_null() | (pl.col("end") > before))
    other = pl.col("dir") != pl.col("dir").shift(1)
    begins = other | (pl.col("pair") != pl.col("pair").shift(1))
    turns = new.with_columns(turn=begins.fill_null(value=True).cum_sum())
    turns = turns.group_by("turn", maintain_order=True).agg(
        pl.col("pair", "dir").first(), first=pl.col("ts").first(), last=pl.col("ts").last()
    )
    asked = pl.when(pl.col("pair") == pl.col("pair").shift(1)).then(pl.col("last").shift(1))
    answers = turns.with_columns(asked=asked).filter((pl.col("dir") == 1) & pl.col("asked").is_not_null())
    return answers.select(
        "pair",
        exchange=pl.int_range(pl.len()).over("pair"),
        server_time=pl.col("first") - pl.col("asked"),
        transfer_time=pl.col("last") - pl.col("first"),
    ).collect()
