"""What the rules need to know of all aligned packets together.

Knows: which addresses stand for which, which places in a direction something is missing before.
Must not know: the rules.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from pcaptool.diff.align import Alignment
from pcaptool.diff.normalise import Pairs, View

__all__ = ["gather", "links_of", "pairs_of"]

Ints = npt.NDArray[np.int64]

_MACS = ("link.src", "link.dst", "arp.src_hw_mac", "arp.dst_hw_mac")
_ADDRESSES = ("ip.src", "ip.dst", "arp.src_proto_ipv4", "arp.dst_proto_ipv4")


def gather(a: pl.DataFrame, b: pl.DataFrame, rows_a: Ints, rows_b: Ints) -> tuple[View, View]:
    """Aligned rows of both sides; `pair` and `dir` are those of the matched flow, also for a stray packet."""
    pair_a, pair_b = a["pair"].gather(rows_a), b["pair"].gather(rows_b)
    stray = (pair_a < 0) & (pair_b >= 0)
    both = pl.DataFrame(
        {
            "x": pair_a,
            "y": pair_b,
            "dx": a["dir"].gather(rows_a),
            "dy": b["dir"].gather(rows_b),
            "stray": stray,
        }
    )
    place = both.select(
        pair=pl.when("stray").then("y").otherwise("x"), dir=pl.when("stray").then("dy").otherwise("dx")
    )
    return View(a, rows_a, place), View(b, rows_b, place)


def links_of(parts: list[tuple[View, View]]) -> pl.DataFrame:
    """Which address of A stands for which of B: a one-to-one map, by majority over aligned packets.

    Returns
    -------
    polars.DataFrame
        kind (mac, address), x, y.
    """
    out = []
    for kind, columns in (("mac", _MACS), ("address", _ADDRESSES)):
        seen = [pl.DataFrame({"x": x[c], "y": y[c]}).drop_nulls() for x, y in parts for c in columns]
        counted = (
            pl.concat(seen).group_by("x", "y").len().sort("len", "x", "y", descending=[True, False, False])
        )
        left: set[str] = set()
        right: set[str] = set()
        for x, y, _ in counted.iter_rows():
            if x not in left and y not in right:
                left.add(x)
                right.add(y)
                out.append((kind, x, y))
    return pl.DataFrame(out, schema={"kind": pl.String, "x": pl.String, "y": pl.String}, orient="row")


def pairs_of(
    alignment: Alignment, a: pl.DataFrame, b: pl.DataFrame, flows: pl.DataFrame
) -> tuple[Pairs, Pairs]:
    """Packets aligned one to one, and those of runs that were cut differently."""
    one = gather(a, b, alignment.one_a, alignment.one_b)
    cut = gather(a, b, alignment.seg_a, alignment.seg_b)
    links = links_of([one, cut])
    ports = flows.select("pair", port_a="srcport_a", port_b="srcport_b")
    # Rules look at the packet before in its flow and direction; rows come in that order already.
    broken = _broken(alignment, a, b)
    return Pairs(*one, broken, links, ports), Pairs(
        *cut, np.ones(len(alignment.seg_a), np.bool_), links, ports
    )


def _broken(alignment: Alignment, a: pl.DataFrame, b: pl.DataFrame) -> npt.NDArray[np.bool_]:
    """Whether something unpaired, or out of order, lies between a pair and the one before."""
    between = np.zeros(len(alignment.one_a), np.int64)
    for units, one, others in (
        (a, alignment.one_a, np.concatenate([alignment.only_a, alignment.seg_a])),
        (b, alignment.one_b, np.concatenate([alignment.only_b, alignment.seg_b])),
    ):
        marks = np.zeros(units.height, np.int64)
        marks[others] = 1
        count = np.cumsum(marks)[one]
        between += np.abs(np.diff(count, prepend=count[:1]))
    backwards = np.diff(alignment.one_b, prepend=-1) < 0
    return (between > 0) | backwards
