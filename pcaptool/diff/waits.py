"""Pauses that only one side makes, by what ended them.

Knows: a packet's pause is the time since the packet before it in its flow and direction; what the peer
sent in between tells what it waited for.
Must not know: differences of fields.
The limits are Linux's: delayed ACKs wait 40 ms (TCP_DELACK_MIN) or more, retransmission timers at least
200 ms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from pcaptool.diff.align import Alignment

__all__ = ["Wait", "waits_of"]

_DELACK_NS = (30_000_000, 250_000_000)
_TIMER_NS = 150_000_000
_THINK_NS = 2_000_000
_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Wait:
    """One pause.

    Parameters
    ----------
    kind : str
        delayed-ack, timer, think-time.
    who : str
        "A" or "B": the side that waited longer.
    longer_ns : int
        By how much.
    frames, other_frames : str
        Packet numbers on that side, and on the other.
    """

    kind: str
    who: str
    longer_ns: int
    frames: str
    other_frames: str


def waits_of(alignment: Alignment, a: pl.DataFrame, b: pl.DataFrame, side: str | None) -> list[Wait]:
    """Pauses of aligned data packets that are longer on one side, longest first; at most a bounded number."""
    before = [_before(u).gather(r) for u, r in ((a, alignment.one_a), (b, alignment.one_b))]
    table = pl.DataFrame(
        {
            "kind": a["kind"].gather(alignment.one_a),
            "dir": a["dir"].gather(alignment.one_a),
            **{
                f"{what}_{name}": values
                for name, units, rows, pause in zip(
                    "ab", (a, b), (alignment.one_a, alignment.one_b), before, strict=True
                )
                for what, values in (
                    ("n", units["n"].gather(rows)),
                    ("pause", pause.struct.field("pause")),
                    ("prev", pause.struct.field("prev_n")),
                    ("last", pause.struct.field("last_kind")),
                    ("lastn", pause.struct.field("last_n")),
                    ("since", pause.struct.field("since")),
                )
            },
        }
    ).filter((pl.col("kind") == "data") & pl.col("pause_a").is_not_null() & pl.col("pause_b").is_not_null())
    if side is not None:
        table = table.filter(pl.col("dir") == (1 if side == "server" else 0))
    table = table.with_columns(longer=pl.col("pause_b") - pl.col("pause_a"))
    table = table.filter(pl.col("longer").abs() >= _THINK_NS).sort(pl.col("longer").abs(), descending=True)
    return [w for row in table.head(_KEPT).iter_rows(named=True) if (w := _named(row)) is not None]


def _before(units: pl.DataFrame) -> pl.Series:
    """For each packet: its pause, the packet before in its direction, and the packet before in the flow."""
    by_time = units.select("row", "n", "ts", "flow", "dir", "kind").sort("n")
    flow_of = pl.col("flow").is_not_null()
    by_time = by_time.with_columns(
        pause=pl.when(flow_of).then(pl.col("ts") - pl.col("ts").shift(1).over("flow", "dir")),
        prev_n=pl.col("n").shift(1).over("flow", "dir"),
        last_kind=pl.when(pl.col("dir") != pl.col("dir").shift(1).over("flow")).then(
            pl.col("kind").shift(1).over("flow")
        ),
        last_n=pl.col("n").shift(1).over("flow"),
        since=pl.col("ts") - pl.col("ts").shift(1).over("flow"),
    ).sort("row")
    return by_time.select(pl.struct("pause", "prev_n", "last_kind", "last_n", "since")).to_series()


def _named(row: dict[str, object]) -> Wait | None:
    longer = int(np.int64(row["longer"]))  # type: ignore[arg-type]
    who, other = ("b", "a") if longer > 0 else ("a", "b")
    size = abs(longer)
    last, since = row[f"last_{who}"], int(row[f"since_{who}"])  # type: ignore[call-overload]
    frames = f"frames {row[f'prev_{who}']}-{row[f'n_{who}']}"
    other_frames = f"frames {row[f'prev_{other}']}-{row[f'n_{other}']}"
    if last == "ack" and _DELACK_NS[0] <= size <= _DELACK_NS[1] and since < _DELACK_NS[0] // 10:
        return Wait("delayed-ack", who.upper(), size, frames, other_frames)
    if last == "data" and row[f"last_{other}"] == "data" and row["dir"] == 1:
        think = since - int(row[f"since_{other}"])  # type: ignore[call-overload]
        named = f"frames {row[f'lastn_{who}']}-{row[f'n_{who}']}"
        other_named = f"frames {row[f'lastn_{other}']}-{row[f'n_{other}']}"
        return Wait("think-time", who.upper(), think, named, other_named) if think >= _THINK_NS else None
    if size >= _TIMER_NS and last is None:
        return Wait("timer", who.upper(), size, frames, other_frames)
    return None
