"""How a link address is asked for and answered: ARP (net/ipv4/arp.c) and neighbour discovery (net/ipv6/ndisc.c).

Knows: the messages of both, and what is learned from one that arrives.
Must not know: the states of a neighbour entry (`neighbour`), or what waits for the address.
Sources: RFC 826, RFC 4861 sections 4.3, 4.4 and 7.2; facts 1-4. Messages are whole network packets: the payload of a
buffer without IP or TCP part.
Leaves out: duplicate address detection and multicast reports, which come at random times around a real start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pcaptool.wire.checksum import transport_checksum
from pcaptool.wire.ethernet import ARP_IPV4, MAC_BROADCAST, ArpOperation, EtherType
from pcaptool.wire.icmpv6 import (
    LINK_ADDRESS_OPTION,
    NEIGHBOUR_MESSAGE,
    Icmpv6Type,
    NdOption,
    solicited_node,
)
from pcaptool.wire.ip import IPV6, IpProtocol

__all__ = ["RESOLUTIONS", "Arp", "Lesson", "Message", "NeighbourDiscovery", "Resolution"]

ND_HOP_LIMIT = 255


@dataclass(frozen=True, slots=True)
class Message:
    """A message to send."""

    to_mac: bytes
    packet: bytes


@dataclass(frozen=True, slots=True)
class Lesson:
    """What an arriving message says.

    Parameters
    ----------
    address, mac : bytes
        Of its sender.
    target : bytes
        Address that it is about.
    question : bool
        Whether it asks.
    """

    address: bytes
    mac: bytes
    target: bytes
    question: bool


class Resolution(Protocol):
    """A way to find link addresses."""

    ethertype: int

    def question(self, mac: bytes, address: bytes, target: bytes, known_mac: bytes) -> Message:
        """Ask for `target`: everybody, or only `known_mac` to probe it."""
        ...

    def answer(self, mac: bytes, address: bytes, lesson: Lesson) -> Message:
        """Answer a question for `address`."""
        ...

    def read(self, packet: memoryview) -> Lesson | None:
        """What an arriving packet says; None where it is no message of this kind."""
        ...


class Arp:
    """RFC 826."""

    ethertype = int(EtherType.ARP)

    def question(self, mac: bytes, address: bytes, target: bytes, known_mac: bytes) -> Message:
        """A request: broadcast while the address is unknown, unicast to probe it (fact 2)."""
        packet = _arp(ArpOperation.REQUEST, mac, address, bytes(6), target)
        return Message(known_mac or MAC_BROADCAST, packet)

    def answer(self, mac: bytes, address: bytes, lesson: Lesson) -> Message:
        """A unicast reply."""
        return Message(lesson.mac, _arp(ArpOperation.REPLY, mac, address, lesson.mac, lesson.address))

    def read(self, packet: memoryview) -> Lesson | None:
        """Requests and replies alike say who their sender is."""
        fields = ARP_IPV4.unpack(packet)
        return Lesson(
            address=fields["src_proto_ipv4"].to_bytes(4, "big"),
            mac=fields["src_hw_mac"].to_bytes(6, "big"),
            target=fields["dst_proto_ipv4"].to_bytes(4, "big"),
            question=fields["opcode"] == ArpOperation.REQUEST,
        )


def _arp(operation: ArpOperation, mac: bytes, address: bytes, target_mac: bytes, target: bytes) -> bytes:
    return ARP_IPV4.pack(
        hw_type=1,
        proto_type=EtherType.IPV4,
        hw_size=6,
        proto_size=4,
        opcode=operation,
        src_hw_mac=int.from_bytes(mac, "big"),
        src_proto_ipv4=int.from_bytes(address, "big"),
        dst_hw_mac=int.from_bytes(target_mac, "big"),
        dst_proto_ipv4=int.from_bytes(target, "big"),
    )


class NeighbourDiscovery:
    """RFC 4861."""

    ethertype = int(EtherType.IPV6)

    def question(self, mac: bytes, address: bytes, target: bytes, known_mac: bytes) -> Message:
        """A solicitation: to the solicited-node group while the address is unknown, unicast to probe it."""
        group, group_mac = solicited_node(target)
        kind, option = Icmpv6Type.NEIGHBOUR_SOLICITATION, NdOption.SOURCE_LINK_ADDRESS
        to = target if known_mac else group
        return Message(
            known_mac or group_mac,
            _nd(kind, source=address, destination=to, target=target, option=option, mac=mac),
        )

    def answer(self, mac: bytes, address: bytes, lesson: Lesson) -> Message:
        """A solicited, overriding advertisement, unicast."""
        kind, option = Icmpv6Type.NEIGHBOUR_ADVERTISEMENT, NdOption.TARGET_LINK_ADDRESS
        return Message(
            lesson.mac,
            _nd(kind, source=address, destination=lesson.address, target=address, option=option, mac=mac),
        )

    def read(self, packet: memoryview) -> Lesson | None:
        """Solicitations and advertisements with a link address option."""
        header = IPV6.unpack(packet)
        if header["next_header"] != IpProtocol.ICMPV6 or len(packet) < 72:
            return None
        message = NEIGHBOUR_MESSAGE.unpack(packet, 40)
        kinds = {Icmpv6Type.NEIGHBOUR_SOLICITATION: True, Icmpv6Type.NEIGHBOUR_ADVERTISEMENT: False}
        if message["type"] not in kinds:
            return None
        option = LINK_ADDRESS_OPTION.unpack(packet, 64)
        return Lesson(
            address=header["src"].to_bytes(16, "big"),
            mac=option["address"].to_bytes(6, "big"),
            target=message["target"].to_bytes(16, "big"),
            question=kinds[Icmpv6Type(message["type"])],
        )


def _nd(
    kind: Icmpv6Type, *, source: bytes, destination: bytes, target: bytes, option: NdOption, mac: bytes
) -> bytes:
    answer = kind == Icmpv6Type.NEIGHBOUR_ADVERTISEMENT
    message = bytearray(
        NEIGHBOUR_MESSAGE.pack(
            type=kind, solicited=answer, override=answer, target=int.from_bytes(target, "big")
        )
        + LINK_ADDRESS_OPTION.pack(type=option, length=1, address=int.from_bytes(mac, "big"))
    )
    checksum = transport_checksum(source, destination, IpProtocol.ICMPV6, bytes(message))
    message[2:4] = checksum.to_bytes(2, "big")
    header = IPV6.pack(
        version=6,
        payload_length=len(message),
        next_header=IpProtocol.ICMPV6,
        hop_limit=ND_HOP_LIMIT,
        src=int.from_bytes(source, "big"),
        dst=int.from_bytes(destination, "big"),
    )
    return header + bytes(message)


# By the size of an address.
RESOLUTIONS: dict[int, Resolution] = {4: Arp(), 16: NeighbourDiscovery()}
