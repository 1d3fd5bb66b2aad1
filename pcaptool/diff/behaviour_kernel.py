"""Kernel: how each direction of a conversation behaved: rounds, bursts, flight, recovery, timers.

Knows: places and times of segments. Must not know: the other side of a comparison, what is told of it.
A *round* begins with the first new segment after the acknowledgement of the segment that began the round before
(RFC 9406 4.1 counts rounds so). A *burst* is data of one direction without a packet of the other between, and without a
pause of a millisecond. A *recovery* begins with a repeated segment and lasts until what had been sent then is
acknowledged (RFC 6675 2: recovery point). A *timer* is a repeated segment after 200 ms without data (Linux:
TCP_RTO_MIN).
Time: O(1) a packet. Memory: what the caller passes.
"""

from __future__ import annotations

from typing import Any

__all__ = ["MEASURES", "STATE", "behave"]

NONE = -(1 << 62)
DATA = 3
BURST_NS, TIMER_NS = 1_000_000, 200_000_000

# Columns of a direction's row: what is told of it, and what is kept for that.
MEASURES = (
    "rounds",
    "bursts",
    "largest burst",
    "largest flight",
    "repeated segments",
    "recoveries",
    "timers",
)
ROUNDS, BURSTS, BURST_BYTES, FLIGHT, REPEATED, RECOVERIES, TIMERS = 0, 1, 2, 3, 4, 5, 6
SEEN, FIRST, REACH, ACKED, ROUND_END, BURST, LAST_TS, RECOVER, SPEAKER = 7, 8, 9, 10, 11, 12, 13, 14, 15
STATE = 16


def segment(state: Any, g: int, start: int, end: int, ts: int) -> None:
    """A data segment of a direction."""
    first = state[g, SEEN] == 0
    if first:
        state[g, SEEN], state[g, FIRST], state[g, REACH] = 1, start, start
        state[g, ROUND_END], state[g, RECOVER], state[g, LAST_TS] = NONE, NONE, ts
        state[g, ACKED] = max(state[g, ACKED], start)
    pause = ts - state[g, LAST_TS]
    if start < state[g, REACH]:
        state[g, REPEATED] += 1
        if pause >= TIMER_NS:
            state[g, TIMERS] += 1
        if state[g, RECOVER] == NONE or state[g, ACKED] >= state[g, RECOVER]:
            state[g, RECOVERIES] += 1
            state[g, RECOVER] = state[g, REACH]
    elif state[g, ROUND_END] == NONE or state[g, ACKED] >= state[g, ROUND_END]:
        state[g, ROUNDS] += 1
        state[g, ROUND_END] = end
    if first or state[g & ~1, SPEAKER] != g + 1 or pause >= BURST_NS:
        state[g, BURSTS] += 1
        state[g, BURST] = 0
    state[g, BURST] += end - start
    state[g, BURST_BYTES] = max(state[g, BURST_BYTES], state[g, BURST])
    state[g, REACH] = max(state[g, REACH], end)
    state[g, FLIGHT] = max(state[g, FLIGHT], state[g, REACH] - state[g, ACKED])
    state[g, LAST_TS] = ts


def behave(packets: Any, order: Any, state: Any) -> None:
    """All packets of a side.

    Parameters
    ----------
    packets : (group, kind, start, end, ack, ts)
        An element a packet.
    order : int64 array
        Packets by number.
    state : (directions, STATE) int64 array
        Zero at first; its first columns are `MEASURES` afterwards.
    """
    group, kind, start, end, ack, ts = packets
    for k in range(len(order)):
        i = order[k]
        g = group[i]
        if g < 0 or g >= len(state):
            continue
        if kind[i] == DATA and start[i] != NONE:
            segment(state, g, start[i], end[i], ts[i])
        if ack[i] != NONE and ack[i] > state[g ^ 1, ACKED]:
            state[g ^ 1, ACKED] = ack[i]
        state[g & ~1, SPEAKER] = g + 1
