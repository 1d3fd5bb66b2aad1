"""Two samples of times side by side: quantiles of each, and whether both may come from one distribution.

Knows: the two-sample Kolmogorov-Smirnov test. Must not know: packets.
The statistic is the largest distance of the two empirical distribution functions; the probability of such a distance
under equal distributions is the asymptotic one with Stephens' correction for small samples (M. A. Stephens, JRSS B 32,
1970): good from about four effective values on, too large for ties. Samples of fewer than four are not tested.
Complexity: O(n log n).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from pcaptool.diff.arrays import Ints

__all__ = [
    "CURVE",
    "QUANTILES",
    "STAGE_PREFIX",
    "Distribution",
    "distribution_of",
    "ks_probability",
    "ks_statistic",
]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
CURVE = 300
STAGE_PREFIX = "stage "
_FEWEST = 4


@dataclass(frozen=True, slots=True)
class Distribution:
    """Times of both sides.

    Parameters
    ----------
    what : str
        server_time, transfer_time (of exchanges), gap_fwd, gap_rev (between packets of a direction), or stage NAME.
    count_a, count_b : int
        Values of each side.
    quantiles_a, quantiles_b : tuple of int
        `QUANTILES` by rank, in ns.
    distance, probability : float or None
        Kolmogorov-Smirnov statistic, and its probability if both sides had one distribution; None for few values.
    curve_a, curve_b : tuple of int
        At most `CURVE` of each side's values, by rank, to draw.
    """

    what: str
    count_a: int
    count_b: int
    quantiles_a: tuple[int, ...]
    quantiles_b: tuple[int, ...]
    distance: float | None
    probability: float | None
    curve_a: tuple[int, ...] = field(default=(), repr=False)
    curve_b: tuple[int, ...] = field(default=(), repr=False)

    @property
    def stage(self) -> str:
        """Which step of the egress path this is (`host: stage to stage`), or nothing."""
        return self.what.removeprefix(STAGE_PREFIX) if self.what.startswith(STAGE_PREFIX) else ""


def distribution_of(what: str, a: Ints, b: Ints) -> Distribution | None:
    """Both samples' quantiles and the test; None if a side has no values.

    Examples
    --------
    >>> found = distribution_of("gap_fwd", np.arange(100), np.arange(100) + 50)
    >>> found.quantiles_a[2], found.quantiles_b[2], found.distance, found.probability < 1e-9
    (49, 99, 0.5, True)
    """
    if not len(a) or not len(b):
        return None
    x, y = np.sort(a), np.sort(b)
    marks = [tuple(int(v[int(q * (len(v) - 1))]) for q in QUANTILES) for v in (x, y)]
    tested = min(len(x), len(y)) >= _FEWEST
    distance = ks_statistic(x, y) if tested else None
    probability = ks_probability(distance, len(x), len(y)) if distance is not None else None
    curves = [
        tuple(v[np.linspace(0, len(v) - 1, min(len(v), CURVE)).astype(np.int64)].tolist()) for v in (x, y)
    ]
    return Distribution(what, len(x), len(y), marks[0], marks[1], distance, probability, *curves)


def ks_statistic(x: Ints, y: Ints) -> float:
    """Largest distance of the empirical distribution functions of two sorted samples.

    Examples
    --------
    >>> ks_statistic(np.array([1, 2]), np.array([3, 4])), ks_statistic(np.array([1, 2]), np.array([1, 2]))
    (1.0, 0.0)
    """
    both = np.concatenate([x, y])
    at_x = np.searchsorted(x, both, side="right") / len(x)
    at_y = np.searchsorted(y, both, side="right") / len(y)
    furthest: float = np.abs(at_x - at_y).max(initial=0.0)
    return float(furthest)


def ks_probability(distance: float, count_x: int, count_y: int) -> float:
    """Asymptotic probability of a distance at least as large, if both samples come from one distribution.

    Examples
    --------
    >>> round(ks_probability(1.358 / 1000**0.5, 2000, 2000), 2)
    0.05
    """
    root = math.sqrt(count_x * count_y / (count_x + count_y))
    scaled = (root + 0.12 + 0.11 / root) * distance
    if scaled < 0.2:
        return 1.0
    total = sum((1 if j % 2 else -1) * math.exp(-2 * j * j * scaled * scaled) for j in range(1, 101))
    return min(1.0, max(0.0, 2 * total))
