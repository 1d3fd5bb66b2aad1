"""Runs of bytes that the two sides cut into different packets: the cuts, holes, and the bytes themselves.

Knows: how ranges tile a run and how fingerprints join over it.
Must not know: how the runs were found.
Complexity: linear in the packets of the runs.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import groupby

import polars as pl

from pcaptool.diff.align import Alignment
from pcaptool.diff.fingerprint import joined

__all__ = ["Run", "runs_of"]

_SHOWN_CUTS = 6


@dataclass
class Cover:
    """One side of a run."""

    rows: list[int] = field(default_factory=list)
    cuts: list[tuple[int, int]] = field(default_factory=list)
    holes: list[tuple[int, int]] = field(default_factory=list)
    prints: list[tuple[int, int]] | None = field(default_factory=list)
    masked: list[tuple[int, int]] = field(default_factory=list)

    @property
    def span(self) -> tuple[int, int]:
        """First number and the one behind the last."""
        return self.cuts[0][0], max(end for _, end in self.cuts)

    def text(self) -> str:
        """How many frames, and their sizes."""
        runs = [(size, len(list(same))) for size, same in groupby(end - start for start, end in self.cuts)]
        sizes = [f"{count}x{size}" if count > 1 else str(size) for size, count in runs[:_SHOWN_CUTS]]
        more = "+..." if len(runs) > _SHOWN_CUTS else ""
        low, high = self.span
        plural = "s" if len(self.cuts) > 1 else ""
        return f"{low}:{high} in {len(self.cuts)} frame{plural}: {'+'.join(sizes)}{more}"


@dataclass
class Run:
    """A run of bytes, on both sides."""

    a: Cover
    b: Cover

    @property
    def missing(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Ranges that side A lacks and that side B lacks."""
        (low_a, high_a), (low_b, high_b) = self.a.span, self.b.span
        lacks = []
        for mine, low, high, other_low, other_high in (
            (self.a, low_a, high_a, low_b, high_b), (self.b, low_b, high_b, low_a, high_a),
        ):  # fmt: skip
            edges = [(other_low, low)] if other_low < low else []
            edges += [(high, other_high)] if other_high > high else []
            lacks.append(edges + mine.holes)
        return lacks[0], lacks[1]

    def bytes_equal(self, *, masked: bool) -> bool | None:
        """Whether both sides' bytes are the same; None where the cuts overlap or bytes are not known."""
        if self.a.prints is None or self.b.prints is None or self.a.span != self.b.span:
            return None
        if self.a.holes or self.b.holes:
            return None
        x, y = (self.a.masked, self.b.masked) if masked else (self.a.prints, self.b.prints)
        return joined(x) == joined(y)


def runs_of(alignment: Alignment, a: pl.DataFrame, b: pl.DataFrame) -> list[Run]:
    """The runs of an alignment, in order.

    Parameters
    ----------
    alignment : Alignment
    a, b : polars.DataFrame
        Units with start, end, tcp.len, payload_print, masked_print.
    """
    members: dict[int, tuple[set[int], set[int]]] = defaultdict(lambda: (set(), set()))
    for x, y, run in zip(
        *(v.tolist() for v in (alignment.seg_a, alignment.seg_b, alignment.seg_run)), strict=True
    ):
        members[run][0].add(x)
        members[run][1].add(y)
    if not members:
        return []
    facts = [_facts(u, rows) for u, rows in ((a, alignment.seg_a.tolist()), (b, alignment.seg_b.tolist()))]
    return [Run(_cover(facts[0], m[0]), _cover(facts[1], m[1])) for _, m in sorted(members.items())]


Fact = tuple[int, int, int, int | None, int | None, int]


def _facts(units: pl.DataFrame, rows: list[int]) -> dict[int, Fact]:
    wanted = sorted(set(rows))
    some = units[wanted].select(
        "start", "end", "tcp.len", "payload_print", "masked_print", "payload_captured"
    )
    return dict(zip(wanted, some.iter_rows(), strict=True))


def _cover(facts: dict[int, Fact], rows: set[int]) -> Cover:
    out = Cover()
    reach: int | None = None
    for row in sorted(rows, key=lambda r: (facts[r][0], -facts[r][1], r)):
        start, end, size, plain, masked, captured = facts[row]
        out.rows.append(row)
        if reach is not None and end <= reach:
            continue  # a repetition within what is there already
        if reach is not None and start > reach:
            out.holes.append((reach, start))
        if plain is None or masked is None or captured != size or (reach is not None and start < reach):
            out.prints = None
        elif out.prints is not None:
            out.prints.append((plain, size))
            out.masked.append((masked, size))
        out.cuts.append((start, end))
        reach = end
    return out
