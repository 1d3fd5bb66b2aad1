"""Kernels: sequence numbers without wrap-around, and what kind each packet is, in one pass over a side.

Knows: sequence arithmetic over a whole direction (RFC 9293 3.4), `units.relative`'s kinds as numbers.
Must not know: bytes, the other side.
Numbers count from the first one of their direction; `skim` moves them once the initial ones are known.
Time: O(1) a packet. Memory: what the caller passes.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "ACK",
    "DATA",
    "DATAGRAM",
    "FIN",
    "KINDS",
    "NONE",
    "OTHER",
    "PROBE",
    "RST",
    "SYN",
    "SYN_ACK",
    "WIDTH",
    "number",
]

# Kinds, and their names in `units`.
OTHER, SYN, SYN_ACK, RST, DATA, FIN, PROBE, ACK, DATAGRAM = -1, 0, 1, 2, 3, 4, 5, 6, 7
KINDS = ("syn", "syn-ack", "rst", "data", "fin", "probe", "ack", "datagram")

NONE = -(1 << 62)  # no such number

# Columns of a direction's row (2 * flow + side). Numbers are raw where they say so, else as described above.
SEEN, LAST_SEQ, PLACE, ACKED, LAST_ACK, ACK_PLACE, REACH = 0, 1, 2, 3, 4, 5, 6
ANY_RAW, SYN_RAW, NEXT_RAW, FIRST_ACK_RAW, HAS_SYN, PAYLOAD, FIRST_TS, FIRST_DATA_N = (
    7,
    8,
    9,
    10,
    11,
    12,
    13,
    14,
)
WIDTH = 15

FLAG_FIN, FLAG_SYN, FLAG_RST, FLAG_ACK = 1, 2, 4, 16
# Columns of the rows and results of `analyze.flow_kernel.track`.
IN_PROTOCOL, IN_N, IN_TS, IN_PAYLOAD, IN_SEQ, IN_ACK, IN_FLAGS = 0, 5, 6, 8, 9, 10, 11
OUT_FLOW, OUT_SIDE = 0, 1


def step(value: int, before: int) -> int:
    """Signed distance of two 32-bit numbers."""
    return ((value - before + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


def firsts(ways: Any, g: int, rows: Any, i: int) -> None:
    """Remember what the first packets of a direction say."""
    if ways[g, SEEN] == 0:
        ways[g, SEEN] = 1
        ways[g, ANY_RAW] = rows[i, IN_SEQ]
        ways[g, SYN_RAW], ways[g, NEXT_RAW], ways[g, FIRST_ACK_RAW], ways[g, REACH] = NONE, NONE, NONE, NONE
        ways[g, FIRST_TS] = rows[i, IN_TS]
    ways[g, FIRST_TS] = min(ways[g, FIRST_TS], rows[i, IN_TS])
    if rows[i, IN_PAYLOAD] > 0:
        ways[g, PAYLOAD] += rows[i, IN_PAYLOAD]
        if ways[g, FIRST_DATA_N] == 0:
            ways[g, FIRST_DATA_N] = rows[i, IN_N]
    if rows[i, IN_PROTOCOL] != 6:
        return
    flags = rows[i, IN_FLAGS]
    if flags & FLAG_SYN:
        if ways[g, SYN_RAW] == NONE:
            ways[g, SYN_RAW] = rows[i, IN_SEQ]
        if flags & (FLAG_ACK | FLAG_RST) == 0:
            ways[g, HAS_SYN] = 1
    elif flags & FLAG_RST == 0 and ways[g, NEXT_RAW] == NONE:
        ways[g, NEXT_RAW] = rows[i, IN_SEQ]
    if flags & FLAG_ACK and ways[g, FIRST_ACK_RAW] == NONE:
        ways[g, FIRST_ACK_RAW] = rows[i, IN_ACK]


def kind_of(flags: int, size: int, place: int, reach: int) -> int:
    """What a segment is; `reach` is the highest number its direction had sent before, or `NONE`."""
    if flags & FLAG_RST:
        return RST
    if flags & FLAG_SYN:
        return SYN_ACK if flags & FLAG_ACK else SYN
    if size > 0:
        return DATA
    if flags & FLAG_FIN:
        return FIN
    return PROBE if reach != NONE and place == reach - 1 else ACK


def number(rows: Any, tracked: Any, ways: Any, packets: Any) -> None:
    """All rows of a run.

    Parameters
    ----------
    rows, tracked : as `flow_kernel.track` takes and fills them
    ways : (2 * flows, WIDTH) int64 array
        Kept from run to run.
    packets : (group, start, size, ack, kind)
        An element a row, written: 2 * flow + side, where it begins, sequence numbers it takes,
        acknowledgement or `NONE`, kind.
    """
    group, start, space, acked, kind = packets
    for i in range(len(rows)):
        g = 2 * tracked[i, OUT_FLOW] + tracked[i, OUT_SIDE]
        firsts(ways, g, rows, i)
        group[i] = g
        if rows[i, IN_PROTOCOL] != 6:
            start[i], space[i], acked[i], kind[i] = NONE, 0, NONE, DATAGRAM
            continue
        flags, size = rows[i, IN_FLAGS], rows[i, IN_PAYLOAD]
        ways[g, PLACE] += step(rows[i, IN_SEQ], ways[g, LAST_SEQ] if ways[g, SEEN] == 2 else rows[i, IN_SEQ])
        ways[g, SEEN], ways[g, LAST_SEQ] = 2, rows[i, IN_SEQ]
        place = ways[g, PLACE]
        acked[i] = NONE
        if flags & FLAG_ACK:
            ways[g, ACK_PLACE] += step(
                rows[i, IN_ACK], ways[g, LAST_ACK] if ways[g, ACKED] else rows[i, IN_ACK]
            )
            ways[g, ACKED], ways[g, LAST_ACK] = 1, rows[i, IN_ACK]
            acked[i] = ways[g, ACK_PLACE]
        takes = size + (1 if flags & FLAG_SYN else 0) + (1 if flags & FLAG_FIN else 0)
        kind[i] = kind_of(flags, size, place, ways[g, REACH])
        start[i], space[i] = place, takes
        if ways[g, REACH] == NONE or place + takes > ways[g, REACH]:
            ways[g, REACH] = place + takes
