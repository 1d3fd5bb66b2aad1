"""Rows of the timings table from the clocks that were read off at the packets of each exchange.

Knows: which clocks make which part, and that parts add up (`tables.timings` says to what). Must not know: packets,
HTTP, how clocks run (`timing_kernel`), when a row is complete (`timings`, `deliveries`).

A record is a vector of integers: one for each exchange, filled as its packets come, made a row when nothing more will.
Memory: WIDTH * 8 bytes (752) a record.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pcaptool.analyze import timing_kernel as tk
from pcaptool.analyze.take import Ints
from pcaptool.tables.columns import Columns, Masked, Texts
from pcaptool.tables.definition import KINDS
from pcaptool.tables.timings import (
    DELIVERY_PARTS,
    LAYERS,
    PARTS,
    REQUEST_PARTS,
    SERVER_PARTS,
    TIMINGS,
    TRANSFER_PARTS,
)

__all__ = ["COMPLETE", "SEEN", "WIDTH", "clocks", "columns_of"]

# Columns of a record. Of a message: whether its first packet was SEEN and it is COMPLETE, and its times.
FLOW, EXCHANGE, CLIENT = 0, 1, 2
REQUEST, RESPONSE, HEAD = 3, 6, 9
STATE, FIRST_TS, LAST_TS = 0, 1, 2
SEEN, COMPLETE = 1, 2
# Of the four packets with which request and response begin and end: whether its clocks are known, and these.
MARKS = 4
KNOWN, CLOCKS = HEAD, HEAD + MARKS
# Whether the client acknowledged the response, how long that took, of it: until repeated, round trip.
DELIVERED = CLOCKS + MARKS * tk.OUT_WIDTH
DELIVERY, DELIVERY_REPEATED, DELIVERY_NETWORK = DELIVERED + 1, DELIVERED + 2, DELIVERED + 3
# Frames of the response with stages (-1: not known); of each layer, the first frame's time and all frames' time.
FRAMES = DELIVERED + 4
FIRST_FRAME, ALL_FRAMES = FRAMES + 1, FRAMES + 1 + len(LAYERS)
WIDTH = ALL_FRAMES + len(LAYERS)

Bools = npt.NDArray[np.bool_]
_NAMES = tuple(name.removesuffix("_ns") for name in PARTS)


def clocks(mark: int) -> slice:
    """Where a record has the clocks at one of the four packets."""
    begin = CLOCKS + mark * tk.OUT_WIDTH
    return slice(begin, begin + tk.OUT_WIDTH)


def columns_of(records: Sequence[Ints]) -> Columns:
    """Columns of the timings table, a row for each record in their order.

    Examples
    --------
    >>> record = np.zeros(WIDTH, np.int64)
    >>> record[REQUEST : REQUEST + 3] = SEEN | COMPLETE, 100, 130
    >>> record[RESPONSE : RESPONSE + 3] = SEEN | COMPLETE, 150, 190
    >>> rows = columns_of([record])
    >>> [int(rows[f"{name}_time_ns"].values[0]) for name in ("request", "server", "transfer", "total")]
    [30, 20, 40, 90]
    """
    table = np.stack(records)
    asked, answered = (table[:, at + STATE] for at in (REQUEST, RESPONSE))
    client = table[:, CLIENT]
    found: dict[str, tuple[Ints, Bools]] = {}
    whole = SEEN | COMPLETE
    for name, at, side, mark, parts in (
        ("request_time_ns", REQUEST, client, 0, REQUEST_PARTS),
        ("transfer_time_ns", RESPONSE, 1 - client, 2, TRANSFER_PARTS),
    ):
        valid = table[:, at + STATE] & whole == whole
        found[name] = table[:, at + LAST_TS] - table[:, at + FIRST_TS], valid
        waits = _waits(table, found[name][0], side, mark)
        found |= {part: (values, valid) for part, values in zip(parts, waits, strict=True)}
    valid = (asked & COMPLETE != 0) & (answered & SEEN != 0)
    found["server_time_ns"] = table[:, RESPONSE + FIRST_TS] - table[:, REQUEST + LAST_TS], valid
    for part, values in zip(SERVER_PARTS, _server(table, found["server_time_ns"][0]), strict=True):
        found[part] = values, valid
    found |= _round_trips(table)
    times = ("request_time_ns", "server_time_ns", "transfer_time_ns")
    valid = np.logical_and.reduce([found[name][1] for name in times])
    found["total_time_ns"] = np.sum([found[name][0] for name in times], axis=0), valid
    found |= _delivery(table) | _layers(table)
    spent = np.stack([found[part][0] for part in PARTS])
    longest = np.where(valid & (spent.max(axis=0) > 0), spent.argmax(axis=0), -1).astype(np.int32)
    columns: Columns = {}
    for column in TIMINGS.columns:
        if column.name in found:
            numbers, there = found[column.name]
            dtype = KINDS[column.kind][0]
            columns[column.name] = Masked(np.where(there, numbers, 0).astype(dtype), there)
    columns |= {"flow": table[:, FLOW].astype("u4"), "exchange": table[:, EXCHANGE].astype("u4")}
    columns["longest_part"] = Texts(longest, _NAMES)
    return {column.name: columns[column.name] for column in TIMINGS.columns}


def _clock(table: Ints, mark: int, column: Ints | int) -> Ints:
    """A column of the clocks at one of the four packets."""
    values: Ints = table[np.arange(len(table)), CLOCKS + mark * tk.OUT_WIDTH + column]
    return values


def _waits(table: Ints, whole: Ints, side: Ints, mark: int) -> list[Ints]:
    """What the sender of a message waited for: parts in the order of `REQUEST_PARTS`, whose sum is its time."""
    known = (table[:, KNOWN + mark] != 0) & (table[:, KNOWN + mark + 1] != 0)
    begin = side * tk.OUT_SIDE_WIDTH
    spent = [
        np.where(known, _clock(table, mark + 1, begin + k) - _clock(table, mark, begin + k), 0)
        for k in range(tk.CLOCKS)
    ]
    # A gap that began before the message was given to a repetition in it: only what is left of it counts.
    parts = [spent[tk.REPETITION] + sum(np.minimum(part, 0) for part in spent[: tk.REPETITION])]
    parts += [np.maximum(part, 0) for part in spent[: tk.REPETITION]]
    return [*parts, whole - np.sum(parts, axis=0)]


def _server(table: Ints, whole: Ints) -> tuple[Ints, Ints, Ints]:
    """Parts of the time to the first byte, in the order of `SERVER_PARTS`."""
    client, asked, begun = table[:, CLIENT], table[:, REQUEST + LAST_TS], table[:, RESPONSE + FIRST_TS]
    told = (table[:, KNOWN + 2] != 0) & (whole > 0)
    again = _clock(table, 2, client * tk.OUT_SIDE_WIDTH + tk.OUT_REPEATED_TS)
    repeated = np.where(told & (asked < again) & (again <= begun), again - asked, 0)
    rtt = _clock(table, 2, (1 - client) * tk.OUT_SIDE_WIDTH + tk.OUT_RTT)
    network = np.where(told, np.minimum(rtt, whole - repeated), 0)
    return repeated, network, whole - repeated - network


def _round_trips(table: Ints) -> dict[str, tuple[Ints, Bools]]:
    """As known when the response began."""
    known = table[:, KNOWN + 2] != 0
    client = table[:, CLIENT]
    initial = _clock(table, 2, tk.OUT_INITIAL)
    found = {"connect_ns": (initial, known & (initial != 0) & (table[:, EXCHANGE] == 0))}
    for name, side in (("client_rtt_ns", client), ("server_rtt_ns", 1 - client)):
        rtt = _clock(table, 2, side * tk.OUT_SIDE_WIDTH + tk.OUT_RTT)
        found[name] = rtt, known & (rtt != 0)
    return found


def _delivery(table: Ints) -> dict[str, tuple[Ints, Bools]]:
    valid = table[:, DELIVERED] != 0
    whole, repeated, network = (table[:, at] for at in (DELIVERY, DELIVERY_REPEATED, DELIVERY_NETWORK))
    parts = (repeated, network, whole - repeated - network)
    return {
        "delivery_time_ns": (whole, valid),
        **{name: (part, valid) for name, part in zip(DELIVERY_PARTS, parts, strict=True)},
    }


def _layers(table: Ints) -> dict[str, tuple[Ints, Bools]]:
    valid = table[:, FRAMES] > 0
    found = {"frames": (table[:, FRAMES], valid)}
    for k, layer in enumerate(LAYERS):
        found[f"first_{layer}_ns"] = table[:, FIRST_FRAME + k], valid
        found[f"frames_{layer}_ns"] = table[:, ALL_FRAMES + k], valid
    return found
