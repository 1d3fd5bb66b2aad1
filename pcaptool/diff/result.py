"""What a comparison found.

Knows: the shape of the answer, and how it becomes JSON.
Must not know: how it was found, how it is drawn (`report.diff`).
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import polars as pl

from pcaptool.diff.distributions import Distribution
from pcaptool.errors import printable

__all__ = [
    "ALIGNMENT_SCHEMA",
    "DIFFERENCE_SCHEMA",
    "Diff",
    "FieldResult",
    "LayerResult",
    "PacketBytes",
    "RuleUse",
    "Timing",
    "first_rows",
]

DIFFERENCE_SCHEMA: dict[str, Any] = {
    "layer": pl.String,
    "field": pl.String,
    "flow": pl.Int64,
    "direction": pl.String,
    "n_a": pl.UInt32,
    "n_b": pl.UInt32,
    "value_a": pl.String,
    "value_b": pl.String,
    "cause": pl.String,
    "weight": pl.Int64,
}

ALIGNMENT_SCHEMA: dict[str, Any] = {
    "flow": pl.Int64,
    "direction": pl.String,
    "n_a": pl.UInt32,
    "n_b": pl.UInt32,
    "how": pl.String,
    "time_a_ns": pl.Int64,
    "time_b_ns": pl.Int64,
    "delta_ns": pl.Int64,
    "delay_ns": pl.Int64,
}


def _element(tag: str, value: object) -> str:
    return f"<{tag}>{html.escape(printable(str(value)))}</{tag}>"


@dataclass(frozen=True, slots=True)
class FieldResult:
    """Counts of one field over all aligned packets that have it.

    `compared` is the sum of `equal` (the values are the same), `normalised` (a rule makes them equal) and
    `differing`.
    """

    name: str
    layer: str
    compared: int
    equal: int
    normalised: int
    differing: int


@dataclass(frozen=True, slots=True)
class LayerResult:
    """A layer's fields."""

    name: str
    fields: tuple[FieldResult, ...]

    def total(self, what: str) -> int:
        """Sum of one of FieldResult's counts."""
        return sum(getattr(f, what) for f in self.fields)


@dataclass(frozen=True, slots=True)
class RuleUse:
    """A rule, whether it was on, and how many differing values it made equal.

    `switched` is whether that is not what the relation has by default.
    """

    name: str
    what: str
    why: str
    on: bool
    count: int
    switched: bool = False


@dataclass(frozen=True, slots=True)
class PacketBytes:
    """The first bytes of two aligned packets.

    Parameters
    ----------
    n_a, n_b : int or None
        Packet numbers; None for a packet without counterpart.
    fields : tuple of str
        What differs.
    a, b : bytes
        Captured bytes, at most a bounded number.
    headers_a, headers_b : tuple of (str, int, int)
        Header name, first byte and the one behind the last.
    """

    n_a: int | None
    n_b: int | None
    fields: tuple[str, ...]
    a: bytes
    b: bytes
    headers_a: tuple[tuple[str, int, int], ...]
    headers_b: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class Timing:
    """Differences of times, B minus A, in nanoseconds: how many and their quantiles.

    `what` is packet (time since the flow's first packet), server_time or transfer_time (each HTTP exchange),
    one_way_fwd or one_way_rev (relation path).
    """

    what: str
    count: int
    min_ns: int
    p50_ns: int
    p95_ns: int
    max_ns: int


def _no_rows() -> Iterator[pl.DataFrame]:
    return iter(())


def first_rows(parts: Callable[[], Iterator[pl.DataFrame]], count: int) -> pl.DataFrame:
    """The first so many rows of a table that comes in parts."""
    found = [pl.DataFrame(schema=ALIGNMENT_SCHEMA)]
    for part in parts():
        if count <= 0:
            break
        found.append(part.head(count))
        count -= part.height
    return pl.concat(found, rechunk=True)


@dataclass(frozen=True)
class Diff:
    """The answer.

    Parameters
    ----------
    relation : str
        model, path or exact.
    exit_code : int
        0 the same, 1 they differ, 2 they cannot be compared.
    verdict : str
        One paragraph for a person.
    name_a, name_b : str
        What was compared.
    layers : tuple of LayerResult
    rules : tuple of RuleUse
    aligned : int
        Rows of `alignment`.
    parts : callable
        Makes `alignment` a bounded number of rows at a time.
    differences : polars.DataFrame
        Columns of `DIFFERENCE_SCHEMA`, most important first; at most a bounded number for each field.
    differing : int
        Number of differences, also those that `differences` leaves out.
    timing : tuple of Timing
    behaviour : polars.DataFrame
        Rounds, bursts, flight, recovery and timers of both sides; see `diff.behaviour`. Does not count.
    distributions : tuple of Distribution
        Times of both sides, and whether they may come from one distribution. Do not count.
    listing : polars.DataFrame
        Aligned packets as people read them; see `diff.listing`.
    flows : polars.DataFrame
        Pairs of flows.
    bytes_view : callable
        Bytes of packets that differ, read when asked for; see `diff.bytes_view`.
    notes : tuple of str
        What was not compared, and why.
    set_aside : int
        Differences on the side that does not count (`side`).
    """

    relation: str
    exit_code: int
    verdict: str
    name_a: str
    name_b: str
    layers: tuple[LayerResult, ...] = ()
    rules: tuple[RuleUse, ...] = ()
    aligned: int = 0
    parts: Callable[[], Iterator[pl.DataFrame]] = field(default=_no_rows, repr=False)
    differences: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=DIFFERENCE_SCHEMA))
    differing: int = 0
    timing: tuple[Timing, ...] = ()
    behaviour: pl.DataFrame = field(default_factory=pl.DataFrame)
    distributions: tuple[Distribution, ...] = ()
    listing: pl.DataFrame = field(default_factory=pl.DataFrame)
    flows: pl.DataFrame = field(default_factory=pl.DataFrame)
    bytes_view: Callable[[], list[PacketBytes]] = field(default=list, repr=False)
    notes: tuple[str, ...] = ()
    set_aside: int = 0

    @cached_property
    def alignment(self) -> pl.DataFrame:
        """Which packet is which, made when it is first asked for.

        Columns of `ALIGNMENT_SCHEMA`; n_a or n_b is null where a packet has no counterpart. Times count from the
        flow's first packet (of the capture for packets of no flow); `delay_ns` is how long a packet took from one
        point of a path to the other, without the clocks' offset and skew, null where that is not known.
        """
        return self.rows(self.aligned)

    def rows(self, count: int) -> pl.DataFrame:
        """The first so many rows of `alignment`."""
        return first_rows(self.parts, count)

    @property
    def same(self) -> bool:
        """Whether nothing that counts differs."""
        return self.exit_code == 0

    def differs_in(self, names: Collection[str]) -> bool:
        """Whether anything differs in some layers or fields.

        An answer without comparison (a side without packets, nothing in common) differs in all of them.

        Parameters
        ----------
        names : collection of str
            Names of layers or fields.

        Examples
        --------
        >>> ttl = FieldResult("ip.ttl", "network", 9, 8, 0, 1)
        >>> found = Diff("model", 1, "", "a", "b", (LayerResult("network", (ttl,)),), differing=1)
        >>> found.differs_in(["network"]), found.differs_in(["tcp.flags", "link"])
        (True, False)
        """
        if not self.layers:
            return self.differing > 0
        fields = [f for layer in self.layers for f in layer.fields if f.differing]
        return any(f.name in names or f.layer in names for f in fields)

    def _repr_html_(self) -> str:
        """What a notebook shows: the verdict, and of each layer the fields that differ; captured text is escaped."""

        def line(tag: str, *values: object) -> str:
            return f"<tr>{''.join(_element(tag, value) for value in values)}</tr>"

        fields = [f for layer in self.layers for f in layer.fields if f.differing or f.normalised]
        rows = [
            line("td", f.layer, f.name, f"{f.compared:,}", f"{f.normalised:,}", f"{f.differing:,}")
            for f in fields
        ]
        head = line("th", "layer", "field", "compared", "equal by a rule", "differ")
        table = f"<table>{head}{''.join(rows)}</table>" if rows else ""
        notes = "".join(_element("p", note) for note in self.notes)
        names = f"{_element('code', self.name_a)} and {_element('code', self.name_b)} ({html.escape(self.relation)})"
        return f"<p><b>Diff</b> {names}</p>{_element('p', self.verdict)}{table}{notes}"

    def to_json(self, *, limit: int = 1000) -> str:
        """Everything but the packet listing as one JSON document.

        Parameters
        ----------
        limit : int
            Rows of `differences` and `alignment` to write; the counts tell how many there are.
        """
        document = {
            "relation": self.relation,
            "exit_code": self.exit_code,
            "verdict": self.verdict,
            "a": self.name_a,
            "b": self.name_b,
            "layers": [
                {"name": x.name, "fields": [asdict(f) for f in x.fields if f.compared]} for x in self.layers
            ],
            "rules": [asdict(r) for r in self.rules],
            "timing": [asdict(t) for t in self.timing],
            "distributions": [
                {k: v for k, v in asdict(d).items() if not k.startswith("curve")} for d in self.distributions
            ],
            "behaviour": self.behaviour.to_dicts(),
            "differing": self.differing,
            "set_aside": self.set_aside,
            "differences": self.differences.head(limit).drop("weight").to_dicts(),
            "aligned": self.aligned,
            "alignment": self.rows(min(limit, self.aligned)).to_dicts(),
            "notes": list(self.notes),
        }
        return json.dumps(document, indent=1, ensure_ascii=True)
