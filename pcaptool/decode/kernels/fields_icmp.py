"""Kernel: the columns of the icmp and igmp tables. Knows: RFC 792, RFC 4443, RFC 2236, RFC 3376."""

from __future__ import annotations

from typing import Any

from pcaptool.decode.kernels.codes import (
    F_IPV4,
    R_A,
    R_AT,
    R_DEPTH,
    R_END,
    R_IP,
    R_PACKET,
    R_QUOTED,
    R_WIRE,
)
from pcaptool.decode.kernels.names import number_of
from pcaptool.decode.kernels.sums import BAD, GOOD, UNVERIFIED, segment_status
from pcaptool.engine.loads import be16, be32, sum16

__all__ = ["icmp_fields", "igmp_fields"]


def icmp_fields(data: Any, first_n: int, count: int, rows: Any, ip_rows: Any, columns: Any) -> int:
    """`columns`: n, depth, version, type, code, checksum, checksum_status, ident, seq (-1 where not an echo)."""
    n, depth, version, kind, code, checksum, status, ident, seq, quoted = columns
    for row in range(count):
        at = rows[row, R_AT]
        end = rows[row, R_END]
        wire = rows[row, R_WIRE]
        four = rows[row, R_A] == 4
        n[row] = first_n + rows[row, R_PACKET]
        depth[row] = rows[row, R_DEPTH]
        version[row] = rows[row, R_A]
        kind[row] = data[at]
        code[row] = data[at + 1]
        checksum[row] = be16(data, at + 2)
        quoted[row] = rows[row, R_QUOTED]
        if end < wire or rows[row, R_QUOTED]:
            status[row] = UNVERIFIED
        elif four:
            status[row] = GOOD if sum16(data, at, end, 0) == 0xFFFF else BAD
        else:
            status[row] = segment_status(data, at, end, wire, 58, ip_rows, rows[row, R_IP], 2) & 15
        echo = (data[at] in (0, 8) or 13 <= data[at] <= 18) if four else data[at] in (128, 129)
        ident[row] = -1
        seq[row] = -1
        if echo and at + 8 <= end:
            ident[row] = be16(data, at + 4)
            seq[row] = be16(data, at + 6)
    return count


def igmp_fields(data: Any, first_n: int, count: int, rows: Any, names: Any, columns: Any) -> int:
    """`columns`: n, type, max_resp, checksum, number of the group's address (-1 in version 3's reports)."""
    n, kind, max_resp, checksum, group = columns
    keys, slots, counts = names
    for row in range(count):
        at = rows[row, R_AT]
        n[row] = first_n + rows[row, R_PACKET]
        kind[row] = data[at]
        max_resp[row] = data[at + 1]
        checksum[row] = be16(data, at + 2)
        group[row] = -1
        if data[at] != 0x22:
            group[row] = number_of(0, be32(data, at + 4), F_IPV4, keys, slots, counts)
    return count
