"""A capture as a polars LazyFrame: selections reach the decoder.

Knows: what polars asks of a source. Must not know: how packets are decoded.
Order: limit, then filter, then project. polars counts `n_rows` in rows of the source, before the predicate, and
the columns it names include those that the predicate reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
from polars.io.plugins import register_io_source

from pcaptool.analyze.pipeline import columns_of
from pcaptool.errors import UsageError
from pcaptool.file.reader import open_capture
from pcaptool.tables import OF_NO_CAPTURE, TABLES
from pcaptool.tables.polars_frames import frame_of, polars_schema

__all__ = ["scan_pcap"]


def scan_pcap(path: str | Path, table: str = "packets") -> pl.LazyFrame:
    """A table of a capture, decoded when the frame is collected.

    Parameters
    ----------
    path : path
        pcap or pcapng, compressed or not.
    table : str
        One of the report's tables.

    Returns
    -------
    polars.LazyFrame
        Columns that are not selected are not computed where that saves work; `head` ends reading early on the
        streaming engine.

    Raises
    ------
    CaptureError
        Missing, empty, or not a capture.
    UsageError
        No such table.

    Examples
    --------
    >>> scan_pcap("fixtures/captures/lab/size-1.server.pcap", "tcp").select("n", "len").head(2).collect().rows()
    [(3, 0), (4, 0)]
    """
    if table not in TABLES or table in OF_NO_CAPTURE:
        known = ", ".join(name for name in TABLES if name not in OF_NO_CAPTURE)
        raise UsageError(f"there is no table {table!r} in a capture", hint=f"known: {known}")
    with open_capture(path):  # what is no capture is said at once
        pass
    definition = TABLES[table]

    def source(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        names = definition.names if with_columns is None else tuple(with_columns)
        left = n_rows
        for of_names, columns in columns_of(path, table, names):
            frame = frame_of(of_names, columns)
            if left is not None:
                if left <= 0:
                    return
                frame = frame.head(left)
                left -= frame.height
            if predicate is not None:
                frame = frame.filter(predicate)
            yield frame.select(names)

    return register_io_source(
        source,
        schema=polars_schema(definition),
        validate_schema=True,
        is_pure=True,
        explain_name="PCAP",
        explain_detail=f"{Path(path).name}, table {table}",
    )
