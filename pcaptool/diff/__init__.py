"""Two captures, aligned by what they say, compared layer by layer, with a reason.

Knows: how to align, compare, normalise and judge the tables of two captures.
Must not know: how captures are read (`load` asks `decode` and `analyze`), how a result is drawn
(`report.diff`).
The way: `load` (a `Side`) -> `units` (one row a packet) -> `prepare` (matched flows, keys) -> `align` ->
`compare` with `rules` -> `causes` -> `result.Diff`.
"""

from __future__ import annotations

from pcaptool.diff.catalogue import CAUSES
from pcaptool.diff.fields import FIELDS
from pcaptool.diff.result import Diff
from pcaptool.diff.rules import RELATIONS, RULES
from pcaptool.diff.run import diff_sides
from pcaptool.diff.side import Side

__all__ = ["CAUSES", "FIELDS", "RELATIONS", "RULES", "Diff", "Side", "diff_sides"]
