"""Kernel: what TCP analysis adds up to, for each direction of a flow.

Knows: which flags count as what; a histogram of round-trip times. Must not know: how a flag is found (`tcp_kernel`).
The same source runs as plain Python and compiled by numba; the whole call tree stands in this file.

Round-trip times: the first EXACT of a direction are kept as they are, the first OWN of them in its row, the others in
one that it gets when it has a third (most directions do not); more of them go into a histogram of BINS
buckets, eight to a power of two from 1,024 ns up to 2**36 ns (69 s), which the direction gets from a pool. A bucket is
an eighth of its lower bound wide, so what is read from its middle is wrong by 1/16 at most.
Memory: WIDTH * 8 bytes a direction (128), 48 more where it has more than OWN measured times, 864 more where it has more
than EXACT.
Time: O(1) a segment.
"""

from __future__ import annotations

from typing import Any

from pcaptool.analyze.tcp_kernel import (
    DUPLICATE_ACK,
    FAST,
    IN_FLAGS,
    IN_SIDE,
    IN_SIZE,
    IN_STREAM,
    IN_TS,
    IN_WINDOW,
    LOST,
    OUT_ACK_RTT,
    OUT_ACKS_FRAME,
    OUT_FLAGS,
    OUT_OF_ORDER,
    RETRANSMISSION,
    RST,
    SPURIOUS,
    ZERO_WINDOW,
)
from pcaptool.engine.loads import hot

__all__ = ["BINS", "EXACT", "WIDTH", "add"]

EXACT, OWN = 8, 2
MORE = EXACT - OWN
BINS = 8 + 8 * 26
LINEAR_BITS = 10  # below 2**10 ns the eight buckets are of one width

# Columns of a direction. CLOSED_SINCE is the time of the segment that closed the window, 0 while it is open.
REXMIT, REXMIT_BYTES, REORDERED, REORDERED_BYTES, LOSTS, DUPLICATES, ZEROS, ZERO_NS, CLOSED_SINCE = (
    0, 1, 2, 3, 4, 5, 6, 7, 8,
)  # fmt: skip
# POOL is the direction's row among those of more times, then its histogram.
RTTS, RTT_MIN, RTT_SUM, RTT_MAX, POOL, FIRST = 9, 10, 11, 12, 13, 14
WIDTH = FIRST + OWN


@hot
def bucket(value: int) -> int:
    """The bucket that counts a time.

    Examples
    --------
    >>> bucket(0), bucket(1023), bucket(1024), bucket(1151), bucket(1152), bucket(1 << 60) == BINS - 1
    (0, 7, 8, 8, 9, True)
    """
    if value < 1 << LINEAR_BITS:
        return max(value, 0) >> (LINEAR_BITS - 3)
    octave = LINEAR_BITS
    while octave < 36 and value >> (octave + 1) != 0:
        octave += 1
    if octave >= 36:
        return BINS - 1
    return 8 + 8 * (octave - LINEAR_BITS) + (value >> (octave - 3)) - 8


@hot
def measured(mine: Any, value: int, more: Any, pool: Any, used: Any) -> bool:
    """Count a round-trip time; False: there is no room."""
    count = mine[RTTS]
    if count == OWN:
        if used[1] >= len(more):
            return False
        mine[POOL] = used[1]
        used[1] += 1
    elif count == EXACT:
        if used[0] >= len(pool):
            return False
        place = mine[POOL]
        mine[POOL] = used[0]
        used[0] += 1
        for k in range(OWN):
            pool[mine[POOL], bucket(mine[FIRST + k])] += 1
        for k in range(MORE):
            pool[mine[POOL], bucket(more[place, k])] += 1
    if count < OWN:
        mine[FIRST + count] = value
    elif count < EXACT:
        more[mine[POOL], count - OWN] = value
    else:
        pool[mine[POOL], bucket(value)] += 1
    mine[RTT_MIN] = value if count == 0 else min(mine[RTT_MIN], value)
    mine[RTT_MAX] = value if count == 0 else max(mine[RTT_MAX], value)
    mine[RTT_SUM] += value
    mine[RTTS] = count + 1
    return True


def add(rows: Any, out: Any, start: int, sums: Any, more: Any, pool: Any, used: Any) -> int:
    """Add segments in capture order.

    Parameters
    ----------
    rows, out : int64 arrays
        Input and output of `tcp_kernel.analyze`.
    start : int
        First row to do.
    sums : (streams, 2, WIDTH) int64
    more : (room, MORE) int64
        Further times.
    pool : (room, BINS) uint32
        Histograms; zero where not used yet.
    used : (2,) int64
        How many of `pool` and of `more` are.

    Returns
    -------
    int
        The first row that was not done: all are, or `pool` or `more` is full and must grow.
    """
    height: int = rows.shape[1]
    for i in range(start, height):
        found, size = out[OUT_FLAGS, i], max(rows[IN_SIZE, i], 0)
        side = rows[IN_SIDE, i]
        if out[OUT_ACKS_FRAME, i] != 0:
            other = sums[rows[IN_STREAM, i], 1 - side]
            if not measured(other, out[OUT_ACK_RTT, i], more, pool, used):
                return i
        mine = sums[rows[IN_STREAM, i], side]
        if mine[CLOSED_SINCE] != 0 and rows[IN_WINDOW, i] != 0 and rows[IN_FLAGS, i] & RST == 0:
            mine[ZERO_NS] += max(rows[IN_TS, i] - mine[CLOSED_SINCE], 0)
            mine[CLOSED_SINCE] = 0
        if found == 0:
            continue
        if found & (RETRANSMISSION | FAST | SPURIOUS):
            mine[REXMIT] += 1
            mine[REXMIT_BYTES] += size
        if found & OUT_OF_ORDER:
            mine[REORDERED] += 1
            mine[REORDERED_BYTES] += size
        if found & LOST:
            mine[LOSTS] += 1
        if found & DUPLICATE_ACK:
            mine[DUPLICATES] += 1
        if found & ZERO_WINDOW:
            mine[ZEROS] += 1
            if mine[CLOSED_SINCE] == 0:
                mine[CLOSED_SINCE] = rows[IN_TS, i]
    return height
