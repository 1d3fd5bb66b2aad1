"""How causes recognise differences: by field, as packets of one side only, as pauses, as what a path does.

Knows: the forms that a test of the catalogue takes.
Must not know: which causes there are (`catalogue`), how differences were found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import polars as pl

from pcaptool.diff.numbers_kernel import KINDS
from pcaptool.diff.path import Clocks
from pcaptool.diff.waits import Wait

__all__ = [
    "Case",
    "Finding",
    "Spans",
    "Test",
    "between",
    "by_field",
    "count_text",
    "frames_text",
    "held_twice",
    "lone",
    "option_missing",
    "segmented",
    "translated",
    "waited",
]

# Fields that a TCP option brings with it: they go where it goes.
_OF_OPTIONS = (
    "tcp.options_mss_val",
    "tcp.options_wscale_shift",
    "tcp.options_sack_perm",
    "tcp.options_timestamp_tsval",
    "tcp.options_timestamp_tsecr",
    "tcp.options_sack",
    "tcp.hdr_len",
)
_OF_TCP = [name for name in KINDS if name != "datagram"]
_PADDING = {"nop", "eol", "none"}
_ENDS = ("ip.src", "ip.dst", "tcp.srcport", "tcp.dstport", "udp.srcport", "udp.dstport")
_TRANSLATIONS_TOLD = 3
_TWICE_AT_LEAST = 4


# By direction ("": all) of both sides the first and the last number.
Spans = dict[str, tuple[tuple[int, int], tuple[int, int]]]


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
    relation : str
        model, path or exact.
    packets : tuple of int
        How many each side has.
    totals : mapping
        Of each field how many differences there are; the table lists some thousands of each.
    spans : tuple or None
        Of each side the numbers of the first and the last packet that has a counterpart.
    """

    differences: pl.DataFrame
    a: pl.DataFrame
    b: pl.DataFrame
    waits: list[Wait]
    clocks: Clocks | None
    relation: str
    packets: tuple[int, int]
    totals: Mapping[str, int] = field(default_factory=dict)
    spans: Spans | None = None

    def where(self, test: pl.Expr) -> pl.DataFrame:
        """Differences that fulfil a condition."""
        return self.differences.filter(test.fill_null(value=False))

    def packets_text(self, rows: pl.DataFrame, packets: int | None = None) -> str:
        """How many packets these differences are of: all of a field, also of one of which not all are listed."""
        number = rows.height if packets is None else packets
        names = rows["field"].unique().to_list()
        listed = {name: self.differences.filter(pl.col("field") == name).height for name in names}
        if all(self.totals.get(name, 0) <= listed[name] for name in names):
            return count_text(number, "packet")
        if len(names) == 1 and rows.height == listed[names[0]]:
            return count_text(self.totals[names[0]], "packet")
        return f"at least {count_text(number, 'packet')}"


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


def by_field(fields: tuple[str, ...], sentence: str, relation: str = "") -> Test:
    """A cause that is any difference in some fields; it tells count, frames, value_a, value_b, field.

    With a relation only there.
    """

    def test(case: Case) -> Finding | None:
        if relation not in ("", case.relation):
            return None
        rows = case.where(pl.col("field").str.replace(r"#\d$", "").is_in(fields) & (pl.col("cause") == ""))
        if not rows.height:
            return None
        first = rows.row(0, named=True)
        text = sentence.format(
            count=case.packets_text(rows), frames=frames_text(first), value_a=first["value_a"],
            value_b=first["value_b"], field=first["field"],
        )  # fmt: skip
        return Finding(text, rows["i"])

    return test


def lone(kinds: tuple[str, ...], sentence: str, extra: pl.Expr | None = None) -> Test:
    """A cause that is packets of some kinds on one side only; it tells who, other, count, s, first.

    Without kinds: of all but TCP's.
    """

    def test(case: Case) -> Finding | None:
        texts, claims = [], []
        mine = pl.col("kind").is_in(kinds) if kinds else ~pl.col("kind").is_in(_OF_TCP)
        condition = (pl.col("field") == "frame") & mine & (pl.col("cause") == "")
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


def held_twice(sentence: str) -> Test:
    """A cause that is a capture in which packets stand twice, in both directions; it tells who, count, first.

    Only where that is a habit: a quarter of its packets or more are such copies.
    """

    def test(case: Case) -> Finding | None:
        frame = (pl.col("field") == "frame") & (pl.col("cause") == "") & pl.col("twice")
        for who, key, packets in (("A", "n_a", case.packets[0]), ("B", "n_b", case.packets[1])):
            rows = case.where(frame & pl.col(key).is_not_null())
            ways = rows.filter(pl.col("direction") != "")["direction"].n_unique()
            if case.relation == "model" or ways < 2 or rows.height * _TWICE_AT_LEAST < packets:
                continue
            first = frames_text(rows.row(0, named=True))
            return Finding(
                sentence.format(who=who, count=count_text(rows.height, "packet"), first=first), rows["i"]
            )
        return None

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


def between(sentence: str, *, near: bool, twice: bool | None = None, heard: bool | None = None) -> Test:
    """A cause that is packets which only the point nearer to their sender has, or only the farther one.

    `heard`: whether the far point shows that the packet passed all the same (it was acknowledged there).
    """

    def test(case: Case) -> Finding | None:
        if case.clocks is None:
            return None
        ahead, back = pl.col("direction") == "client to server", pl.col("direction") == "server to client"
        from_a = ahead if case.clocks.a_is_nearer else back
        from_b = back if case.clocks.a_is_nearer else ahead
        only_a, only_b = pl.col("n_b").is_null(), pl.col("n_a").is_null()
        where = (only_a & from_a) | (only_b & from_b) if near else (only_a & from_b) | (only_b & from_a)
        where = where & (pl.col("field") == "frame") & (pl.col("cause") == "")
        if twice is not None:
            where &= pl.col("twice") == twice
        if heard is not None:
            where &= pl.col("heard") == heard
        rows = case.where(where)
        if not rows.height:
            return None
        first = rows.row(0, named=True)
        value = first["value_a"] if first["n_b"] is None else first["value_b"]
        text = sentence.format(
            count=count_text(rows.height, "packet"), first=f"{frames_text(first)}: {value}"
        )
        return Finding(text, rows["i"])

    return test


def option_missing(sentence: str) -> Test:
    """A cause that is a TCP option in one side's packet only; it tells who, other, options, count, frames."""

    def test(case: Case) -> Finding | None:
        rows = case.where((pl.col("field") == "tcp.option_kinds") & (pl.col("cause") == ""))
        lacks: list[tuple[dict[str, object], str, set[str]]] = []
        for row in rows.iter_rows(named=True):
            a, b = (_option_words(row[key]) for key in ("value_a", "value_b"))
            if a < b or b < a:
                lacks.append((row, "A" if a < b else "B", a ^ b))
        if not lacks:
            return None
        first, who, names = lacks[0]
        packets = pl.DataFrame({"n_a": [r["n_a"] for r, _, _ in lacks], "n_b": [r["n_b"] for r, _, _ in lacks]},
                               schema={"n_a": pl.UInt32, "n_b": pl.UInt32})  # fmt: skip
        brought = case.where(
            (pl.col("field") == "tcp.option_kinds") | pl.col("field").is_in(_OF_OPTIONS)
        ).filter(pl.col("cause") == "")
        claims = brought.join(packets, on=["n_a", "n_b"], how="semi")
        text = sentence.format(
            who=who, other="B" if who == "A" else "A", options=", ".join(sorted(names)),
            count=case.packets_text(claims, len(lacks)), frames=frames_text(first),
        )  # fmt: skip
        return Finding(text, claims["i"])

    return test


def _option_words(text: object) -> set[str]:
    return set(str(text).replace("-", "none").split(",")) - _PADDING


def translated(sentence: str) -> Test:
    """A cause that is addresses or ports rewritten along a path; it tells count, frames, map."""

    def test(case: Case) -> Finding | None:
        rows = case.where(pl.col("field").is_in(_ENDS) & (pl.col("cause") == ""))
        if case.relation != "path" or not rows.height:
            return None
        seen = rows.select("value_a", "value_b").unique(maintain_order=True)
        told = [f"{x} to {y}" for x, y in seen.head(_TRANSLATIONS_TOLD).iter_rows()]
        more = f" and {seen.height - len(told)} more" if seen.height > len(told) else ""
        packets = rows.select("n_a", "n_b").n_unique()
        text = sentence.format(
            count=case.packets_text(rows, packets), frames=frames_text(rows.row(0, named=True)),
            map=", ".join(told) + more,
        )  # fmt: skip
        return Finding(text, rows["i"])

    return test


def segmented(sentence: str) -> Test:
    """A cause that is data cut differently; it tells what, frames, value_a, value_b."""

    def test(case: Case) -> Finding | None:
        rows = case.where((pl.col("field") == "tcp.segmentation") & (pl.col("cause") == ""))
        if not rows.height:
            return None
        other = case.where(pl.col("field").is_in(("payload", "tcp.bytes")))
        same = not rows.join(other, on=["flow", "direction"], how="semi").height
        what = "Same stream, segmented differently" if same else "The data is cut into other packets"
        first = rows.row(0, named=True)
        text = sentence.format(
            what=what, frames=frames_text(first), value_a=first["value_a"], value_b=first["value_b"]
        )
        return Finding(text, rows["i"])

    return test
