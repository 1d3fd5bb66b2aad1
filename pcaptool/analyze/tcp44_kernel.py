"""Kernel: what Wireshark 4.4 calls TCP analysis, where it differs from 4.0 (`tcp_kernel` has what both share).

Knows: Wireshark 4.4's rules with their quirks: acknowledgements that take a probe's byte, a tail of captured segments
behind a hole, fast retransmissions told by SACK, repetitions of what is still listed, times of partly acknowledged
segments. SACK edges are kept relative and compared with absolute numbers, as Wireshark does.
Must not know: columns, tables, which conversation a segment belongs to (`flow_kernel`).
The same source runs as plain Python and compiled by numba.
Left out: as in `tcp_kernel`.

Memory: EXTRA * 16 bytes (160) a TCP conversation more than `tcp_kernel`.
Time: as `tcp_kernel`, but a repetition, and an acknowledgement of what was not captured, look at the whole list of
segments (LIST_LIMIT at most).
"""

from __future__ import annotations

from typing import Any

from pcaptool.analyze.tcp_kernel import (
    ACK,
    ACK_LOST,
    BASE,
    COMPLETENESS,
    DONE_ACK,
    DONE_DATA,
    DONE_FIN,
    DONE_RST,
    DONE_SYN,
    DONE_SYNACK,
    DUP_COUNT,
    DUPLICATE_ACK,
    FAST,
    FAST_NS,
    FIN,
    HEAD,
    IN_ACK,
    IN_BASE,
    IN_FLAGS,
    IN_N,
    IN_REUSED,
    IN_SEQ,
    IN_SIDE,
    IN_SIZE,
    IN_STREAM,
    IN_TS,
    IN_WIDTH,
    IN_WINDOW,
    INITIAL_RTT,
    KEEP_ALIVE,
    KNOWN,
    LAST_ACK,
    LAST_FLAGS,
    LAST_TS,
    LIST_LIMIT,
    LISTED,
    MASK32,
    MAX_TO_ACK,
    NEXT,
    NEXT_FRAME,
    NEXT_TS,
    NON_DUP_FRAME,
    OPERATIONS,
    OUT_ACK_RTT,
    OUT_ACKS_FRAME,
    OUT_COMPLETENESS,
    OUT_DUP_FRAME,
    OUT_DUP_NUM,
    OUT_FLAGS,
    OUT_INITIAL_RTT,
    OUT_OF_ORDER,
    OUT_RTO,
    OUT_RTO_FRAME,
    OUT_WIDTH,
    PROBE,
    PROBE_ACK,
    REORDER_NS,
    RETRANSMISSION,
    REUSED,
    RST,
    SEEN,
    SEG_FRAME,
    SEG_NEXT,
    SEG_OLDER,
    SEG_SEQ,
    SEG_TS,
    SIDE,
    SIDE_WIDTH,
    SPURIOUS,
    SYN,
    TAIL,
    VALID_BIF,
    WINDOW,
    WINDOW_UPDATE,
    advance,
    before,
    begin,
    in_flight,
    learn,
    rebase,
    scale_window,
    simple_flags,
    widen,
)
from pcaptool.analyze.tcp_kernel import WIDTH as WIDTH_40
from pcaptool.engine.loads import hot

__all__ = ["BLOCKS", "IN_EDGES", "ROW_WIDTH", "WIDTH", "analyze"]

BLOCKS = 4
# Input columns behind those of `tcp_kernel`: left and right edge of each block, absolute; left -1 where there is none.
IN_EDGES = IN_WIDTH
ROW_WIDTH = IN_EDGES + 2 * BLOCKS
# State of each direction behind that of `tcp_kernel`: payload of the segment that last advanced, the last segment's
# blocks, relative.
LAST_LEN, SACK_COUNT, EDGES, EXTRA = 0, 1, 2, 10
WIDTH = WIDTH_40 + 2 * EXTRA
# IN_REUSED: 1 begins a conversation on a known pair, 2 is the first SYN of its direction in a known conversation.
REUSES, BEGINS_SIDE = 1, 2


@hot
def flags_of(state: Any, s: int, fwd: int, rev: int, row: Any) -> int:
    """Steps 1 to 9; a probe's answer may acknowledge its byte."""
    found = simple_flags(state, s, fwd, rev, row)
    if row[IN_FLAGS] & (SYN | FIN | RST) or row[IN_SIZE] != 0 or row[IN_WINDOW] != 0:
        return found
    took = row[IN_ACK] == (state[s, fwd + LAST_ACK] + 1) & MASK32
    answers = state[s, fwd + WINDOW] == 0 and row[IN_SEQ] == state[s, fwd + NEXT]
    if took and answers and state[s, rev + LAST_FLAGS] & PROBE:
        state[s, rev + NEXT] = state[s, rev + MAX_TO_ACK] = row[IN_ACK]
        return found | PROBE_ACK
    return found


@hot
def unseen_ack(state: Any, s: int, fwd: int, rev: int, row: Any, segments: Any) -> int:
    """Step 11: ACK_LOST, WINDOW_UPDATE where a probe's byte was taken, or 0."""
    ack, highest = row[IN_ACK], state[s, rev + MAX_TO_ACK]
    if highest == 0 or not before(highest, ack):
        return 0
    took = ack == (state[s, fwd + LAST_ACK] + 1) & MASK32
    if took and row[IN_SEQ] == state[s, fwd + NEXT] and state[s, rev + LAST_FLAGS] & PROBE:
        state[s, rev + NEXT] = state[s, rev + MAX_TO_ACK] = ack
        return WINDOW_UPDATE
    left, right, at = 0, 0, state[s, rev + HEAD]
    while at >= 0:
        seq, end = segments[at, SEG_SEQ], segments[at, SEG_NEXT]
        if left == right:
            left, right = seq, end
        if seq == ack or before(ack, seq):
            if end != left:
                right = end
            left = seq
        at = segments[at, SEG_OLDER]
    state[s, rev + MAX_TO_ACK] = right if ack == left and before(ack, right) else ack
    return ACK_LOST


@hot
def sacked(state: Any, s: int, rev: int, seq: int, end: int) -> bool:
    """Whether the other side's last segment reports this one, as Wireshark compares it."""
    at = WIDTH_40 + (EXTRA if rev != SIDE else 0)
    for k in range(state[s, at + SACK_COUNT]):
        if seq >= state[s, at + EDGES + 2 * k] and end <= state[s, at + EDGES + 2 * k + 1]:
            return True
    return False


@hot
def listed(state: Any, s: int, fwd: int, seq: int, end: int, segments: Any) -> bool:
    """Whether one segment that is not acknowledged holds all of this one."""
    at = state[s, fwd + HEAD]
    while at >= 0:
        if not before(seq, segments[at, SEG_SEQ]) and not before(segments[at, SEG_NEXT], end):
            return True
        at = segments[at, SEG_OLDER]
    return False


@hot
def retransmission(state: Any, s: int, fwd: int, rev: int, row: Any, segments: Any) -> int:
    """Step 12: which kind of repetition a segment with payload, SYN or FIN is, or 0."""
    seq, flags, size, now = row[IN_SEQ], row[IN_FLAGS], row[IN_SIZE], row[IN_TS]
    expected, acked = state[s, fwd + NEXT], state[s, rev + LAST_ACK]
    end = (seq + size) & MASK32
    if size > 0 and acked != 0 and not before(acked, end):
        return SPURIOUS
    old = expected != 0 and before(seq, expected)
    if not old or (size > 1 and seq == (expected - 1) & MASK32):
        return 0
    waited = now - state[s, rev + LAST_TS]
    if state[s, rev + DUP_COUNT] >= 2 and 0 <= waited < FAST_NS:
        reported = state[s, WIDTH_40 + (EXTRA if rev != SIDE else 0) + SACK_COUNT] > 0
        if seq == acked or (reported and not sacked(state, s, rev, seq, end)):
            return FAST
    limit = state[s, INITIAL_RTT]
    if limit == 0:
        limit = REORDER_NS
    waited = now - state[s, fwd + NEXT_TS]
    # A negative limit (time ran backwards in the handshake) is a huge one in unsigned arithmetic.
    soon = waited >= 0 and (limit < 0 or waited < limit)
    if soon and not listed(state, s, fwd, seq, end, segments):
        if flags & (SYN | FIN):
            end = (end + 1) & MASK32
        if expected != end or state[s, WIDTH_40 + (EXTRA if fwd != SIDE else 0) + LAST_LEN] == 0:
            return OUT_OF_ORDER
    return RETRANSMISSION


@hot
def rto(state: Any, s: int, fwd: int, row: Any, out: Any, segments: Any) -> None:
    """How long the oldest listed segment from this one's sequence number on had waited."""
    waited, frame = row[IN_TS] - state[s, fwd + NEXT_TS], state[s, fwd + NEXT_FRAME]
    at = state[s, fwd + HEAD]
    while at >= 0:
        if not before(segments[at, SEG_SEQ], row[IN_SEQ]):
            waited, frame = row[IN_TS] - segments[at, SEG_TS], segments[at, SEG_FRAME]
        at = segments[at, SEG_OLDER]
    if waited != 0:
        out[OUT_RTO], out[OUT_RTO_FRAME] = waited, frame


@hot
def acknowledge(state: Any, s: int, rev: int, row: Any, out: Any, segments: Any, free: Any) -> bool:
    """Step 14: take acknowledged segments from the list; whether one was acknowledged, be it in part."""
    ack = row[IN_ACK]
    told = False
    newer, at = -1, state[s, rev + HEAD]
    state[s, rev + LISTED] = 0  # `widen` begins anew
    kept = 0
    while at >= 0:
        older, end = segments[at, SEG_OLDER], segments[at, SEG_NEXT]
        within = before(segments[at, SEG_SEQ], ack) and before(ack, end)
        if ack == end or within:
            out[OUT_ACKS_FRAME] = segments[at, SEG_FRAME]
            out[OUT_ACK_RTT] = row[IN_TS] - segments[at, SEG_TS]
            told = True
        if within:
            segments[at, SEG_SEQ] = ack
        if before(ack, end):
            widen(state, s, rev, segments[at, SEG_SEQ], end)
            kept += 1
            state[s, rev + LISTED] = kept
            newer = at
        else:
            if newer < 0:
                state[s, rev + HEAD] = older
            else:
                segments[newer, SEG_OLDER] = older
            segments[at, SEG_OLDER] = free[0]
            free[0] = at
        at = older
    state[s, rev + TAIL] = newer
    return told


@hot
def note_advance(state: Any, s: int, fwd: int, row: Any) -> None:
    """Whether what advanced the direction last was a pure ACK."""
    after = (row[IN_SEQ] + row[IN_SIZE]) & MASK32
    control = 1 if row[IN_FLAGS] & (SYN | FIN) else 0
    if control and state[s, fwd + LISTED] < LIST_LIMIT:
        after = (after + 1) & MASK32
    expected = state[s, fwd + NEXT]
    if expected == 0 or before((expected + control) & MASK32, after):
        state[s, WIDTH_40 + (EXTRA if fwd != SIDE else 0) + LAST_LEN] = row[IN_SIZE]


@hot
def analyze_segment(
    state: Any, s: int, fwd: int, rev: int, row: Any, out: Any, segments: Any, free: Any
) -> bool:
    """Steps 0 to 15 for a segment of known length; whether Wireshark keeps a record of it."""
    if state[s, fwd + BASE] != row[IN_BASE]:
        rebase(state, s, fwd, row[IN_BASE], segments)
    if row[IN_FLAGS] & ACK:
        state[s, rev + VALID_BIF] = 1
    found = flags_of(state, s, fwd, rev, row)
    if found & DUPLICATE_ACK:
        state[s, fwd + DUP_COUNT] += 1
        out[OUT_DUP_NUM], out[OUT_DUP_FRAME] = state[s, fwd + DUP_COUNT], state[s, fwd + NON_DUP_FRAME]
    if row[IN_ACK] != state[s, fwd + LAST_ACK]:
        state[s, fwd + NON_DUP_FRAME], state[s, fwd + DUP_COUNT] = row[IN_N], 0
    state[s, fwd + KNOWN] = state[s, OPERATIONS]
    unseen = unseen_ack(state, s, fwd, rev, row, segments) if row[IN_FLAGS] & ACK else 0
    found |= unseen
    if (row[IN_SIZE] > 0 or row[IN_FLAGS] & (SYN | FIN)) and found & KEEP_ALIVE == 0:
        kind = retransmission(state, s, fwd, rev, row, segments)
        if kind == RETRANSMISSION:
            rto(state, s, fwd, row, out, segments)
        found |= kind
    note_advance(state, s, fwd, row)
    advance(state, s, fwd, row, found | out[OUT_FLAGS], segments, free)
    told = acknowledge(state, s, rev, row, out, segments, free)
    flying = in_flight(state, s, fwd, rev, row, out)
    if found & WINDOW_UPDATE and row[IN_EDGES] >= 0:  # seen late: with SACK it is a duplicate ACK
        found = (found & ~WINDOW_UPDATE) | DUPLICATE_ACK
        state[s, fwd + DUP_COUNT] += 1
        out[OUT_DUP_NUM], out[OUT_DUP_FRAME] = state[s, fwd + DUP_COUNT], state[s, fwd + NON_DUP_FRAME]
    out[OUT_FLAGS] |= found
    return told or flying or found != 0


@hot
def keep_blocks(state: Any, s: int, fwd: int, base: int, row: Any) -> None:
    """The segment's SACK blocks, relative to where the other side begins."""
    at = WIDTH_40 + (EXTRA if fwd != SIDE else 0)
    count = 0
    for k in range(BLOCKS):
        if row[IN_EDGES + 2 * k] >= 0:
            state[s, at + EDGES + 2 * k] = (row[IN_EDGES + 2 * k] - base) & MASK32
            state[s, at + EDGES + 2 * k + 1] = (row[IN_EDGES + 2 * k + 1] - base) & MASK32
            count += 1
    state[s, at + SACK_COUNT] = count


@hot
def complete(state: Any, s: int, row: Any, fresh: bool) -> None:
    """The parts of a connection's life that were seen."""
    flags, seen = row[IN_FLAGS], state[s, COMPLETENESS]
    if fresh:
        seen = 0
        if flags & (SYN | ACK) == SYN:
            seen = DONE_SYN | DONE_DATA if row[IN_SIZE] > 0 else DONE_SYN
    if flags & (SYN | ACK) == (SYN | ACK):
        seen |= DONE_SYNACK
    elif flags & (SYN | ACK) == ACK:
        seen |= DONE_DATA if row[IN_SIZE] > 0 else DONE_ACK
    if flags & (FIN | ACK) == (FIN | ACK):
        seen |= DONE_FIN
    if flags & RST:
        seen |= DONE_RST
    state[s, COMPLETENESS] = seen


def analyze(rows: Any, start: int, state: Any, segments: Any, free: Any, out: Any) -> int:
    """Analyse segments in capture order: as `tcp_kernel.analyze`, by Wireshark 4.4's rules.

    Parameters
    ----------
    rows : (ROW_WIDTH, segments) int64
        Those of `tcp_kernel`, of which IN_SACK is the sum of all blocks, then the blocks' edges.
    start, segments, free, out
        As there.
    state : (capacity, WIDTH) int64
        Conversations; zero where not used yet.

    Returns
    -------
    int
        The first row that was not done: all are, or `state` or `segments` must grow.
    """
    height: int = rows.shape[1]
    for i in range(start, height):
        row, result = rows[:, i], out[:, i]
        s = row[IN_STREAM]
        if s >= len(state) or free[0] < 0:
            return i
        for k in range(OUT_WIDTH):
            result[k] = 0
        fresh = state[s, SEEN] == 0
        if fresh:
            begin(state, s)
        fwd, rev = SIDE + row[IN_SIDE] * SIDE_WIDTH, SIDE + (1 - row[IN_SIDE]) * SIDE_WIDTH
        result[OUT_COMPLETENESS] = state[s, COMPLETENESS]
        record = row[IN_REUSED] == REUSES
        if record:
            result[OUT_FLAGS] = REUSED
        alone = row[IN_FLAGS] & (SYN | ACK) == SYN
        if not fresh and alone and row[IN_REUSED] == 0 and row[IN_SEQ] == state[s, fwd + BASE]:
            state[s, fwd + NEXT] = state[s, fwd + MAX_TO_ACK]
            record = True
        if row[IN_SIZE] >= 0 and analyze_segment(state, s, fwd, rev, row, result, segments, free):
            record = True
        scale_window(state, s, fwd, row, result)
        learn(state, s, fwd, rev, row)
        keep_blocks(state, s, fwd, state[s, rev + BASE], row)
        complete(state, s, row, fresh or row[IN_REUSED] == BEGINS_SIDE)
        if record:
            result[OUT_INITIAL_RTT] = state[s, INITIAL_RTT]
    return height
