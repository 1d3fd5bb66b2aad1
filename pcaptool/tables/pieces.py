"""Columns of several batches as one row group.

Knows: how each shape of column data is cut and joined without copying more than is needed.
Must not know: Parquet.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pcaptool.tables.columns import ColumnData, Columns, Lists, Masked, Texts, row_count

__all__ = ["cut", "join", "row_group", "take"]


def cut(data: ColumnData, start: int, end: int) -> ColumnData:
    """Rows start to end of a column, sharing its buffers.

    Examples
    --------
    >>> cut(Lists(np.array([0, 2, 3], "i4"), np.array([7, 8, 9], "u1")), 1, 2).values.tolist()
    [9]
    """
    match data:
        case Masked(values, valid):
            return Masked(values[start:end], valid[start:end])
        case Texts(codes, words):
            return Texts(codes[start:end], words)
        case Lists(offsets, values):
            part = offsets[start : end + 1]
            first = int(part[0])
            return Lists(part - part[0], values[first : int(part[-1])])
        case _:
            return data[start:end]


def take(data: ColumnData, rows: Any) -> ColumnData:
    """Some rows of a column, in the order given.

    Examples
    --------
    >>> take(Lists(np.array([0, 2, 3], "i4"), np.array([7, 8, 9], "u1")), [1, 0]).values.tolist()
    [9, 7, 8]
    """
    match data:
        case Masked(values, valid):
            return Masked(values[rows], valid[rows])
        case Texts(codes, words):
            return Texts(codes[rows], words)
        case Lists(offsets, values):
            sizes = np.diff(offsets)[rows]
            parts = [values[offsets[row] : offsets[row + 1]] for row in rows]
            ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
            return Lists(ends, np.concatenate(parts) if parts else values[:0])
        case np.ndarray():
            picked: ColumnData = data[rows]
            return picked
        case _:
            return [data[row] for row in rows]


def join(parts: list[ColumnData]) -> ColumnData:
    """Columns one behind the other.

    Examples
    --------
    >>> both = join([Texts(np.array([0], "i4"), ["a"]), Texts(np.array([1, 0], "i4"), ["b", "a"])])
    >>> [both.words[c] for c in both.codes]
    ['a', 'a', 'b']
    >>> join([np.array([7], "u2"), Masked(np.array([0], "u2"), np.array([False]))]).valid.tolist()
    [True, False]
    """
    if len(parts) == 1:
        return parts[0]
    some: Any = parts
    match parts[0]:
        case Masked() | np.ndarray() if any(isinstance(p, Masked) for p in parts):
            return _join_masked(some)
        case Texts() if all(isinstance(p, Texts) for p in parts):
            return _join_texts(some)
        case Lists():
            return _join_lists(some)
        case np.ndarray():
            return np.concatenate(some)
        case _:
            return [value for p in some for value in _values(p)]


def _join_masked(parts: list[Any]) -> Masked:
    """Some parts may have no nulls, and be plain arrays."""
    values = [p.values if isinstance(p, Masked) else p for p in parts]
    valid = [p.valid if isinstance(p, Masked) else np.ones(len(p), np.bool_) for p in parts]
    return Masked(np.concatenate(values), np.concatenate(valid))


def _values(data: Any) -> list[Any]:
    if isinstance(data, Texts):
        words = [*data.words, None]
        return [words[code] for code in data.codes.tolist()]
    return list(data)


def _join_texts(parts: list[Texts]) -> Texts:
    """Batches of one capture mostly share one growing list of words."""
    if all(p.words is parts[0].words for p in parts):
        return Texts(np.concatenate([p.codes for p in parts]), parts[0].words)
    words: dict[str, int] = {}
    codes = []
    tables: dict[int, np.ndarray[Any, Any]] = {}
    for p in parts:
        table = tables.get(id(p.words))
        if table is None:
            numbers = [words.setdefault(word, len(words)) for word in p.words]
            table = tables[id(p.words)] = np.array([*numbers, -1], np.int32)
        codes.append(table[p.codes])
    return Texts(np.concatenate(codes), list(words))


def _join_lists(parts: list[Lists]) -> Lists:
    offsets = [parts[0].offsets[:1]]
    total = 0
    for p in parts:
        offsets.append(p.offsets[1:] + np.int32(total))
        total += len(p.values)
    return Lists(np.concatenate(offsets), np.concatenate([p.values for p in parts]))


def row_group(waiting: list[Columns], rows: int) -> tuple[list[Columns], list[Columns]]:
    """The first so many rows of a list of batches, and what is left of the list."""
    taken: list[Columns] = []
    for i, columns in enumerate(waiting):
        have = row_count(next(iter(columns.values())))
        if have < rows:
            taken.append(columns)
            rows -= have
            continue
        if have == rows:
            return [*taken, columns], waiting[i + 1 :]
        taken.append({name: cut(data, 0, rows) for name, data in columns.items()})
        rest = {name: cut(data, rows, have) for name, data in columns.items()}
        return taken, [rest, *waiting[i + 1 :]]
    return taken, []
