"""Kernel: the full-size segments of a super-packet as records of a capture file.

Knows: what differs from segment to segment (`stack.frame_block`), that records differ in nothing else.
Must not know: file formats; what stands around a packet's bytes is given.
"""

from __future__ import annotations

from typing import Any

from pcaptool.engine.loads import sum16
from pcaptool.engine.system import copy_bytes

__all__ = ["put_segments"]

FIN_PSH, CWR = 0x09, 0x80


def put_segments(
    out: Any,
    front: Any,
    payload: Any,
    back: Any,
    size: int,
    count: int,
    tcp_at: int,
    seq: int,
    flags: int,
    whole: int,
    ip_at: int,
    identification: int,
    tcp_sum: int,
    ip_sum: int,
) -> int:
    """Write `count` records, one behind the other.

    Parameters
    ----------
    out : uint8 array
        Room for all of them.
    front, back : uint8 array
        What stands before and behind a segment's payload: the record's beginning with the headers, and its end.
    payload : uint8 array
        Of all segments, `size` bytes each.
    tcp_at, ip_at : int
        Where in `front` the headers are; ip_at is -1 where the network header has no checksum.
    seq, flags, identification : int
        Of the first segment.
    whole : int
        Whether the last of these is the super-packet's last, too: FIN and PSH stand on that only.
    tcp_sum, ip_sum : int
        Of what all have in common: without these values, TCP with its pseudo-header.

    Returns
    -------
    int
        Bytes written.
    """
    at = 0
    for k in range(count):
        begin = k * size
        copy_bytes(out, at, front, 0, len(front))
        copy_bytes(out, at + len(front), payload, begin, size)
        copy_bytes(out, at + len(front) + size, back, 0, len(back))
        own_seq = (seq + begin) & 0xFFFFFFFF
        own_flags = flags if k == count - 1 and whole else flags & (0xFFFF - FIN_PSH)
        if k:
            own_flags &= 0xFFFF - CWR
        tcp = at + tcp_at
        _put16(out, tcp + 4, own_seq >> 16)
        _put16(out, tcp + 6, own_seq & 0xFFFF)
        out[tcp + 13] = own_flags & 0xFF
        total = tcp_sum + (own_seq >> 16) + (own_seq & 0xFFFF) + own_flags
        _put16(out, tcp + 16, 0xFFFF - _fold(total + sum16(payload, begin, begin + size, 0)))
        if ip_at >= 0:
            own_id = (identification + k) & 0xFFFF
            _put16(out, at + ip_at + 4, own_id)
            _put16(out, at + ip_at + 10, 0xFFFF - _fold(ip_sum + own_id))
        at += len(front) + size + len(back)
    return at


def _put16(out: Any, at: int, value: int) -> int:
    out[at] = value >> 8
    out[at + 1] = value & 0xFF
    return 0


def _fold(total: int) -> int:
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
