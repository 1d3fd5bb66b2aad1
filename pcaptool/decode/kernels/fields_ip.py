"""Kernel: the columns of the ip table.

Knows: RFC 791, RFC 8200. One call fills a run of rows that `chain` wrote.
"""

from __future__ import annotations

from typing import Any

from pcaptool.decode.kernels.codes import R_A, R_AT, R_B, R_C, R_D, R_DEPTH, R_END, R_PACKET, R_QUOTED, R_WIRE
from pcaptool.engine.loads import be16, be32, hot, sum16

__all__ = ["ip_fields", "is_whole"]

BAD, GOOD, UNVERIFIED = 0, 1, 2


def ip_fields(data: Any, first_n: int, count: int, rows: Any, fully: int, columns: Any, lists: Any) -> None:
    """Fixed fields of both versions, and which options and extensions there are; what a version has not is 0.

    Parameters
    ----------
    data : uint8 array
    first_n : int
        Number of the run's first packet.
    count : int
        Rows.
    rows : (capacity, ROW_SIZES) int64 array
    fully : int
        Whether options, extensions and checksums are looked at; else `lists` and the status mean nothing.
    columns : tuple of arrays
        n, depth, version, src, dst, hdr_len, dsfield, len, id, flags, frag_offset, ttl, proto, checksum,
        checksum_status, flow_label, payload_bytes, quoted.
    lists : tuple of arrays
        options_at, options, extensions_at, extensions: offsets have one element more than rows.
    """
    options_at, options, extensions_at, extensions = lists
    options_at[0] = 0
    extensions_at[0] = 0
    (
        n,
        depth,
        version,
        src,
        dst,
        hdr_len,
        dsfield,
        length,
        ident,
        flags,
        frag_offset,
        ttl,
        proto,
        checksum,
        status,
        flow_label,
        payload,
        quoted,
    ) = columns
    for row in range(count):
        at = rows[row, R_AT]
        n[row] = first_n + rows[row, R_PACKET]
        depth[row] = rows[row, R_DEPTH]
        quoted[row] = rows[row, R_QUOTED]
        src[row] = rows[row, R_A]
        dst[row] = rows[row, R_B]
        proto[row] = rows[row, R_C]
        behind = rows[row, R_D]
        hdr_len[row] = behind - at
        payload[row] = max(rows[row, R_WIRE] - behind, 0)
        if data[at] >> 4 == 4:
            version[row] = 4
            dsfield[row] = data[at + 1]
            length[row] = be16(data, at + 2)
            ident[row] = be16(data, at + 4)
            where = be16(data, at + 6)
            flags[row] = where >> 13
            frag_offset[row] = (where & 0x1FFF) * 8
            ttl[row] = data[at + 8]
            checksum[row] = be16(data, at + 10)
            flow_label[row] = 0
            if not fully:
                continue
            end = min(behind, rows[row, R_END])
            extensions_at[row + 1] = extensions_at[row]
            if behind == end == at + 20:
                options_at[row + 1] = options_at[row]
                status[row] = GOOD if is_whole(data, at) else BAD
                continue
            options_at[row + 1] = option_types(data, at + 20, end, options, options_at[row])
            if behind > rows[row, R_END]:
                status[row] = UNVERIFIED
            else:
                status[row] = GOOD if sum16(data, at, behind, 0) == 0xFFFF else BAD
        else:
            word = be32(data, at)
            version[row] = 6
            dsfield[row] = (word >> 20) & 255
            flow_label[row] = word & 0xFFFFF
            length[row] = be16(data, at + 4)
            ttl[row] = data[at + 7]
            ident[row] = 0
            flags[row] = 0
            frag_offset[row] = 0
            checksum[row] = 0
            if not fully:
                continue
            status[row] = UNVERIFIED
            options_at[row + 1] = options_at[row]
            extensions_at[row + 1] = extension_types(data, at, behind, extensions, extensions_at[row])


@hot
def is_whole(data: Any, at: int) -> bool:
    """Whether the checksum of a header without options is right: what `sum16` finds, in one step."""
    total = (
        be32(data, at) + be32(data, at + 4) + be32(data, at + 8) + be32(data, at + 12) + be32(data, at + 16)
    )
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return (total & 0xFFFF) + (total >> 16) == 0xFFFF


def option_types(data: Any, at: int, end: int, types: Any, count: int) -> int:
    """Types of IPv4 options (RFC 791 section 3.1), up to the end mark or a length that does not fit."""
    while at < end:
        kind = data[at]
        types[count] = kind
        count += 1
        if kind == 0:
            break
        if kind == 1:
            at += 1
            continue
        if at + 2 > end or data[at + 1] < 2:
            break
        at += data[at + 1]
    return count


def extension_types(data: Any, at: int, end: int, types: Any, count: int) -> int:
    """Protocol numbers of the extension headers before `end`, which `chain` has found whole."""
    kind = data[at + 6]
    at += 40
    while at < end and kind in (0, 43, 44, 60):
        types[count] = kind
        count += 1
        size = 8 if kind == 44 else (data[at + 1] + 1) * 8
        kind = data[at]
        at += size
    return count
