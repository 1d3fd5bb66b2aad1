"""What a page shows of single packets and exchanges: where time went, stages of frames, bytes of frames.

Knows: how much of it a page can hold, and which packets people look at first. Must not know: HTML, or where bytes come
from.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from pcaptool.errors import printable
from pcaptool.report.timings import GROUPS
from pcaptool.tables.report import Report

__all__ = ["Frames", "frame_bytes", "frame_stages", "time_parts"]

# Packet numbers to their captured bytes, those that are to be had.
Frames = Callable[[frozenset[int]], Mapping[int, bytes]]

FRAME_BYTES = 256  # of each frame
_MARKED = 40  # packets of one conversation that the analysis marks


def time_parts(report: Report, most: int) -> dict[str, Any]:
    """Exchanges whose total is known, the longest, in the order of their beginnings: one list a column.

    Returns
    -------
    dict
        total, names (of the parts), flow, exchange, label, parts (a list of ns a name).
    """
    if not {"timings", "http"} <= set(report.tables):
        return {"total": 0, "names": [], "flow": [], "exchange": [], "label": [], "parts": []}
    groups = GROUPS | {"delivery": ("delivery_time_ns",)}
    known = report.timings.filter(pl.col("total_time_ns").is_not_null())
    frame = (
        known.select(
            "flow",
            "exchange",
            "total_time_ns",
            *(pl.sum_horizontal(parts).fill_null(0).alias(name) for name, parts in groups.items()),
        )
        .top_k(most, by="total_time_ns")
        .join(
            report.http.select("flow", "exchange", "method", "target", "request_first_n"),
            on=["flow", "exchange"],
        )
        .sort("request_first_n")
        .collect()
    )
    labels = [f"{method} {target}" for method, target in frame.select("method", "target").iter_rows()]
    return {
        "total": known.select(pl.len()).collect().item(),
        "names": list(groups),
        "flow": frame["flow"].to_list(),
        "exchange": frame["exchange"].to_list(),
        "label": [printable(label)[:120] for label in labels],
        "parts": [frame[name].to_list() for name in groups],
    }


def frame_stages(report: Report, most: int) -> dict[str, Any]:
    """The stages of the first frames that have any.

    Returns
    -------
    dict
        total (frames), frames: packet number to rows of stage, ns since the frame's first, bytes, headers.
    """
    if "stages" not in report:
        return {"total": 0, "frames": {}}
    rows = report.stages.filter(pl.col("n").is_not_null())
    numbers = rows.select(pl.col("n").unique().sort()).collect()["n"].to_list()
    frame = (
        rows.filter(pl.col("n").is_in(numbers[:most]))
        .select("n", "stage", pl.col("ts").cast(pl.Int64), "len_bytes", "headers")
        .sort("n", "ts", maintain_order=True)
        .collect()
    )
    frames: dict[int, list[list[Any]]] = {}
    first: dict[int, int] = {}
    for n, stage, ts, size, headers in frame.iter_rows():
        since = ts - first.setdefault(n, ts)
        frames.setdefault(n, []).append([printable(str(stage)), since, size, printable(str(headers))])
    return {"total": len(numbers), "frames": frames}


def frame_bytes(
    frames: Frames | None, flows: list[dict[str, Any]], packets: int, most: int
) -> dict[str, Any] | None:
    """Bytes of the packets that a page shows: the first, marked ones, and those of the drawn conversations in turn.

    Parameters
    ----------
    frames : callable, optional
        None where the captures are not at hand.
    flows : list of dict
        Of `flow_segments`.
    packets : int
        How many there are.
    most : int
        How many frames to take.

    Returns
    -------
    dict or None
        cut (bytes of each frame at most), frames: packet number to [captured bytes, base64 of the first of them].
    """
    if frames is None:
        return None
    wanted = dict.fromkeys(range(1, min(packets, most if packets <= most else most // 3) + 1))
    for flow in flows:
        marked = [n for n, mark in zip(flow["n"], flow["mark"], strict=True) if mark]
        wanted |= dict.fromkeys(marked[:_MARKED])
    longest = max((len(flow["n"]) for flow in flows), default=0)
    for k in range(longest):
        if len(wanted) >= most:
            break
        wanted |= dict.fromkeys(flow["n"][k] for flow in flows if k < len(flow["n"]))
    found = frames(frozenset(list(wanted)[:most]))
    return {
        "cut": FRAME_BYTES,
        "frames": {
            n: [len(data), base64.b64encode(data[:FRAME_BYTES]).decode()] for n, data in sorted(found.items())
        },
    }
