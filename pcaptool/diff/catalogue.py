"""The catalogue of causes, as data: what people have a word for, how it is recognised, how it is told.

Knows: the sentences, and in which order causes are asked: the first that recognises a difference claims it.
Must not know: how a test looks for differences (`recognise`), how the verdict is put together (`causes`).
`docs/diff.md` lists the catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from pcaptool.diff.begins import outside
from pcaptool.diff.recognise import (
    Test,
    between,
    by_field,
    held_twice,
    lone,
    option_missing,
    segmented,
    translated,
    waited,
)

__all__ = ["CAUSES", "Cause"]


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
    test: Test


_REPEATED = pl.col("repeated")

CAUSES: tuple[Cause, ...] = (
    Cause(
        "begins-later",
        "packets of both directions before the first one that both captures have: the other one began later",
        outside(
            "{who}'s capture begins later: {count} of {other} lie before its first ({first}).", before=True
        ),
    ),
    Cause(
        "ends-earlier",
        "packets of both directions behind the last one that both captures have: the other one ended earlier",
        outside(
            "{who}'s capture ends earlier: {count} of {other} lie behind its last ({first}).", before=False
        ),
    ),
    Cause(
        "captured-twice",
        "one capture has its packets twice: of a mirror port, or of two interfaces",
        held_twice("{who} has {count} twice, as a mirror port or two interfaces give them (first {first})."),
    ),
    Cause(
        "lost-between",
        "packets that the point nearer to their sender has and the other has not",
        between("Lost between the two points: {count} (first {first}).", near=True, heard=False),
    ),
    Cause(
        "capture-loss",
        "data that the farther capture lacks although it was acknowledged there and never sent again; a pure ACK whose"
        " timestamp is echoed there",
        between(
            "Not captured at the farther point, though it arrived there: {count} (first {first}).",
            near=True,
            heard=True,
        ),
    ),
    Cause(
        "duplicated",
        "packets that arrived once more than they were sent",
        between("Duplicated between the two points: {count} (first {first}).", near=False, twice=True),
    ),
    Cause(
        "not-captured",
        "packets that only the point farther from their sender has: the other capture missed them",
        between("Missed by the capture nearer to their sender: {count} (first {first}).", near=False),
    ),
    Cause(
        "flow-missing",
        "a whole conversation has no counterpart",
        by_field(
            ("flow",),
            "One side has a conversation that the other lacks ({frames}: A {value_a}, B {value_b}).",
        ),
    ),
    Cause(
        "option-missing",
        "a TCP option that only one side's packet has: stripped on the way, or not offered",
        option_missing("{who} lacks TCP option {options}, which {other} has, in {count} (first {frames})."),
    ),
    Cause(
        "mss-clamp",
        "the MSS of a handshake rewritten between the two points",
        by_field(
            ("tcp.options_mss_val",),
            "The MSS was rewritten between the two points ({frames}: {value_a} in A, {value_b} in B).",
            "path",
        ),
    ),
    Cause(
        "nat",
        "addresses or ports rewritten between the two points (network address translation)",
        translated(
            "Addresses or ports were rewritten between the two points in {count} (NAT: {map}; first"
            " {frames})."
        ),
    ),
    Cause(
        "handshake-options",
        "the SYN or SYN-ACK offers other options",
        by_field(
            ("tcp.options_mss_val", "tcp.options_wscale_shift", "tcp.option_kinds", "tcp.options_sack_perm"),
            "The options differ ({frames}: {field} is {value_a} in A and {value_b} in B).",
        ),
    ),
    Cause(
        "payload",
        "other bytes in the payload",
        by_field(
            ("payload", "payload.bytes", "tcp.len", "udp.length"),
            "The payload differs in {count} (first {frames}).",
        ),
    ),
    Cause(
        "segmentation",
        "the same bytes in other packets",
        segmented(
            "{what} ({frames}: A {value_a}; B {value_b}): offload, write sizes or the window decided otherwise."
        ),
    ),
    Cause(
        "missing-bytes",
        "a range of bytes is missing in a run that is otherwise there",
        by_field(("tcp.bytes",), "Bytes are missing ({frames}: A {value_a}, B {value_b})."),
    ),
    Cause(
        "retransmission",
        "one side repeats data that the other sends once",
        lone(
            ("data", "syn", "syn-ack", "fin"),
            "{who} repeats {count} segment{s} that {other} does not ({first}).",
            _REPEATED,
        ),
    ),
    Cause(
        "lost-data",
        "data that one side does not have at all",
        lone(("data",), "{who} has {count} data packet{s} that {other} lacks ({first})."),
    ),
    Cause(
        "extra-ack",
        "a pure ACK that the other side does not send",
        lone(("ack",), "{who} sends {count} pure ACK{s} that {other} does not ({first})."),
    ),
    Cause(
        "probe",
        "a keep-alive or zero-window probe of one side only",
        lone(("probe",), "{who} sends {count} probe{s} that {other} does not ({first})."),
    ),
    Cause(
        "ending",
        "the connection begins or ends in another way",
        lone(
            ("fin", "rst", "syn", "syn-ack"),
            "{who} opens or closes otherwise: {count} packet{s} that {other} lacks ({first}).",
        ),
    ),
    Cause(
        "other-packets",
        "packets of other protocols that only one side has",
        lone(
            (),
            "{who} has {count} packet{s} that {other} lacks ({first}).",
        ),
    ),
    Cause(
        "flags",
        "other TCP flags (push, FIN on data, ECN), another urgent pointer",
        by_field(
            ("tcp.flags", "tcp.urgent_pointer"),
            "TCP flags differ in {count} (first {frames}: {value_a} in A, {value_b} in B).",
        ),
    ),
    Cause(
        "sequence",
        "data at another place of the stream",
        by_field(
            ("tcp.seq",),
            "Sequence numbers differ in {count} (first {frames}: {value_a} in A, {value_b} in B).",
        ),
    ),
    Cause(
        "ack-pattern",
        "acknowledgements at other places",
        by_field(
            ("tcp.ack", "tcp.options_sack"),
            "Acknowledgements stand elsewhere in {count}"
            " (first {frames}: {field} {value_a} in A, {value_b} in B).",
        ),
    ),
    Cause(
        "window",
        "another receive window",
        by_field(
            ("tcp.window_size_value",),
            "The receive window differs in {count} (first {frames}: {value_a} in A, {value_b} in B).",
        ),
    ),
    Cause(
        "hop",
        "the packets passed other routers: another time to live",
        by_field(
            ("ip.ttl",),
            "The time to live differs in {count} (first {frames}: {value_a} in A, {value_b} in B).",
        ),
    ),
    Cause(
        "dscp",
        "DSCP or ECN rewritten on the way, or set otherwise",
        by_field(
            ("ip.dsfield",),
            "DSCP or ECN differs in {count} (first {frames}: {value_a} in A, {value_b} in B).",
        ),
    ),
    Cause(
        "fragmentation",
        "other IP flags or fragments",
        by_field(
            ("ip.flags", "ip.frag_offset"),
            "IP flags or fragments differ in {count} (first {frames}: {value_a} in A, {value_b} in B).",
        ),
    ),
    Cause(
        "rewritten",
        "addresses or ports that stand for others (network address translation), or other links",
        by_field(
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
        "other-link",
        "captured on another kind of link, or in another VLAN",
        by_field(
            ("link.kind", "link.type", "link.vlan_id", "link.vlan_priority"),
            "The link layer differs in {count} (first {frames}: {field} {value_a} in A, {value_b} in B).",
        ),
    ),
    Cause(
        "checksum-offload",
        "one capture was taken before the device completed the checksum, or it is bad",
        by_field(
            ("tcp.checksum", "udp.checksum", "ip.checksum"),
            "Checksums have another status in {count}"
            " (first {frames}: {field} {value_a} in A, {value_b} in B).",
        ),
    ),
    Cause(
        "timestamps",
        "TCP timestamps that do not follow the capture's clock, or echo another packet",
        by_field(
            ("tcp.options_timestamp_tsval", "tcp.options_timestamp_tsecr"),
            "TCP timestamps disagree in {count} (first {frames}: {field} {value_a} in A, {value_b} in B).",
        ),
    ),
    Cause(
        "ip-id",
        "IPv4 identifications advance otherwise",
        by_field(
            ("ip.id",),
            "IPv4 identifications advance otherwise in {count}"
            " (first {frames}: {value_a} in A, {value_b} in B).",
        ),
    ),
    Cause(
        "order",
        "packets of one direction in another order",
        by_field(
            ("order",),
            "Out of the direction's order: {count} (first {frames}: {value_a} in A, {value_b} in B).",
        ),
    ),
    Cause(
        "capture-time",
        "other capture times",
        by_field(("frame.time",), "Capture times differ in {count} (first {frames})."),
    ),
    Cause(
        "delayed-ack",
        "data that waited for the peer's delayed ACK (Nagle)",
        waited(
            "delayed-ack",
            "{who} waited {ms} ms longer for a delayed ACK before it sent"
            " ({frames}; {other}: {other_frames}){more}.",
        ),
    ),
    Cause(
        "retransmission-timer",
        "a pause of the length of a retransmission timer",
        waited(
            "timer", "{who} paused {ms} ms longer before it sent ({frames}; {other}: {other_frames}){more}."
        ),
    ),
    Cause(
        "think-time",
        "the server's program took longer to answer",
        waited(
            "think-time",
            "The server of {who} took {ms} ms longer to answer ({frames}; {other}: {other_frames}){more}.",
        ),
    ),
)
