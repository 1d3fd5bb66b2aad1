"""What is random by nature, as a table of rules: each named, listed when it was used, and switchable.

Knows: the rules' names, reasons, fields and the relations in which they are on.
Must not know: how a rule decides (`normalise`).
A rule is *used* only where two values differ and the rule makes them equal: a capture against itself uses
none. The reasons are measured on Linux 6.18 (HTTP servers over veth and tap).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pcaptool.errors import UsageError

__all__ = ["OF_ALL_PACKETS", "RELATIONS", "RULES", "RULE_BY_NAME", "Rule", "rules_in_force"]

RELATIONS = {
    "model": "two runs of the same thing: a model and the real one, or a baseline and a new one",
    "path": "the same packets seen at two points",
    "exact": "the same packets and times expected",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One normalisation.

    Parameters
    ----------
    name : str
        What `--rule NAME=off` takes.
    what : str
        What it makes equal.
    why : str
        Why two runs differ there without meaning anything.
    fields : tuple of str
        Fields it may apply to.
    relations : tuple of str
        Relations in which it is on unless switched off.
    """

    name: str
    what: str
    why: str
    fields: tuple[str, ...]
    relations: tuple[str, ...]


_MODEL, _PATH = ("model",), ("model", "path")

RULES: tuple[Rule, ...] = (
    Rule(
        "isn", "sequence, acknowledgement and SACK numbers are compared relative to the initial ones",
        "RFC 9293 3.4.1: initial sequence numbers are a keyed hash plus a clock",
        ("tcp.seq", "tcp.ack", "tcp.options_sack"), _MODEL,
    ),
    Rule(
        "client-port", "the originator's port may differ, the same way in the whole flow",
        "RFC 6056: ephemeral ports are drawn at random; also in what ICMP quotes, and from 32768 on in a"
        " datagram's first fragment",
        ("tcp.srcport", "tcp.dstport", "udp.srcport", "udp.dstport", "payload"), _MODEL,
    ),
    Rule(
        "mac-map", "link addresses may differ if each stands for one of the other side throughout",
        "two runs use different interfaces; along a path each hop rewrites them",
        ("link.src", "link.dst", "arp.src_hw_mac", "arp.dst_hw_mac"), _PATH,
    ),
    Rule(
        "address-map", "network addresses may differ if each stands for one of the other side throughout",
        "two runs may use different addresses",
        ("ip.src", "ip.dst", "arp.src_proto_ipv4", "arp.dst_proto_ipv4"), _MODEL,
    ),
    Rule(
        "tsval-clock", "TSval may differ if on both sides it agrees with its own frame's capture time to"
        " 1 tick, or lags it equally",
        "RFC 7323 5.4: the clock starts at a random offset for each connection",
        ("tcp.options_timestamp_tsval",), _MODEL,
    ),
    Rule(
        "tsecr-echo", "TSecr may differ if it echoes the same frame of the peer",
        "it repeats the peer's TSval, whose offset is random",
        ("tcp.options_timestamp_tsecr",), _MODEL,
    ),
    Rule(
        "ip-id-start", "IPv4 identifications are compared by their increments; 0 stays 0",
        "Linux draws a random start for each socket and adds one for each segment",
        ("ip.id",), _MODEL,
    ),
    Rule(
        "flow-label", "IPv6 flow labels may differ if each stands for one of the other side in its direction",
        "RFC 6437: labels are drawn at random for each flow",
        ("ip.flow_label",), _MODEL,
    ),
    Rule(
        "checksum", "checksums are compared by status (good, bad, partial), not by value",
        "the value covers fields that are random",
        ("ip.checksum", "tcp.checksum", "udp.checksum"), _PATH,
    ),
    Rule(
        "http-date", "the values of Date, Expires, Last-Modified, Age and ETag in HTTP/1 responses may"
        " differ",
        "they tell when the run was, or (ETag) when the file was made; the length must be the same",
        ("payload",), _MODEL,
    ),
    Rule(
        "absolute-time", "when a capture was taken does not count",
        "runs happen at different times; clocks at two points differ",
        ("frame.time",), _PATH,
    ),
    Rule(
        "neighbour-noise", "IPv6 neighbour and multicast discovery (ICMPv6 133-136, 143) is set aside",
        "RFC 4861, 3810: sent at random times around every conversation",
        ("frame",), _MODEL,
    ),
    Rule(
        "segmentation", "the same bytes in other frames are equal",
        "segmentation offload and GRO cut and merge between the two points",
        ("tcp.segmentation",), ("path",),
    ),
    Rule(
        "follows", "a length that follows from another difference of the same packet is not told again",
        "one cause, one line",
        ("ip.len", "tcp.hdr_len", "tcp.options_sack_perm", "link.type"), ("model", "path", "exact"),
    ),
)  # fmt: skip

RULE_BY_NAME = {r.name: r for r in RULES}

# Rules that look at all packets of a flow, also at those that are the same on both sides.
OF_ALL_PACKETS = frozenset({"tsval-clock", "tsecr-echo", "ip-id-start", "flow-label", "neighbour-noise"})


def rules_in_force(relation: str, switched: Mapping[str, bool] | None) -> frozenset[str]:
    """Names of the rules that apply.

    Parameters
    ----------
    relation : str
        One of `RELATIONS`.
    switched : mapping of str to bool or None
        Rules to switch on or off against the relation's defaults.

    Raises
    ------
    UsageError
        A name that is no rule.

    Examples
    --------
    >>> "isn" in rules_in_force("model", None), "isn" in rules_in_force("model", {"isn": False})
    (True, False)
    """
    switched = switched or {}
    unknown = sorted(switched.keys() - RULE_BY_NAME.keys())
    if unknown:
        raise UsageError(f"no rule is called {unknown[0]!r}", hint=f"rules are {', '.join(RULE_BY_NAME)}")
    return frozenset(r.name for r in RULES if switched.get(r.name, relation in r.relations))
