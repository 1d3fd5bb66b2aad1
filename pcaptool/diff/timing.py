"""When packets passed, on both sides: differences of packet times and of exchanges.

Knows: times count from the first packet of the flow (of the capture for packets of no flow), integers in ns.
Must not know: what else differs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from pcaptool.diff.arrays import Ints
from pcaptool.diff.compare import DIFFERENCES_A_FIELD, Comparison, direction_text
from pcaptool.diff.fields import ComparedField
from pcaptool.diff.result import DIFFERENCE_SCHEMA, Timing
from pcaptool.diff.settings import Settings
from pcaptool.diff.whole import Couples, Whole, kernels

__all__ = ["add_times", "exchange_timing", "exchanges_of", "quantiles"]

_TIME = ComparedField("frame.time", "link", 15)


def quantiles(what: str, deltas: npt.NDArray[np.int64]) -> Timing:
    """Quantiles by rank, so that every figure is one that occurred."""
    last = len(deltas) - 1
    middle, high = last // 2, len(deltas) - 1 - last * 5 // 100
    ordered = np.partition(deltas, (middle, high))
    return Timing(
        what, len(deltas), int(deltas.min()), int(ordered[middle]), int(ordered[high]), int(deltas.max())
    )


def add_times(
    out: Comparison,
    sides: tuple[Whole, Whole],
    couples: Couples,
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
    a, b = sides
    if by_clock and "absolute-time" in rules:
        counts = counted.view(np.uint8)
        equal = kernels("equal_times", len(counts))(a.ts, b.ts, couples.a, couples.b, counts)
        out.uses["absolute-time"] += total - equal
        out.add(_TIME, total, equal, total - equal, 0)
        return
    x = (a.ts if by_clock else a.elapsed)[couples.a]
    y = (b.ts if by_clock else b.elapsed)[couples.b]
    differs = (x != y) & counted
    equal = total - int(np.count_nonzero(differs))
    if not by_clock:
        differs &= ~tolerances["time"].within(pl.Series(x), pl.Series(y))
    rows = np.flatnonzero(differs)
    out.uses["tolerance time"] += (total - equal - len(rows)) if not by_clock else 0
    out.add(_TIME, total, equal, total - equal - len(rows), len(rows))
    if len(rows):
        some = rows[:DIFFERENCES_A_FIELD]
        out.differences.append(_told(sides, couples, some, (x[some], y[some])))


def _told(sides: tuple[Whole, Whole], couples: Couples, rows: Ints, times: tuple[Ints, Ints]) -> pl.DataFrame:
    a, b = sides
    return pl.DataFrame(
        {
            "layer": [_TIME.layer] * len(rows),
            "field": [_TIME.name] * len(rows),
            "flow": couples.pair[rows],
            "direction": [direction_text(way) for way in couples.way[rows].tolist()],
            "n_a": a.n[couples.a[rows]],
            "n_b": b.n[couples.b[rows]],
            "value_a": [_seconds(v) for v in times[0].tolist()],
            "value_b": [_seconds(v) for v in times[1].tolist()],
            "cause": [""] * len(rows),
            "weight": [_TIME.weight] * len(rows),
        },
        schema=DIFFERENCE_SCHEMA,
    )


def _seconds(ns: int) -> str:
    return f"{ns // 1_000_000_000}.{ns % 1_000_000_000:09d} s"


def exchange_timing(a: pl.DataFrame, b: pl.DataFrame) -> list[Timing]:
    """Server time and transfer time of exchanges, paired by flow and number on the connection.

    An exchange is one turn of the conversation: new data of the originator, then of the responder. That is a
    request and its response wherever nobody speaks before the other has finished (no pipelining).

    Parameters
    ----------
    a, b : polars.DataFrame
        What `exchanges_of` finds.
    """
    both = a.join(b, on=["pair", "exchange"], suffix="_b")
    out = []
    for column in ("server_time", "transfer_time"):
        deltas = both.select(pl.col(f"{column}_b") - pl.col(column)).to_series().to_numpy()
        if len(deltas):
            out.append(quantiles(column, deltas))
    return out


def exchanges_of(side: Whole, pairs: int) -> pl.DataFrame:
    """One row an exchange of a TCP connection: pair, exchange, server_time, transfer_time (ns).

    Parameters
    ----------
    side : Whole
    pairs : int
        Number of flow pairs.
    """
    by_time = np.arange(side.height) if _rising(side.n) else np.argsort(side.n, kind="stable")
    rows = tuple(np.empty(side.height + pairs, np.int64) for _ in range(4))
    state = np.zeros((pairs, 6), np.int64)
    count = kernels("turns", side.height)((side.group, side.kind, side.end, side.ts), by_time, state, rows)
    pair, asked, first, last = (column[:count] for column in rows)
    found = pl.DataFrame({"pair": pair, "server_time": first - asked, "transfer_time": last - first})
    return found.with_columns(exchange=pl.int_range(pl.len()).over("pair"))


def _rising(n: npt.NDArray[np.uint32]) -> bool:
    return len(n) < 2 or bool((n[1:] > n[:-1]).all())
