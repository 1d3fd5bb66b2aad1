"""How causes recognise differences: by field, as packets of one side only, as pauses, as what a path does.

Knows: the forms that a test of the catalogue takes.
Must not know: which causes there are (`catalogue`), how differences were found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from pcaptool.diff.path import Clocks
from pcaptool.diff.waits import Wait

__all__ = ["Case", "Finding", "Test", "between", "by_field", "count_text", "frames_text", "lone", "waited"]


@dataclass(frozen=True)
class Case:
    """All that a test may look at.

    Parameters
    ----------
    differences : polars.DataFrame
        With a row number `i`, and `kind` of the packet where it is a missing one.
    a, b : polars.DataFrame
        Units.
    waits : list of Wait
        Pauses that only one side makes.
    clocks : Clocks or None
        For the relation path: which point is nearer to the originators.
    """

    differences: pl.DataFrame
    a: pl.DataFrame
    b: pl.DataFrame
    waits: list[Wait]
    clocks: Clocks | None

    def where(self, test: pl.Expr) -> pl.DataFrame:
        """Differences that fulfil a condition."""
        return self.differences.filter(test.fill_null(value=False))


@dataclass(frozen=True, slots=True)
class Finding:
    """A cause that applies: its sentence, and the differences it explains (row numbers)."""

    sentence: str
    claims: pl.Series


Test = Callable[[Case], Finding | None]


def count_text(number: int, word: str) -> str:
    """A number and its noun."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def frames_text(row: dict[str, object]) -> str:
    """Evidence: the packet numbers of a difference."""
    sides = [f"{name} frame {row[key]}" for name, key in (("A", "n_a"), ("B", "n_b")) if row[key] is not None]
    return ", ".join(sides)


def by_field(fields: tuple[str, ...], sentence: str) -> Test:
    """A cause that is any difference in some fields; it tells count, frames, value_a, value_b, field."""

    def test(case: Case) -> Finding | None:
        rows = case.where(pl.col("field").is_in(fields) & (pl.col("cause") == ""))
        if not rows.height:
            return None
        first = rows.row(0, named=True)
        text = sentence.format(
            count=count_text(rows.height, "packet"), frames=frames_text(first), value_a=first["value_a"],
            value_b=first["value_b"], field=first["field"],
        )  # fmt: skip
        return Finding(text, rows["i"])

    return test


def lone(kinds: tuple[str, ...], sentence: str, extra: pl.Expr | None = None) -> Test:
    """A cause that is packets of some kinds on one side only; it tells who, other, count, s, first."""

    def test(case: Case) -> Finding | None:
        texts, claims = [], []
        condition = (pl.col("field") == "frame") & pl.col("kind").is_in(kinds) & (pl.col("cause") == "")
        condition = condition if extra is None else condition & extra
        for who, other, key in (("A", "B", "n_a"), ("B", "A", "n_b")):
            rows = case.where(condition & pl.col(key).is_not_null())
            if rows.height:
                first = rows.row(0, named=True)
                value = first["value_a"] if who == "A" else first["value_b"]
                texts.append(sentence.format(
                    who=who, other=other, count=rows.height, s="" if rows.height == 1 else "s",
                    first=f"{frames_text(first)}: {value}",
                ))  # fmt: skip
                claims.append(rows["i"])
        return Finding(" ".join(texts), pl.concat(claims)) if texts else None

    return test


def waited(kind: str, sentence: str) -> Test:
    """A cause that is a pause of one side only; it claims no difference, times are not fields."""

    def test(case: Case) -> Finding | None:
        found = [w for w in case.waits if w.kind == kind]
        if not found:
            return None
        wait = found[0]
        more = f" ({len(found)} times)" if len(found) > 1 else ""
        text = sentence.format(
            who=wait.who, other="A" if wait.who == "B" else "B", ms=f"{wait.longer_ns / 1e6:.1f}",
            frames=wait.frames, other_frames=wait.other_frames, more=more,
        )  # fmt: skip
        return Finding(text, pl.Series([], dtype=pl.UInt32))

    return test


def between(sentence: str, *, near: bool, twice: bool | None = None) -> Test:
    """A cause that is packets which only the point nearer to their sender has, or only the farther one."""

    def test(case: Case) -> Finding | None:
        if case.clocks is None:
            return None
        ahead, back = pl.col("direction") == "client to server", pl.col("direction") == "server to client"
        from_a = ahead if case.clocks.a_is_nearer else back
        from_b = back if case.clocks.a_is_nearer else ahead
        only_a, only_b = pl.col("n_b").is_null(), pl.col("n_a").is_null()
        where = (only_a & from_a) | (only_b & from_b) if near else (only_a & from_b) | (only_b & from_a)
        where = where & (pl.col("field") == "frame") & (pl.col("cause") == "")
        rows = case.where(where if twice is None else where & (pl.col("twice") == twice))
        if not rows.height:
            return None
        first = rows.row(0, named=True)
        value = first["value_a"] if first["n_b"] is None else first["value_b"]
        text = sentence.format(
            count=count_text(rows.height, "packet"), first=f"{frames_text(first)}: {value}"
        )
        return Finding(text, rows["i"])

    return test
