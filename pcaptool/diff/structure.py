"""Differences that are not a field of one packet: missing packets, order, segmentation, whole flows.

Knows: the alignment and what each kind of packet is called.
Must not know: fields and rules, but for `segmentation` and `http-date`.
Complexity: linear, but for the order of a direction that really is disordered (n log n).
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import numpy as np
import polars as pl

from pcaptool.diff.arrays import Ints, Mask
from pcaptool.diff.compare import DIFFERENCES_A_FIELD, Comparison, direction_text
from pcaptool.diff.fields import ComparedField
from pcaptool.diff.result import DIFFERENCE_SCHEMA
from pcaptool.diff.room import spans
from pcaptool.diff.segments import Run
from pcaptool.diff.settings import Settings
from pcaptool.diff.text import flags_text
from pcaptool.diff.whole import Couples, Whole, kernels

_STRETCH_ENDS = 2  # `couples_kernel.unsettled`'s mark

__all__ = ["STRUCTURE_FIELDS", "add_flows", "add_missing", "add_order", "add_runs", "packet_text"]


STRUCTURE_FIELDS = {
    "flow": ComparedField("flow", "transport", 100),
    "frame": ComparedField("frame", "transport", 95),
    "tcp.bytes": ComparedField("tcp.bytes", "transport", 94),
    "tcp.segmentation": ComparedField("tcp.segmentation", "transport", 86),
    "order": ComparedField("order", "transport", 65),
    "payload": ComparedField("payload", "application", 90),
}


def _row(
    name: str, flow: int, way: int | None, n: tuple[int | None, int | None], value: tuple[str, str]
) -> dict[str, Any]:
    item = STRUCTURE_FIELDS[name]
    return {
        "layer": item.layer, "field": name, "flow": flow, "direction": direction_text(way),
        "n_a": n[0], "n_b": n[1], "value_a": value[0], "value_b": value[1],
        "cause": "", "weight": item.weight,
    }  # fmt: skip


def _add(out: Comparison, rows: list[dict[str, Any]]) -> None:
    if rows:
        out.differences.append(pl.DataFrame(rows, schema=DIFFERENCE_SCHEMA, orient="row"))


def packet_text(unit: dict[str, Any]) -> str:
    """A packet in a few words: `P. 1:141 (140) ack 63 win 64`."""
    if unit["proto"] == "tcp":
        start, end = unit["start"], unit["end"]
        size = unit["tcp.len"] or 0
        span = f"{start}" if start == end else f"{start}:{end}"
        size_text = f" ({size})" if size else ""
        ack = f" ack {unit['tcp.ack']}" if unit["tcp.ack"] is not None else ""
        sack = unit["tcp.sack"] or []
        half = len(sack) // 2
        blocks = "".join(f"{{{sack[i]}:{sack[i + half]}}}" for i in range(half))
        more = f" sack {blocks}" if blocks else ""
        flags, window = flags_text(unit["tcp.flags"]), unit["tcp.window_size_value"]
        return f"{flags} {span}{size_text}{ack} win {window}{more}"
    if unit["kind"] == "arp":
        if unit["arp.opcode"] == 1:
            return f"ARP who has {unit['arp.dst_proto_ipv4']}"
        return f"ARP {unit['arp.src_proto_ipv4']} is at {unit['arp.src_hw_mac']}"
    if unit["proto"] == "udp":
        return f"UDP ({unit['payload.bytes']})"
    return f"{unit['protocol']} ({unit['payload.bytes']})"


def add_missing(out: Comparison, units: pl.DataFrame, rows: Ints, counted: Mask, *, side: str) -> None:
    """Packets of matched flows, and packets of no flow, without a counterpart."""
    some = units[rows[counted[rows]]].filter((pl.col("pair") >= 0) | (pl.col("proto") == "other"))
    out.add(STRUCTURE_FIELDS["frame"], some.height, 0, 0, some.height)
    told = []
    for unit in some.head(DIFFERENCES_A_FIELD).iter_rows(named=True):
        text = packet_text(unit)
        n, value = ((unit["n"], None), (text, "-")) if side == "a" else ((None, unit["n"]), ("-", text))
        told.append(_row("frame", unit["pair"], unit["dir"], n, value))
    _add(out, told)


def add_flows(out: Comparison, lone: pl.DataFrame, left: pl.DataFrame, *, side: str) -> None:
    """Flows without a counterpart, one difference each.

    Parameters
    ----------
    out : Comparison
    lone : polars.DataFrame
        Signatures of these flows.
    left : polars.DataFrame
        Units that nothing was found for, with `counted`: a flow counts if any of its packets does.
    side : str
        "a" or "b".
    """
    sizes = left.group_by("flow").agg(
        pl.len().alias("count"), pl.col("n").min().alias("first"), pl.col("counted").any()
    )
    sizes = sizes.filter("counted")
    some = lone.join(sizes, on="flow", how="inner", maintain_order="left")
    out.add(STRUCTURE_FIELDS["flow"], some.height, 0, 0, some.height)
    told = []
    for f in some.head(DIFFERENCES_A_FIELD).iter_rows(named=True):
        text = f"{f['proto']} {f['src']}:{f['srcport']} to {f['dst']}:{f['dstport']}, {f['count']} packets"
        n, value = ((f["first"], None), (text, "-")) if side == "a" else ((None, f["first"]), ("-", text))
        told.append(_row("flow", -1, None, n, value))
    _add(out, told)


def add_order(
    out: Comparison, a: Whole, b: Whole, couples: Couples, counted: Mask, *, everywhere: bool
) -> None:
    """Packets that stand elsewhere in their direction's order: those outside the longest common order.

    Parameters
    ----------
    out : Comparison
    a, b : Whole
    couples : Couples
    counted : numpy.ndarray of bool
        Which couples count.
    everywhere : bool
        Whether packets of no flow have an order, too.
    """
    ordered = a.room.empty(len(counted), np.uint8)
    for span in spans(len(ordered)):
        ordered[span] = counted[span] & (everywhere | (couples.pair[span] >= 0))
    number, behind, total = np.zeros(3, np.int64), 0, 0
    for span in spans(len(ordered)):
        some = (couples.a[span], couples.b[span])
        behind += kernels("disorder", len(ordered))(some, (a.group, b.group), b.n, ordered[span], number)
    if behind:
        total = _add_moved(out, a, b, couples, ((couples.a, couples.b), (a.group, b.group), b.n, ordered))
    out.add(STRUCTURE_FIELDS["order"], int(number[0]), int(number[0]) - total, 0, total)


def _add_moved(out: Comparison, a: Whole, b: Whole, couples: Couples, facts: tuple[Any, ...]) -> int:
    """Tells of the packets outside the longest common order; how many there are."""
    height = len(couples.a)
    marks = a.room.full(height, 0, np.uint8)
    kernels("unsettled", height)(*facts, a.room.empty(height, np.int64), marks)
    rows = np.concatenate([np.flatnonzero(marks[span]) + span.start for span in spans(height)])
    told: list[dict[str, Any]] = []
    total = 0
    # What lies before a stretch is lower than all in it: the longest order is made of those of the stretches.
    for stretch in np.split(rows, np.flatnonzero(marks[rows] == _STRETCH_ENDS)[:-1] + 1):
        moved = stretch[np.array(_outside_longest(b.n[couples.b[stretch]]), np.int64)]
        total += len(moved)
        for i in moved[: DIFFERENCES_A_FIELD - len(told)].tolist():
            at_a, at_b, way = int(couples.a[i]), int(couples.b[i]), int(couples.way[i])
            n, values = (int(a.n[at_a]), int(b.n[at_b])), (_before(a, at_a), _before(b, at_b))
            told.append(_row("order", int(couples.pair[i]), None if way < 0 else way, n, values))
    _add(out, told)
    return total


def _before(side: Whole, at: int) -> str:
    """What stands before a packet in the order of its group, in words."""

    def place(i: int) -> tuple[int, int]:
        return int(side.group[i]), int(side.n[i])

    k = bisect_left(side.order, place(at), key=place)
    before = int(side.order[k - 1]) if k else -1
    return f"behind frame {side.n[before]}" if k and side.group[before] == side.group[at] else "first"


def _outside_longest(places: Ints) -> list[int]:
    """Indices that do not belong to one longest increasing subsequence."""
    tails: list[int] = []
    last: list[int] = []
    previous: list[int] = []
    for i, place in enumerate(places.tolist()):
        at = bisect_left(tails, place)
        previous.append(last[at - 1] if at else -1)
        if at == len(tails):
            tails.append(place)
            last.append(i)
        else:
            tails[at] = place
            last[at] = i
    keep = set()
    i = last[-1] if last else -1
    while i >= 0:
        keep.add(i)
        i = previous[i]
    return [i for i in range(len(places)) if i not in keep]


def add_runs(
    out: Comparison,
    runs: list[Run],
    sides: tuple[pl.DataFrame, pl.DataFrame],
    counted: Mask,
    settings: Settings,
) -> None:
    """Runs of bytes that were cut differently: one difference of segmentation each, plus holes and bytes."""
    (a, b), rules = sides, settings.rules
    pair, way, n_a, n_b = a["pair"], a["dir"], a["n"], b["n"]
    told = []
    for run in runs:
        row_a, row_b = run.a.rows[0], run.b.rows[0]
        if not counted[row_a]:
            continue
        place = (int(pair[row_a]), way[row_a], (n_a[row_a], n_b[row_b]))
        cut_normal = "segmentation" in rules
        out.uses["segmentation"] += cut_normal
        out.add(STRUCTURE_FIELDS["tcp.segmentation"], 1, 0, int(cut_normal), int(not cut_normal))
        if not cut_normal:
            told.append(_row("tcp.segmentation", *place, (run.a.text(), run.b.text())))
        lacks_a, lacks_b = run.missing
        if lacks_a or lacks_b:
            out.add(STRUCTURE_FIELDS["tcp.bytes"], 1, 0, 0, 1)
            told.append(_row("tcp.bytes", *place, (_ranges(lacks_a), _ranges(lacks_b))))
        equal = run.bytes_equal(masked=False)
        if equal is None:
            continue
        dated = not equal and "http-date" in rules and bool(run.bytes_equal(masked=True))
        out.uses["http-date"] += dated
        out.add(STRUCTURE_FIELDS["payload"], 1, int(equal), int(dated), int(not equal and not dated))
        if not equal and not dated:
            told.append(_row("payload", *place, (run.a.text(), run.b.text() + ", other bytes")))
    _add(out, told[:DIFFERENCES_A_FIELD])


def _ranges(lacks: list[tuple[int, int]]) -> str:
    return "lacks " + ", ".join(f"{x}:{y}" for x, y in lacks[:4]) if lacks else "complete"
