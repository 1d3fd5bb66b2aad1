"""How each rule decides: given aligned packets whose raw values differ, which of them are equal all the same.

Knows: the law behind each rule (`rules` says it in words).
Must not know: which rules are on, or what is told to whom.
All functions take the pairs and the differing rows and return a mask over these rows.
Complexity: linear in rows, with hash joins over distinct values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from pcaptool.diff.arrays import Ints, Mask
from pcaptool.diff.fields import ComparedField
from pcaptool.diff.pairs import Pairs

__all__ = ["NORMALISERS", "clock_error"]

# A timestamp that is taken when the segment is built and read off a whole-tick clock lies within one tick of
# its capture time, seen from the middle of the connection's errors; the rest is for the tap's own delay.
_TICK_SLACK = 1.05
_IPPROTO_UDP = 17
_RATES_HZ = (1000, 100, 250, 200, 1_000_000)


def _same(x: pl.Series, y: pl.Series) -> Mask:
    return _mask(x.eq_missing(y))


def _mask(flags: pl.Series) -> Mask:
    """A boolean column as an array; null is false."""
    return np.asarray(flags.fill_null(value=False).to_numpy(), dtype=np.bool_)


def _relative(pairs: Pairs, field: ComparedField, rows: Ints) -> Mask:
    column = {"tcp.options_sack": "tcp.sack"}.get(field.name, field.name)
    x, y = pairs.pick(rows, column)
    return _same(x, y) & _mask(x.is_not_null())


def _ports(pairs: Pairs, field: ComparedField, rows: Ints) -> Mask:
    if field.name == "payload":
        return _fragments(pairs, rows)
    x, y = pairs.pick(rows, field.name)
    way = pairs.a["dir"].gather(rows)
    own = way.fill_null(-1).to_numpy() == (0 if field.name.endswith("srcport") else 1)
    known = pl.DataFrame({"pair": pairs.a["pair"].gather(rows), "x": x, "y": y})
    known = known.join(pairs.ports, on="pair", how="left", maintain_order="left")
    right = (pl.col("x") == pl.col("port_a")) & (pl.col("y") == pl.col("port_b"))
    # Of no flow: a header that an ICMP error quotes; it may be of any flow.
    quoted = known.select("x", "y").join(
        pairs.ports.select(x="port_a", y="port_b", ok=pl.lit(value=True)).unique(),
        on=["x", "y"], how="left", maintain_order="left",
    )  # fmt: skip
    of_none = _mask(known["pair"] < 0)
    return (np.asarray(own) & _mask(known.select(right).to_series())) | (of_none & _mask(quoted["ok"]))


def _fragments(pairs: Pairs, rows: Ints) -> Mask:
    """First fragments of datagrams that are the same but for ephemeral ports and the checksum."""
    x, y = pairs.pick(rows, "masked_print")
    return _same(x, y) & _mask(x.is_not_null()) & _is_fragment(pairs, rows)


def _is_fragment(pairs: Pairs, rows: Ints) -> Mask:
    """Whether a payload begins with a UDP header that was not decoded as one."""
    proto, length = pairs.pick(rows, "ip.proto")[0], pairs.pick(rows, "udp.length")[0]
    return _mask(proto == _IPPROTO_UDP) & _mask(length.is_null())


def _linked(kind: str) -> Callable[[Pairs, ComparedField, Ints], Mask]:
    def decide(pairs: Pairs, field: ComparedField, rows: Ints) -> Mask:
        x, y = pairs.pick(rows, field.name)
        known = pairs.links.filter(pl.col("kind") == kind).select("x", "y", ok=pl.lit(value=True))
        asked = pl.DataFrame({"x": x, "y": y}).join(known, on=["x", "y"], how="left", maintain_order="left")
        return _mask(asked["ok"])

    return decide


def _speaker(pairs: Pairs) -> dict[str, pl.Series]:
    """Whose packets share what is drawn at random: a flow's direction; of no flow (fragments, ICMP) both hosts."""
    who = pl.DataFrame({c: pairs.a[c] for c in ("pair", "dir", "sender", "ip.dst", "ip.proto")})
    alone = pl.struct("sender", "ip.dst", "ip.proto").rank("dense").cast(pl.Int64)
    made = who.select(
        pair=pl.when(pl.col("pair") < 0).then(-alone).otherwise("pair"), dir=pl.col("dir").fill_null(0)
    )
    return {"pair": made["pair"], "dir": made["dir"]}


def _labels(pairs: Pairs, field: ComparedField, rows: Ints) -> Mask:
    """One label of a direction stands for one of the other side, by majority."""
    whole = pl.DataFrame({**_speaker(pairs), "x": pairs.a[field.name], "y": pairs.b[field.name]})
    counted = whole.group_by("pair", "dir", "x", "y", maintain_order=True).len()
    best_x = pl.col("len") == pl.col("len").max().over("pair", "dir", "x")
    best_y = pl.col("len") == pl.col("len").max().over("pair", "dir", "y")
    good = counted.filter(best_x & best_y).unique(["pair", "dir", "x"], keep="first", maintain_order=True)
    good = good.unique(["pair", "dir", "y"], keep="first", maintain_order=True)
    on = ["pair", "dir", "x", "y"]
    found = whole[rows].join(
        good.with_columns(ok=pl.lit(value=True)), on=on, how="left", maintain_order="left"
    )
    return _mask(found["ok"]) & _mask(found["x"].is_not_null() & found["y"].is_not_null())


def clock_error(units: pl.DataFrame) -> pl.Series:
    """How far each TSval is from its frame's capture time, in ticks, seen from the direction's median.

    The clock's rate is the one of the usual rates that fits the direction best.
    """
    keys = ["flow", "dir"]
    value = pl.col("tcp.options_timestamp_tsval").cast(pl.Int64)
    first = value.drop_nulls().first().over(keys)
    ticks = (value - first + 2**31 + 2**32) % 2**32 - 2**31
    elapsed = pl.col("ts") - pl.col("ts").first().over(keys)
    best: pl.DataFrame | None = None
    for rate in _RATES_HZ:
        error = ticks.cast(pl.Float64) - elapsed.cast(pl.Float64) * (rate / 1e9)
        one = units.select(*keys, error=error - error.median().over(keys))
        one = one.with_columns(spread=pl.col("error").abs().median().over(keys) * (1000 / rate))
        if best is None:
            best = one
        else:
            better = (one["spread"] < best["spread"] - 2.0).fill_null(value=False)
            best = best.with_columns(
                error=pl.when(better).then(one["error"]).otherwise(best["error"]),
                spread=pl.when(better).then(one["spread"]).otherwise(best["spread"]),
            )
    assert best is not None  # noqa: S101 - there is at least one rate
    return best["error"]


def _tsval(pairs: Pairs, _: ComparedField, rows: Ints) -> Mask:
    x, y = (clock_error(side.units).gather(side.rows).gather(rows) for side in (pairs.a, pairs.b))
    a, b = x.cast(pl.Float64).fill_null(np.nan).to_numpy(), y.cast(pl.Float64).fill_null(np.nan).to_numpy()
    agree = (np.abs(a) <= _TICK_SLACK) & (np.abs(b) <= _TICK_SLACK)
    return np.asarray(agree | (np.abs(a - b) <= _TICK_SLACK))


def _tsecr(pairs: Pairs, field: ComparedField, rows: Ints) -> Mask:
    """Echoes are equal if some aligned pair of the peer's frames carried these two values.

    Where no such frame was captured, the distance from the peer's usual offset between the sides decides.
    """
    val, ecr = "tcp.options_timestamp_tsval", field.name
    pair, way = pairs.a["pair"], pairs.a["dir"]
    sent = (
        pl.DataFrame({"pair": pair, "dir": 1 - way, "x": pairs.a[val], "y": pairs.b[val]})
        .drop_nulls()
        .unique()
    )
    asked = pl.DataFrame({"pair": pair, "dir": way, "x": pairs.a[ecr], "y": pairs.b[ecr]})[rows]
    on = ["pair", "dir", "x", "y"]
    found = asked.join(sent.with_columns(ok=pl.lit(value=True)), on=on, how="left", maintain_order="left")
    seen = sent.select("pair", "dir", "x", was=pl.lit(value=True)).unique()
    seen_b = sent.select("pair", "dir", "y", was_b=pl.lit(value=True)).unique()
    found = found.join(seen, on=["pair", "dir", "x"], how="left", maintain_order="left")
    found = found.join(seen_b, on=["pair", "dir", "y"], how="left", maintain_order="left")
    step = (pl.col("y").cast(pl.Int64) - pl.col("x").cast(pl.Int64)) % 2**32
    usual = sent.select("pair", "dir", step=step).group_by("pair", "dir").agg(usual=pl.col("step").median())
    found = found.join(usual, on=["pair", "dir"], how="left", maintain_order="left")
    unseen = pl.col("was").is_null() & pl.col("was_b").is_null() & (pl.col("x") != 0) & (pl.col("y") != 0)
    near = unseen & ((step - pl.col("usual")).abs() <= _TICK_SLACK)
    return _mask(found.select(pl.col("ok").fill_null(value=False) | near).to_series())


def _ip_ids(pairs: Pairs, field: ComparedField, rows: Ints) -> Mask:
    """Equal increments: the difference between the sides stays what it was in this flow and direction.

    A single packet off is told once, and so is a step; a step over a place where a packet is missing is
    no news. 0 equals 0 only. A direction whose identifications follow no counter on either side is not
    compared.
    """
    whole = pl.DataFrame(
        {
            "row": np.arange(pairs.a.height),
            **_speaker(pairs),
            "x": pairs.a[field.name].cast(pl.Int64),
            "y": pairs.b[field.name].cast(pl.Int64),
            "broken": pairs.broken,
        }
    ).filter((pl.col("x") > 0) & (pl.col("y") > 0))
    keys = ["pair", "dir"]
    offset = (pl.col("y") - pl.col("x")) % 65536
    whole = whole.with_columns(offset=offset).with_columns(
        before=pl.col("offset").shift(1).over(keys),
        after=pl.col("offset").shift(-1).over(keys),
        counted=(((pl.col("x").diff() % 65536) <= 64) & ((pl.col("y").diff() % 65536) <= 64))
        .mean()
        .over(keys),
    )
    step = (pl.col("offset") != pl.col("before")).fill_null(value=False) & ~pl.col("broken")
    # The way back from packets that were off is no difference of its own: to the offset before a single one, or to
    # the last offset that two packets in a row had.
    earlier = pl.col("before").shift(1).over(keys)
    back = (pl.col("offset") == earlier).fill_null(value=False) & (pl.col("before") != earlier)
    steady = pl.when(pl.col("offset") == pl.col("before")).then("offset")
    back |= (pl.col("offset") == steady.forward_fill().shift(1).over(keys)).fill_null(value=False)
    # The first one has no packet before it: it is the odd one if the two behind it agree on another offset.
    odd_first = pl.col("before").is_null() & (pl.col("offset") != pl.col("after"))
    odd_first &= (pl.col("after").shift(-1).over(keys) == pl.col("after")) & ~pl.col("broken").shift(-1).over(
        keys
    )
    whole = whole.with_columns(odd=odd_first.fill_null(value=False))
    behind_odd = pl.col("odd").shift(1).over(keys).fill_null(value=False)
    # A counter that advances by any steps: two runs of it keep their distance, two random sequences never do.
    even = (pl.col("offset") == pl.col("before")).mean().over(keys)
    follows = (pl.col("counted").fill_null(1.0) >= 0.5) | (even.fill_null(0.0) >= 0.5)
    wrong = ((step & ~back & ~behind_odd) | pl.col("odd")) & follows
    ok = np.zeros(pairs.a.height, np.bool_)
    ok[whole.filter(~wrong)["row"].to_numpy()] = True
    return ok[rows]


def _status(pairs: Pairs, field: ComparedField, rows: Ints) -> Mask:
    x, y = pairs.pick(rows, field.column)
    return _same(x // 0x10000, y // 0x10000)


def _dates(pairs: Pairs, _: ComparedField, rows: Ints) -> Mask:
    x, y = pairs.pick(rows, "masked_print")
    return _same(x, y) & _mask(x.is_not_null()) & ~_is_fragment(pairs, rows)


NORMALISERS: dict[str, Callable[[Pairs, ComparedField, Ints], Any]] = {
    "isn": _relative,
    "client-port": _ports,
    "mac-map": _linked("mac"),
    "address-map": _linked("address"),
    "tsval-clock": _tsval,
    "tsecr-echo": _tsecr,
    "ip-id-start": _ip_ids,
    "flow-label": _labels,
    "checksum": _status,
    "http-date": _dates,
}
