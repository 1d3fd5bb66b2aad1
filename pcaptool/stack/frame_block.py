"""The segments of a super-packet as bytes, all at once.

Knows: a super-packet's full-size segments differ in sequence number, IPv4 ID, flags and checksums; arrays.
Must not know: what a segment's flags mean beyond `segment`'s rules, which it repeats: a test compares the two.
Complexity: O(bytes), a few array operations for a super-packet however many segments it has: about 1 us a segment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pcaptool.stack.frame_bytes import ethernet_header, network_header, transport_header
from pcaptool.stack.skbuff import SkBuff
from pcaptool.wire.checksum import pseudo_header, sum16
from pcaptool.wire.ip import IpProtocol
from pcaptool.wire.tcp import TcpFlag

if TYPE_CHECKING:
    import numpy as np

__all__ = ["full_segments"]

_LINK_BYTES = 14


def full_segments(skb: SkBuff) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The full-size segments of a super-packet, one a row, with complete checksums; the short last one is not there.

    Examples
    --------
    >>> from pcaptool.stack.skbuff import Datagram, TcpHeader
    >>> from pcaptool.wire.tcp import TcpOptions
    >>> skb = SkBuff(1, 1, length=25, payload=memoryview(bytes(25)), gso_size=10, gso_segs=3)
    >>> skb.tcp = TcpHeader(1, 2, 0, 0, 24, 9, TcpOptions(), b"")
    >>> skb.ip = Datagram(bytes(4), bytes(4), 6)
    >>> skb.destination_mac = skb.source_mac = bytes(6)
    >>> full_segments(skb).shape
    (2, 64)
    """
    import numpy as np  # noqa: PLC0415 - only where super-packets are cut into bytes

    tcp, ip, size = skb.tcp, skb.ip, skb.gso_size
    if tcp is None or ip is None:
        raise ValueError("only TCP's super-packets are cut")
    count = skb.length // size
    whole = count * size == skb.length
    transport = transport_header(skb)
    network = network_header(ip, len(transport) + size)
    headers = ethernet_header(skb) + network + transport
    out = np.empty((count, len(headers) + size), np.uint8)
    out[:, : len(headers)] = np.frombuffer(headers, np.uint8)
    payload = np.frombuffer(skb.payload, np.uint8, count * size).reshape(count, size)
    out[:, len(headers) :] = payload

    index = np.arange(count, dtype=np.int64)
    tcp_at = _LINK_BYTES + len(network)
    seq = (tcp.seq + index * size) & 0xFFFFFFFF
    _put(out, tcp_at + 4, seq, 4)
    flags = np.full(count, int(tcp.flags))
    flags[: count - 1 if whole else count] &= ~int(TcpFlag.FIN | TcpFlag.PSH)
    flags[1:] &= ~int(TcpFlag.CWR)
    out[:, tcp_at + 13] = flags
    # The parts of each checksum that all segments share, and what differs: 32-bit words fold as their halves do.
    pseudo = pseudo_header(ip.source, ip.destination, IpProtocol.TCP, len(transport) + size)
    fixed = bytearray(transport)
    fixed[4:8], fixed[13] = bytes(4), 0
    sums = sum16(fixed, sum16(pseudo)) + seq + flags + _payload_sums(payload)
    _put(out, tcp_at + 16, 0xFFFF - _fold(sums), 2)
    if len(ip.source) == 4:
        identification = (ip.identification + index) & 0xFFFF
        _put(out, _LINK_BYTES + 4, identification, 2)
        bare = bytearray(network)
        bare[4:6], bare[10:12] = bytes(2), bytes(2)
        _put(out, _LINK_BYTES + 10, 0xFFFF - _fold(sum16(bare) + identification), 2)
    return out


def _put(out: Any, at: int, values: Any, width: int) -> None:
    """Big-endian values into columns."""
    out[:, at : at + width] = values.astype(f">u{width}").view("u1").reshape(-1, width)


def _payload_sums(payload: Any) -> Any:
    """Sums of each row's bytes as big-endian words."""
    size = payload.shape[1]
    for width, kind in ((4, "<u4"), (2, "<u2")):
        if size % width == 0:
            # Summed in the machine's order: the sum of swapped words is the swapped sum (RFC 1071 section 2 B).
            sums = _fold(payload.view(kind).sum(axis=1, dtype="u8").astype("i8"))
            return sums >> 8 | (sums & 0xFF) << 8
    return payload[:, ::2].sum(axis=1, dtype="i8") * 256 + payload[:, 1::2].sum(axis=1, dtype="i8")


def _fold(sums: Any) -> Any:
    """Folded ones' complement sums; the carry of the last addition is added, too."""
    for _ in range(4):
        sums = (sums & 0xFFFF) + (sums >> 16)
    return sums
