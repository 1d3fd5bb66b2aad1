"""Differences from Wireshark that are meant: the table, each with its reason.

Knows: where a value may differ, packet by packet. Must not know: how values are obtained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["DIFFERENCES", "Difference", "meant"]

Row = Mapping[str, Any]

_LAST = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference that is meant.

    Parameters
    ----------
    table, column : str
        Where; "*" for any.
    applies : callable
        Row of `packets`, our values of the column in this packet, tshark's: whether this is the difference.
    reason : str
        For the docs page.
    """

    table: str
    column: str
    applies: Callable[[Row, list[Any], list[Any]], bool]
    reason: str


def _failed(row: Row, _ours: list[Any], _theirs: list[Any]) -> bool:
    return row["err_layer"] is not None


DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "*",
        "*",
        lambda row, ours, theirs: _failed(row, ours, theirs) and len(theirs) != len(ours),
        "Of a header that is cut or contradicts itself Wireshark shows the fields that came before the fault; a"
        " table here has rows for whole headers only, and says in `packets.err_*` what was missing.",
    ),
    Difference(
        "*",
        "*",
        lambda row, ours, theirs: "icmp" in row["protocols"] and len(theirs) > len(ours),
        "An ICMP error may quote less than a whole header: Wireshark shows the fields that are there, a table here"
        " has no row.",
    ),
    Difference(
        "packets",
        "ts",
        lambda _row, ours, theirs: not theirs and ours == [0],
        "A pcapng simple packet block has no time: 0 stands for it.",
    ),
    Difference(
        "packets",
        "ts",
        lambda _row, ours, theirs: bool(theirs) and ours == [_LAST] and theirs[0] > _LAST,
        "A time beyond what 64 bits of nanoseconds hold (the year 2262) becomes the last one that they hold.",
    ),
    Difference(
        "packets",
        "ts",
        lambda row, _ours, theirs: row["interface"] == 0 and bool(theirs) and theirs[0] < 0,
        "A pcap fraction of more than 2**31 is not a signed number here: seconds and fraction are added.",
    ),
    Difference(
        "tcp",
        "checksum_status",
        lambda _row, ours, theirs: (
            [o for o, t in zip(ours, theirs, strict=False) if o != t] == [2] and len(ours) == len(theirs)
        ),
        "A checksum that holds only the pseudo-header's sum (offload) is unverified here, with `checksum_partial`"
        " set; Wireshark 4.0 calls it bad.",
    ),
    Difference(
        "udp",
        "checksum_status",
        lambda _row, ours, theirs: (
            [o for o, t in zip(ours, theirs, strict=False) if o != t] == [2] and len(ours) == len(theirs)
        ),
        "As in tcp.",
    ),
)


def meant(table: str, column: str, row: Row, ours: list[Any], theirs: list[Any]) -> Difference | None:
    """The difference that explains this one, None if it is a fault."""
    for difference in DIFFERENCES:
        here = difference.table in ("*", table) and difference.column in ("*", column)
        if here and difference.applies(row, ours, theirs):
            return difference
    return None
