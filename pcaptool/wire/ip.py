"""IPv4 (RFC 791) and IPv6 (RFC 8200) fixed headers, protocol numbers."""

from __future__ import annotations

from enum import IntEnum

from pcaptool.wire.checksum import complement, sum16
from pcaptool.wire.layout import Field, Layout

__all__ = ["IPV4", "IPV4_DF", "IPV4_MF", "IPV6", "IpProtocol", "ipv4_header"]


class IpProtocol(IntEnum):
    """IANA protocol numbers that are named in this house."""

    HOPOPT = 0
    ICMP = 1
    IGMP = 2
    IPIP = 4
    TCP = 6
    UDP = 17
    IPV6 = 41
    ROUTING = 43
    FRAGMENT = 44
    GRE = 47
    ESP = 50
    AH = 51
    ICMPV6 = 58
    NONE = 59
    DSTOPTS = 60


# The three flag bits of IPv4, as the 3-bit value of the layout below.
IPV4_DF = 0b010
IPV4_MF = 0b001

IPV4 = Layout(
    "ipv4",
    "RFC 791 section 3.1",
    (
        Field("version", 4, "4", "ip.version"),
        Field("ihl", 4, "header length in 32-bit words", "ip.hdr_len"),
        Field("tos", 8, "DSCP (6 bits) and ECN (2 bits)", "ip.dsfield"),
        Field("total_length", 16, "header and payload in bytes", "ip.len"),
        Field("id", 16, "identification", "ip.id"),
        Field("flags", 3, "reserved, DF, MF", "ip.flags"),
        Field("frag_offset", 13, "fragment offset in 8-byte units", "ip.frag_offset"),
        Field("ttl", 8, "time to live", "ip.ttl"),
        Field("protocol", 8, "protocol of the payload", "ip.proto"),
        Field("checksum", 16, "header checksum", "ip.checksum"),
        Field("src", 32, "source address", "ip.src"),
        Field("dst", 32, "destination address", "ip.dst"),
    ),
)

IPV6 = Layout(
    "ipv6",
    "RFC 8200 section 3",
    (
        Field("version", 4, "6", "ipv6.version"),
        Field("traffic_class", 8, "DSCP (6 bits) and ECN (2 bits)", "ipv6.tclass"),
        Field("flow_label", 20, "flow label", "ipv6.flow"),
        Field("payload_length", 16, "bytes behind this header", "ipv6.plen"),
        Field("next_header", 8, "type of the next header", "ipv6.nxt"),
        Field("hop_limit", 8, "hop limit", "ipv6.hlim"),
        Field("src", 128, "source address", "ipv6.src"),
        Field("dst", 128, "destination address", "ipv6.dst"),
    ),
)


def ipv4_header(**values: int) -> bytes:
    """A 20-byte IPv4 header with its checksum filled in; fields as in `IPV4`."""
    raw = bytearray(IPV4.pack(version=4, ihl=5, **values))
    raw[10:12] = complement(sum16(raw)).to_bytes(2, "big")
    return bytes(raw)
