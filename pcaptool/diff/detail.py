"""More about some differences: which bytes of a payload differ, which packet a timestamp echoes.

Knows: how two payloads' first difference is told; the few packets that are told are read once more for it.
Must not know: how packets are read again (`Side.reread`).
"""

from __future__ import annotations

import numpy as np
import polars as pl

from pcaptool.diff.compare import direction_text
from pcaptool.diff.room import spans
from pcaptool.diff.side import Side
from pcaptool.diff.whole import Whole

__all__ = ["PAYLOADS_TOLD", "first_difference", "with_bytes", "with_echoes"]

PAYLOADS_TOLD = 16
_SHOWN_BYTES = 8


def first_difference(x: bytes, y: bytes) -> tuple[str, str] | None:
    r"""Place and bytes of the first difference of two payloads, in words; None if there is none.

    Examples
    --------
    >>> first_difference(b"GET /a", b"GET /b")
    ('byte 5: 61', 'byte 5: 62')
    """
    shorter = min(len(x), len(y))
    at = next((i for i in range(shorter) if x[i] != y[i]), shorter)
    if at == len(x) == len(y):
        return None
    return tuple(f"byte {at}: {data[at : at + _SHOWN_BYTES].hex(' ') or 'none'}" for data in (x, y))  # type: ignore[return-value]


def with_bytes(
    differences: pl.DataFrame, sides: tuple[Side, Side], units: tuple[pl.DataFrame, pl.DataFrame]
) -> pl.DataFrame:
    """Tells the first differing bytes of the first payload differences, where the captures are at hand."""
    wanted = differences.with_row_index("i").filter(
        (pl.col("field") == "payload") & pl.col("n_a").is_not_null() & pl.col("n_b").is_not_null()
    )
    # A run that was cut differently has no single packet to look into.
    wanted = wanted.filter(pl.col("value_a").str.starts_with("bytes #")).head(PAYLOADS_TOLD)
    if not wanted.height or sides[0].reread is None or sides[1].reread is None:
        return differences
    payloads = []
    for side, unit, key in zip(sides, units, ("n_a", "n_b"), strict=True):
        assert side.reread is not None  # noqa: S101 - asked above
        numbers = wanted[key].to_list()
        places = unit.filter(pl.col("n").is_in(numbers)).select("n", "payload.offset", "payload.bytes")
        spans = {n: (at, at + size) for n, at, size in places.iter_rows()}
        payloads.append({n: raw[slice(*spans[n])] for n, raw in side.reread(numbers).items()})
    told: dict[int, tuple[str, str]] = {}
    for i, n_a, n_b in wanted.select("i", "n_a", "n_b").iter_rows():
        words = first_difference(payloads[0].get(n_a, b""), payloads[1].get(n_b, b""))
        if words is not None:
            told[i] = words
    old = differences.select("value_a", "value_b").rows()
    new = [told.get(i, values) for i, values in enumerate(old)]
    return differences.with_columns(
        value_a=pl.Series([v[0] for v in new], dtype=pl.String),
        value_b=pl.Series([v[1] for v in new], dtype=pl.String),
    )


def with_echoes(differences: pl.DataFrame, wholes: tuple[Whole, Whole]) -> pl.DataFrame:
    """Tells behind each differing TSecr the first packet of the peer that carried this value."""
    echo = pl.col("field") == "tcp.options_timestamp_tsecr"
    told = differences.filter(echo)
    if not told.height:
        return differences
    against = {direction_text(1): 0, direction_text(0): 1}
    for side, column in zip(wholes, ("value_a", "value_b"), strict=True):
        wanted = {
            (flow, against[way], int(value))
            for flow, way, value in told.select("flow", "direction", column).iter_rows()
            if way in against and value.isdigit()
        }
        first = _first_of(side, wanted)
        words = [
            f"{value} (of frame {first[key]})"
            if is_echo and value.isdigit() and (key := (flow, against.get(way, -1), int(value))) in first
            else value
            for is_echo, flow, way, value in differences.select(
                echo.alias("echo"), "flow", "direction", column
            ).iter_rows()
        ]
        differences = differences.with_columns(pl.Series(column, words, dtype=pl.String))
    return differences


def _first_of(side: Whole, wanted: set[tuple[int, int, int]]) -> dict[tuple[int, int, int], int]:
    """Of (flow, direction, TSval) the first packet that carries it."""
    values = np.array(sorted({value for _, _, value in wanted}), np.int64)
    if not len(values):
        return {}
    out: dict[tuple[int, int, int], int] = {}
    for span in spans(side.height):
        tsval = side.tsval[span]
        near = values[np.minimum(np.searchsorted(values, tsval), len(values) - 1)]
        at = span.start + np.flatnonzero((near == tsval) & (side.group[span] >= 0))
        for i in at.tolist():
            key = (int(side.group[i]) >> 1, int(side.way[i]), int(side.tsval[i]))
            n = int(side.n[i])
            if key in wanted and n < out.get(key, n + 1):
                out[key] = n
    return out
