"""Columns of a batch as plain integer arrays, as kernels want them.

Knows: the shapes of `tables.columns`. Must not know: any particular column.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pcaptool.tables.columns import ColumnData, Columns, Lists, Masked, Texts

__all__ = ["WordIds", "among", "distinct", "grown", "index", "integers", "masked", "plain", "runs"]

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


def among(values: npt.NDArray[Any], few: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which values are among some that are in order, as numpy.isin; that brings numpy.ma with it, 10 ms.

    Examples
    --------
    >>> among(np.array([7, 1, 9]), np.array([1, 8])).tolist()
    [False, True, False]
    """
    at = np.minimum(np.searchsorted(few, values), len(few) - 1)
    found: npt.NDArray[np.bool_] = few[at] == values
    return found


def distinct(values: Ints) -> tuple[Ints, Ints, Ints]:
    """Values in order, where each stands first, and each element's place among them; numpy.unique brings numpy.ma.

    Examples
    --------
    >>> [part.tolist() for part in distinct(np.array([7, 1, 7]))]
    [[1, 7], [1, 0], [1, 0, 1]]
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    new = np.ones(len(values), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    codes = np.empty(len(values), np.int64)
    codes[order] = np.cumsum(new) - 1
    return ordered[new], order[new], codes


def plain(columns: Columns, name: str) -> npt.NDArray[Any]:
    """A column of numbers without nulls, as it is: for kernels.

    Raises
    ------
    TypeError
        It may have nulls, or holds no numbers.
    """
    values = columns[name]
    if not isinstance(values, np.ndarray):
        raise TypeError(f"column {name} holds {type(values).__name__}, not numbers without nulls")
    return values


def masked(columns: Columns, name: str) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """A column of numbers as it is, and where it has a value: for kernels.

    Examples
    --------
    >>> [part.tolist() for part in masked({"a": Masked(np.array([7, 0], "u2"), np.array([True, False]))}, "a")]
    [[7, 0], [True, False]]
    >>> [part.tolist() for part in masked({"a": np.array([7, 0], "u2")}, "a")]
    [[7, 0], [True, True]]
    """
    match columns[name]:
        case Masked(values, valid):
            return values, valid
        case np.ndarray() as values:
            return values, np.ones(len(values), np.bool_)
        case other:
            raise TypeError(f"column {name} holds {type(other).__name__}, not numbers")


def runs(columns: Columns, name: str) -> tuple[npt.NDArray[np.int32], npt.NDArray[Any]]:
    """A column of lists of numbers as offsets and values: for kernels."""
    lists = columns[name]
    if not isinstance(lists, Lists):
        raise TypeError(f"column {name} holds {type(lists).__name__}, not lists of numbers")
    return lists.offsets, lists.values


def index(rows: Ints, height: int) -> Any:
    """What picks these rows of an array of that height: all of them without copying where they are all, in order.

    Examples
    --------
    >>> index(np.array([0, 1]), 2), index(np.array([1, 0]), 2).tolist()
    (slice(None, None, None), [1, 0])
    """
    whole = len(rows) == height and not np.any(rows[1:] <= rows[:-1])
    return slice(None) if whole else rows


def grown(state: npt.NDArray[Any], index: int) -> npt.NDArray[Any]:
    """An array whose first axis holds an index; at least doubled, with zeros behind, where it did not.

    Zeroed memory that is not touched costs nothing, so doubling is cheap until it is used.

    Examples
    --------
    >>> grown(np.ones((2, 1), np.int64), 2)[:, 0].tolist()
    [1, 1, 0, 0]
    """
    count = len(state)
    if index < count:
        return state
    out = np.zeros((max(index + 1, 2 * count), *state.shape[1:]), state.dtype)
    out[:count] = state
    return out


class WordIds:
    """One number for each distinct text over all batches, in order of appearance.

    Memory: each distinct text once. Time: O(rows) in numpy, O(1) Python steps a text that a list of words adds.

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
        # Decoder columns share a list of words that grows: only its new words are looked up.
        self._shared: Sequence[str] = ()
        self._table = np.full(1, -1, np.int64)

    def __call__(self, column: ColumnData) -> Ints:
        """Numbers of a text column's rows, -1 for null."""
        codes, numbers = self.table(column)
        return numbers[codes]

    def table(self, column: ColumnData) -> tuple[npt.NDArray[np.int32], Ints]:
        """Codes of a text column's rows, -1 for null, and the number of each code; the last element is -1."""
        if not isinstance(column, Texts):
            column = _texts(column)
        known = len(self._table) - 1 if column.words is self._shared else 0
        fresh = [self._id(word) for word in column.words[known:]]
        if fresh or not known:
            # The last element answers code -1.
            self._table = np.concatenate([self._table[:known], np.array([*fresh, -1], np.int64)])
            self._shared = column.words
        return column.codes, self._table

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
