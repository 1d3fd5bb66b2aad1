"""What one decoding step hands on: a bounded run of packets as columns, with their bytes.

Knows: nothing but the shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from pcaptool.tables.columns import Columns

__all__ = ["Analysis", "Batch", "InParts"]


@dataclass(slots=True)
class Batch:
    """Consecutive packets of one capture.

    Parameters
    ----------
    first_n : int
        Number of its first packet, 1-based.
    count : int
        Packets; never 0.
    tables : dict
        Table name to its columns. Tables hold a row for each header, so the rows of "tcp" are fewer than
        `count`; their column "n" says which packet.
    data : numpy.ndarray of uint8
        Captured bytes of these packets, and perhaps others. Valid only until the next batch is asked for.
    offsets : numpy.ndarray of int64
        Where packet `first_n + i` begins in `data`; it has `cap_len` bytes.
    notes : dict
        What analyses leave for those behind them.
    reassembled : dict
        UDP payload of datagrams that came in IP fragments, by the packet that completed them.
    """

    first_n: int
    count: int
    tables: dict[str, Columns]
    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    notes: dict[str, Any] = field(default_factory=dict)
    reassembled: dict[int, bytes] = field(default_factory=dict)


class Analysis(Protocol):
    """A computation that sees all batches of a capture in order, with bounded state.

    An analysis names the decoder columns that it `needs`, fills columns of batches as they pass (`feed`),
    hands out finished rows of tables of its own, and gives the remaining ones at the end (`finish`).
    One that reads no packet's bytes (`reads_bytes`) may run while the next batch is decoded.
    """

    needs: dict[str, tuple[str, ...]]
    reads_bytes: bool

    def feed(self, batch: Batch) -> dict[str, Columns]:
        """Take a batch, may add columns to `batch.tables`; returns rows of its own tables that are final."""
        ...

    def finish(self) -> dict[str, Columns]:
        """Rows of its own tables that were still open at the end of the capture."""
        ...


@runtime_checkable
class InParts(Protocol):
    """An analysis whose remaining rows may take much memory: they are asked for instead of `finish`, part by part."""

    def parts(self) -> Iterator[dict[str, Columns]]:
        """Rows that were still open at the end of the capture."""
        ...
