"""Kernel: why the sender of a segment repeats it, how much it lets fly, what it waits for.

Wireshark has none of this; the rules are ours, after what Linux 6.x does.

Knows: RFC 6298 (smoothed round-trip time, RTO of at least 200 ms as in Linux), RFC 8985 (tail loss probe), RFC 6675
(loss by SACK), RFC 2883 and 3708 (D-SACK), RFC 3522 (Eifel: an echo older than the retransmission).
Must not know: columns, tables. The same source runs as plain Python and compiled; the whole call tree stands here.

It takes the capture to be the sender's: at the receiver, what was sent before an acknowledgement arrived looks as if it
came after it, and what was lost on the way is never seen.

Why a segment repeats bytes: RTO when it comes after at least RTO_MIN without anything sent or received, or repeats a
SYN; FAST when more was SACKed than it, or three duplicates came, or it follows such a one in the same recovery; TLP
when it is the tail, the first to be repeated since data was acknowledged, with SACK and no loss reported; AFTER_RTO
when it follows an RTO, clocked by acknowledgements. Otherwise it is not told (0).
What a sender waits for: RECEIVER when the window has no room for another segment, also with nothing in flight if more
is sent later (it probed, or had nothing to say: probes tell only the former); else IDLE with nothing in flight;
APPLICATION when its last segment was not full, so that there was no more to send; else CONGESTION (or pacing). A full
send buffer looks like APPLICATION, or CONGESTION.
What flies is no more than the congestion window; while repetitions are on their way it is not known.
Of the last RING repetitions of a direction it is noted when an acknowledgement shows that one was needless.

Memory: 68 bytes a TCP conversation, WIDTH * 8 (504) more when it has data, AGAIN_WIDTH * 8 (368) when any of it came
again. Time: O(1) a segment.
"""

from __future__ import annotations

from typing import Any

from pcaptool.analyze.tcp_kernel import (
    FAST,
    IN_ACK,
    IN_FLAGS,
    IN_N,
    IN_SACK,
    IN_SEQ,
    IN_SIDE,
    IN_SIZE,
    IN_STREAM,
    IN_TS,
    KEEP_ALIVE,
    OUT_ACK_RTT,
    OUT_FLAGS,
    OUT_SCALE,
    OUT_WINDOW,
    PROBE,
    RETRANSMISSION,
    SPURIOUS,
)
from pcaptool.engine.loads import hot

__all__ = ["WIDTH", "follow"]

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
MASK32 = 0xFFFFFFFF
HALF = 0x80000000
RTO_MIN_NS = 200_000_000
RTO_FIRST_NS = 1_000_000_000  # RFC 6298 (2.1)
LONGEST_NS = 1 << 56  # two years: ten times as long is still a 64-bit number, whatever a capture's clock says
TIMER_NS = 180_000_000  # what waited so long was sent by the timer: the least RTO, less a clock tick

# Causes of a repetition.
C_RTO, C_FAST, C_TLP, C_AFTER_RTO = 1, 2, 3, 4
# Phases of recovery.
OPEN, RECOVERY, LOSS = 0, 1, 2
# What a sender waits for, and where its time is added up: SPENT + one of these.
NOTHING, IDLE, APPLICATION, RECEIVER, CONGESTION = 0, 1, 2, 3, 4

# Columns beside the rows of `tcp_kernel`: -1 where the segment has none.
X_TSVAL, X_TSECR, X_MSS, X_SACK_PERMITTED, X_LEFT, X_RIGHT, X_LEFT2, X_RIGHT2, X_HIGHEST, X_WIDTH = (
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9,
)  # fmt: skip
# Output columns; 0 where absent, the gap -1.
# WAITS: what the originator waits for behind the segment, and what the responder does times 8.
OUT_CAUSE, OUT_NEEDLESS, OUT_CWND, OUT_GAP, OUT_SEGMENTS, OUT_WAITS, OUT_WIDTH = 0, 1, 2, 3, 4, 5, 6

# ROUND_MAX is what flew in this round trip, -1 while that is not known.
# Columns of a direction. OPTIONS: 1 SACK, 2 timestamps, once both sides have spoken.
KNOWN, UNA, NXT, HOLES, SEND_TS, SEND_SEGMENTS, ACK_TS, DUPLICATES, HIGHEST, SACKED = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
)
REPEATED, PHASE, PHASE_END, SRTT, RTTVAR, WRITTEN, ROUND_END, ROUND_MAX, ROUND_BEFORE = (
    10, 11, 12, 13, 14, 15, 16, 17, 18,
)  # fmt: skip
WINDOW, MSS, OPTIONS, WAITS, EVENT_TS, PENDING, SPENT = 19, 20, 21, 22, 23, 24, 25
SHUT = 30  # time with a closed window and nothing in flight: PENDING of RECEIVER
SIDE_WIDTH = SHUT + 1
AGAIN = 2 * SIDE_WIDTH  # where its repetitions are, one more than their row; 0: it has none
WIDTH = AGAIN + 1
# Columns of a direction's repetitions: how many of each cause, how many were needless, and the ring.
COUNTED, NEEDLESS = 0, 5
RING, RING_AT, RING_FIRST, RING_WIDTH = 4, 6, 7, 4
R_SEQ, R_END, R_N, R_TSVAL = 0, 1, 2, 3
AGAIN_SIDE_WIDTH = RING_FIRST + RING * RING_WIDTH
AGAIN_WIDTH = 2 * AGAIN_SIDE_WIDTH
# Columns of what the SYN of each side says. H_SEQ is the number behind it, one more than 32 bits hold where it wraps.
H_SEQ, H_TS, H_MSS, H_OPTIONS, H_WIDTH = 0, 1, 2, 3, 4


@hot
def before(a: int, b: int) -> bool:
    """Whether `a` lies before `b`, modulo 2**32."""
    return ((a - b) & MASK32) >= HALF


@hot
def pass_time(mine: Any, at: int, now: int) -> None:
    """Add the time since the last event to what the sender waited for."""
    waited = now - mine[at + EVENT_TS]
    if mine[at + WAITS] != NOTHING and waited > 0:
        if mine[at + WAITS] == IDLE:
            mine[at + PENDING] += waited  # counts only if more is sent
        elif mine[at + WAITS] == RECEIVER and mine[at + NXT] == mine[at + UNA]:
            mine[at + SHUT] += waited
        else:
            mine[at + SPENT + mine[at + WAITS]] += waited
    mine[at + EVENT_TS] = now


@hot
def classify(mine: Any, at: int) -> None:
    """What the sender waits for from now on."""
    if mine[at + SEND_TS] == 0:
        mine[at + WAITS] = NOTHING
        return
    flight = (mine[at + NXT] - mine[at + UNA]) & MASK32
    segment = mine[at + MSS] if mine[at + MSS] > 0 else 1460
    if flight >= HALF:
        mine[at + WAITS] = IDLE
    elif mine[at + WINDOW] >= 0 and mine[at + WINDOW] - flight < segment:
        mine[at + WAITS] = RECEIVER
    elif flight == 0:
        mine[at + WAITS] = IDLE
    elif mine[at + WRITTEN] != 0:
        mine[at + WAITS] = APPLICATION
    else:
        mine[at + WAITS] = CONGESTION


@hot
def measured(mine: Any, at: int, rtt: int) -> None:
    """RFC 6298 (2.2) and (2.3)."""
    rtt = min(rtt, LONGEST_NS)
    if mine[at + SRTT] == 0:
        mine[at + SRTT], mine[at + RTTVAR] = rtt, rtt >> 1
        return
    error = mine[at + SRTT] - rtt
    mine[at + RTTVAR] += (max(error, -error) - mine[at + RTTVAR]) >> 2
    mine[at + SRTT] -= error >> 3


def needless(again: Any, at: int, left: int, right: int, ack: int, echo: int) -> int:
    """Packet of a repetition that this acknowledgement shows to be needless, or 0.

    `left` to `right` is what it says has come twice (-1: nothing); `echo` its timestamp echo (-1: none).
    """
    shown = 0
    for k in range(RING):
        entry = at + RING_FIRST + k * RING_WIDTH
        if again[entry + R_N] == 0:
            continue
        twice = left >= 0 and before(again[entry + R_SEQ], right) and before(left, again[entry + R_END])
        covered = before(again[entry + R_SEQ], ack)
        stamp = again[entry + R_TSVAL]
        first_arrived = covered and echo > 0 and stamp >= 0 and before(echo, stamp)
        if twice or first_arrived:
            if shown == 0 or again[entry + R_N] < shown:
                shown = again[entry + R_N]
            again[at + NEEDLESS] += 1
            again[entry + R_N] = 0
        elif covered:
            again[entry + R_TSVAL] = -1  # later echoes say nothing about it
    return shown


@hot
def acknowledge(mine: Any, at: int, again: Any, row: Any, found: Any, extra: Any, out: Any) -> None:
    """What an acknowledgement tells the sender at `at`; `again` are all repetitions."""
    ack = row[IN_ACK]
    if mine[at + KNOWN] == 0:
        mine[at + KNOWN] = 1
        mine[at + UNA] = mine[at + NXT] = mine[at + HIGHEST] = ack
    fresh = before(mine[at + UNA], ack) and not before(mine[at + NXT], ack)
    if found[OUT_ACK_RTT] > 0 and fresh and mine[at + REPEATED] == 0:
        measured(mine, at, found[OUT_ACK_RTT])
    left, right = -1, -1
    if extra[X_LEFT] >= 0:
        inner = extra[X_LEFT2] >= 0 and not before(extra[X_LEFT], extra[X_LEFT2])
        inner = inner and not before(extra[X_RIGHT2], extra[X_RIGHT])
        if inner or not before(ack, extra[X_RIGHT]):
            left, right = extra[X_LEFT], extra[X_RIGHT]
        if before(mine[at + HIGHEST], extra[X_HIGHEST]):
            mine[at + HIGHEST] = extra[X_HIGHEST]
    if mine[AGAIN] != 0 and (fresh or left >= 0):
        place = AGAIN_SIDE_WIDTH if at != 0 else 0
        echo = extra[X_TSECR] if fresh else -1
        out[OUT_NEEDLESS] = needless(again[mine[AGAIN] - 1], place, left, right, ack, echo)
    mine[at + SACKED] = row[IN_SACK] if left < 0 else 0
    mine[at + ACK_TS] = row[IN_TS]
    if fresh:
        mine[at + UNA] = ack
        mine[at + DUPLICATES] = mine[at + REPEATED] = 0
        if before(mine[at + HIGHEST], ack):
            mine[at + HIGHEST] = ack
        if mine[at + PHASE] != OPEN and not before(ack, mine[at + PHASE_END]):
            mine[at + PHASE] = OPEN
        if not before(ack, mine[at + ROUND_END]):
            mine[at + ROUND_BEFORE], mine[at + ROUND_MAX] = max(mine[at + ROUND_MAX], 0), 0
            mine[at + ROUND_END] = mine[at + NXT]
    elif (
        ack == mine[at + UNA]
        and row[IN_SIZE] == 0
        and mine[at + NXT] != ack
        and row[IN_FLAGS] & (SYN | FIN) == 0
    ):
        mine[at + DUPLICATES] += 1


def why(mine: Any, at: int, seq: int, end: int, now: int) -> int:
    """The cause of a repetition; notes the phase that begins with it."""
    waited = min(now - max(mine[at + SEND_TS], mine[at + ACK_TS]), LONGEST_NS)
    timer = waited >= TIMER_NS
    if mine[at + PHASE] == LOSS and before(seq, mine[at + PHASE_END]):
        return C_RTO if timer else C_AFTER_RTO
    lost = before(seq, mine[at + HIGHEST]) or mine[at + DUPLICATES] >= 3
    limit = mine[at + SRTT] + max(RTO_MIN_NS, 4 * mine[at + RTTVAR]) if mine[at + SRTT] > 0 else RTO_FIRST_NS
    # Nine tenths of a limit and the like: what waited may be as long as all time since 1970, and is not multiplied.
    if not timer or waited <= (9 * limit - 1) // 10:
        if lost:
            mine[at + PHASE], mine[at + PHASE_END] = RECOVERY, mine[at + NXT]
            return C_FAST
        if mine[at + PHASE] == RECOVERY and not timer:
            return C_FAST
    tail = not before(end, mine[at + NXT]) and mine[at + REPEATED] == 0 and mine[at + PHASE] == OPEN
    probes = (
        mine[at + OPTIONS] & 1 != 0 and waited >= (18 * mine[at + SRTT] + 9) // 10
    )  # two round trips, less a tenth
    if tail and probes and not lost:
        return C_TLP
    if timer:
        mine[at + PHASE], mine[at + PHASE_END] = LOSS, mine[at + NXT]
        return C_RTO
    return 0


def note(again: Any, at: int, cause: int, seq: int, end: int, n: int, tsval: int) -> None:
    """Count a repetition, and remember it."""
    again[at + COUNTED + cause] += 1
    entry = at + RING_FIRST + again[at + RING_AT] * RING_WIDTH
    again[at + RING_AT] = (again[at + RING_AT] + 1) % RING
    again[entry + R_SEQ], again[entry + R_END], again[entry + R_N] = seq, end, n
    again[entry + R_TSVAL] = tsval


@hot
def send(mine: Any, at: int, again: Any, used: Any, row: Any, found: Any, extra: Any, out: Any) -> None:
    """A segment with data or FIN; `again` has room for another conversation that repeats."""
    seq, now = row[IN_SEQ], row[IN_TS]
    end = (seq + row[IN_SIZE] + (row[IN_FLAGS] & FIN)) & MASK32
    if mine[at + KNOWN] == 0:
        mine[at + KNOWN] = 1
        mine[at + UNA] = mine[at + NXT] = mine[at + HIGHEST] = seq
    mine[at + SPENT + IDLE] += mine[at + PENDING]
    mine[at + SPENT + RECEIVER] += mine[at + SHUT]
    mine[at + PENDING] = mine[at + SHUT] = 0
    flying = mine[at + NXT] != mine[at + UNA]
    if mine[at + SEND_TS] != 0 and flying:
        out[OUT_GAP] = max(now - mine[at + SEND_TS], 0) // mine[at + SEND_SEGMENTS]
    segments = 1
    if mine[at + MSS] > 0:
        segments = max((row[IN_SIZE] + mine[at + MSS] - 1) // mine[at + MSS], 1)
        out[OUT_SEGMENTS] = segments
    repeats = found[OUT_FLAGS] & (RETRANSMISSION | FAST | SPURIOUS) != 0
    # Where the capture has no holes, bytes behind the front were sent before, whatever Wireshark calls them.
    if before(seq, mine[at + NXT]) and (repeats or mine[at + HOLES] == 0):
        cause = why(mine, at, seq, end, now)
        out[OUT_CAUSE] = cause
        mine[at + REPEATED] += 1
        # What flies and what is lost cannot be told apart until all this is acknowledged.
        mine[at + ROUND_MAX], mine[at + ROUND_END] = -1, mine[at + NXT]
        if mine[AGAIN] == 0:
            used[1] += 1
            mine[AGAIN] = used[1]
        note(
            again[mine[AGAIN] - 1],
            AGAIN_SIDE_WIDTH if at != 0 else 0,
            cause,
            seq,
            end,
            row[IN_N],
            extra[X_TSVAL],
        )
    if before(mine[at + NXT], end):
        if before(mine[at + NXT], seq):
            mine[at + HOLES] = 1
        mine[at + NXT] = end
        # A segment that is not full ends what was written. PSH does not tell: Linux sets it on every super-packet.
        short = row[IN_SIZE] % mine[at + MSS] != 0 if mine[at + MSS] > 0 else row[IN_FLAGS] & PSH != 0
        mine[at + WRITTEN] = 1 if short or row[IN_FLAGS] & FIN else 0
    mine[at + SEND_TS], mine[at + SEND_SEGMENTS] = now, segments
    flight = ((mine[at + NXT] - mine[at + UNA]) & MASK32) - mine[at + SACKED]
    if mine[at + ROUND_MAX] >= 0:
        if 0 < flight < HALF:
            mine[at + ROUND_MAX] = max(mine[at + ROUND_MAX], flight)
        out[OUT_CWND] = max(mine[at + ROUND_MAX], mine[at + ROUND_BEFORE])


def greet(hello: Any, side: int, row: Any, extra: Any) -> int:
    """A SYN: what both sides say they can; the cause if it comes again, or 0."""
    again = hello[side, H_SEQ] == row[IN_SEQ] + 1
    # A SYN-ACK that comes at once answers a SYN that was repeated.
    timer = row[IN_TS] - hello[1 - side, H_TS] >= TIMER_NS
    hello[side, H_SEQ], hello[side, H_TS] = row[IN_SEQ] + 1, row[IN_TS]
    hello[side, H_MSS] = max(extra[X_MSS], 0)
    hello[side, H_OPTIONS] = max(extra[X_SACK_PERMITTED], 0) + (2 if extra[X_TSVAL] >= 0 else 0)
    return C_RTO if again and (timer or row[IN_FLAGS] & ACK == 0) else 0


def settle(hello: Any, mine: Any) -> None:
    """What both sides agreed on, once there is data: the smaller size, less what timestamps need (RFC 6691)."""
    options = hello[0, H_OPTIONS] & hello[1, H_OPTIONS]
    size = 0
    if hello[0, H_MSS] > 0 and hello[1, H_MSS] > 0:
        size = max(min(hello[0, H_MSS], hello[1, H_MSS]) - (12 if options & 2 else 0), 0)
    for side in range(2):
        at = side * SIDE_WIDTH
        mine[at + MSS], mine[at + OPTIONS] = size, options
        mine[at + WINDOW] = -1
        if hello[side, H_SEQ] != 0:
            mine[at + KNOWN] = 1
            first = hello[side, H_SEQ] & MASK32
            mine[at + UNA] = mine[at + NXT] = mine[at + HIGHEST] = mine[at + ROUND_END] = first


def follow(
    rows: Any,
    found: Any,
    extra: Any,
    start: int,
    hello: Any,
    slots: Any,
    state: Any,
    again: Any,
    used: Any,
    out: Any,
) -> int:
    """Follow the senders of segments in capture order.

    Parameters
    ----------
    rows, found : int64 arrays
        Input and output of `tcp_kernel.analyze`.
    extra : (X_WIDTH, segments) int64
    start : int
        First row to do.
    hello : (streams, 2, H_WIDTH) int64 and slots : (streams,) int32
        What SYNs said; row of `state` + 1, or 0.
    state : (room, WIDTH) int64
        Conversations with data; zero where not used yet.
    again : (room, AGAIN_WIDTH) int64
        Repetitions of those that have any; zero where not used yet.
    used : (2,) int64
        How many rows of `state` and of `again` are.
    out : (OUT_WIDTH, segments) int64
        Output columns, OUT_*, written.

    Returns
    -------
    int
        The first row that was not done: all are, or `state` or `again` is full and must grow.
    """
    height: int = rows.shape[1]
    for i in range(start, height):
        if used[1] >= len(again):
            return i
        row = rows[:, i]
        for k in range(OUT_WIDTH):
            out[k, i] = -1 if k == OUT_GAP else 0
        stream, side, flags = row[IN_STREAM], row[IN_SIDE], row[IN_FLAGS]
        if row[IN_SIZE] < 0:
            continue
        if flags & SYN:
            out[OUT_CAUSE, i] = greet(hello[stream], side, row, extra[:, i])
            continue
        if slots[stream] == 0:
            if row[IN_SIZE] == 0 and flags & FIN == 0:
                continue
            if used[0] >= len(state):
                return i
            used[0] += 1
            slots[stream] = used[0]
            settle(hello[stream], state[used[0] - 1])
        mine = state[slots[stream] - 1]
        at, other = side * SIDE_WIDTH, (1 - side) * SIDE_WIDTH
        pass_time(mine, at, row[IN_TS])
        pass_time(mine, other, row[IN_TS])
        if flags & RST:
            mine[at + WAITS] = mine[other + WAITS] = NOTHING
            continue
        if flags & ACK:
            acknowledge(mine, other, again, row, found[:, i], extra[:, i], out[:, i])
        mine[other + WINDOW] = found[OUT_WINDOW, i] if found[OUT_SCALE, i] != -1 else -1
        plain = found[OUT_FLAGS, i] & (KEEP_ALIVE | PROBE) == 0
        if plain and (row[IN_SIZE] > 0 or flags & FIN):
            send(mine, at, again, used, row, found[:, i], extra[:, i], out[:, i])
        classify(mine, at)
        classify(mine, other)
        out[OUT_WAITS, i] = mine[WAITS] | mine[SIDE_WIDTH + WAITS] << 3
    return height
