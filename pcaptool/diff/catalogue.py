"""The catalogue of causes, as data: what people have a word for, how it is recognised, how it is told.

Knows: the sentences, and in which order causes are asked: the first that recognises a difference claims it.
Must not know: how differences were found, how the verdict is put together (`causes`).
`docs/diff.md` lists the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from pcaptool.diff.path import Clocks
from pcaptool.diff.waits import Wait

__all__ = ["CAUSES", "Case", "Cause", "Finding", "count_text", "frames_text"]


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


def count_text(number: int, word: str) -> str:
    """A number and its noun."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def frames_text(row: dict[str, object]) -> str:
    """Evidence: the packet numbers of a difference."""
    sides = [f"{name} frame {row[key]}" for name, key in (("A", "n_a"), ("B", "n_b")) if row[key] is not None]
    return ", ".join(sides)


def _by_field(fields: tuple[str, ...], sentence: str) -> Callable[[Case], Finding | None]:
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


def _lone(
    kinds: tuple[str, ...], sentence: str, extra: pl.Expr | None = None
) -> Callable[[Case], Finding | None]:
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


def _between(sentence: str, *, near: bool, twice: bool | None = None) -> Callable[[Case], Finding | None]:
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


_REPEATED = pl.col("repeated")

CAUSES: tuple[Cause, ...] = (
    Cause(
        "lost-between",
        "packets that the point nearer to their sender has and the other has not",
        _between("Lost between the two points: {count} (first {first}).", near=True),
    ),
    Cause(
        "duplicated",
        "packets that arrived once more than they were sent",
        _between("Duplicated between the two points: {count} (first {first}).", near=False, twice=True),
    ),
    Cause(
        "not-captured",
        "packets that only the point farther from their sender has: the other capture missed them",
        _between("Missed by the capture nearer to their sender: {count} (first {first}).", near=False),
    ),
    Cause(
        "flow-missing",
        "a whole conversation has no counterpart",
        _by_field(
            ("flow",),
            "One side has a conversation that the other lacks ({frames}: A {value_a}, B {value_b}).",
        ),
    ),
    Cause(
        "handshake-options",
        "the SYN or SYN-ACK offers other options",
        _by_field(
            ("tcp.options_mss_val", "tcp.options_wscale_shift", "tcp.option_kinds", "tcp.options_sack_perm"),
            "The options differ ({frames}: {field} is {value_a} in A and {value_b} in B).",
        ),
    ),
    Cause(
        "payload",
        "other bytes in the payload",
        _by_field(
            ("payload", "payload.bytes", "tcp.len", "udp.length"),
            "The payload differs in {count} (first {frames}).",
        ),
    ),
    Cause(
        "segmentation",
        "the same bytes in other packets",
        _by_field(
            ("tcp.segmentation",),
            "The same bytes are cut into other packets ({frames}: A {value_a}; B {value_b}): offload, write"
            " sizes or the window decided otherwise.",
        ),
    ),
    Cause(
        "missing-bytes",
        "a range of bytes is missing in a run that is otherwise there",
        _by_field(("tcp.bytes",), "Bytes are missing ({frames}: A {value_a}, B {value_b})."),
    ),
    Cause(
        "retransmission",
        "one side repeats data that the other sends once",
        _lone(
            ("data", "syn", "syn-ack", "fin"),
            "{who} repeats {count} segment{s} that {other} does not ({first}).",
            _REPEATED,
        ),
    ),
    Cause(
        "lost-data",
        "data that one side does not have at all",
        _lone(("data",), "{who} has {count} data packet{s} that {other} lacks ({first})."),
    ),
    Cause(
        "extra-ack",
        "a pure ACK that the other side does not send",
        _lone(("ack",), "{who} sends {count} pure ACK{s} that {other} does not ({first})."),
    ),
    Cause(
        "probe",
        "a keep-alive or zero-window probe of one side only",
        _lone(("probe",), "{who} sends {count} probe{s} that {other} does not ({first})."),
    ),
    Cause(
        "ending",
        "the connection begins or ends in another way",
        _lone(
            ("fin", "rst", "syn", "syn-ack"),
            "{who} opens or closes otherwise: {count} packet{s} that {other} lacks ({first}).",
        ),
    ),
    Cause(
        "other-packets",
        "packets of other protocols that only one side has",
        _lone(
            ("arp", "icmp", "icmpv6", "datagram", "igmp"),
            "{who} has {count} packet{s} that {other} lacks ({first}).",
        ),
    ),
    Cause(
        "flags",
        "other TCP flags (push, FIN on data, ECN)",
        _by_field(
            ("tcp.flags",), "TCP flags differ in {count} (first {frames}: {value_a} in A, {value_b} in B)."
        ),
    ),
    Cause(
        "ack-pattern",
        "acknowledgements at other places",
        _by_field(
            ("tcp.ack", "tcp.options_sack"),
            "Acknowledgements stand elsewhere in {count}"
            " (first {frames}: {field} {value_a} in A, {value_b} in B).",
        ),
    ),
    Cause(
        "window",
        "another receive window",
        _by_field(
            ("tcp.window_size_value",),
            "The receive window differs in {count} (first {frames}: {value_a} in A, {value_b} in B).",
        ),
    ),
    Cause(
        "hop",
        "the packets passed routers: time to live, DSCP or ECN rewritten",
        _by_field(
            ("ip.ttl", "ip.dsfield"),
            "{field} differs in {count} (first {frames}: {value_a} in A, {value_b} in B).",
        ),
    ),
    Cause(
        "rewritten",
        "addresses or ports that stand for others (network address translation), or other links",
        _by_field(
            (
                "ip.src",
                "ip.dst",
                "tcp.srcport",
                "tcp.dstport",
                "udp.srcport",
                "udp.dstport",
                "link.src",
                "link.dst",
            ),
            "Addresses or ports differ in {count} (first {frames}: {field} {value_a} in A, {value_b} in B).",
        ),
    ),
    Cause(
        "checksum-offload",
        "one capture was taken before the device completed the checksum, or it is bad",
        _by_field(
            ("tcp.checksum", "udp.checksum", "ip.checksum"),
            "Checksums have another status in {count}"
            " (first {frames}: {field} {value_a} in A, {value_b} in B).",
        ),
    ),
    Cause(
        "timestamps",
        "TCP timestamps that do not follow the capture's clock, or echo another packet",
        _by_field(
            ("tcp.options_timestamp_tsval", "tcp.options_timestamp_tsecr"),
            "TCP timestamps disagree in {count} (first {frames}: {field} {value_a} in A, {value_b} in B).",
        ),
    ),
    Cause(
        "ip-id",
        "IPv4 identifications advance otherwise",
        _by_field(
            ("ip.id",),
            "IPv4 identifications advance otherwise in {count}"
            " (first {frames}: {value_a} in A, {value_b} in B).",
        ),
    ),
    Cause(
        "order",
        "packets of one direction in another order",
        _by_field(
            ("order",),
            "{count} stand elsewhere in their direction's order"
            " (first {frames}: {value_a} in A, {value_b} in B).",
        ),
    ),
    Cause(
        "capture-time",
        "other capture times",
        _by_field(("frame.time",), "Capture times differ in {count} (first {frames})."),
    ),
    Cause(
        "delayed-ack",
        "data that waited for the peer's delayed ACK (Nagle)",
        _waited(
            "delayed-ack",
            "{who} waited {ms} ms longer for a delayed ACK before it sent"
            " ({frames}; {other}: {other_frames}){more}.",
        ),
    ),
    Cause(
        "retransmission-timer",
        "a pause of the length of a retransmission timer",
        _waited(
            "timer", "{who} paused {ms} ms longer before it sent ({frames}; {other}: {other_frames}){more}."
        ),
    ),
    Cause(
        "think-time",
        "the server's program took longer to answer",
        _waited(
            "think-time",
            "The server of {who} took {ms} ms longer to answer ({frames}; {other}: {other_frames}){more}.",
        ),
    ),
)
