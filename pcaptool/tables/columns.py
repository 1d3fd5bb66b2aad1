"""Column values in memory, between decoding and Parquet.

Knows: four shapes of column data and how each becomes an Arrow array of its column's kind.
Must not know: where the values come from.

    numpy array             every row has a value
    Masked                  numbers, some rows null
    Texts                   few distinct strings: codes into a list of words, -1 is null
    Lists                   a run of numbers per row: offsets into one flat array
    list of str / None      many distinct strings; or list of lists of str for a "text_list"

Buffers are handed over, not copied: who fills a column must not write into it again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pcaptool.tables.arrow_arrays import lists, numbers, strings, text_lists
from pcaptool.tables.definition import KINDS, Table, arrow_type

__all__ = ["ColumnData", "Columns", "Lists", "Masked", "Texts", "row_count", "to_arrow"]


@dataclass(frozen=True, slots=True)
class Masked:
    """Numbers with nulls.

    Parameters
    ----------
    values : numpy.ndarray
        One value a row; arbitrary where `valid` is false.
    valid : numpy.ndarray of bool
        True where the row has a value.
    """

    values: npt.NDArray[Any]
    valid: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Texts:
    """Few distinct strings.

    Parameters
    ----------
    codes : numpy.ndarray of int32
        Index into `words`, -1 for null.
    words : sequence of str
        Distinct strings; may hold words that no row uses.
    """

    codes: npt.NDArray[np.int32]
    words: Sequence[str]


@dataclass(frozen=True, slots=True)
class Lists:
    """A list of numbers per row.

    Parameters
    ----------
    offsets : numpy.ndarray of int32
        Row i holds values[offsets[i]:offsets[i + 1]]; one longer than the rows.
    values : numpy.ndarray
        All lists, one behind the other.
    """

    offsets: npt.NDArray[np.int32]
    values: npt.NDArray[Any]


ColumnData = npt.NDArray[Any] | Masked | Texts | Lists | list[Any]
Columns = dict[str, ColumnData]


def row_count(data: ColumnData) -> int:
    """Rows of a column."""
    match data:
        case Masked():
            return len(data.values)
        case Texts():
            return len(data.codes)
        case Lists():
            return len(data.offsets) - 1
        case _:
            return len(data)


def to_arrow(table: Table, columns: Mapping[str, ColumnData], *, complete: bool = False) -> Any:
    """A pyarrow.RecordBatch of the given columns in the table's order.

    Parameters
    ----------
    table : Table
    columns : mapping
    complete : bool
        Columns of the table that are not given become null.

    Raises
    ------
    KeyError
        A column that the table does not define.
    ValueError
        Columns of different length, or a missing one that cannot be null.

    Examples
    --------
    >>> from pcaptool.tables import UDP
    >>> batch = to_arrow(UDP, {"srcport": np.array([53], "u2"), "n": np.array([1], "u4")})
    >>> batch.to_pydict()
    {'n': [1], 'srcport': [53]}
    """
    import pyarrow as pa  # noqa: PLC0415 - only when a report is made

    unknown = columns.keys() - set(table.names)
    if unknown:
        raise KeyError(f"table {table.name} has no column {min(unknown)!r}")
    names = [name for name in table.names if name in columns]
    lengths = {row_count(columns[name]) for name in names}
    if len(lengths) > 1:
        raise ValueError(f"table {table.name}: columns of {sorted(lengths)} rows")
    if complete:
        return _complete(table, columns, next(iter(lengths), 0))
    arrays = [_array(table[name].kind, columns[name]) for name in names]
    return pa.RecordBatch.from_arrays(arrays, schema=table.select_schema(names))


def _complete(table: Table, columns: Mapping[str, ColumnData], rows: int) -> Any:
    import pyarrow as pa  # noqa: PLC0415

    missing = [c.name for c in table.columns if c.name not in columns and not c.nullable]
    if missing and rows:
        raise ValueError(f"table {table.name}: no values for {', '.join(missing)}")
    arrays = [
        _array(c.kind, columns[c.name]) if c.name in columns else pa.nulls(rows, arrow_type(c.kind))
        for c in table.columns
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=table.arrow_schema)


def _array(kind: str, data: ColumnData) -> Any:
    import pyarrow as pa  # noqa: PLC0415

    kind_type = arrow_type(kind)
    match data:
        case Texts(words=words) if kind != "text" and not words:
            return pa.nulls(len(data.codes), kind_type)  # a cast would import pyarrow.compute, 40 ms
        case Texts():
            codes = numbers(pa.int32(), "i4", data.codes, data.codes >= 0)
            return pa.DictionaryArray.from_arrays(codes, strings(data.words))
        case Lists():
            item = KINDS[kind.removesuffix("_list")][0]
            return lists(data.offsets, numbers(kind_type.value_type, item, data.values))
        case Masked():
            return numbers(kind_type, KINDS[kind][0], data.values, data.valid)
        case np.ndarray():
            return numbers(kind_type, KINDS[kind][0], data)
        case _ if kind == "text":
            # Not pyarrow's dictionary_encode: it imports pyarrow.compute, 40 ms, for a few rows.
            number: dict[str | None, int] = {None: -1}
            codes = np.array([number.setdefault(word, len(number) - 1) for word in data], np.int32)
            return _array(kind, Texts(codes, [word for word in number if word is not None]))
        case _ if kind == "string":
            return strings(data)
        case _ if kind == "text_list":
            return text_lists(data)
        case _:
            return pa.array(data, kind_type)
