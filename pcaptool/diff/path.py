"""Two points of one path: which is nearer to the originator, the clocks' offset, the one-way delays.

Knows: a packet passes the nearer point first, so what differs between directions is delay and what is
common is the clocks' offset; the smallest delays of both directions are taken to be equal.
Must not know: what was lost or rewritten.
Leaves out: skew (the clocks are taken to run at one rate over the capture), asymmetric paths (the split of
the round trip between the directions is not observable).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from pcaptool.diff.pairs import Pairs
from pcaptool.diff.result import Timing
from pcaptool.diff.timing import quantiles

__all__ = ["Clocks", "clocks_of", "one_way_timing"]


@dataclass(frozen=True, slots=True)
class Clocks:
    """What the times of aligned packets say of both points.

    Parameters
    ----------
    a_is_nearer : bool
        Whether A was taken nearer to the originators than B.
    offset_ns : int
        B's clock minus A's.
    both_ways : bool
        Whether packets of both directions were seen; else delay cannot be told from offset.
    """

    a_is_nearer: bool
    offset_ns: int
    both_ways: bool


def clocks_of(pairs: Pairs) -> Clocks:
    """Offset and order of the two points.

    Parameters
    ----------
    pairs : Pairs
        Aligned packets with `ts` and `dir`.
    """
    step = (pairs.b["ts"] - pairs.a["ts"]).to_numpy()
    way = pairs.a["dir"].fill_null(-1).to_numpy()
    ahead, back = step[way == 0], step[way == 1]
    if not len(ahead) or not len(back):
        known = step[way >= 0] if (way >= 0).any() else step
        return Clocks(a_is_nearer=True, offset_ns=int(np.min(known)) if len(known) else 0, both_ways=False)
    a_is_nearer = bool(np.median(ahead) >= np.median(back))
    edges = (
        (int(np.min(ahead)), int(np.max(back))) if a_is_nearer else (int(np.max(ahead)), int(np.min(back)))
    )
    return Clocks(a_is_nearer, sum(edges) // 2, both_ways=True)


def one_way_timing(pairs: Pairs) -> list[Timing]:
    """Delays between the two points in each direction, up to half of what the smallest delays differ."""
    in_flow = pl.Series(pairs.a["dir"].is_not_null())
    if not in_flow.any():
        return []
    clocks = clocks_of(pairs)
    step = (pairs.b["ts"] - pairs.a["ts"]).to_numpy() - clocks.offset_ns
    way = pairs.a["dir"].fill_null(-1).to_numpy()
    out = []
    for name, direction in (("one_way_fwd", 0), ("one_way_rev", 1)):
        mine = step[way == direction]
        if len(mine):
            out.append(quantiles(name, mine if (direction == 0) == clocks.a_is_nearer else -mine))
    return out
