"""A buffer's headers and checksums as bytes.

Knows: how the values of a buffer's headers become a frame, with the checksum as it stands at that place.
Must not know: who wants it (`tap`), or how many frames share it (`frame_block`).
Sources: RFC 9293, RFC 768, RFC 791, RFC 8200; the layouts are those of `wire`, written as one `struct` each, because
a run makes each frame's headers anew: a test compares the two.
Complexity: O(bytes of the frame).
"""

from __future__ import annotations

from struct import Struct

from pcaptool.stack.skbuff import Datagram, SkBuff
from pcaptool.wire.checksum import complement, partial_checksum, pseudo_header, sum16
from pcaptool.wire.ip import IPV4_DF, IPV4_MF, IpProtocol

__all__ = ["CHECKSUM_OFFSETS", "ethernet_header", "frame_bytes", "network_header", "transport_header"]

_ETHERNET = Struct("!6s6sH")
_IPV4 = Struct("!BBHHHBBH4s4s")
_IPV6 = Struct("!IHBB16s16s")
_IPV6_FRAGMENT = Struct("!BBHI")
_TCP = Struct("!HHIIBBHHH")
_UDP = Struct("!HHHH")

# Where the transport checksum stands in its header.
CHECKSUM_OFFSETS = {int(IpProtocol.TCP): 16, int(IpProtocol.UDP): 6}


def ethernet_header(skb: SkBuff) -> bytes:
    """The link header of a frame."""
    return _ETHERNET.pack(skb.destination_mac, skb.source_mac, skb.ethertype)


def network_header(ip: Datagram, length: int) -> bytes:
    """The IP header in front of `length` bytes, with its checksum and, on IPv6, a fragment header."""
    if len(ip.source) == 4:
        flags = (IPV4_DF if ip.dont_fragment else 0) | (IPV4_MF if ip.more_fragments else 0)
        fragment = flags << 13 | ip.fragment_offset >> 3
        words = (0x45, ip.tos, 20 + length, ip.identification, fragment, ip.ttl, ip.protocol)
        checksum = complement(sum16(_IPV4.pack(*words, 0, ip.source, ip.destination)))
        return _IPV4.pack(*words, checksum, ip.source, ip.destination)
    first = 6 << 28 | ip.tos << 20 | ip.flow_label
    if ip.fragment_id is None:
        return _IPV6.pack(first, length, ip.protocol, ip.ttl, ip.source, ip.destination)
    header = _IPV6.pack(first, length + 8, IpProtocol.FRAGMENT, ip.ttl, ip.source, ip.destination)
    return header + _IPV6_FRAGMENT.pack(
        ip.protocol, 0, ip.fragment_offset | ip.more_fragments, ip.fragment_id
    )


def transport_header(skb: SkBuff) -> bytes:
    """TCP's or UDP's header with a checksum of zero; nothing where the payload holds it."""
    if skb.tcp is not None:
        tcp = skb.tcp
        fixed = _TCP.pack(
            tcp.srcport, tcp.dstport, tcp.seq, tcp.ack, tcp.size // 4 << 4, tcp.flags, tcp.window, 0, 0
        )
        return fixed + tcp.option_bytes
    if skb.udp is not None:
        return _UDP.pack(skb.udp.srcport, skb.udp.dstport, 8 + skb.length, 0)
    return b""


def frame_bytes(skb: SkBuff, *, partial_sum: bool) -> bytes:
    """A buffer's frame from the link header on.

    Parameters
    ----------
    partial_sum : bool
        The transport checksum field holds the pseudo-header's sum only (CHECKSUM_PARTIAL).
    """
    link, ip = ethernet_header(skb), skb.ip
    if ip is None:
        return link + bytes(skb.payload)
    header = bytearray(transport_header(skb))
    length = len(header) + skb.length
    if header:
        protocol = int(ip.protocol)
        if partial_sum:
            checksum = partial_checksum(ip.source, ip.destination, protocol, length)
        else:
            start = sum16(pseudo_header(ip.source, ip.destination, protocol, length))
            checksum = complement(sum16(skb.payload, sum16(header, start)))
            if skb.udp is not None and not checksum:
                checksum = 0xFFFF  # 0 would say that there is none (RFC 768)
        at = CHECKSUM_OFFSETS[protocol]
        header[at : at + 2] = checksum.to_bytes(2, "big")
    return b"".join((link, network_header(ip, length), header, skb.payload))
