"""Fragmentation and reassembly of datagrams (net/ipv4/ip_output.c and ip_fragment.c, net/ipv6/reassembly.c).

Knows: how a datagram becomes pieces of at most an MTU, and how pieces become a datagram again.
Must not know: who sends datagrams, or when a host may fragment (`ip`).
Sources: RFC 791 section 3.2, RFC 8200 section 4.5; measured in fixtures/captures/lab/udp-v4 and udp-v6: all pieces but
the last are as large as the MTU allows in units of 8 bytes, and all have the datagram's identification.
Leaves out: overlapping pieces (a datagram with any is dropped, RFC 5722), time-out of incomplete datagrams.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pcaptool.stack.frame_bytes import CHECKSUM_OFFSETS, transport_header
from pcaptool.stack.skbuff import Datagram, SkBuff, SkBuffIds, UdpHeader
from pcaptool.wire.checksum import complement, pseudo_header, sum16
from pcaptool.wire.ip import IpProtocol
from pcaptool.wire.udp import UDP

__all__ = ["Reassembly", "fragment", "whole_payload"]

MOST_DATAGRAMS = 1024


def whole_payload(skb: SkBuff) -> bytes:
    """The payload of the IP header as bytes, with a complete transport checksum."""
    if skb.ip is None:
        raise ValueError("a buffer without network header")
    header = bytearray(transport_header(skb))
    if header:
        ip, protocol = skb.ip, int(skb.ip.protocol)
        start = sum16(pseudo_header(ip.source, ip.destination, protocol, len(header) + skb.length))
        checksum = complement(sum16(skb.payload, sum16(header, start)))
        if protocol == IpProtocol.UDP and not checksum:
            checksum = 0xFFFF
        at = CHECKSUM_OFFSETS[protocol]
        header[at : at + 2] = checksum.to_bytes(2, "big")
    return bytes(header) + bytes(skb.payload)


def fragment(skb: SkBuff, mtu: int, fragment_id: int, buffers: SkBuffIds) -> list[SkBuff]:
    """The pieces of a datagram that is too large.

    Parameters
    ----------
    fragment_id : int
        IPv6's identification; IPv4's stands in the header already.

    Examples
    --------
    >>> skb = SkBuff(1, 1, length=3000, payload=memoryview(bytes(3000)), udp=UdpHeader(53, 9))
    >>> skb.ip = Datagram(bytes(4), bytes(4), 17)
    >>> [(p.length, p.ip.fragment_offset, p.ip.more_fragments) for p in fragment(skb, 1500, 0, SkBuffIds())]
    [(1480, 0, True), (1480, 1480, True), (48, 2960, False)]
    """
    if skb.ip is None:
        raise ValueError("a buffer without network header")
    version4 = len(skb.ip.source) == 4
    payload = memoryview(whole_payload(skb))
    step = (mtu - (20 if version4 else 48)) & ~7
    pieces = []
    for at in range(0, len(payload), step):
        part = payload[at : at + step]
        ip = replace(
            skb.ip,
            dont_fragment=False,
            partial_checksum=False,
            fragment_offset=at,
            more_fragments=at + len(part) < len(payload),
            fragment_id=None if version4 else fragment_id,
        )
        pieces.append(
            replace(
                skb, number=buffers.take(), origin=skb.number, length=len(part), payload=part, udp=None, ip=ip
            )
        )
    return pieces


@dataclass(slots=True)
class _Datagram:
    """The pieces of one datagram so far."""

    parts: dict[int, memoryview] = field(default_factory=dict)
    size: int | None = None

    def complete(self) -> bytes | None:
        """All bytes, once they are there without a gap."""
        if self.size is None:
            return None
        out = bytearray()
        for at in sorted(self.parts):
            if at != len(out):
                return None
            out += self.parts[at]
        return bytes(out) if len(out) == self.size else None


class Reassembly:
    """Datagrams of which not all pieces have come."""

    def __init__(self) -> None:
        self._open: dict[tuple[object, ...], _Datagram] = {}

    def add(self, skb: SkBuff) -> SkBuff | None:
        """Take a piece; the datagram, if it was the last one that was missing."""
        ip = skb.ip
        if ip is None:
            return None
        if not ip.fragment_offset and not ip.more_fragments and ip.fragment_id is None:
            return skb
        number = ip.identification if ip.fragment_id is None else ip.fragment_id
        key = (ip.source, ip.destination, int(ip.protocol), number)
        if key not in self._open and len(self._open) >= MOST_DATAGRAMS:
            self._open.pop(next(iter(self._open)))
        datagram = self._open.setdefault(key, _Datagram())
        datagram.parts[ip.fragment_offset] = skb.payload[: skb.length]
        if not ip.more_fragments:
            datagram.size = ip.fragment_offset + skb.length
        payload = datagram.complete()
        if payload is None:
            return None
        del self._open[key]
        return _parsed(skb, ip, payload)


def _parsed(skb: SkBuff, ip: Datagram, payload: bytes) -> SkBuff | None:
    """The datagram of all pieces, its transport header read."""
    plain = replace(ip, fragment_offset=0, more_fragments=False, fragment_id=None)
    whole = replace(skb, length=len(payload), payload=memoryview(payload), ip=plain)
    if ip.protocol == IpProtocol.UDP:
        if len(payload) < UDP.size:
            return None
        header = UDP.unpack(payload)
        whole.udp = UdpHeader(header["srcport"], header["dstport"])
        whole.payload = memoryview(payload)[UDP.size :]
        whole.length = len(whole.payload)
    return whole
