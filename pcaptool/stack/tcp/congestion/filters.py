"""Windowed maximum in constant space (lib/win_minmax.c; Nichols' algorithm as in BBR's draft).

Knows: the best, second and third best sample of a window of time.
Must not know: what is measured, or in which unit time is.
Complexity: O(1) an update.
"""

from __future__ import annotations

__all__ = ["WindowedMax"]


class WindowedMax:
    """The largest value of the last `window` units of time.

    Parameters
    ----------
    window : int

    Examples
    --------
    >>> best = WindowedMax(10)
    >>> [best.update(time, value) for time, value in ((0, 5), (4, 9), (8, 3), (15, 2), (19, 1))]
    [5, 9, 9, 3, 2]
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self._best: list[tuple[int, int]] = [(0, 0)] * 3  # (time, value), the best first

    @property
    def value(self) -> int:
        """The largest value."""
        return self._best[0][1]

    def reset(self, time: int, value: int) -> int:
        """Forget all but this sample."""
        self._best = [(time, value)] * 3
        return value

    def update(self, time: int, value: int) -> int:
        """Add a sample; returns the largest value of the window."""
        best, sample = self._best, (time, value)
        if value >= best[0][1] or time - best[2][0] > self.window:
            return self.reset(time, value)
        if value >= best[1][1]:
            best[1] = best[2] = sample
        elif value >= best[2][1]:
            best[2] = sample
        age = time - best[0][0]
        if age > self.window:
            best.pop(0)
            best.append(sample)
            if time - best[0][0] > self.window:
                best.pop(0)
                best.append(sample)
        elif best[1][0] == best[0][0] and age > self.window // 4:
            best[1] = best[2] = sample
        elif best[2][0] == best[1][0] and age > self.window // 2:
            best[2] = sample
        return best[0][1]
