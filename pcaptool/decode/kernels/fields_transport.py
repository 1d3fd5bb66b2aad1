"""Kernel: the columns of the tcp and udp tables.

Knows: RFC 9293, 7323, 2018, 5925, 7413, 8684, 768. One call fills a run of rows that `chain` wrote.
Options: the first occurrence of a kind gives the value; a length that does not fit ends the list.
"""

from __future__ import annotations

from typing import Any

from pcaptool.decode.kernels.codes import R_AT, R_DEPTH, R_END, R_IP, R_PACKET, R_QUOTED, R_WIRE
from pcaptool.decode.kernels.sums import NOT_PRESENT, PARTIAL, UNVERIFIED, segment_status
from pcaptool.engine.loads import be16, be32, hot

__all__ = [
    "HAS_AUTHENTICATION",
    "HAS_FAST_OPEN",
    "HAS_MSS",
    "HAS_SACK_PERM",
    "HAS_STAMPS",
    "HAS_WSCALE",
    "ONLY_STAMPS",
    "tcp_fields",
    "udp_fields",
]

# Two NOPs and timestamps: all options of most segments (RFC 7323 appendix A).
ONLY_STAMPS = 0x0101080A

HAS_MSS, HAS_WSCALE, HAS_SACK_PERM, HAS_STAMPS, HAS_FAST_OPEN, HAS_AUTHENTICATION = 1, 2, 4, 8, 16, 32


def tcp_fields(
    data: Any,
    first_n: int,
    offsets: Any,
    count: int,
    rows: Any,
    ip_rows: Any,
    sums: int,
    options: int,
    columns: Any,
    option_columns: Any,
    lists: Any,
) -> int:
    """Fixed fields, options and checksum.

    Parameters
    ----------
    offsets : int64 array
        Where each packet of the run begins.
    sums : int
        Whether checksums are computed; else their status means nothing.
    options : int
        Whether options are read; else what follows of them means nothing.
    columns : tuple of arrays
        n, depth, srcport, dstport, seq_raw, ack_raw, hdr_len, flags, window, checksum, checksum_status,
        checksum_partial, urgent_pointer, len (-1: unknown), payload_offset, quoted.
    option_columns : tuple of arrays
        has (HAS_*), mss, wscale, tsval, tsecr, bytes of the Fast Open cookie, KeyID, RNextKeyID.
    lists : tuple of arrays
        kinds_at, kinds, sack_at, sack_left, sack_right, subtypes_at, subtypes (of MPTCP): offsets have one
        element more than rows.
    """
    (
        n,
        depth,
        srcport,
        dstport,
        seq_raw,
        ack_raw,
        hdr_len,
        flags,
        window,
        checksum,
        status,
        partial,
        urgent,
        length,
        payload_offset,
        quoted,
    ) = columns
    kinds_at, _kinds, sack_at, _sack_left, _sack_right, subtypes_at, _subtypes = lists
    kinds_at[0] = 0
    sack_at[0] = 0
    subtypes_at[0] = 0
    for row in range(count):
        at = rows[row, R_AT]
        end = rows[row, R_END]
        wire = rows[row, R_WIRE]
        packet = rows[row, R_PACKET]
        n[row] = first_n + packet
        depth[row] = rows[row, R_DEPTH]
        quoted[row] = rows[row, R_QUOTED]
        srcport[row] = be16(data, at)
        dstport[row] = be16(data, at + 2)
        seq_raw[row] = be32(data, at + 4)
        ack_raw[row] = be32(data, at + 8)
        word = be16(data, at + 12)
        head = (word >> 12) * 4
        hdr_len[row] = head
        flags[row] = word & 0xFFF
        window[row] = be16(data, at + 14)
        checksum[row] = be16(data, at + 16)
        urgent[row] = be16(data, at + 18)
        length[row] = wire - at - head if head >= 20 and wire >= at + head else -1
        payload_offset[row] = at + head - offsets[packet]
        if sums:
            what = segment_status(data, at, end, wire, 6, ip_rows, rows[row, R_IP], 16)
            status[row] = what & 15
            partial[row] = 1 if what & PARTIAL else 0
        if options and head == 32 and at + 32 <= end and be32(data, at + 20) == ONLY_STAMPS:
            only_stamps(data, at + 24, row, option_columns, lists)
        elif options:
            tcp_options(data, at + 20, min(at + head, end), row, option_columns, lists)
    return count


@hot
def only_stamps(data: Any, at: int, row: int, columns: Any, lists: Any) -> None:
    """What `tcp_options` does of ONLY_STAMPS, in one step; their values stand at `at`."""
    has, mss, wscale, tsval, tsecr, cookie, key, next_key = columns
    kinds_at, kinds, sack_at, _left, _right, subtypes_at, _subtypes = lists
    count = kinds_at[row]
    kinds[count] = 1
    kinds[count + 1] = 1
    kinds[count + 2] = 8
    has[row] = HAS_STAMPS
    tsval[row] = be32(data, at)
    tsecr[row] = be32(data, at + 4)
    mss[row] = 0
    wscale[row] = 0
    cookie[row] = 0
    key[row] = 0
    next_key[row] = 0
    kinds_at[row + 1] = count + 3
    sack_at[row + 1] = sack_at[row]
    subtypes_at[row + 1] = subtypes_at[row]


@hot
def tcp_options(data: Any, at: int, end: int, row: int, columns: Any, lists: Any) -> None:
    """The options of one header; its elements of the lists stand behind those of the row before."""
    has, mss, wscale, tsval, tsecr, cookie, key, next_key = columns
    kinds_at, kinds, sack_at, sack_left, sack_right, subtypes_at, subtypes = lists
    kind_count = kinds_at[row]
    sack_count = sack_at[row]
    subtype_count = subtypes_at[row]
    seen = 0
    cookie[row] = 0
    key[row] = 0
    next_key[row] = 0
    mss[row] = 0
    wscale[row] = 0
    tsval[row] = 0
    tsecr[row] = 0
    while at < end:
        kind = data[at]
        if kind <= 1:
            kinds[kind_count] = kind
            kind_count += 1
            at += 1
            if kind == 0 and at < end and data[at] != 0:
                break  # behind the end mark only its own padding is shown
            continue
        if at + 2 > end:
            break
        size = data[at + 1]
        if size < 2 or at + size > end:
            break
        kinds[kind_count] = kind
        kind_count += 1
        if kind == 8 and size == 10 and not seen & HAS_STAMPS:
            seen |= HAS_STAMPS
            tsval[row] = be32(data, at + 2)
            tsecr[row] = be32(data, at + 6)
        elif kind == 5 and size >= 10 and size % 8 == 2:
            for block in range(at + 2, at + size, 8):
                sack_left[sack_count] = be32(data, block)
                sack_right[sack_count] = be32(data, block + 4)
                sack_count += 1
        elif kind == 2 and size == 4 and not seen & HAS_MSS:
            seen |= HAS_MSS
            mss[row] = be16(data, at + 2)
        elif kind == 3 and size == 3 and not seen & HAS_WSCALE:
            seen |= HAS_WSCALE
            wscale[row] = data[at + 2]
        elif kind == 4 and size == 2:
            seen |= HAS_SACK_PERM
        elif kind == 30 and size >= 3:
            subtypes[subtype_count] = data[at + 2] >> 4
            subtype_count += 1
        elif kind == 34 and not seen & HAS_FAST_OPEN:
            seen |= HAS_FAST_OPEN
            cookie[row] = size - 2
        elif kind == 29 and size >= 4 and not seen & HAS_AUTHENTICATION:
            seen |= HAS_AUTHENTICATION
            key[row] = data[at + 2]
            next_key[row] = data[at + 3]
        at += size
    has[row] = seen
    kinds_at[row + 1] = kind_count
    sack_at[row + 1] = sack_count
    subtypes_at[row + 1] = subtype_count


def udp_fields(
    data: Any, first_n: int, offsets: Any, count: int, rows: Any, ip_rows: Any, sums: int, columns: Any
) -> int:
    """All fields of UDP; without `sums` the status of checksums means nothing.

    `columns`: n, depth, srcport, dstport, length, checksum, checksum_status, checksum_partial, payload_offset,
    payload_bytes, quoted.
    """
    n, depth, srcport, dstport, length, checksum, status, partial, payload_offset, payload, quoted = columns
    for row in range(count):
        at = rows[row, R_AT]
        packet = rows[row, R_PACKET]
        n[row] = first_n + packet
        depth[row] = rows[row, R_DEPTH]
        quoted[row] = rows[row, R_QUOTED]
        srcport[row] = be16(data, at)
        dstport[row] = be16(data, at + 2)
        size = be16(data, at + 4)
        length[row] = size
        checksum[row] = be16(data, at + 6)
        payload_offset[row] = at + 8 - offsets[packet]
        payload[row] = max(size - 8, 0)
        what = NOT_PRESENT
        if at + size > rows[row, R_WIRE] and be16(data, at + 6) != 0:
            what = UNVERIFIED  # longer than the packet that it came in
        elif sums and be16(data, at + 6) != 0:
            wire = min(rows[row, R_WIRE], at + max(size, 8))
            end = min(rows[row, R_END], wire)
            what = segment_status(data, at, end, wire, 17, ip_rows, rows[row, R_IP], 6)
        status[row] = what & 15
        partial[row] = 1 if what & PARTIAL else 0
    return count
