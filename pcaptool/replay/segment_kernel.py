"""Kernel: a TCP super-packet to the segments that a network card would send.

Knows: what tcp_gso_segment (net/ipv4/tcp_offload.c) and inet_gso_segment (net/ipv4/af_inet.c), and cards with TSO, do:
the sequence number grows by the bytes before, the IPv4 ID by one a segment; FIN and PSH stand on the last segment
only, CWR on the first only (RFC 3168 section 6.1.2); lengths and checksums are each segment's own.
Must not know: why a frame is to be cut.
The size of a segment is what fits the MTU behind the headers, TCP options included; what the sender's MSS was is not
in the capture.
"""

from __future__ import annotations

from typing import Any

from pcaptool.engine.loads import be16, be32, sum16
from pcaptool.engine.system import copy_bytes
from pcaptool.replay.frame_kernel import F_L3, F_L4, F_SIZE, F_TYPE, put16, put32, transport_sum

__all__ = ["payload_room", "write_segment"]

IPV4 = 0x0800
FIN, SYN, RST, PSH, CWR = 0x01, 0x02, 0x04, 0x08, 0x80


def payload_room(data: Any, frame: Any, mtu: int) -> int:
    """TCP payload that fits a packet of `mtu` bytes; 0 where the segment must not be cut (SYN, RST) or nothing fits."""
    tcp = frame[F_L4]
    header = (data[tcp + 12] >> 4) * 4
    if header < 20 or header > frame[F_SIZE] or data[tcp + 13] & (SYN | RST):
        return 0
    return max(0, mtu - (tcp - frame[F_L3]) - header)  # type: ignore[no-any-return]


def write_segment(
    data: Any, start: int, frame: Any, at: int, count: int, number: int, out: Any, place: int, scratch: Any
) -> int:
    """Write one segment of the frame data[start:]: payload bytes `at` to `at + count`, segment `number`.

    Parameters
    ----------
    frame : int64 array
        From `read_headers`, positions in `data`.
    out : uint8 array
    place : int
        Where the segment is to begin in it.
    scratch : int64 array
        Room for the segment's own `frame`.

    Returns
    -------
    int
        Bytes of the segment.
    """
    l3, tcp = frame[F_L3], frame[F_L4]
    header = (data[tcp + 12] >> 4) * 4
    head = tcp + header - start
    copy_bytes(out, place, data, start, head)
    copy_bytes(out, place + head, data, tcp + header + at, count)
    moved = place - start
    for k in range(len(frame)):
        scratch[k] = frame[k]
    scratch[F_L3], scratch[F_L4], scratch[F_SIZE] = l3 + moved, tcp + moved, header + count
    l3, tcp = l3 + moved, tcp + moved
    if frame[F_TYPE] == IPV4:
        put16(out, l3 + 2, tcp - l3 + header + count)
        put16(out, l3 + 4, (be16(out, l3 + 4) + number) & 0xFFFF)
        put16(out, l3 + 10, 0)
        put16(out, l3 + 10, 0xFFFF - sum16(out, l3, l3 + (out[l3] & 15) * 4, 0))
    else:
        put16(out, l3 + 4, tcp - l3 - 40 + header + count)
    put32(out, tcp + 4, (be32(out, tcp + 4) + at) & 0xFFFFFFFF)
    flags = int(out[tcp + 13])
    if header + at + count < frame[F_SIZE]:
        flags &= 0xFF - FIN - PSH
    if number:
        flags &= 0xFF - CWR
    out[tcp + 13] = flags
    put16(out, tcp + 16, 0)
    put16(out, tcp + 16, transport_sum(out, scratch, header + count))
    return int(head + count)
