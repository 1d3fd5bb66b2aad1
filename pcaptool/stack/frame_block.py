"""The segments of a super-packet as bytes, all at once.

Knows: a super-packet's full-size segments differ in sequence number, IPv4 ID, flags and checksums; arrays.
Must not know: what a segment's flags mean beyond `segment`'s rules, which it repeats: a test compares the two.
Complexity: O(bytes), a few array operations for a super-packet however many segments it has: about 1 us a segment.
`generate.segments_kernel` does the same as machine code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pcaptool.stack.frame_bytes import ethernet_header, network_header, transport_header
from pcaptool.stack.skbuff import SkBuff
from pcaptool.wire.checksum import pseudo_header, sum16
from pcaptool.wire.ip import IpProtocol
from pcaptool.wire.tcp import TcpFlag

if TYPE_CHECKING:
    import numpy as np

__all__ = ["LINK_BYTES", "SegmentRun", "full_segments", "segment_run"]

LINK_BYTES = 14


class SegmentRun(NamedTuple):
    """What the full-size segments of a super-packet have in common, and the values of the first.

    Parameters
    ----------
    headers : bytes
        From the link header on.
    payload : memoryview
        Of all segments.
    size, segments : int
        Payload bytes of each; how many there are.
    tcp_at : int
        Where in `headers` TCP's begins.
    seq, flags : int
    identification : int
        -1: IPv6 has none.
    whole : bool
        Whether the last of them is the super-packet's last: no short one follows.
    tcp_sum, ip_sum : int
        Folded sums of what all have in common: TCP and its pseudo-header without sequence number and flags, IPv4
        without ID.
    """

    headers: bytes
    payload: memoryview
    size: int
    segments: int
    tcp_at: int
    seq: int
    flags: int
    identification: int
    whole: bool
    tcp_sum: int
    ip_sum: int


def segment_run(skb: SkBuff) -> SegmentRun:
    """The full-size segments of a super-packet; a short last one is not among them."""
    tcp, ip, size = skb.tcp, skb.ip, skb.gso_size
    if tcp is None or ip is None:
        raise ValueError("only TCP's super-packets are cut")
    count = skb.length // size
    transport = transport_header(skb)
    network = network_header(ip, len(transport) + size)
    # The parts of each checksum that all segments share.
    fixed = bytearray(transport)
    fixed[4:8], fixed[13] = bytes(4), 0
    pseudo = pseudo_header(ip.source, ip.destination, IpProtocol.TCP, len(transport) + size)
    version4, ip_sum = len(ip.source) == 4, 0
    if version4:
        bare = bytearray(network)
        bare[4:6], bare[10:12] = bytes(2), bytes(2)
        ip_sum = sum16(bare)
    return SegmentRun(
        headers=ethernet_header(skb) + network + transport,
        payload=skb.payload[: count * size],
        size=size,
        segments=count,
        tcp_at=LINK_BYTES + len(network),
        seq=tcp.seq,
        flags=int(tcp.flags),
        identification=ip.identification if version4 else -1,
        whole=count * size == skb.length,
        tcp_sum=sum16(fixed, sum16(pseudo)),
        ip_sum=ip_sum,
    )


def full_segments(run: SegmentRun) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The segments as frames, one a row, with complete checksums.

    Examples
    --------
    >>> from pcaptool.stack.skbuff import Datagram, TcpHeader
    >>> from pcaptool.wire.tcp import TcpOptions
    >>> skb = SkBuff(1, 1, length=25, payload=memoryview(bytes(25)), gso_size=10, gso_segs=3)
    >>> skb.tcp = TcpHeader(1, 2, 0, 0, 24, 9, TcpOptions(), b"")
    >>> skb.ip = Datagram(bytes(4), bytes(4), 6)
    >>> skb.destination_mac = skb.source_mac = bytes(6)
    >>> full_segments(segment_run(skb)).shape
    (2, 64)
    """
    import numpy as np  # noqa: PLC0415 - only where super-packets are cut into bytes

    headers, size, count, tcp_at = run.headers, run.size, run.segments, run.tcp_at
    out = np.empty((count, len(headers) + size), np.uint8)
    out[:, : len(headers)] = np.frombuffer(headers, np.uint8)
    payload = np.frombuffer(run.payload, np.uint8).reshape(count, size)
    out[:, len(headers) :] = payload

    index = np.arange(count, dtype=np.int64)
    seq = (run.seq + index * size) & 0xFFFFFFFF
    _put(out, tcp_at + 4, seq, 4)
    flags = np.full(count, run.flags)
    flags[: count - 1 if run.whole else count] &= ~int(TcpFlag.FIN | TcpFlag.PSH)
    flags[1:] &= ~int(TcpFlag.CWR)
    out[:, tcp_at + 13] = flags
    # 32-bit words fold as their halves do.
    sums = run.tcp_sum + seq + flags + _payload_sums(payload)
    _put(out, tcp_at + 16, 0xFFFF - _fold(sums), 2)
    if run.identification >= 0:
        identification = (run.identification + index) & 0xFFFF
        _put(out, LINK_BYTES + 4, identification, 2)
        _put(out, LINK_BYTES + 10, 0xFFFF - _fold(run.ip_sum + identification), 2)
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
