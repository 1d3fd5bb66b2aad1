"""Rows of tables as plain values, from Arrow record batches.

Knows: Arrow's arrays. Must not know: what a column means; polars and pyarrow.compute, whose imports take longer than
all of a short capture's analysis.
Memory: one batch, and the rows that are kept.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Row", "batches_of", "largest", "numbers", "plain", "tally"]

Row = dict[str, Any]


def batches_of(frame: pl.DataFrame) -> list[pa.RecordBatch]:
    """A frame's rows."""
    return list(frame.to_arrow().to_batches())


def plain(batch: pa.RecordBatch) -> list[Row]:
    """Rows as dictionaries; times are integer nanoseconds.

    Examples
    --------
    >>> stamp = pa.array([1_000_000_001], pa.timestamp("ns", "UTC"))
    >>> plain(pa.RecordBatch.from_arrays([stamp, pa.array(["a"])], ["ts", "src"]))
    [{'ts': 1000000001, 'src': 'a'}]
    """
    columns = [_integers(column).to_pylist() for column in batch.columns]
    names = batch.schema.names
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _integers(column: Any) -> Any:
    return column.view(pa.int64()) if pa.types.is_timestamp(column.type) else column


def numbers(batch: pa.RecordBatch, name: str) -> npt.NDArray[Any]:
    """A column of numbers; 0 where it is null.

    Examples
    --------
    >>> numbers(pa.RecordBatch.from_arrays([pa.array([3, None])], ["a"]), "a").tolist()
    [3, 0]
    """
    return _values(_integers(batch.column(name)))


def _values(column: Any) -> npt.NDArray[Any]:
    """An Arrow array of numbers or truth values, 0 where it is null.

    Not by its `to_numpy`: that imports pandas where it is installed, which takes longer than a short capture.
    """
    nulls, data = column.buffers()
    part = slice(column.offset, column.offset + len(column))

    def bits(buffer: Any) -> npt.NDArray[np.bool_]:
        return np.unpackbits(np.frombuffer(buffer, np.uint8), bitorder="little")[part].astype(np.bool_)

    if pa.types.is_boolean(column.type):
        values: npt.NDArray[Any] = bits(data) if len(column) else np.empty(0, np.bool_)
    else:
        kind = {"float": "f4", "double": "f8"}.get(str(column.type), str(column.type))
        values = np.frombuffer(data, kind)[part] if len(column) else np.empty(0, kind)
    return np.where(bits(nulls), values, values.dtype.type(0)) if column.null_count else values


def tally(batch: pa.RecordBatch, name: str) -> Counter[str]:
    """How often each text stands in a column.

    Examples
    --------
    >>> tally(pa.RecordBatch.from_arrays([pa.array(["a", "b", "a"]).dictionary_encode()], ["p"]), "p")
    Counter({'a': 2, 'b': 1})
    """
    column = batch.column(name)
    if not pa.types.is_dictionary(column.type) or column.null_count:
        return Counter(column.to_pylist())
    words = column.dictionary.to_pylist()
    counts = np.bincount(_values(column.indices), minlength=len(words))
    return Counter({word: int(count) for word, count in zip(words, counts, strict=True) if count})


def largest(
    batches: Iterable[pa.RecordBatch], key: Callable[[pa.RecordBatch], npt.NDArray[Any]], count: int
) -> tuple[list[Row], int]:
    """The rows whose keys are the largest, largest first; and how many rows have a key above nothing.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
    key : callable
        A number for each row of a batch; a negative one leaves the row out.
    count : int
        Rows to keep.

    Examples
    --------
    >>> batch = pa.RecordBatch.from_arrays([pa.array([3, 9, 5])], ["a"])
    >>> largest([batch], lambda b: numbers(b, "a"), 2)
    ([{'a': 9}, {'a': 5}], 3)
    """
    best: list[tuple[Any, int, Row]] = []
    seen = total = 0
    for batch in batches:
        keys = key(batch)
        total += int((keys >= 0).sum())
        order = np.argsort(-keys, kind="stable")[:count]
        # Of equal keys the earlier row comes first.
        best += [
            (keys[at], -(seen + at), plain(batch.slice(at, 1))[0]) for at in order[keys[order] >= 0].tolist()
        ]
        best = heapq.nlargest(count, best, key=lambda found: found[:2])
        seen += batch.num_rows
    return [row for _, _, row in best], total
