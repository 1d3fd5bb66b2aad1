"""Kernel: the TCP rows of a batch that belong to byte streams, as the rows that stream analyses want.

Knows: which rows are read (data, FIN, RST), where their payload is, which is the first data of its side.
Must not know: what the bytes mean; positions in a stream (`analyze.streams`).
The same source runs as plain Python and compiled by numba. Columns have their own widths: `0 +` makes a number signed
and wide.
Time: O(1) a row.
"""

from __future__ import annotations

from typing import Any

from pcaptool.engine.loads import be32

__all__ = ["segments"]

FIN, SYN, RST = 1, 2, 4
MASK32 = 0xFFFFFFFF

# Output columns: those of `segments.Segments`, in its order; the first four payload bytes as a number, zero where there
# are fewer; whether it is the first data of its side of its flow.
FLOW, SIDE, SEQ, ACK, FLAGS, SIZE, CAPTURED, START, N, TS = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
COLUMNS, WORD, FIRST, WIDTH = 10, 10, 11, 12


def segments(
    data: Any, first_n: int, offsets: Any, packets: Any, tcp: Any, first_data: Any, at: Any, out: Any
) -> int:
    """Gather them.

    Parameters
    ----------
    data : uint8 array
        The batch's window of the file.
    first_n : int
        The batch's first packet.
    offsets : int64 array
        Of each packet in `data`.
    packets : tuple of arrays
        ts, cap_len.
    tcp : tuple of arrays
        n, flags, len and where it has a value, payload_offset, flow and where it has a value, fwd, seq, ack.
    first_data : (flows, 2) uint32
        Of each flow and side, packet with its first data so far; 0: none. Written.
    at : int64 array
        Written: the row of each.
    out : (WIDTH, rows) int64
        Written.

    Returns
    -------
    int
        How many there are.
    """
    ts, cap_len = packets
    n, flags, size, sized, offset, flow, known, forward, seq, ack = tcp
    found = 0
    for row in range(len(n)):
        flag, length = 0 + flags[row], 0 + size[row]
        if not known[row] or not sized[row] or (length == 0 and flag & (FIN | RST) == 0):
            continue
        if flag & RST:
            length = 0  # a reset's text (RFC 9293 section 3.5.3) is no stream data
        packet, begin = n[row] - first_n, 0 + offset[row]
        start = offsets[packet] + begin
        captured = min(max(cap_len[packet] - begin, 0), length)
        side = 0 if forward[row] else 1
        word = 0
        if captured >= 4:
            word = be32(data, start)
        else:
            for k in range(captured):
                word |= (0 + data[start + k]) << (24 - 8 * k)
        first = 0
        if length > 0 and first_data[flow[row], side] == 0:
            first, first_data[flow[row], side] = 1, n[row]
        at[found] = row
        out[FLOW, found], out[SIDE, found], out[FLAGS, found], out[SIZE, found] = (
            flow[row],
            side,
            flag,
            length,
        )
        out[SEQ, found], out[ACK, found] = (seq[row] + ((flag & SYN) >> 1)) & MASK32, ack[row]
        out[CAPTURED, found], out[START, found] = captured, start
        out[N, found], out[TS, found] = n[row], ts[packet]
        out[WORD, found], out[FIRST, found] = word, first
        found += 1
    return found
