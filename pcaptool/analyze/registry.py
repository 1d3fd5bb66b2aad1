"""The analyses that a report is made with: one entry each.

Knows: what each fills and which must run before it. Must not know: what they compute; they are imported when
they are wanted.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass

from pcaptool.decode.batch import Analysis
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
    """

    name: str
    place: str
    fills: tuple[str, ...]
    after: tuple[str, ...] = ()
    kernels: bool = False

    def make(self, engine: Engine) -> Analysis:
        """A fresh analysis for one capture."""
        module, _, name = self.place.partition(":")
        kind = getattr(importlib.import_module(module), name)
        made: Analysis = kind(engine) if self.kernels else kind()
        return made


# In the order in which they see a batch.
ANALYSES: tuple[Entry, ...] = (
    Entry("flows", "pcaptool.analyze.flows:FlowAnalysis", ("packets", "tcp", "udp", "flows"), kernels=True),
    Entry("segments", "pcaptool.analyze.segments:SegmentAnalysis", (), after=("flows",)),
    Entry("dns", "pcaptool.analyze.dns:DnsAnalysis", ("dns",), after=("segments",), kernels=True),
    Entry("tls", "pcaptool.analyze.tls:TlsAnalysis", ("tls",), after=("segments",)),
    Entry("http", "pcaptool.analyze.http:HttpAnalysis", ("http",), after=("segments",)),
)


def wanted(tables: Iterable[str], entries: Iterable[Entry] = ANALYSES) -> tuple[Entry, ...]:
    """The analyses that some tables need, in order.

    Examples
    --------
    >>> [entry.name for entry in wanted(["arp"])], [entry.name for entry in wanted(["http"])]
    ([], ['flows', 'segments', 'http'])
    """
    known = list(entries)
    names = {e.name for e in known if set(e.fills) & set(tables)}
    for entry in reversed(known):
        if entry.name in names:
            names |= set(entry.after)
    return tuple(e for e in known if e.name in names)
