"""What `pcaptool replay --http` says: how many answers are the recorded ones, times, and what differs.

Knows: layout, and the names of values (`Asking.as_dict`). Must not know: how they came about.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from pcaptool.report.words import captured, count, duration, grid, table

__all__ = ["asked_renderable"]

_MOST = 20


def asked_renderable(found: Mapping[str, Any]) -> RenderableType:
    """The comparison for a person."""
    rows: list[tuple[str, Any]] = [
        ("asked", f"{count(found['requests'])} requests on {count(found['connections'])} connections"),
        ("same", f"{count(found['same'])} answers are the recorded ones"),
    ]
    if found["late_ns"]:
        rows.append(("late by", _quantiles(found["late_ns"])))
    rows += [("note", captured(note)) for note in found["notes"]]
    if found["interrupted"]:
        rows.append(("ended", "interrupted"))
    parts: list[RenderableType] = [grid(rows), Text(""), _times(found)]
    wrong = [row for row in found["rows"] if row["differs"]]
    if wrong:
        parts += [Text(""), _wrong(wrong)]
    return Group(*parts)


def _quantiles(values: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {duration(values[name])}" for name in ("p50", "p99", "max"))


def _times(found: Mapping[str, Any]) -> RenderableType:
    names = ("p50", "p99", "max")
    out = table(
        "Times",
        ("", "left"),
        *((f"{name} {side}", "right") for side in ("recorded", "now") for name in names),
    )
    for name, words in (("server_time_ns", "to the first byte"), ("transfer_time_ns", "first to last byte")):
        sides = (found[f"recorded_{name}"] or {}, found[name] or {})
        out.add_row(words, *(duration(side.get(key)) for side in sides for key in names))
    return out


def _wrong(rows: list[Mapping[str, Any]]) -> RenderableType:
    title = f"Not the same: first {_MOST} of {count(len(rows))}" if len(rows) > _MOST else "Not the same"
    columns = (("flow", "right"), ("#", "right"), ("request", "left"), ("recorded", "left"), ("now", "left"))
    out = table(title, *columns, ("what", "left"), last_gives_way=True)
    for row in rows[:_MOST]:
        out.add_row(
            str(row["flow"]),
            str(row["exchange"]),
            captured(f"{row['method']} {row['target']}", limit=40),
            _answer(row["recorded_status"], row["recorded_body_bytes"]),
            _answer(row["status"], row["body_bytes"]),
            captured(row["differs"]),
        )
    return out


def _answer(status: int | None, body_bytes: int | None) -> str:
    return "-" if status is None else f"{status}, {count(body_bytes or 0)} B"
