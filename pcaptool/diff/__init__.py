"""Two captures, aligned by what they say, compared layer by layer, with a reason.

Knows: how to align, compare, normalise and judge the tables of two captures.
Must not know: how captures are read (`load` asks `decode` and `analyze`), how a result is drawn
(`report.diff`).
The way: `load` (a `Side`) -> `units` (one row a packet) -> `prepare` (matched flows, keys) -> `align` ->
`compare` with `rules` -> `causes` -> `result.Diff`. Long captures of the same packets go another way to the same
answer: `start` -> `skim` (one quick pass) -> `quick` (only packets without an equal one become units) -> `align` as
above.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcaptool.diff.rules import RELATIONS, RULES, rules_in_force
from pcaptool.diff.start import quickly, worthwhile

if TYPE_CHECKING:
    from pcaptool.diff.catalogue import CAUSES
    from pcaptool.diff.fields import FIELDS
    from pcaptool.diff.load import load_side
    from pcaptool.diff.result import Diff
    from pcaptool.diff.run import diff_sides
    from pcaptool.diff.settings import Relation, Which
    from pcaptool.diff.side import Side

__all__ = ["CAUSES", "FIELDS", "RELATIONS", "RULES", "Diff", "Side", "diff", "diff_sides", "load_side"]

# What loads polars, by module: `start` says why not at once.
_LAZY = {
    "CAUSES": "catalogue",
    "FIELDS": "fields",
    "Diff": "result",
    "Side": "side",
    "diff_sides": "run",
    "load_side": "load",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def diff(
    a: str | Path | Side,
    b: str | Path | Side,
    *,
    relation: Relation | None = None,
    rules: Mapping[str, bool] | None = None,
    tolerances: Mapping[str, str | float] | None = None,
    side: Which | None = None,
) -> Diff:
    """Compare two captures, reports or loaded sides.

    Parameters
    ----------
    a, b : str, Path or Side
        Captures (pcap, pcapng) or report folders.
    relation : {"model", "path", "exact"}, optional
        What A and B are to each other (`RELATIONS`); detected if not given.
    rules : mapping of str to bool, optional
        Rules to switch on or off (`RULES`).
    tolerances : mapping of str to str, optional
        How far values of a field may be apart: ``{"window": "1%", "time": "50us"}``.
    side : {"server", "client"}, optional
        Whose packets count; everybody's if not given.

    Returns
    -------
    Diff
        `exit_code` 0: the same, 1: they differ, 2: there is nothing to compare.

    Raises
    ------
    CaptureError, ReportError
        A side that cannot be read.
    UsageError
        An unknown rule, field or tolerance.

    Examples
    --------
    >>> folder = "fixtures/captures/lab/repeat"
    >>> found = diff(f"{folder}/fixed-port.1.server.pcap", f"{folder}/fixed-port.2.server.pcap", side="server")
    >>> found.relation, found.exit_code
    ('model', 0)
    """
    # What was asked for wrongly is told before anything is read.
    rules_in_force(relation or "path", rules)
    if tolerances:
        from pcaptool.diff.tolerance import parse_tolerances  # noqa: PLC0415 - it loads polars

        parse_tolerances(tolerances)
    if worthwhile(a, b):
        found = quickly(str(a), str(b), relation=relation, rules=rules, tolerances=tolerances, side=side)
        if found is not None:
            return found
    from pcaptool.diff.load import load_side  # noqa: PLC0415 - after `quickly`
    from pcaptool.diff.run import diff_sides  # noqa: PLC0415

    # No names for the sides here: `diff_sides` lets go of their tables on the way.
    return diff_sides(
        load_side(a), load_side(b), relation=relation, rules=rules, tolerances=tolerances, side=side
    )
