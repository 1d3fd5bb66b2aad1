"""Tables as polars frames.

Knows: which polars type a column's kind is, the same that polars makes of the Arrow schema. Must not know: where values
come from.
Numbers go to polars without Arrow, whose import takes as long as decoding some hundred thousand packets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pcaptool.tables.columns import ColumnData, Masked, to_arrow
from pcaptool.tables.definition import KINDS, Table

__all__ = ["frame_of", "polars_schema"]

_TYPES: Mapping[str, pl.DataType] = {
    "bool": pl.Boolean(),
    "u8": pl.UInt8(),
    "u16": pl.UInt16(),
    "u32": pl.UInt32(),
    "u64": pl.UInt64(),
    "i32": pl.Int32(),
    "i64": pl.Int64(),
    "f64": pl.Float64(),
    "time": pl.Datetime("ns", "UTC"),
    "text": pl.Categorical(),
    "string": pl.String(),
    "u8_list": pl.List(pl.UInt8()),
    "u32_list": pl.List(pl.UInt32()),
    "text_list": pl.List(pl.String()),
}


def polars_schema(table: Table) -> pl.Schema:
    """Types of a table's columns.

    Examples
    --------
    >>> from pcaptool.tables import UDP
    >>> polars_schema(UDP)["n"]
    UInt32
    """
    return pl.Schema({column.name: _TYPES[column.kind] for column in table.columns})


def frame_of(table: Table, columns: Mapping[str, ColumnData]) -> pl.DataFrame:
    """A frame of all columns of a table; those that are not given are null.

    Raises
    ------
    KeyError, ValueError
        As `columns.to_arrow`.

    Examples
    --------
    >>> from pcaptool.tables.definition import Column
    >>> table = Table("t", 1, "packet", "", (Column("n", "u32", "number"), Column("port", "u16", "", nullable=True)))
    >>> ports = Masked(np.array([53, 0], "u2"), np.array([True, False]))
    >>> frame_of(table, {"n": np.array([1, 2], "u4"), "port": ports}).rows()
    [(1, 53), (2, None)]
    """
    names = table.names
    if columns.keys() != set(names) or not all(isinstance(c, (np.ndarray, Masked)) for c in columns.values()):
        return pl.DataFrame(to_arrow(table, columns, complete=True))
    return pl.DataFrame([_series(name, table[name].kind, columns[name]) for name in names])


def _series(name: str, kind: str, data: Any) -> pl.Series:
    values: npt.NDArray[Any] = data.values if isinstance(data, Masked) else data
    made = pl.Series(name, values.astype(KINDS[kind][0], copy=False))
    if kind == "time":
        made = made.cast(_TYPES[kind])
    if isinstance(data, Masked) and not data.valid.all():
        made = made.zip_with(pl.Series(data.valid), pl.Series([None], dtype=made.dtype))
    return made
