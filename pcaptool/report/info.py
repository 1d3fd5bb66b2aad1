"""What `pcaptool info` says: the file, its interfaces, its traffic, its top flows, its trouble.

Knows: layout. Must not know: how a file is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl
from rich.console import Group, RenderableType
from rich.text import Text

from pcaptool.report.conversations import flow_table
from pcaptool.report.rows import batches_of, largest
from pcaptool.report.summary import carried, traffic
from pcaptool.report.words import captured, count, grid, table

__all__ = ["capture_info"]


def capture_info(
    about: Sequence[tuple[str, object]], frames: Mapping[str, pl.DataFrame], rows: int = 10
) -> RenderableType:
    """A capture at a glance.

    Parameters
    ----------
    about : sequence of (str, object)
        Names and values about the file: path, format, link types, ...; values are escaped.
    frames : mapping of str to polars.DataFrame
        "packets", and "flows" where it was made.
    rows : int
        Flows and kinds of trouble to show.
    """
    parts: list[RenderableType] = [
        grid([(name, captured(value)) for name, value in about]),
        traffic(batches_of(frames["packets"])),
    ]
    flows = frames.get("flows")
    if flows is not None and flows.height:
        top, conversations = largest(batches_of(flows), carried, rows)
        parts += [Text(""), flow_table(top, f"Flows: biggest {len(top)} of {count(conversations)}")]
    trouble = _trouble(frames["packets"], rows)
    if trouble is not None:
        parts += [Text(""), trouble]
    return Group(*parts)


def _trouble(packets: pl.DataFrame, rows: int) -> RenderableType | None:
    """Packets that could not be decoded to their end, by layer and reason."""
    faulty = packets.filter(pl.col("err_layer").is_not_null())
    if not faulty.height:
        return None
    out = table("Undecoded", ("layer", "left"), ("why", "left"), ("packets", "right"), ("first", "right"))
    kinds = (
        faulty.group_by(pl.col("err_layer").cast(pl.String), pl.col("err_kind").cast(pl.String))
        .agg(pl.len(), pl.col("n").min())
        .sort("len", "n", descending=[True, False])
    )
    for layer, why, packets_of, first in kinds.head(rows).iter_rows():
        out.add_row(captured(layer), captured(why), count(packets_of), str(first))
    return out
