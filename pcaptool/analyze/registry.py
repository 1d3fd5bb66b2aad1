"""The analyses that a report is made with: one entry each.

Knows: what each fills and which must run before it. Must not know: what they compute; they are imported when
they are wanted.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass

from pcaptool.analyze.selection import Selection
from pcaptool.decode.batch import Analysis
from pcaptool.decode.decoder import DECODED, decoded_columns
from pcaptool.engine import Engine

__all__ = ["ANALYSES", "Entry", "wanted"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One analysis.

    Parameters
    ----------
    name : str
    place : str
        "module:class".
    fills : tuple of str
        Tables it adds rows or columns to.
    after : tuple of str
        Entries whose columns it reads; they run before it.
    kernels : bool
        Whether the class is called with the engine, because it has kernels.
    selects : bool
        Whether it is called with the selection, too, because it can leave out what is not wanted.
    """

    name: str
    place: str
    fills: tuple[str, ...]
    after: tuple[str, ...] = ()
    kernels: bool = False
    selects: bool = False

    def make(self, engine: Engine, chosen: Selection | None = None) -> Analysis:
        """A fresh analysis for one capture; all that it can do without a selection."""
        module, _, name = self.place.partition(":")
        kind = getattr(importlib.import_module(module), name)
        arguments = (engine,) if self.kernels else ()
        made: Analysis = kind(*arguments, chosen) if self.selects and chosen is not None else kind(*arguments)
        return made


# In the order in which they see a batch.
ANALYSES: tuple[Entry, ...] = (
    Entry(
        "flows",
        "pcaptool.analyze.flows:FlowAnalysis",
        ("packets", "tcp", "udp", "flows"),
        kernels=True,
        selects=True,
    ),
    Entry("segments", "pcaptool.analyze.segments:SegmentAnalysis", (), after=("flows",), kernels=True),
    Entry("dns", "pcaptool.analyze.dns:DnsAnalysis", ("dns",), after=("segments",), kernels=True),
    Entry("tls", "pcaptool.analyze.tls:TlsAnalysis", ("tls",), after=("segments",)),
    Entry("http", "pcaptool.analyze.http:HttpAnalysis", ("http",), after=("segments",)),
    Entry("timings", "pcaptool.analyze.timings:TimingAnalysis", ("timings",), after=("http",), kernels=True),
)


def wanted(
    chosen: Selection, entries: Iterable[Entry] = ANALYSES, also: Iterable[str] = ()
) -> tuple[Entry, ...]:
    """The analyses that a selection needs, in order.

    Parameters
    ----------
    chosen : Selection
    entries : iterable of Entry
    also : iterable of str
        Further analyses that are needed.

    Examples
    --------
    >>> from pcaptool.analyze.selection import select
    >>> [entry.name for entry in wanted(select(["arp"]))], [entry.name for entry in wanted(select(["http"]))]
    ([], ['flows', 'segments', 'http'])
    >>> [entry.name for entry in wanted(select(columns=["tcp.len"]))]  # the header says so
    []
    """
    known = list(entries)
    names = {e.name for e in known if any(_adds(e, table, chosen) for table in e.fills)} | set(also)
    for entry in reversed(known):
        if entry.name in names:
            names |= set(entry.after)
    return tuple(e for e in known if e.name in names)


def _adds(entry: Entry, table: str, chosen: Selection) -> bool:
    """Whether columns of a table are wanted that an analysis adds to what decoding knows."""
    own = decoded_columns(table) if table in DECODED else ()
    return table in entry.fills and table in chosen.columns and not set(chosen.columns[table]) <= set(own)
