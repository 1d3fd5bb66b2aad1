"""Aligned packets side by side, and what the rules need to know of all of them together.

Knows: which addresses stand for which, which places in a direction something is missing before.
Must not know: the rules, or how packets were aligned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from pcaptool.diff.align import Alignment
from pcaptool.diff.arrays import Ints, Mask
from pcaptool.diff.fields import LATER
from pcaptool.diff.prepare import Prepared
from pcaptool.diff.room import spans
from pcaptool.diff.stand_ins import stand_ins
from pcaptool.diff.whole import kernels

__all__ = ["KNOWN_LINKS", "Pairs", "View", "gather", "known_links", "links_of", "pairs_of"]

KNOWN_LINKS: dict[str, type[pl.DataType]] = {
    "kind": pl.String,
    "x": pl.String,
    "y": pl.String,
    "len": pl.Int64,
}

_MACS = ("link.src", "link.dst", "link.src#2", "link.dst#2", "arp.src_hw_mac", "arp.dst_hw_mac")
_ADDRESSES = (
    "ip.src", "ip.dst", *(f"ip.{end}{n}" for n in LATER for end in ("src", "dst")), "arp.src_proto_ipv4",
    "arp.dst_proto_ipv4",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class View:
    """Some rows of one side's units, in any order; a column is gathered when it is asked for.

    Parameters
    ----------
    units : polars.DataFrame
    rows : numpy.ndarray of int64
    place : polars.DataFrame
        `pair` (-1: none) and `dir` of these rows: those of the matched flow, also for a stray packet.
    """

    units: pl.DataFrame
    rows: Ints
    place: pl.DataFrame

    def __getitem__(self, column: str) -> pl.Series:
        """A column of these rows."""
        if column in self.place.columns:
            return self.place[column]
        found = self.units[column].gather(self.rows)
        return found.cast(pl.String) if found.dtype == pl.Categorical else found

    @property
    def height(self) -> int:
        """Number of rows."""
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Aligned packets: row i of `a` belongs to row i of `b`.

    Parameters
    ----------
    a, b : View
        Units of both sides.
    broken : numpy.ndarray of bool
        Whether, since the pair before in the same flow and direction, some packet had no counterpart or was
        cut differently: what counts packets cannot be compared across it.
    links : polars.DataFrame
        Which values stand for which: kind (mac, address), x, y.
    ports : polars.DataFrame
        Originators' ports: pair, port_a, port_b.
    """

    a: View
    b: View
    broken: Mask
    links: pl.DataFrame
    ports: pl.DataFrame

    def pick(self, rows: Ints, column: str) -> tuple[pl.Series, pl.Series]:
        """A column of both sides at some rows."""
        return self.a[column].gather(rows), self.b[column].gather(rows)


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


def links_of(parts: list[tuple[View, View]], known: pl.DataFrame) -> pl.DataFrame:
    """Which address of A stands for which of B: kind (mac, address), x, y.

    Parameters
    ----------
    parts : list of tuple of View
    known : polars.DataFrame
        Columns of `KNOWN_LINKS`: what packets without a row in these parts say.
    """
    out = []
    for kind, columns in (("mac", _MACS), ("address", _ADDRESSES)):
        there = [
            c for c in columns if c in parts[0][0].units.columns
        ]  # of later IP headers only if there are any
        seen = pl.concat([pl.DataFrame({"x": x[c], "y": y[c]}) for x, y in parts for c in there])
        more = known.filter(pl.col("kind") == kind).select("x", "y", "len")
        out += [(kind, x, y) for x, y in stand_ins(seen, more)]
    return pl.DataFrame(out, schema={"kind": pl.String, "x": pl.String, "y": pl.String}, orient="row")


def known_links(ready: Prepared) -> pl.DataFrame:
    """What the packets that are the same on both sides say of addresses: each stands for itself."""
    if ready.known is None:
        return pl.DataFrame(schema=KNOWN_LINKS)
    shapes = np.zeros(ready.known.exemplars.height, np.int64)
    groups = np.zeros(2 * ready.flows.matched.height, np.int64)
    to_b = ready.known.to_b
    for span in spans(len(to_b)):
        facts = (to_b[span], ready.known.shapes[span], ready.whole_a.group[span])
        kernels("tally", len(to_b))(*facts, shapes, groups)
    macs = [(ready.known.exemplars[c].cast(pl.String), shapes) for c in ("link.src", "link.dst")]
    per_pair = groups.reshape(-1, 2).sum(axis=1)
    hosts = [(ready.flows.matched[c], per_pair) for c in ("src_a", "dst_a")]
    parts = [
        pl.DataFrame({"x": x, "len": counts}).select(kind=pl.lit(kind), x="x", y="x", len="len")
        for kind, found in (("mac", macs), ("address", hosts))
        for x, counts in found
    ]
    whole = pl.concat(parts).filter(pl.col("len") > 0)
    return whole.select(pl.col(name).cast(kind) for name, kind in KNOWN_LINKS.items())


def pairs_of(
    alignment: Alignment, a: pl.DataFrame, b: pl.DataFrame, flows: pl.DataFrame, known: pl.DataFrame
) -> tuple[Pairs, Pairs]:
    """Packets aligned one to one, and those of runs that were cut differently."""
    one = gather(a, b, alignment.one_a, alignment.one_b)
    cut = gather(a, b, alignment.seg_a, alignment.seg_b)
    links = links_of([one, cut], known)
    ports = flows.select("pair", port_a="srcport_a", port_b="srcport_b")
    # Rules look at the packet before in its flow and direction; rows come in that order already.
    broken = _broken(alignment, a, b)
    return Pairs(*one, broken, links, ports), Pairs(
        *cut, np.ones(len(alignment.seg_a), np.bool_), links, ports
    )


def _broken(alignment: Alignment, a: pl.DataFrame, b: pl.DataFrame) -> Mask:
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
