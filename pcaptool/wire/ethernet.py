"""Ethernet II (IEEE 802.3, RFC 894) and ARP (RFC 826)."""

from __future__ import annotations

from enum import IntEnum

from pcaptool.wire.layout import Field, Layout

__all__ = ["ARP_IPV4", "ETHERNET", "MAC_BROADCAST", "ArpOperation", "EtherType", "mac_text"]


class EtherType(IntEnum):
    """Values of the type field that are named in this house."""

    IPV4 = 0x0800
    ARP = 0x0806
    VLAN = 0x8100
    IPV6 = 0x86DD
    MPLS = 0x8847
    MPLS_MULTICAST = 0x8848
    PPPOE_DISCOVERY = 0x8863
    PPPOE_SESSION = 0x8864
    QINQ = 0x88A8


class ArpOperation(IntEnum):
    """ar$op of RFC 826."""

    REQUEST = 1
    REPLY = 2


MAC_BROADCAST = b"\xff" * 6

ETHERNET = Layout(
    "ethernet",
    "IEEE 802.3-2022 clause 3.2",
    (
        Field("dst", 48, "destination address", "eth.dst"),
        Field("src", 48, "source address", "eth.src"),
        Field("type", 16, "EtherType (length if below 1536)", "eth.type"),
    ),
)

ARP_IPV4 = Layout(
    "arp",
    "RFC 826",
    (
        Field("hw_type", 16, "hardware address space, 1 is Ethernet", "arp.hw.type"),
        Field("proto_type", 16, "protocol address space", "arp.proto.type"),
        Field("hw_size", 8, "bytes of a hardware address", "arp.hw.size"),
        Field("proto_size", 8, "bytes of a protocol address", "arp.proto.size"),
        Field("opcode", 16, "1 request, 2 reply", "arp.opcode"),
        Field("src_hw_mac", 48, "sender's hardware address", "arp.src.hw_mac"),
        Field("src_proto_ipv4", 32, "sender's protocol address", "arp.src.proto_ipv4"),
        Field("dst_hw_mac", 48, "target's hardware address", "arp.dst.hw_mac"),
        Field("dst_proto_ipv4", 32, "target's protocol address", "arp.dst.proto_ipv4"),
    ),
)


def mac_text(address: bytes) -> str:
    """Six bytes as colon-separated hexadecimal.

    Examples
    --------
    >>> mac_text(bytes.fromhex("020000000001"))
    '02:00:00:00:00:01'
    """
    return address.hex(":")
