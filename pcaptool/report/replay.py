"""What `pcaptool replay` says at its end: counts, timing, what was not sent and why.

Knows: layout, and the names of an outcome's values (`Outcome.as_dict`). Must not know: how it came about.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from pcaptool.report.words import captured, count, duration, grid, size, table

__all__ = ["replay_renderable"]

_CHANGES = (
    ("segmented", "cut to the MTU"),
    ("padded", "filled up with zeros"),
    ("checksums_completed", "given the checksum that a device was to fill in"),
    ("filtered", "left out by the filter"),
)


def replay_renderable(outcome: Mapping[str, Any]) -> RenderableType:
    """An outcome for a person."""
    packets, planned, sent = outcome["packets"], outcome["planned"], outcome["sent"]
    rows: list[tuple[str, Any]] = [("planned", f"{count(packets)} packets as {count(planned)} frames")]
    rows += [
        (count(outcome["changes"][key]), words) for key, words in _CHANGES if outcome["changes"].get(key)
    ]
    if not outcome["dry"]:
        rows += _sent(outcome, sent)
    rows += [("note", captured(note)) for note in outcome["notes"]]
    if outcome["ended_by"]:
        rows.append(("ended", captured(outcome["ended_by"])))
    parts: list[RenderableType] = [grid(rows)]
    if outcome["failures"]:
        parts += [Text(""), _failures(outcome)]
    return Group(*parts)


def _sent(outcome: Mapping[str, Any], sent: int) -> list[tuple[str, Any]]:
    seconds = outcome["duration_ns"] / 1e9
    rows: list[tuple[str, Any]] = [("sent", f"{count(sent)} frames, {size(outcome['sent_bytes'])}")]
    if seconds > 0:
        rate = f"{count(round(sent / seconds))} frames/s, {outcome['sent_bytes'] * 8 / seconds / 1e6:,.1f} Mbit/s"
        rows.append(("took", f"{duration(outcome['duration_ns'])} ({rate})"))
    rows += [(name, count(outcome[name])) for name in ("failed", "refused") if outcome[name]]
    if outcome["untried"]:
        rows.append(("not tried", count(outcome["untried"])))
    if outcome["error_ns"]:
        rows.append(("late by", _quantiles(outcome["error_ns"])))
        rows.append(("drift", f"{duration(outcome['drift_ns'])} at the end"))
    if outcome["seen"] is not None:
        rows.append(("seen", _seen(outcome)))
    if outcome["gap_error_ns"]:
        rows.append(("gaps off by", f"{_quantiles(outcome['gap_error_ns'])}, on the far side"))
        rows.append(("drift there", f"{duration(outcome['seen_drift_ns'])} at the end"))
    return rows


def _seen(outcome: Mapping[str, Any]) -> str:
    said = f"{count(outcome['seen'])} of {count(outcome['sent'])} frames on the far side"
    if outcome["seen_others"]:
        said += f", and {count(outcome['seen_others'])} others"
    if outcome["unwatched"]:
        said += f"; it was too slow for {count(outcome['unwatched'])}, which may have been there"
    return said


def _quantiles(values: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {duration(values[name])}" for name in ("p50", "p99", "max"))


def _failures(outcome: Mapping[str, Any]) -> RenderableType:
    first: dict[str, int] = {}
    for failure in outcome["failures"]:
        first.setdefault(failure["reason"], failure["n"])
    out = table("Not sent", ("frames", "right"), ("first packet", "right"), ("why", "left"))
    for reason, number in sorted(outcome["reasons"].items(), key=lambda item: -item[1]):
        out.add_row(count(number), str(first.get(reason, "")), captured(reason))
    return out
