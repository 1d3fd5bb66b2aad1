"""Kernel: clocks of what each sender waited for, read off at every packet.

Knows: how to give the time between two packets of a conversation to what its senders waited for then
(`sender_kernel` says what). Must not know: messages, columns, tables.

Each direction has five clocks, all in nanoseconds: idle, application, receive window, congestion window, and
repetition. A gap between data packets that ends with a repetition is taken from the others and given to the last one:
the time was spent on the loss. So between two data packets of a direction its clocks advance together by exactly the
time that passed, or less where the sender's state is not known or time runs backwards, never more.
The same source runs as plain Python and compiled by numba; the whole call tree stands in this file.

Memory: WIDTH * 8 bytes (224) a conversation with data or a measured round trip. Time: O(1) a segment.
"""

from __future__ import annotations

from typing import Any

__all__ = ["OUT_SIDE_WIDTH", "OUT_WIDTH", "WIDTH", "follow"]

# Input columns. REPEATS: 0 new, 1 a repetition, 2 one of what was acknowledged; WAITS: what the originator waits for
# behind this packet (IDLE ... CONGESTION of `sender_kernel`), the responder's times 8; RTT: time since what it
# acknowledges, 0 where it is not known.
IN_FLOW, IN_SIDE, IN_TS, IN_DATA, IN_REPEATS, IN_WAITS, IN_RTT, IN_INITIAL, IN_WIDTH = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
)

CLOCKS, REPETITION = 5, 4
DROPPED = -1
# Columns of a conversation, and of its directions.
LAST_TS, INITIAL, SIDE = 0, 1, 2
HAS_SENT, WAITS, CLOCK, SAVED, REPEATED_TS, RTT, SIDE_WIDTH = 0, 1, 2, 7, 11, 12, 13
WIDTH = SIDE + 2 * SIDE_WIDTH
# Output: each direction's clocks, time of its last repetition (0: none), least round trip to its host (0: none);
# then the handshake's time.
OUT_REPEATED_TS, OUT_RTT, OUT_SIDE_WIDTH = 5, 6, 7
OUT_INITIAL, OUT_WIDTH = 14, 15


def pass_time(mine: Any, now: int) -> None:
    """Advance the clock that each direction is on."""
    elapsed = now - mine[LAST_TS]
    if elapsed <= 0:
        return
    mine[LAST_TS] = now
    for side in range(2):
        at = SIDE + side * SIDE_WIDTH
        if mine[at + WAITS] > 0:
            mine[at + CLOCK + mine[at + WAITS] - 1] += elapsed


def sent(mine: Any, at: int, repeats: int, now: int) -> None:
    """A data packet: what has passed since the one before it is settled."""
    if repeats != 0 and mine[at + HAS_SENT] != 0:
        for k in range(REPETITION):
            mine[at + CLOCK + REPETITION] += mine[at + CLOCK + k] - mine[at + SAVED + k]
            mine[at + CLOCK + k] = mine[at + SAVED + k]
    if repeats == 1:
        mine[at + REPEATED_TS] = now
    for k in range(REPETITION):
        mine[at + SAVED + k] = mine[at + CLOCK + k]
    mine[at + HAS_SENT] = 1


def follow(rows: Any, start: int, slots: Any, state: Any, free: Any, used: Any, out: Any) -> int:
    """Follow conversations in capture order.

    Parameters
    ----------
    rows : (IN_WIDTH, segments) int64
        Input columns, IN_*.
    start : int
        First row to do.
    slots : (flows,) int32
        Row of `state` + 1, or 0; DROPPED where nobody asks any more.
    state : (room, WIDTH) int64
        Conversations; zero where not used.
    free : (room,) int32
        Rows that are not used: the last of them is taken first.
    used : (1,) int64
        How many rows are in use.
    out : (OUT_WIDTH, segments) int64
        Output columns, OUT_*; zero before.

    Returns
    -------
    int
        The first row that was not done: all are, or `state` must grow.
    """
    height: int = rows.shape[1]
    for i in range(start, height):
        row = rows[:, i]
        flow = row[IN_FLOW]
        if slots[flow] == DROPPED:
            continue
        if slots[flow] == 0:
            if row[IN_DATA] == 0 and row[IN_RTT] <= 0:
                continue
            if used[0] >= len(state):
                return i
            used[0] += 1
            slots[flow] = free[len(free) - used[0]] + 1
            state[slots[flow] - 1, LAST_TS] = row[IN_TS]
        mine = state[slots[flow] - 1]
        pass_time(mine, row[IN_TS])
        at = SIDE + row[IN_SIDE] * SIDE_WIDTH
        if row[IN_DATA] != 0:
            sent(mine, at, row[IN_REPEATS], row[IN_TS])
        mine[SIDE + WAITS], mine[SIDE + SIDE_WIDTH + WAITS] = row[IN_WAITS] & 7, row[IN_WAITS] >> 3
        if row[IN_RTT] > 0 and (mine[at + RTT] == 0 or row[IN_RTT] < mine[at + RTT]):
            mine[at + RTT] = row[IN_RTT]
        if row[IN_INITIAL] > 0:
            mine[INITIAL] = row[IN_INITIAL]
        for side in range(2):
            begin, place = SIDE + side * SIDE_WIDTH, side * OUT_SIDE_WIDTH
            for k in range(CLOCKS):
                out[place + k, i] = mine[begin + CLOCK + k]
            out[place + OUT_REPEATED_TS, i] = mine[begin + REPEATED_TS]
            out[place + OUT_RTT, i] = mine[begin + RTT]
        out[OUT_INITIAL, i] = mine[INITIAL]
    return height
