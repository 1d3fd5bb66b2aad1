"""ICMP (RFC 792) as far as errors and echo need it; ICMPv6's errors have the same first eight bytes."""

from __future__ import annotations

from enum import IntEnum

from pcaptool.wire.layout import Field, Layout

__all__ = ["ICMP_ERROR", "IcmpType"]


class IcmpType(IntEnum):
    """Message types that are named in this house."""

    ECHO_REPLY = 0
    DESTINATION_UNREACHABLE = 3
    ECHO_REQUEST = 8
    TIME_EXCEEDED = 11


ICMP_ERROR = Layout(
    "icmp",
    "RFC 792, RFC 1191 section 4, RFC 4443 section 2.1",
    (
        Field("type", 8, "message type", "icmp.type"),
        Field("code", 8, "code of the type", "icmp.code"),
        Field("checksum", 16, "checksum", "icmp.checksum"),
        Field("rest", 32, "0; the next hop's MTU where that is too small", "icmp.mtu"),
    ),
)
