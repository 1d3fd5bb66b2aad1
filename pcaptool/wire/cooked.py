"""Linux cooked captures (LINKTYPE_LINUX_SLL and LINKTYPE_LINUX_SLL2 of tcpdump.org): what `tcpdump -i any` writes."""

from __future__ import annotations

from enum import IntEnum

from pcaptool.wire.layout import Field, Layout

__all__ = ["SLL", "SLL2", "PacketType"]


class PacketType(IntEnum):
    """Whom a packet was for (linux/if_packet.h)."""

    HOST = 0
    BROADCAST = 1
    MULTICAST = 2
    OTHERHOST = 3
    OUTGOING = 4


SLL = Layout(
    "sll",
    "LINKTYPE_LINUX_SLL",
    (
        Field("packet_type", 16, "whom it was for", "sll.pkttype"),
        Field("hw_type", 16, "ARPHRD_ value of the device, 1 is Ethernet", "sll.hatype"),
        Field("address_bytes", 16, "bytes of the sender's address", "sll.halen"),
        Field("address", 64, "sender's link address, padded behind"),
        Field("type", 16, "EtherType", "sll.etype"),
    ),
)

SLL2 = Layout(
    "sll2",
    "LINKTYPE_LINUX_SLL2",
    (
        Field("type", 16, "EtherType", "sll.etype"),
        Field("reserved", 16, "0"),
        Field("device", 32, "number of the device", "sll.ifindex"),
        Field("hw_type", 16, "ARPHRD_ value of the device, 1 is Ethernet", "sll.hatype"),
        Field("packet_type", 8, "whom it was for", "sll.pkttype"),
        Field("address_bytes", 8, "bytes of the sender's address", "sll.halen"),
        Field("address", 64, "sender's link address, padded behind"),
    ),
)
