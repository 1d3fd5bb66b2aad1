"""ICMPv6 (RFC 4443) as far as neighbour discovery (RFC 4861) needs it."""

from __future__ import annotations

from enum import IntEnum

from pcaptool.wire.layout import Field, Layout

__all__ = ["LINK_ADDRESS_OPTION", "NEIGHBOUR_MESSAGE", "Icmpv6Type", "NdOption", "solicited_node"]


class Icmpv6Type(IntEnum):
    """Message types that are named in this house."""

    DESTINATION_UNREACHABLE = 1
    PACKET_TOO_BIG = 2
    ECHO_REQUEST = 128
    ECHO_REPLY = 129
    ROUTER_SOLICITATION = 133
    ROUTER_ADVERTISEMENT = 134
    NEIGHBOUR_SOLICITATION = 135
    NEIGHBOUR_ADVERTISEMENT = 136
    MULTICAST_REPORT_V2 = 143


class NdOption(IntEnum):
    """Options of neighbour discovery."""

    SOURCE_LINK_ADDRESS = 1
    TARGET_LINK_ADDRESS = 2


NEIGHBOUR_MESSAGE = Layout(
    "icmpv6",
    "RFC 4861 sections 4.3 and 4.4",
    (
        Field("type", 8, "135 solicitation, 136 advertisement", "icmpv6.type"),
        Field("code", 8, "0", "icmpv6.code"),
        Field("checksum", 16, "with the pseudo-header", "icmpv6.checksum"),
        Field("router", 1, "advertisement: from a router"),
        Field("solicited", 1, "advertisement: an answer"),
        Field("override", 1, "advertisement: replaces what is cached"),
        Field("reserved", 29, "0"),
        Field("target", 128, "address that is asked for", "icmpv6.nd.ns.target_address"),
    ),
)

LINK_ADDRESS_OPTION = Layout(
    "nd_option",
    "RFC 4861 section 4.6.1",
    (
        Field("type", 8, "1 source, 2 target", "icmpv6.opt.type"),
        Field("length", 8, "in units of 8 bytes", "icmpv6.opt.length"),
        Field("address", 48, "link address", "icmpv6.opt.linkaddr"),
    ),
)


def solicited_node(address: bytes) -> tuple[bytes, bytes]:
    """The multicast group of an IPv6 address and that group's Ethernet address (RFC 4291 2.7.1, RFC 2464 7).

    Examples
    --------
    >>> group, mac = solicited_node(bytes.fromhex("20010db8000000000000000000000001"))
    >>> group.hex(), mac.hex(":")
    ('ff0200000000000000000001ff000001', '33:33:ff:00:00:01')
    """
    group = bytes.fromhex("ff0200000000000000000001ff") + address[-3:]
    return group, b"\x33\x33" + group[-4:]
