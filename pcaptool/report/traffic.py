"""Sums over the packets of a capture: how many, how long, which protocols, what could not be decoded.

Knows: columns of the packets table. Must not know: where its batches come from. Memory: a few counters.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from rich.console import RenderableType
from rich.text import Text

from pcaptool.report.rows import numbers, tally
from pcaptool.report.words import captured, clock, count, duration, grid, size, table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FAULTS", "TRAFFIC", "Faults", "Traffic"]

# Columns of `packets` that they need.
TRAFFIC = ("ts", "len", "cap_len", "err_layer", "protocol")
FAULTS = ("n", "err_layer", "err_kind")


class Traffic:
    """Packets, bytes, time span, protocols."""

    def __init__(self) -> None:
        self.packets = self.original_bytes = self.captured_bytes = self.cut = self.undecoded = 0
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self._protocols: Counter[str] = Counter()

    def add(self, batch: pa.RecordBatch) -> None:
        """Rows with the columns TRAFFIC."""
        if not batch.num_rows:
            return
        length, held = (numbers(batch, name).astype(np.int64) for name in ("len", "cap_len"))
        first, last = (int(pick(numbers(batch, "ts"))) for pick in (np.min, np.max))
        self.packets += batch.num_rows
        self.original_bytes += int(length.sum())
        self.captured_bytes += int(held.sum())
        self.cut += int((held < length).sum())
        self.undecoded += batch.num_rows - batch.column("err_layer").null_count
        self.first_ns = first if self.first_ns is None else min(first, self.first_ns)
        self.last_ns = last if self.last_ns is None else max(last, self.last_ns)
        self._protocols += tally(batch, "protocol")

    def shown(self) -> RenderableType:
        """For people."""
        if self.first_ns is None or self.last_ns is None:
            return Text("no packets")
        names = sorted(self._protocols.items(), key=lambda found: (-found[1], found[0]))
        shown = Text(", ").join([captured(name).append(f" {count(number)}") for name, number in names[:8]])
        lasted = self.last_ns - self.first_ns
        rate = f", {size(round(self.original_bytes * 10**9 / lasted))}/s" if lasted > 0 else ""
        lines: list[tuple[str, str | Text]] = [
            ("packets", f"{count(self.packets)}, {size(self.original_bytes)}{rate}"),
            ("time", f"{clock(self.first_ns)}, {duration(lasted)}"),
            ("protocols", shown),
        ]
        if self.cut:
            lines.append(("cut", f"{count(self.cut)} packets were captured in part (snap length)"))
        if self.undecoded:
            lines.append(
                ("undecoded", f"{count(self.undecoded)} packets; see err_layer, err_kind in packets")
            )
        return grid(lines)


class Faults:
    """Packets that could not be decoded to their end, by layer and reason."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], list[int]] = {}  # how many; the first one's number

    def add(self, batch: pa.RecordBatch) -> None:
        """Rows with the columns FAULTS."""
        if batch.column("err_layer").null_count == batch.num_rows:
            return
        columns = (batch.column(name).to_pylist() for name in FAULTS)
        for n, layer, kind in zip(*columns, strict=True):
            if layer is not None:
                self._kinds.setdefault((layer, kind), [0, n])[0] += 1

    def shown(self, rows: int) -> RenderableType | None:
        """The most frequent ones; None where there are none."""
        if not self._kinds:
            return None
        out = table("Undecoded", ("layer", "left"), ("why", "left"), ("packets", "right"), ("first", "right"))
        kinds = sorted(self._kinds.items(), key=lambda found: (-found[1][0], found[1][1]))
        for (layer, kind), (packets, first) in kinds[:rows]:
            out.add_row(captured(layer), captured(kind), count(packets), str(first))
        return out
