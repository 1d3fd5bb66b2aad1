"""Two points of one path: which is nearer to the originator, the clocks' offset and skew, the one-way delays.

Knows: a packet passes the nearer point first, so what differs between directions is delay and what is common
is the clocks' offset; the smallest delays of both directions are taken to be equal. The smallest delays over
time lie on a straight line whose slope is the clocks' skew (Moon, Skelly, Towsley 1999: the line below all
delays that is nearest to them, an edge of their lower convex hull).
Must not know: what was rewritten.
Leaves out: asymmetric paths (the split of the round trip between the directions is not observable); skew that
changes; skew of captures under a second, or where the directions disagree about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pcaptool.diff.arrays import Ints, Mask
from pcaptool.diff.numbers_kernel import NONE
from pcaptool.diff.result import Timing
from pcaptool.diff.room import spans
from pcaptool.diff.sample import Sample
from pcaptool.diff.timing import quantiles
from pcaptool.diff.whole import Couples, Whole, kernels

__all__ = [
    "Asked",
    "Clocks",
    "Delays",
    "clocks_of",
    "delays_of",
    "echoed_of",
    "heard_of",
    "one_way",
    "one_way_timing",
]

Asked = tuple[Ints, Ints, Ints]

_SKEW_SPAN_NS = 1_000_000_000
_SKEW_BINS = 1024
_SKEW_LEAST_PPB, _SKEW_MOST_PPB = 2_000, 1_000_000


@dataclass(frozen=True, slots=True)
class Clocks:
    """What the times of aligned packets say of both points.

    Parameters
    ----------
    a_is_nearer : bool
        Whether A was taken nearer to the originators than B.
    offset_ns : int
        B's clock minus A's, at the first packet.
    both_ways : bool
        Whether packets of both directions were seen; else delay cannot be told from offset.
    skew_ppb : int
        How much faster B's clock runs, in parts of 10**9; 0 where it cannot be told.
    first_ns : int
        A's time from which the skew counts.
    """

    a_is_nearer: bool
    offset_ns: int
    both_ways: bool
    skew_ppb: int = 0
    first_ns: int = 0


@dataclass(frozen=True, slots=True)
class Delays:
    """Times of aligned packets.

    Parameters
    ----------
    first_ns : int
        A's time of the first of them.
    ways : tuple
        Of both directions A's times since then, and B's times minus A's.
    """

    first_ns: int
    ways: tuple[tuple[Ints, Ints], tuple[Ints, Ints]]


def delays_of(a: Whole, b: Whole, couples: Couples) -> Delays:
    """Times of the aligned packets of both directions."""
    parts = [couples.way[span] for span in spans(len(couples.way))]
    counts = [sum(int(np.count_nonzero(part == way)) for part in parts) for way in (0, 1)]
    ahead, back = [(a.room.empty(n, np.int64), a.room.empty(n, np.int64)) for n in counts]
    kernel, done = kernels("steps", sum(counts)), np.zeros(2, np.int64)
    first = min((int(a.ts[couples.a[span]].min()) for span in spans(len(couples.a))), default=0)
    for span in spans(len(couples.a)):
        some = (couples.a[span], couples.b[span], couples.way[span])
        kernel(some, a.ts, b.ts, first, (*ahead, *back), done)
    return Delays(first, (ahead, back))


def clocks_of(delays: Delays) -> Clocks:
    """Offset, skew and order of the two points."""
    (_, ahead), (_, back) = delays.ways
    if not len(ahead) or not len(back):
        known = ahead if len(ahead) else back
        return Clocks(a_is_nearer=True, offset_ns=int(np.min(known)) if len(known) else 0, both_ways=False)
    skew = _skew(delays)
    there, again = (_unskewed(*one, skew) for one in delays.ways)
    a_is_nearer = there.twice_median() >= again.twice_median()
    ends = (*there.at_ranks((0, there.count - 1)), *again.at_ranks((0, again.count - 1)))
    edges = (ends[0], ends[3]) if a_is_nearer else (ends[1], ends[2])
    return Clocks(a_is_nearer, sum(edges) // 2, both_ways=True, skew_ppb=skew, first_ns=delays.first_ns)


def _unskewed(when: Ints, step: Ints, skew_ppb: int, offset_ns: int = 0, sign: int = 1) -> Sample:
    """Times of B minus those of A without skew and offset; `sign` -1: the other way round."""

    def parts() -> Iterator[Ints]:
        for span in spans(len(step)):
            part = step[span] - (when[span] // 1000 * skew_ppb // 1_000_000 if skew_ppb else 0) - offset_ns
            yield sign * part

    return Sample(parts, len(step))


def _skew(delays: Delays) -> int:
    """The skew that both directions agree on, in parts of 10**9, or 0."""
    slopes = []
    for x, y in delays.ways:
        if x.max() - x.min() < _SKEW_SPAN_NS:
            return 0
        # Delays only ever add: they lie above the line in one direction and below it in the other. Which is
        # which does not matter to the slope where both edges are straight; the steadier edge decides.
        edges = [_edge(x, y, 1), _edge(x, y, -1)]
        edges[1] = -edges[1]
        slopes.append(edges)
    pairs = [(f, b) for f, b in ((slopes[0][0], slopes[1][1]), (slopes[0][1], slopes[1][0]))]
    first, second = min(pairs, key=lambda p: abs(p[0] - p[1]))
    mean = (first + second) / 2
    agree = abs(first - second) <= abs(mean) / 4
    return round(mean) if agree and _SKEW_LEAST_PPB <= abs(mean) <= _SKEW_MOST_PPB else 0


def _edge(x: Ints, y: Ints, sign: int) -> float:
    """Slope, in parts of 10**9, of the edge of the lower convex hull of (x, sign * y) at the middle of the times."""
    # At most one point a bin, its lowest: the hull is walked in Python.
    middle, first, span = int(x.mean()), int(x.min()), int(x.max() - x.min())
    width = max(1, span // _SKEW_BINS)
    lowest = np.full(span // width + 1, -1, np.int64)
    kernels("lowest", len(x))(x, y, (sign, first, width), lowest)
    keep = lowest[lowest >= 0]
    x, y = x[keep], sign * y[keep]
    hull: list[tuple[int, int]] = []
    for point in zip(x.tolist(), y.tolist(), strict=True):
        while len(hull) > 1 and _turns_down(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    for (x0, y0), (x1, y1) in pairwise(hull):
        if x0 <= middle <= x1 and x1 > x0:
            return (y1 - y0) * 1e9 / (x1 - x0)
    return 0.0


def _turns_down(p: tuple[int, int], q: tuple[int, int], r: tuple[int, int]) -> bool:
    return (q[1] - p[1]) * (r[0] - q[0]) >= (r[1] - q[1]) * (q[0] - p[0])


def heard_of(asked: Asked, other: Whole) -> Mask:
    """For some packets of one side: the other side acknowledges their data without having any packet with it.

    The sign of a capture that missed a packet, not of a network that lost it: lost data would be sent again.

    Parameters
    ----------
    asked : tuple of numpy.ndarray
        Group, start and end of packets; `NONE` where null.
    other : Whole
    """
    group, start, end = asked
    data = np.flatnonzero((group >= 0) & (start != NONE) & (end > start))
    out = np.zeros(len(group), np.bool_)
    if not len(data):
        return out
    order = data[np.lexsort((start[data], group[data]))]
    groups, mine = np.unique(group[order], return_inverse=True)
    reach, acked = np.empty(len(order), np.int64), np.empty(len(groups), np.int64)
    places = np.full((int(groups[-1]) | 1) + 1, -1, np.int64)
    places[groups] = np.arange(len(groups))
    starts = np.searchsorted(mine, np.arange(len(groups) + 1))
    packets = (other.group, other.start, other.end, other.ack)
    kernels("reached", other.height)(packets, places, start[order], starts, (reach, acked))
    unseen = (reach == NONE) | (reach <= start[order])
    out[order] = unseen & (acked[mine] >= end[order])
    return out


def echoed_of(group: Ints, tsval: Ints, mine: Whole, other: Whole) -> Mask:
    """For some packets that one side has and the other lacks: the other side's peer echoes their timestamp.

    Who echoes a timestamp has got a packet with it (RFC 7323 4.3). That tells of a packet only if no other one of its
    direction carries the same timestamp, on either side.

    Parameters
    ----------
    group, tsval : numpy.ndarray of int64
        Of the packets asked about; TSval -1 where there is none.
    mine, other : Whole
        The side that has them, and the other one.
    """
    some = np.flatnonzero((group >= 0) & (tsval >= 0))
    out = np.zeros(len(group), np.bool_)
    if not len(some):
        return out
    keys, which = np.unique((group[some] << 32) | tsval[some], return_inverse=True)
    asked = np.zeros((int(group[some].max()) | 1) + 1, np.uint8)
    asked[group[some]] = 1
    counts = [(np.zeros(len(keys), np.int64), np.zeros(len(keys), np.int64)) for _ in range(2)]
    for side, count in zip((mine, other), counts, strict=True):
        for span in spans(side.height):
            packets = (side.group[span], side.tsval[span], side.tsecr[span])
            kernels("carried", side.height)(packets, asked, keys, count)
    told = (counts[0][0] == 1) & (counts[1][0] == 0) & (counts[1][1] > 0)
    out[some] = told[which]
    return out


def one_way_timing(delays: Delays, clocks: Clocks) -> list[Timing]:
    """Delays between the two points in each direction, up to half of what the smallest delays differ."""
    out = []
    for direction, name in enumerate(("one_way_fwd", "one_way_rev")):
        sign = 1 if (direction == 0) == clocks.a_is_nearer else -1
        mine = _unskewed(*delays.ways[direction], clocks.skew_ppb, clocks.offset_ns, sign)
        if mine.count:
            out.append(quantiles(name, mine))
    return out


def one_way(clocks: Clocks, ts_a: Ints, ts_b: Ints, way: npt.NDArray[np.int8]) -> Ints:
    """How long each packet took from one point to the other, up to half of what the smallest delays differ.

    Parameters
    ----------
    clocks : Clocks
    ts_a, ts_b : numpy.ndarray of int64
        Times of aligned packets.
    way : numpy.ndarray of int8
        Their directions, 0 from the originator.
    """
    sample = _unskewed(ts_a - clocks.first_ns, ts_b - ts_a, clocks.skew_ppb, clocks.offset_ns)
    step = np.concatenate([np.zeros(0, np.int64), *sample.parts()])
    return np.where((way == 0) == clocks.a_is_nearer, step, -step)
