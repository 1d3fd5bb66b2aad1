"""Columns of a batch as plain integer arrays, as kernels want them.

Knows: the shapes of `tables.columns`. Must not know: any particular column.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pcaptool.tables.columns import ColumnData, Columns, Masked, Texts

__all__ = ["WordIds", "integers"]

Ints = npt.NDArray[np.int64]


def integers(columns: Columns, name: str, missing: int = -1) -> Ints:
    """A column of numbers as int64, with `missing` where it is null.

    Examples
    --------
    >>> integers({"a": Masked(np.array([7, 0], "u2"), np.array([True, False]))}, "a").tolist()
    [7, -1]
    """
    match columns[name]:
        case Masked(values, valid):
            return np.where(valid, values.astype(np.int64), missing)
        case np.ndarray() as values:
            return values.astype(np.int64)
        case other:
            raise TypeError(f"column {name} holds {type(other).__name__}, not numbers")


class WordIds:
    """One number for each distinct text over all batches, in order of appearance.

    Memory: each distinct text once. Time: O(rows) in numpy, O(1) Python steps a text that a batch uses.

    Examples
    --------
    >>> ids = WordIds()
    >>> ids(Texts(np.array([1, 0, -1], "i4"), ["b", "a"])).tolist()
    [1, 0, -1]
    >>> ids(Texts(np.array([0], "i4"), ["a"])).tolist(), ids.words
    ([1], ['b', 'a'])
    """

    def __init__(self) -> None:
        self.words: list[str] = []
        self._ids: dict[str, int] = {}

    def __call__(self, column: ColumnData) -> Ints:
        """Numbers of a text column's rows, -1 for null."""
        if not isinstance(column, Texts):
            column = _texts(column)
        if len(column.words) <= len(column.codes):
            wanted: Any = range(len(column.words))
        else:  # a dictionary longer than the batch: touch only what the batch uses
            wanted = np.unique(column.codes[column.codes >= 0]).tolist()
        table = np.full(len(column.words) + 1, -1, np.int64)  # the last one answers code -1
        for code in wanted:
            table[code] = self._id(column.words[code])
        return table[column.codes]

    def _id(self, word: str) -> int:
        number = self._ids.get(word)
        if number is None:
            number = self._ids[word] = len(self.words)
            self.words.append(word)
        return number


def _texts(column: ColumnData) -> Texts:
    rows: Any = column
    words = list(dict.fromkeys(w for w in rows if w is not None))
    code = {word: i for i, word in enumerate(words)}
    return Texts(np.array([-1 if w is None else code[w] for w in rows], np.int32), words)
