"""How a comparison is meant: relation, rules in force, tolerances, whose packets count.

Knows: the options of one comparison, checked.
Must not know: packets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pcaptool.diff.tolerance import Tolerance

__all__ = ["Relation", "Settings", "Which"]

Relation = Literal["model", "path", "exact"]
Which = Literal["server", "client"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Options of one comparison.

    Parameters
    ----------
    relation : str
        One of `rules.RELATIONS`.
    rules : frozenset of str
        Rules in force.
    tolerances : mapping of str to Tolerance
        By field name; "time" is the packet's time since the flow's start.
    side : str or None
        Whose packets count: the responders' (server), the others' (client), or everybody's.
    bytes_known : bool
        Whether both sides have fingerprints of the payload.
    """

    relation: Relation
    rules: frozenset[str]
    tolerances: Mapping[str, Tolerance] = field(default_factory=dict)
    side: Which | None = None
    bytes_known: bool = True
