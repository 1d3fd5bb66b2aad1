"""A router on the way whose next link has a smaller MTU (RFC 1191, RFC 8201).

Knows: what it refuses, and what it answers.
Must not know: the hosts. It has an address of its own in the hosts' network, and changes nothing else of a datagram:
no hop count, no address of a link.
"""

from __future__ import annotations

from pcaptool.stack.icmp import too_big
from pcaptool.stack.skbuff import Datagram, SkBuff, SkBuffIds
from pcaptool.wire.ip import IpProtocol

__all__ = ["answer", "is_too_big"]

HOP_LIMIT = 64


def is_too_big(skb: SkBuff, mtu: int) -> bool:
    """Whether a frame, or each segment of a super-packet, is larger than the router's MTU."""
    if skb.ip is None:
        return False
    size = skb.gso_size if skb.gso_segs > 1 else skb.length
    return skb.ip.header_bytes + skb.transport_bytes + size > mtu


def answer(skb: SkBuff, mtu: int, buffers: SkBuffIds) -> SkBuff | None:
    """The frame that tells the sender; none for ICMP (RFC 1122 section 3.2.2)."""
    if skb.ip is None or skb.ip.protocol in {IpProtocol.ICMP, IpProtocol.ICMPV6}:
        return None
    version4 = len(skb.ip.source) == 4
    address = skb.ip.destination[:-1] + b"\xfe"
    message = too_big(skb, address, mtu)
    number = buffers.take()
    reply = SkBuff(number, number, length=len(message), payload=memoryview(message))
    reply.ip = Datagram(
        source=address,
        destination=skb.ip.source,
        protocol=IpProtocol.ICMP if version4 else IpProtocol.ICMPV6,
        ttl=HOP_LIMIT,
        tos=0xC0 if version4 else 0,
        dont_fragment=False,
    )
    reply.ethertype, reply.destination_mac, reply.source_mac = (
        skb.ethertype,
        skb.source_mac,
        skb.destination_mac,
    )
    return reply
