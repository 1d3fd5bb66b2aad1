"""Many numbers that are looked at a part at a time: exact quantiles without holding or sorting them all.

Knows: ranks. Must not know: what the numbers are.
Complexity: linear; a long sample is passed over a few times for each rank (counts in equal bins, then in the bin that
holds the rank, until it holds few enough to sort). Memory: bounded, whatever the length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from pcaptool.diff.arrays import Ints
from pcaptool.diff.room import spans

__all__ = ["Sample", "sample_of"]

_BINS = 1 << 16
_FEW = 1 << 20


@dataclass(frozen=True, slots=True)
class Sample:
    """Integers in parts.

    Parameters
    ----------
    parts : callable
        Makes them anew each time.
    count : int
        How many there are in all.
    few : int
        As many are held at once.
    """

    parts: Callable[[], Iterable[Ints]]
    count: int
    few: int = _FEW

    def at_ranks(self, ranks: tuple[int, ...]) -> tuple[int, ...]:
        """The values that would stand at some places if all were sorted.

        Examples
        --------
        >>> sample_of(np.array([5, 3, 9])).at_ranks((0, 2))
        (3, 9)
        """
        if self.count <= self.few:
            ordered = np.partition(np.concatenate(list(self.parts())), sorted(set(ranks)))
            return tuple(int(ordered[rank]) for rank in ranks)
        ends = [(int(part.min()), int(part.max())) for part in self.parts() if len(part)]
        low, high = min(first for first, _ in ends), max(last for _, last in ends)
        simple = {0: low, self.count - 1: high}
        return tuple(simple[r] if r in simple else self._at_rank(r, low, high) for r in ranks)

    def twice_median(self) -> int:
        """The sum of the two values in the middle.

        Examples
        --------
        >>> sample_of(np.array([5, 3, 9])).twice_median()
        10
        """
        return sum(self.at_ranks(((self.count - 1) // 2, self.count // 2)))

    def _at_rank(self, rank: int, low: int, high: int) -> int:
        """The same of one rank; all values lie from `low` to `high`."""
        while low < high:
            width = (high - low) // _BINS + 1
            counts = np.zeros(_BINS, np.int64)
            for part in self.parts():
                inside = part[(part >= low) & (part <= high)]
                counts += np.bincount((inside - low) // width, minlength=_BINS)
            before = np.cumsum(counts)
            at = int(np.searchsorted(before, rank, side="right"))
            rank -= int(before[at - 1]) if at else 0
            low, high = low + at * width, min(high, low + (at + 1) * width - 1)
            if counts[at] <= self.few:
                rest = [part[(part >= low) & (part <= high)] for part in self.parts()]
                return int(np.partition(np.concatenate(rest), rank)[rank])
        return low


def sample_of(values: Ints) -> Sample:
    """An array as a sample."""
    return Sample(lambda: (values[span] for span in spans(len(values))), len(values))
