"""Kernel: transport checksums over the pseudo-header of the enclosing IP header.

Knows: RFC 9293 section 3.1, RFC 768, RFC 8200 section 8.1. A partial checksum is the folded sum of the
pseudo-header alone: what stands in the field while a device is still to complete it.
"""

from __future__ import annotations

from typing import Any

from pcaptool.decode.kernels.codes import R_AT, R_FINAL
from pcaptool.engine.loads import be16, hot, sum16

__all__ = ["BAD", "GOOD", "NOT_PRESENT", "PARTIAL", "UNVERIFIED", "segment_status"]

BAD, GOOD, UNVERIFIED, NOT_PRESENT = 0, 1, 2, 3
PARTIAL = 16  # beside UNVERIFIED


@hot
def pseudo_sum(data: Any, ip_rows: Any, ip_row: int, protocol: int, length: int) -> int:
    """Folded sum of the pseudo-header."""
    at = ip_rows[ip_row, R_AT]
    start = protocol + (length & 0xFFFF) + (length >> 16)
    while start >> 16:
        start = (start & 0xFFFF) + (start >> 16)
    if data[at] >> 4 == 4:
        return sum16(data, at + 12, at + 20, start)
    final = ip_rows[ip_row, R_FINAL]
    return sum16(data, at + 8, at + 24, sum16(data, final, final + 16, start))


@hot
def segment_status(
    data: Any, at: int, end: int, wire: int, protocol: int, ip_rows: Any, ip_row: int, field: int
) -> int:
    """Status of a TCP or UDP checksum; PARTIAL is added to UNVERIFIED.

    Parameters
    ----------
    at, end, wire : int
        The segment: begin, end of its captured bytes, end on the wire.
    ip_row : int
        Its IP header, -1 where there is none.
    field : int
        Position of the checksum in the header.
    """
    if ip_row < 0:
        return UNVERIFIED
    length = wire - at
    start = pseudo_sum(data, ip_rows, ip_row, protocol, length)
    if be16(data, at + field) == start:
        return UNVERIFIED | PARTIAL
    if end < wire:
        return UNVERIFIED
    return GOOD if sum16(data, at, end, start) == 0xFFFF else BAD
