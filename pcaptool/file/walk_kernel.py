"""Kernel: from record to record of a pcap file, from packet block to packet block of a pcapng section.

Knows: record headers, Enhanced Packet Blocks and their flags option, resolution of times.
Must not know: files; other blocks (`file.pcapng` reads those and calls again).

Results go to arrays, one element a packet; `state` says why the walk stopped.
"""

from __future__ import annotations

from typing import Any

from pcaptool.engine.loads import be16, be32, le16, le32

__all__ = ["STOP_DAMAGED", "STOP_FULL", "STOP_OTHER", "STOP_SHORT", "walk_pcap", "walk_pcapng"]

STOP_FULL, STOP_SHORT, STOP_OTHER, STOP_DAMAGED = 0, 1, 2, 3

# state[...]: where the walk stopped, why, and how many bytes from there on it wants to see.
AT, STOP, NEED = 0, 1, 2

BLOCK_PACKET = 6
OPTION_END, OPTION_COMMENT, OPTION_FLAGS = 0, 1, 2
MAX_TIME = 0x7FFFFFFFFFFFFFFF


def walk_pcap(data: Any, end: int, limit: int, header: Any, largest: int, state: Any, columns: Any) -> int:
    """Records of a pcap file.

    Parameters
    ----------
    data : uint8 array
    end : int
        Bytes of it that are valid.
    limit : int
        Records to take at most.
    header : int64 array
        Big-endian (0, 1), nanoseconds in a unit of the fraction, bytes of a record header.
    largest : int
        Captured bytes beyond which a record is damage.
    state : int64 array
        In: where to begin. Out: AT, STOP, NEED.
    columns : tuple of arrays
        offsets, ts_ns, cap_len, orig_len.
    """
    offsets, ts_ns, cap_len, orig_len = columns
    big, unit, head = header[0], header[1], header[2]
    at = state[AT]
    count = 0
    state[STOP] = STOP_FULL
    state[NEED] = 0
    while count < limit:
        if at + head > end:
            state[STOP], state[NEED] = STOP_SHORT, head
            break
        if big:
            seconds, fraction = be32(data, at), be32(data, at + 4)
            captured, original = be32(data, at + 8), be32(data, at + 12)
        else:
            seconds, fraction = le32(data, at), le32(data, at + 4)
            captured, original = le32(data, at + 8), le32(data, at + 12)
        if captured > largest:
            state[STOP] = STOP_DAMAGED
            break
        if at + head + captured > end:
            state[STOP], state[NEED] = STOP_SHORT, head + captured
            break
        offsets[count] = at + head
        ts_ns[count] = seconds * 1_000_000_000 + fraction * unit
        cap_len[count] = captured
        orig_len[count] = original
        count += 1
        at += head + captured
    state[AT] = at
    return count


def nanoseconds(high: int, low: int, clock: Any, interface: int) -> int:
    """A pcapng time as nanoseconds; what does not fit 64 bits becomes the largest or smallest time.

    `clock` has a row per interface: largest tick, multiplier, divisor, binary digits, offset.
    """
    if high >= 0x80000000:
        return MAX_TIME
    ticks = (high << 32) | low
    if ticks > clock[interface, 0]:
        return MAX_TIME
    shift: int = clock[interface, 3]
    offset: int = clock[interface, 4]
    if shift:
        fraction = ticks & ((1 << shift) - 1)
        drop = shift - 30 if shift > 30 else 0
        part = ((fraction >> drop) * 1_000_000_000) >> (shift - drop)
        return (ticks >> shift) * 1_000_000_000 + part + offset
    multiplier: int = clock[interface, 1]
    divisor: int = clock[interface, 2]
    return ticks * multiplier // divisor + offset


def options_of(data: Any, at: int, end: int, big: int) -> tuple[int, int]:
    """The flags of a packet block (-1: none), and whether it has comments."""
    flags = -1
    comments = 0
    while at + 4 <= end:
        code = be16(data, at) if big else le16(data, at)
        size = be16(data, at + 2) if big else le16(data, at + 2)
        if code == OPTION_END or at + 4 + size > end:
            break
        if code == OPTION_FLAGS and size == 4:
            flags = be32(data, at + 4) if big else le32(data, at + 4)
        elif code == OPTION_COMMENT:
            comments = 1
        at += 4 + ((size + 3) & -4)
    return flags, comments


def walk_pcapng(
    data: Any, end: int, limit: int, big: int, largest: int, clock: Any, state: Any, columns: Any
) -> int:
    """Enhanced Packet Blocks, up to the first other block.

    Parameters
    ----------
    data, end, limit, largest, state
        As in `walk_pcap`.
    big : int
        Byte order of the section.
    clock : (interfaces, 5) int64 array
        See `nanoseconds`; its height bounds the interface numbers.
    columns : tuple of arrays
        offsets, ts_ns, cap_len, orig_len, interface, flags, has_comments.
    """
    offsets, ts_ns, cap_len, orig_len, interface, flags, has_comments = columns
    at = state[AT]
    count = 0
    state[STOP] = STOP_FULL
    state[NEED] = 0
    while count < limit:
        if at + 12 > end:
            state[STOP], state[NEED] = STOP_SHORT, 12
            break
        kind = be32(data, at) if big else le32(data, at)
        size = be32(data, at + 4) if big else le32(data, at + 4)
        if kind != BLOCK_PACKET:
            state[STOP] = STOP_OTHER
            break
        if size < 32 or size % 4 != 0 or size > largest + 65_536:
            state[STOP] = STOP_DAMAGED
            break
        if at + size > end:
            state[STOP], state[NEED] = STOP_SHORT, size
            break
        if big:
            number, high, low = be32(data, at + 8), be32(data, at + 12), be32(data, at + 16)
            captured, original = be32(data, at + 20), be32(data, at + 24)
        else:
            number, high, low = le32(data, at + 8), le32(data, at + 12), le32(data, at + 16)
            captured, original = le32(data, at + 20), le32(data, at + 24)
        behind = at + 28 + ((captured + 3) & -4)
        if number >= len(clock) or captured > largest or behind > at + size - 4:
            state[STOP] = STOP_DAMAGED
            break
        offsets[count] = at + 28
        ts_ns[count] = nanoseconds(high, low, clock, number)
        cap_len[count] = captured
        orig_len[count] = original
        interface[count] = number
        flags[count], has_comments[count] = options_of(data, behind, at + size - 4, big)
        count += 1
        at += size
    state[AT] = at
    return count
