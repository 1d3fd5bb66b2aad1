"""Every column that has a Wireshark name, in every packet.

Knows: how our values are put beside tshark's. Must not know: which differences are meant (`differences`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pcaptool.analyze.pipeline import frames
from pcaptool.decode.decoder import DECODED, decoded_columns
from pcaptool.engine import Engine
from pcaptool.tables import TABLES
from pcaptool.tables.definition import Column, Table
from pcaptool.verify import tshark
from pcaptool.verify.differences import meant

__all__ = ["Mismatch", "Verdict", "verify"]


_FURTHER = "tshark gave the file up earlier: packets behind its last one are not compared."


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One packet in which a column has other values.

    Parameters
    ----------
    n : int
    table, column : str
    ours, theirs : list
        Values of all headers of that kind in the packet, outermost first.
    """

    n: int
    table: str
    column: str
    ours: list[Any]
    theirs: list[Any]

    def __str__(self) -> str:
        """One line."""
        return f"packet {self.n}: {self.table}.{self.column} is {self.ours}, tshark says {self.theirs}"


@dataclass(slots=True)
class Verdict:
    """What a comparison found.

    Parameters
    ----------
    packets, values : int
        Packets and values that were compared.
    mismatches : list of Mismatch
    meant : dict
        Reason of a difference that is meant to how often it occurred.
    """

    packets: int = 0
    values: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)
    meant: dict[str, int] = field(default_factory=dict)


def verify(path: str | Path, tables: Iterable[str] | None = None, engine: Engine | None = None) -> Verdict:
    """Compare a capture's tables with tshark's fields.

    Parameters
    ----------
    path : path
    tables : iterable of str, optional
        All that decoding fills without.
    engine : Engine, optional

    Raises
    ------
    CaptureError
        We cannot read it.
    SystemRefusedError
        tshark is missing.
    """
    chosen = [name for name in DECODED if tables is None or name in set(tables)]
    ours = frames(path, {"packets", *chosen}, analyses=(), engine=engine)
    wanted = [(TABLES[name], list(_columns(TABLES[name]))) for name in chosen]
    names = sorted({n for _, columns in wanted for c in columns for n in c.wireshark.split()})
    checked = [name for name in names if name.endswith(".status")]
    theirs, whole = tshark.fields(Path(path), [name for name in names if name not in checked])
    if checked:
        again, _ = tshark.fields(Path(path), checked, checksums=True)
        for row, status in zip(theirs, again, strict=True):
            row.update(status)
    packets: list[dict[str, Any]] = ours["packets"].to_dicts()
    verdict = Verdict(packets=len(packets))
    if len(packets) > len(theirs) and not whole:
        verdict.meant[_FURTHER] = len(packets) - len(theirs)
    elif len(packets) != len(theirs):
        verdict.mismatches.append(Mismatch(0, "packets", "n", [len(packets)], [len(theirs)]))
    for table, columns in wanted:
        for column in columns:
            found = _by_packet(ours[table.name], column, len(packets))
            for packet, mine, cells in zip(packets, found, theirs, strict=False):
                other = _theirs(column, cells)
                if table.name == "link":  # the outermost of a tunnel's
                    other = other[:1]
                verdict.values += max(len(mine), len(other))
                if mine == other:
                    continue
                reason = meant(table.name, column.name, packet, mine, other)
                if reason is None:
                    verdict.mismatches.append(Mismatch(packet["n"], table.name, column.name, mine, other))
                else:
                    verdict.meant[reason.reason] = verdict.meant.get(reason.reason, 0) + 1
    return verdict


def _columns(table: Table) -> Iterator[Column]:
    decoded = decoded_columns(table.name)
    for column in table.columns:
        if column.wireshark and column.name in decoded and column.wireshark != "frame.number":
            yield column


def _by_packet(frame: Any, column: Column, packets: int) -> list[list[Any]]:
    """Our values of each packet; of a column with two names IPv4's come first."""
    out: list[list[Any]] = [[] for _ in range(packets)]
    values = frame[column.name].to_physical() if column.kind == "time" else frame[column.name]
    if " " in column.wireshark and "version" in frame.columns:
        order = frame["version"].to_list()
        rows = sorted(zip(frame["n"].to_list(), order, range(len(order)), values.to_list(), strict=True))
        pairs = [(n, value) for n, _, _, value in rows]
    else:
        pairs = list(zip(frame["n"].to_list(), values.to_list(), strict=True))
    only_four = column.wireshark.startswith("ip.") and " " not in column.wireshark
    only_four = only_four and column.name != "version"
    versions = frame["version"].to_list() if only_four and "version" in frame.columns else None
    for i, (n, value) in enumerate(pairs):
        if value is None or (versions is not None and versions[i] != 4):
            continue
        out[n - 1] += value if isinstance(value, list) else [value]
    return out


def _theirs(column: Column, cells: dict[str, list[str]]) -> list[Any]:
    return [_value(column.kind, text) for name in column.wireshark.split() for text in cells[name]]


def _value(kind: str, text: str) -> Any:
    if kind in ("text", "string"):
        return text
    if kind == "time":
        whole, _, fraction = text.lstrip("-").partition(".")
        value = int(whole) * 1_000_000_000 + int(fraction.ljust(9, "0"))
        return -value if text.startswith("-") else value
    if kind == "bool":
        return text in ("1", "True")
    return int(text, 0)
