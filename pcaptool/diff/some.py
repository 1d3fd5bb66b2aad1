"""Some packets of a capture as a `Side`: those that have to be looked at field by field.

Knows: how chosen packets become batches of their own, and keep their numbers.
Must not know: which packets are chosen, or why.
Memory: the chosen packets' bytes and rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pcaptool.decode.decoder import Decoder
from pcaptool.diff import print_kernel
from pcaptool.diff.load import kept, packets_of, prints_of, whole_frame
from pcaptool.diff.side import TABLES_READ, Side
from pcaptool.engine import Engine
from pcaptool.file import open_capture
from pcaptool.file.model import Run
from pcaptool.file.reader import CaptureReader

__all__ = ["load_some"]

_BATCH = 16_384
_BATCH_BYTES = 8 << 20


def load_some(
    path: Path, engine: Engine, chosen: npt.NDArray[Any], flow_of: npt.NDArray[Any], flows: pl.DataFrame
) -> Side:
    """Decode some packets of a capture.

    Parameters
    ----------
    path : Path
    engine : Engine
        How the capture is walked through; how the packets are decoded goes by their number.
    chosen : numpy.ndarray
        Their numbers, rising.
    flow_of : numpy.ndarray
        Flow of each of them, -1 without.
    flows : polars.DataFrame
        The flows table.
    """
    decoding = engine if len(chosen) > 400 else Engine("plain")
    decoded = [t for t in TABLES_READ if t != "flows"]
    parts: dict[str, list[pl.DataFrame]] = {name: [] for name in decoded}
    prints: list[pl.DataFrame] = []
    kernel = decoding.flat(print_kernel.__name__, "prints")
    with open_capture(path, engine) as capture:
        for batch in Decoder(decoding, decoded).batches(_Chosen(capture, chosen)):
            kept(parts, [batch.tables])
            prints.append(prints_of(batch, kernel))
    numbers = pl.DataFrame(
        {"n": np.arange(1, len(chosen) + 1, dtype=np.uint32), "_n": chosen.astype(np.uint32)}
    )
    frames = {name: _numbered(pl.concat(found), numbers) for name, found in parts.items() if found}
    if "packets" not in frames:
        frames["packets"] = whole_frame("packets")
    flow = pl.when(pl.Series(flow_of >= 0)).then(pl.Series(flow_of))
    frames["packets"] = frames["packets"].with_columns(flow=flow.cast(pl.UInt32))
    frames["flows"] = flows
    whole = _numbered(pl.concat(prints), numbers) if prints else None

    def reread(wanted: list[int]) -> dict[int, bytes]:
        return packets_of(path, engine, set(wanted))

    return Side(str(path), frames, whole, [], reread)


def _numbered(frame: pl.DataFrame, numbers: pl.DataFrame) -> pl.DataFrame:
    """Rows by the numbers that packets have in the capture."""
    columns = frame.columns
    found = frame.with_columns(pl.col("n").cast(pl.UInt32)).join(
        numbers, on="n", how="left", maintain_order="left"
    )
    return found.with_columns(n="_n").select(columns)


class _Chosen(CaptureReader):
    """Looks like a reader of a capture that holds only the chosen packets."""

    def __init__(self, capture: CaptureReader, chosen: npt.NDArray[Any]) -> None:
        self._capture = capture
        self._chosen = chosen

    def runs(self, limit: int = _BATCH) -> Iterator[Run]:
        """Their bytes, copied together."""
        parts: list[Run] = []
        packets = size = done = 0
        for run in self._capture.runs(limit):
            first, last = np.searchsorted(self._chosen, (run.first_n, run.first_n + len(run)))
            if last > first:
                some = _picked(run, self._chosen[first:last].astype(np.int64) - run.first_n)
                if parts and (packets + len(some) > limit or size > _BATCH_BYTES):
                    yield _joined(parts, done + 1)
                    parts, packets, size, done = [], 0, 0, done + packets
                parts.append(some)
                packets, size = packets + len(some), size + len(some.data)
            if last == len(self._chosen):
                break
        if parts:
            yield _joined(parts, done + 1)


def _picked(run: Run, at: npt.NDArray[np.int64]) -> Run:
    """Some packets of a run, with their bytes one behind the other."""
    sizes = run.cap_len[at].astype(np.int64)
    begins = run.offsets[at]
    offsets = np.cumsum(sizes) - sizes
    index = np.repeat(begins - offsets, sizes) + np.arange(int(sizes.sum()))
    return Run(
        first_n=0, data=run.data[index], offsets=offsets, ts_ns=run.ts_ns[at], cap_len=run.cap_len[at],
        orig_len=run.orig_len[at], interface=run.interface[at], linktype=run.linktype[at], flags=run.flags[at],
    )  # fmt: skip


def _joined(parts: list[Run], first_n: int) -> Run:
    sizes = [len(part.data) for part in parts]
    starts = np.cumsum([0, *sizes])[:-1]

    def column(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in parts])

    return Run(
        first_n=first_n, data=column("data"),
        offsets=np.concatenate([p.offsets + s for p, s in zip(parts, starts.tolist(), strict=True)]),
        ts_ns=column("ts_ns"), cap_len=column("cap_len"), orig_len=column("orig_len"),
        interface=column("interface"), linktype=column("linktype"), flags=column("flags"),
    )  # fmt: skip
