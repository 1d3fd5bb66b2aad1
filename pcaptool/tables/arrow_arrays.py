"""Arrow arrays over numpy's and Python's values, made from buffers.

Knows: Arrow's layout of numbers, strings and lists (Arrow Columnar Format 1.0, physical memory layout).
Must not know: tables, what a column means.
Why not `pyarrow.array`: it imports pandas, where that is installed, to see whether it was given a series of it; that
takes longer than analyzing 100,000 packets.
Left out: arrays of more than 2 GiB of text (32-bit offsets), which are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["lists", "numbers", "strings", "text_lists"]


def numbers(
    arrow_type: Any, dtype: str, values: npt.NDArray[Any], valid: npt.NDArray[np.bool_] | None = None
) -> Any:
    """Plain numbers; over the same memory where they have the width that they are kept with.

    Parameters
    ----------
    arrow_type : pyarrow.DataType
    dtype : str
        numpy's name of what it holds; "?" becomes one bit each.
    values : numpy.ndarray
    valid : numpy.ndarray of bool, optional
        False where a row is null.

    Raises
    ------
    OverflowError
        A value that the type cannot hold.

    Examples
    --------
    >>> import pyarrow as pa
    >>> numbers(pa.int32(), "i4", np.array([3, 9]), np.array([True, False])).to_pylist()
    [3, None]
    """
    import pyarrow as pa  # noqa: PLC0415 - only when a report is made

    if values.dtype != dtype:
        values = _narrowed(values, np.dtype(dtype), valid)
    data = np.packbits(values, bitorder="little") if dtype == "?" else np.ascontiguousarray(values)
    return pa.Array.from_buffers(arrow_type, len(values), [_nulls(valid), pa.py_buffer(data)])


def strings(values: Sequence[str | None]) -> Any:
    """A pyarrow.StringArray of what there is now: another thread may append meanwhile (dictionaries of a decoder).

    Examples
    --------
    >>> strings(["a", None, "", "äöü"]).to_pylist()
    ['a', None, '', 'äöü']
    """
    import pyarrow as pa  # noqa: PLC0415

    held = list(values)
    valid = np.fromiter((value is not None for value in held), np.bool_, len(held)) if None in held else None
    texts = [value or "" for value in held]
    joined = "".join(texts)
    lengths = [len(text) for text in (texts if joined.isascii() else [text.encode() for text in texts])]
    buffers = [_nulls(valid), pa.py_buffer(_offsets(lengths)), pa.py_buffer(joined.encode())]
    return pa.Array.from_buffers(pa.string(), len(held), buffers)


def text_lists(values: Sequence[Sequence[str | None] | None]) -> Any:
    """A pyarrow.ListArray of strings.

    Examples
    --------
    >>> text_lists([["a", "b"], None, []]).to_pylist()
    [['a', 'b'], None, []]
    """
    rows = [each or () for each in values]
    valid = np.fromiter((each is not None for each in values), np.bool_, len(values))
    return lists(_offsets([len(each) for each in rows]), strings(list(chain.from_iterable(rows))), valid)


def lists(offsets: npt.NDArray[np.int32], items: Any, valid: npt.NDArray[np.bool_] | None = None) -> Any:
    """A pyarrow.ListArray: row i holds items[offsets[i]:offsets[i + 1]].

    Examples
    --------
    >>> lists(np.array([0, 1, 1, 3], "i4"), strings(["a", "b", "c"])).to_pylist()
    [['a'], [], ['b', 'c']]
    """
    import pyarrow as pa  # noqa: PLC0415

    buffers = [_nulls(valid), pa.py_buffer(np.ascontiguousarray(offsets, np.int32))]
    return pa.Array.from_buffers(pa.list_(items.type), len(offsets) - 1, buffers, children=[items])


def _nulls(valid: npt.NDArray[np.bool_] | None) -> Any:
    """Arrow's bits of the rows that have a value; None where all have, which is encoded faster."""
    import pyarrow as pa  # noqa: PLC0415

    return None if valid is None or valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))


def _offsets(lengths: list[int]) -> npt.NDArray[np.int32]:
    ends = np.concatenate([[0], np.cumsum(np.array(lengths, np.int64))])
    return _narrowed(ends, np.dtype(np.int32), None)


def _narrowed(
    values: npt.NDArray[Any], dtype: np.dtype[Any], valid: npt.NDArray[np.bool_] | None
) -> npt.NDArray[Any]:
    """The same numbers in another width."""
    cast = values.astype(dtype)
    same = ((cast.astype(values.dtype) == values) & ((cast < 0) == (values < 0))) | np.isnan(values)
    if not (same if valid is None else same | ~valid).all():
        raise OverflowError(f"a number does not fit {dtype.name}")
    return cast
