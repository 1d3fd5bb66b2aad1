"""Why two captures differ: a catalogue of causes, each with a test and a sentence with its evidence.

Knows: which differences, together, are one thing that people have a word for.
Must not know: how differences were found.
The catalogue is data (`CAUSES`); `docs/diff.md` lists it. A cause claims the differences it explains; what no
cause claims is told as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from pcaptool.diff.align import Alignment
from pcaptool.diff.compare import Comparison
from pcaptool.diff.prepare import Prepared
from pcaptool.diff.waits import Wait, waits_of

__all__ = ["CAUSES", "Case", "Cause", "explain"]

_TOLD = 4


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
    relation : str
    """

    differences: pl.DataFrame
    a: pl.DataFrame
    b: pl.DataFrame
    waits: list[Wait]
    relation: str

    def where(self, test: pl.Expr) -> pl.DataFrame:
        """Differences that fulfil a condition."""
        return self.differences.filter(test.fill_null(value=False))


@dataclass(frozen=True, slots=True)
class Finding:
    """A cause that applies: its sentence, and the differences it explains (row numbers)."""

    sentence: str
    claims: pl.Series


@dataclass(frozen=True, slots=True)
class Cause:
    """One entry of the catalogue.

    Parameters
    ----------
    name : str
    about : str
        One line for the documentation.
    test : callable
        Case to Finding, or None where it does not apply.
    """

    name: str
    about: str
    test: Callable[[Case], Finding | None]


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _frames(row: dict[str, object]) -> str:
    """Evidence: the packet numbers of a difference."""
    sides = [f"{name} frame {row[key]}" for name, key in (("A", "n_a"), ("B", "n_b")) if row[key] is not None]
    return ", ".join(sides)


def _by_field(fields: tuple[str, ...], sentence: str) -> Callable[[Case], Finding | None]:
    """A cause that is any difference in some fields; the sentence gets count, frames, value_a, value_b, field."""

    def test(case: Case) -> Finding | None:
        rows = case.where(pl.col("field").is_in(fields) & (pl.col("cause") == ""))
        if not rows.height:
            return None
        first = rows.row(0, named=True)
        text = sentence.format(
            count=_count(rows.height, "packet"), frames=_frames(first), value_a=first["value_a"],
            value_b=first["value_b"], field=first["field"],
        )  # fmt: skip
        return Finding(text, rows["i"])

    return test


def _lone(
    kinds: tuple[str, ...], sentence: str, extra: pl.Expr | None = None
) -> Callable[[Case], Finding | None]:
    """A cause that is packets of some kinds which only one side has; the sentence gets who, other, count, first."""

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
                    first=f"{_frames(first)}: {value}", direction=first["direction"],
                ))  # fmt: skip
                claims.append(rows["i"])
        return Finding(" ".join(texts), pl.concat(claims)) if texts else None

    return test


def _waited(kind: str, sentence: str) -> Callable[[Case], Finding | None]:
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


_REPEATED = pl.col("repeated")

CAUSES: tuple[Cause, ...] = (
    Cause(
        "flow-missing", "a whole conversation has no counterpart",
        _by_field(("flow",), "One side has a conversation that the other lacks ({frames}: A {value_a}, B {value_b})."),
    ),
    Cause(
        "handshake-options", "the SYN or SYN-ACK offers other options",
        _by_field(
            ("tcp.options_mss_val", "tcp.options_wscale_shift", "tcp.option_kinds", "tcp.options_sack_perm"),
            "The options differ ({frames}: {field} is {value_a} in A and {value_b} in B).",
        ),
    ),
    Cause(
        "payload", "other bytes in the payload",
        _by_field(("payload", "payload.bytes", "tcp.len", "udp.length"), "The payload differs in {count} (first {frames})."),
    ),
    Cause(
        "segmentation", "the same bytes in other packets",
        _by_field(
            ("tcp.segmentation",),
            "The same bytes are cut into other packets ({frames}: A {value_a}; B {value_b}): offload, write"
            " sizes or the window decided otherwise.",
        ),
    ),
    Cause(
        "missing-bytes", "a range of bytes is missing in a run that is otherwise there",
        _by_field(("tcp.bytes",), "Bytes are missing ({frames}: A {value_a}, B {value_b})."),
    ),
    Cause(
        "retransmission", "one side repeats data that the other sends once",
        _lone(("data", "syn", "syn-ack", "fin"), "{who} repeats {count} segment{s} that {other} does not ({first}).", _REPEATED),
    ),
    Cause(
        "lost-data", "data that one side does not have at all",
        _lone(("data",), "{count} data packet{s} of {who} {direction} are not in {other} ({first})."),
    ),
    Cause(
        "extra-ack", "a pure ACK that the other side does not send",
        _lone(("ack",), "{who} sends {count} pure ACK{s} that {other} does not ({first})."),
    ),
    Cause(
        "probe", "a keep-alive or zero-window probe of one side only",
        _lone(("probe",), "{who} sends {count} probe{s} that {other} does not ({first})."),
    ),
    Cause(
        "ending", "the connection begins or ends in another way",
        _lone(("fin", "rst", "syn", "syn-ack"), "{who} opens or closes otherwise: {count} packet{s} that {other} lacks ({first})."),
    ),
    Cause(
        "other-packets", "packets of other protocols that only one side has",
        _lone(("arp", "icmp", "icmpv6", "datagram", "igmp"), "{who} has {count} packet{s} that {other} lacks ({first})."),
    ),
    Cause(
        "flags", "other TCP flags (push, FIN on data, ECN)",
        _by_field(("tcp.flags",), "TCP flags differ in {count} (first {frames}: {value_a} in A, {value_b} in B)."),
    ),
    Cause(
        "ack-pattern", "acknowledgements at other places",
        _by_field(
            ("tcp.ack", "tcp.options_sack"),
            "Acknowledgements stand elsewhere in {count} (first {frames}: {field} {value_a} in A, {value_b} in B).",
        ),
    ),
    Cause(
        "window", "another receive window",
        _by_field(("tcp.window_size_value",), "The receive window differs in {count} (first {frames}: {value_a} in A, {value_b} in B)."),
    ),
    Cause(
        "hop", "the packets passed routers: time to live, DSCP or ECN rewritten",
        _by_field(("ip.ttl", "ip.dsfield"), "{field} differs in {count} (first {frames}: {value_a} in A, {value_b} in B)."),
    ),
    Cause(
        "checksum-offload", "one capture was taken before the device completed the checksum, or it is bad",
        _by_field(
            ("tcp.checksum", "udp.checksum", "ip.checksum"),
            "Checksums have another status in {count} (first {frames}: {field} {value_a} in A, {value_b} in B).",
        ),
    ),
    Cause(
        "timestamps", "TCP timestamps that do not follow the capture's clock, or echo another packet",
        _by_field(
            ("tcp.options_timestamp_tsval", "tcp.options_timestamp_tsecr"),
            "TCP timestamps disagree in {count} (first {frames}: {field} {value_a} in A, {value_b} in B).",
        ),
    ),
    Cause(
        "ip-id", "IPv4 identifications advance otherwise",
        _by_field(("ip.id",), "IPv4 identifications advance otherwise in {count} (first {frames}: {value_a} in A, {value_b} in B)."),
    ),
    Cause(
        "order", "packets of one direction in another order",
        _by_field(("order",), "{count} stand elsewhere in their direction's order (first {frames}: {value_a} in A, {value_b} in B)."),
    ),
    Cause(
        "capture-time", "other capture times",
        _by_field(("frame.time",), "Capture times differ in {count} (first {frames})."),
    ),
    Cause(
        "delayed-ack", "data that waited for the peer's delayed ACK (Nagle)",
        _waited("delayed-ack", "{who} waited {ms} ms longer for a delayed ACK before it sent ({frames}; {other}: {other_frames}){more}."),
    ),
    Cause(
        "retransmission-timer", "a pause of the length of a retransmission timer",
        _waited("timer", "{who} paused {ms} ms longer before it sent ({frames}; {other}: {other_frames}){more}."),
    ),
    Cause(
        "think-time", "the server's program took longer to answer",
        _waited("think-time", "The server of {who} took {ms} ms longer to answer ({frames}; {other}: {other_frames}){more}."),
    ),
)  # fmt: skip


def explain(
    differences: pl.DataFrame,
    found: Comparison,
    relation: str,
    ready: Prepared,
    a: pl.DataFrame,
    b: pl.DataFrame,
    alignment: Alignment,
    side: str | None,
    names: tuple[str, str],
) -> tuple[str, pl.DataFrame]:
    """The verdict, and the differences with their causes filled in.

    Parameters
    ----------
    differences : polars.DataFrame
        Most important first.
    found : Comparison
    relation : str
    ready : Prepared
    a, b : polars.DataFrame
        Units.
    alignment : Alignment
    side : str or None
        Which hosts' packets count.
    names : tuple of str
        Names of both sides, for the reader who sees only the verdict.
    """
    case = Case(
        _with_kinds(differences, a, b),
        a,
        b,
        waits_of(alignment, a, b, side) if relation == "model" else [],
        relation,
    )
    sentences = []
    for cause in CAUSES:
        finding = cause.test(case)
        if finding is None:
            continue
        sentences.append(finding.sentence)
        claimed = pl.col("i").is_in(finding.claims.implode())
        marked = pl.when(claimed).then(pl.lit(cause.name)).otherwise("cause")
        case = Case(case.differences.with_columns(cause=marked), a, b, case.waits, relation)
    rest = case.differences.filter(pl.col("cause") == "")
    if rest.height:
        fields = ", ".join(rest["field"].unique(maintain_order=True).head(_TOLD).to_list())
        sentences.append(
            f"{_count(rest.height, 'more difference')} in {fields} (first {_frames(rest.row(0, named=True))})."
        )
    more = (
        [f"{len(sentences) - _TOLD} further causes are listed with the differences."]
        if len(sentences) > _TOLD
        else []
    )
    verdict = " ".join([_opening(found, relation, side), *sentences[:_TOLD], *more])
    return verdict, case.differences.drop("i", "kind", "repeated")


def _opening(found: Comparison, relation: str, side: str | None) -> str:
    compared = sum(f.compared for f in found.fields.values())
    normalised = sum(f.normalised for f in found.fields.values())
    whose = f"the {side}'s frames of both sides" if side else "both sides"
    if found.differing == 0:
        alike = {"model": "say the same", "path": "hold the same packets", "exact": "are equal"}[relation]
        by_rule = f", {normalised} of them by a rule" if normalised else ""
        return f"Same: {whose} {alike}; all {compared} compared values are equal{by_rule}."
    fields = sum(1 for f in found.fields.values() if f.differing)
    return (
        f"Different: {_count(found.differing, 'difference')} in {_count(fields, 'field')}; the other"
        f" {compared - found.differing} compared values of {whose} are equal."
    )


def _with_kinds(differences: pl.DataFrame, a: pl.DataFrame, b: pl.DataFrame) -> pl.DataFrame:
    """Adds row numbers, the kind of a lone packet, and whether it repeats a range of its own side."""
    rows = differences.with_row_index("i")
    sides = []
    for units, key in ((a, "n_a"), (b, "n_b")):
        # Only sequence space of the same flow and direction, seen before in this side, is a repetition.
        again = pl.int_range(pl.len()).over("g", "kind", "start", "end") > 0
        facts = units.select(
            pl.col("n").alias(key), pl.col("kind").alias(f"kind_{key}"), again.alias(f"again_{key}"),
            pl.len().over("g", "kind", "start", "end").gt(1).alias(f"many_{key}"),
        )  # fmt: skip
        sides.append(facts)
    rows = rows.join(sides[0], on="n_a", how="left", maintain_order="left").join(
        sides[1], on="n_b", how="left", maintain_order="left"
    )
    lone_a, lone_b = pl.col("n_b").is_null(), pl.col("n_a").is_null()
    kind = pl.when(lone_a).then("kind_n_a").when(lone_b).then("kind_n_b")
    repeated = pl.when(lone_a).then("many_n_a").when(lone_b).then("many_n_b")
    return rows.with_columns(kind=kind, repeated=repeated.fill_null(value=False)).drop(
        "kind_n_a", "kind_n_b", "again_n_a", "again_n_b", "many_n_a", "many_n_b"
    )
