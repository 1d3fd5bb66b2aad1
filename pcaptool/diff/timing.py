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
from pcaptool.diff.room import rising, spans
from pcaptool.diff.sample import Sample, sample_of
from pcaptool.diff.settings import Settings
from pcaptool.diff.whole import Couples, Whole, kernels

__all__ = ["add_times", "exchange_timing", "exchanges_of", "quantiles", "with_messages"]

_TIME = ComparedField("frame.time", "link", 15)


def quantiles(what: str, deltas: Sample) -> Timing:
    """Quantiles by rank, so that every figure is one that occurred."""
    last = deltas.count - 1
    ranks = (0, last // 2, last - last * 5 // 100, last)
    return Timing(what, deltas.count, *deltas.at_ranks(ranks))


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
        counts, equal = counted.view(np.uint8), 0
        for span in spans(len(counts)):
            some = (couples.a[span], couples.b[span], counts[span])
            equal += kernels("equal_times", len(counts))(a.ts, b.ts, *some)
        out.uses["absolute-time"] += total - equal
        out.add(_TIME, total, equal, total - equal, 0)
        return
    times = (a.ts, b.ts) if by_clock else (a.elapsed, b.elapsed)
    equal, differing, told = total, 0, np.zeros(0, np.int64)
    for span in spans(len(couples.a)):
        x, y = times[0][couples.a[span]], times[1][couples.b[span]]
        differs = (x != y) & counted[span]
        equal -= int(np.count_nonzero(differs))
        if not by_clock:
            differs &= ~tolerances["time"].within(pl.Series(x), pl.Series(y))
        rows = np.flatnonzero(differs)
        differing += len(rows)
        told = np.concatenate([told, span.start + rows[: DIFFERENCES_A_FIELD - len(told)]])
    out.uses["tolerance time"] += (total - equal - differing) if not by_clock else 0
    out.add(_TIME, total, equal, total - equal - differing, differing)
    if len(told):
        shown = times[0][couples.a[told]], times[1][couples.b[told]]
        out.differences.append(_told(sides, couples, told, shown))


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
    request and its response wherever nobody speaks before the other has finished; `with_messages` knows more.

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
            out.append(quantiles(column, sample_of(deltas)))
    return out


def exchanges_of(side: Whole, pairs: int) -> pl.DataFrame:
    """One row an exchange of a TCP connection: pair, exchange, server_time, transfer_time (ns).

    Parameters
    ----------
    side : Whole
    pairs : int
        Number of flow pairs.
    """
    by_time = np.zeros(0, np.int64) if rising(side.n) else np.argsort(side.n, kind="stable")
    rows = tuple(np.empty(side.height + pairs, np.int64) for _ in range(4))
    state = np.zeros((pairs, 6), np.int64)
    packets, count = (side.group, side.kind, side.end, side.ts), 0
    for span in spans(side.height) if not len(by_time) else (slice(0, side.height),):
        some, rest = tuple(c[span] for c in packets), tuple(c[count:] for c in rows)
        closing = int(span.stop == side.height)
        count += kernels("turns", side.height)(some, by_time, closing, state, rest)
    pair, asked, first, last = (column[:count] for column in rows)
    found = pl.DataFrame({"pair": pair, "server_time": first - asked, "transfer_time": last - first})
    return found.with_columns(exchange=pl.int_range(pl.len()).over("pair"))


def with_messages(
    turns: tuple[pl.DataFrame, pl.DataFrame],
    https: tuple[pl.DataFrame | None, pl.DataFrame | None],
    matched: pl.DataFrame,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The same exchanges, but those of HTTP are requests and their responses: pipelined ones are several.

    Of a connection both sides must have HTTP exchanges with known times; else its turns stay.

    Parameters
    ----------
    turns : tuple of polars.DataFrame
        What `exchanges_of` finds on both sides.
    https : tuple of polars.DataFrame
        Both sides' tables `http`: flow, exchange, server_time_ns, transfer_time_ns.
    matched : polars.DataFrame
        Matched flows: pair, flow_a, flow_b.
    """
    spoken = []
    for http, name in zip(https, "ab", strict=True):
        if http is None:
            return turns
        known = http.filter(pl.col("server_time_ns").is_not_null() & pl.col("transfer_time_ns").is_not_null())
        pair = matched.select("pair", flow=pl.col(f"flow_{name}").cast(pl.UInt32))
        spoken.append(
            known.with_columns(pl.col("flow").cast(pl.UInt32)).join(pair, on="flow", maintain_order="left").select(
                pl.col("pair").cast(pl.Int64), server_time="server_time_ns", transfer_time="transfer_time_ns",
                exchange=pl.col("exchange").cast(pl.Int64),
            )
        )  # fmt: skip
    both = spoken[0].select("pair").unique().join(spoken[1].select("pair").unique(), on="pair")
    out = [
        pl.concat([turn.join(both, on="pair", how="anti"), said.join(both, on="pair", how="semi")])
        for turn, said in zip(turns, spoken, strict=True)
    ]
    return out[0], out[1]
