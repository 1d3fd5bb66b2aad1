"""Kernel: what Wireshark 4.0 calls TCP analysis, segment by segment.

Knows: Wireshark 4.0.17's rules with their order and quirks (values of 0 mean "not seen yet"; windows are compared
unscaled; a list of at most 10000 unacknowledged segments a direction). Later versions differ.
Must not know: columns, tables, which conversation a segment belongs to (`flow_kernel`).
The same source runs as plain Python and compiled by numba; the whole call tree stands in this file.
Left out: subflows of one MPTCP connection share what operations they have seen in Wireshark, here each has its own.

Memory: WIDTH integers a TCP conversation (53 * 8 bytes), and 40 bytes a segment that is not acknowledged.
Time: O(1) a segment plus the segments that its acknowledgement walks over.
Sequence numbers are compared modulo 2**32; at a distance of exactly 2**31 each is before the other.
"""

from __future__ import annotations

from typing import Any

from pcaptool.engine.loads import hot

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
MASK32 = 0xFFFFFFFF
HALF = 0x80000000
LIST_LIMIT = 10000
FAST_NS = 20_000_000  # a fast retransmission follows the duplicate ACK within this
REORDER_NS = 3_000_000  # out of order is what comes within this, while no RTT is known
BIF_LIMIT = 2_000_000_000

# Bits of OUT_FLAGS.
RETRANSMISSION, FAST, SPURIOUS, OUT_OF_ORDER, LOST, ACK_LOST = 1, 2, 4, 8, 16, 32
DUPLICATE_ACK, KEEP_ALIVE, KEEP_ALIVE_ACK, ZERO_WINDOW = 64, 128, 256, 512
PROBE, PROBE_ACK, WINDOW_UPDATE, WINDOW_FULL, REUSED = 1024, 2048, 4096, 8192, 16384

# Bits of the completeness.
DONE_SYN, DONE_SYNACK, DONE_ACK, DONE_DATA, DONE_FIN, DONE_RST = 1, 2, 4, 8, 16, 32

# Input columns. Sizes and shifts are -1 where the packet has none; SACK is the sum of its first three blocks, MPTCP has
# a bit for each subtype of its options.
IN_STREAM, IN_SIDE, IN_N, IN_TS, IN_SEQ, IN_ACK, IN_FLAGS, IN_WINDOW, IN_SIZE = 0, 1, 2, 3, 4, 5, 6, 7, 8
IN_BASE, IN_WSCALE, IN_SACK, IN_REUSED, IN_MPTCP, IN_WIDTH = 9, 10, 11, 12, 13, 14

# Output columns; 0 where absent.
OUT_FLAGS, OUT_DUP_NUM, OUT_DUP_FRAME, OUT_BIF, OUT_PUSH, OUT_ACKS_FRAME, OUT_ACK_RTT = 0, 1, 2, 3, 4, 5, 6
OUT_INITIAL_RTT, OUT_RTO, OUT_RTO_FRAME, OUT_WINDOW, OUT_SCALE, OUT_COMPLETENESS, OUT_WIDTH = (
    7,
    8,
    9,
    10,
    11,
    12,
    13,
)

# Columns of a conversation: five of its own, then each side's. OPERATIONS are MPTCP's that either side has had so far,
# KNOWN those at a side's last segment.
SYN_TS, INITIAL_RTT, COMPLETENESS, SEEN, OPERATIONS = 0, 1, 2, 3, 4
SIDE, SIDE_WIDTH = 5, 24
WINDOW, WSCALE, FIRST_ACK, VALID_BIF, PUSH_BYTES, PUSH_LAST, LAST_FLAGS = 0, 1, 2, 3, 4, 5, 6
NEXT, NEXT_FRAME, NEXT_TS, MAX_TO_ACK, LAST_ACK, LAST_TS, NON_DUP_FRAME, DUP_COUNT = (
    7,
    8,
    9,
    10,
    11,
    12,
    13,
    14,
)
HEAD, LISTED, LOW, HIGH, SACKED, BASE, WRAPPED, TAIL, KNOWN = 15, 16, 17, 18, 19, 20, 21, 22, 23
WIDTH = SIDE + 2 * SIDE_WIDTH

# Columns of a listed segment.
SEG_FRAME, SEG_SEQ, SEG_TS, SEG_NEXT, SEG_OLDER, SEG_WIDTH = 0, 1, 2, 3, 4, 5


@hot
def before(a: int, b: int) -> bool:
    """Whether `a` lies before `b`."""
    return ((a - b) & MASK32) >= HALF


def begin(state: Any, stream: int) -> None:
    """A conversation that was not seen yet."""
    state[stream, SEEN] = 1
    for side in range(2):
        at = SIDE + side * SIDE_WIDTH
        state[stream, at + WINDOW] = MASK32
        state[stream, at + WSCALE] = -1
        state[stream, at + VALID_BIF] = 1
        state[stream, at + HEAD] = -1


@hot
def simple_flags(state: Any, s: int, fwd: int, rev: int, row: Any) -> int:
    """Steps 1 to 9: probes, zero window, loss, keep-alive, window update and full, duplicate ACK."""
    seq, ack, flags, window, size = row[IN_SEQ], row[IN_ACK], row[IN_FLAGS], row[IN_WINDOW], row[IN_SIZE]
    plain = flags & (SYN | FIN | RST) == 0
    expected = state[s, fwd + NEXT]
    if size == 1 and seq == expected and state[s, rev + WINDOW] == 0:
        return PROBE
    found = 0
    if window == 0 and plain:
        found |= ZERO_WINDOW
    if expected != 0 and before(expected, seq) and flags & RST == 0:
        found |= LOST
        state[s, fwd + VALID_BIF] = 0
    if plain and size <= 1 and seq == (expected - 1) & MASK32:
        found |= KEEP_ALIVE
    repeats = plain and size == 0 and seq == expected and ack == state[s, fwd + LAST_ACK]
    same_window = window == state[s, fwd + WINDOW]
    if repeats and window != 0 and not same_window:
        found |= WINDOW_UPDATE
    scale = state[s, rev + WSCALE]
    if size > 0 and plain and scale != -1:
        shift = 0 if state[s, rev + FIRST_ACK] != 0 or scale == -2 else scale
        edge = state[s, rev + LAST_ACK] + (state[s, rev + WINDOW] << shift)
        if (seq + size) & MASK32 == edge & MASK32:
            found |= WINDOW_FULL
    if not repeats or not same_window:
        return found
    if window != 0:
        if state[s, rev + LAST_FLAGS] & KEEP_ALIVE:
            return found | KEEP_ALIVE_ACK
        # With MPTCP an acknowledgement that seems to be repeated may be one of the connection (RFC 8684 section 3.3.2).
        new = state[s, OPERATIONS] != state[s, fwd + KNOWN]
        return found if new else found | DUPLICATE_ACK
    if state[s, rev + LAST_FLAGS] & PROBE:
        found |= PROBE_ACK
    return found


@hot
def unseen_ack(state: Any, s: int, rev: int, ack: int) -> int:
    """Step 11: an acknowledgement of what was not captured: 0 no, 1 yes, 2 yes but it was said before."""
    highest = state[s, rev + MAX_TO_ACK]
    if highest == 0 or not before(highest, ack):
        return 0
    if before(highest, state[s, rev + NEXT]):
        state[s, rev + MAX_TO_ACK] = state[s, rev + NEXT]
        return 1
    quiet = state[s, rev + DUP_COUNT] != 0
    state[s, rev + DUP_COUNT] = -1
    return 2 if quiet else 1


@hot
def retransmission(state: Any, s: int, fwd: int, rev: int, row: Any) -> int:
    """Step 12: which kind of repetition a segment with payload, SYN or FIN is, or 0."""
    seq, flags, size, now = row[IN_SEQ], row[IN_FLAGS], row[IN_SIZE], row[IN_TS]
    expected, acked = state[s, fwd + NEXT], state[s, rev + LAST_ACK]
    end = (seq + size) & MASK32
    if size > 0 and acked != 0 and (end == acked or before(end, acked)):
        return SPURIOUS
    old = expected != 0 and before(seq, expected)
    if size > 1 and seq == (expected - 1) & MASK32:
        old = False
    if not old:
        return 0
    duplicates = state[s, rev + DUP_COUNT]  # -1 counts as many: Wireshark's counter has no sign
    waited = now - state[s, rev + LAST_TS]
    if (duplicates >= 2 or duplicates == -1) and seq == acked and 0 <= waited < FAST_NS:
        return FAST
    limit = state[s, INITIAL_RTT]
    if limit == 0:
        limit = REORDER_NS
    waited = now - state[s, fwd + NEXT_TS]
    if flags & (SYN | FIN):
        end = (end + 1) & MASK32
    # A negative limit (time ran backwards in the handshake) is a huge one in unsigned arithmetic.
    if waited >= 0 and (limit < 0 or waited < limit) and expected != end:
        return OUT_OF_ORDER
    return RETRANSMISSION


@hot
def advance(state: Any, s: int, fwd: int, row: Any, found: int, segments: Any, free: Any) -> None:
    """Step 13: list the segment, move what is expected next."""
    seq, size = row[IN_SEQ], row[IN_SIZE]
    after = (seq + size) & MASK32
    if (size > 0 or row[IN_FLAGS] & (SYN | FIN)) and state[s, fwd + LISTED] < LIST_LIMIT:
        if row[IN_FLAGS] & (SYN | FIN):
            after = (after + 1) & MASK32
        at = free[0]
        free[0] = segments[at, SEG_OLDER]
        segments[at, SEG_FRAME], segments[at, SEG_SEQ] = row[IN_N], seq
        segments[at, SEG_TS], segments[at, SEG_NEXT] = row[IN_TS], after
        segments[at, SEG_OLDER] = state[s, fwd + HEAD]
        if state[s, fwd + HEAD] < 0:
            state[s, fwd + TAIL] = at
        state[s, fwd + HEAD] = at
        widen(state, s, fwd, seq, after)
        state[s, fwd + LISTED] += 1
    if found & PROBE == 0:
        expected = state[s, fwd + NEXT]
        if expected == 0 or before(expected, after):
            state[s, fwd + NEXT], state[s, fwd + NEXT_FRAME] = after, row[IN_N]
            state[s, fwd + NEXT_TS] = row[IN_TS]
        highest = state[s, fwd + MAX_TO_ACK]
        if highest == 0 or seq == highest:  # noqa: PLR1714 - numba has no cheap `in`
            state[s, fwd + MAX_TO_ACK] = state[s, fwd + NEXT]
    state[s, fwd + WINDOW], state[s, fwd + LAST_ACK] = row[IN_WINDOW], row[IN_ACK]
    state[s, fwd + LAST_TS], state[s, fwd + LAST_FLAGS] = row[IN_TS], found


@hot
def widen(state: Any, s: int, side: int, seq: int, after: int) -> None:
    """Lowest and highest sequence number in a side's list, relative to its first."""
    low = (seq - state[s, side + BASE]) & MASK32
    high = (after - state[s, side + BASE]) & MASK32
    if state[s, side + LISTED] == 0:
        state[s, side + LOW], state[s, side + HIGH] = low, high
        state[s, side + WRAPPED] = 0
    else:
        state[s, side + LOW] = min(state[s, side + LOW], low)
        state[s, side + HIGH] = max(state[s, side + HIGH], high)
    if low > high:  # it begins before the side's first number: the two bounds say little
        state[s, side + WRAPPED] = 1


@hot
def acknowledge(state: Any, s: int, rev: int, row: Any, out: Any, segments: Any, free: Any) -> bool:
    """Step 14: take acknowledged segments from the list; whether one ended exactly at the acknowledgement."""
    ack = row[IN_ACK]
    relative = (ack - state[s, rev + BASE]) & MASK32
    behind = relative <= state[s, rev + LOW] and state[s, rev + HIGH] - relative < HALF
    if behind and state[s, rev + WRAPPED] == 0:
        return False  # all of the list lies behind it
    exact = False
    newer, at = -1, state[s, rev + HEAD]
    state[s, rev + LISTED] = 0  # `widen` begins anew
    kept = 0
    while at >= 0:
        older = segments[at, SEG_OLDER]
        end = segments[at, SEG_NEXT]
        drop = False
        if ack == end:
            out[OUT_ACKS_FRAME] = segments[at, SEG_FRAME]
            out[OUT_ACK_RTT] = row[IN_TS] - segments[at, SEG_TS]
            exact = True
            drop = True
        elif before(segments[at, SEG_SEQ], ack) and before(ack, end):
            segments[at, SEG_SEQ] = ack
        elif not before(ack, end):
            drop = True
        if drop:
            if newer < 0:
                state[s, rev + HEAD] = older
            else:
                segments[newer, SEG_OLDER] = older
            segments[at, SEG_OLDER] = free[0]
            free[0] = at
        else:
            widen(state, s, rev, segments[at, SEG_SEQ], end)
            kept += 1
            state[s, rev + LISTED] = kept
            newer = at
        at = older
    state[s, rev + TAIL] = newer
    return exact


@hot
def in_flight(state: Any, s: int, fwd: int, rev: int, row: Any, out: Any) -> bool:
    """Step 15: bytes in flight, bytes since the last push; whether there are any."""
    if row[IN_SIZE] <= 0 or state[s, fwd + LISTED] == 0 or state[s, fwd + VALID_BIF] == 0:
        return False
    flight = (state[s, fwd + HIGH] - state[s, fwd + LOW] - state[s, rev + SACKED]) & MASK32
    if 0 < flight < BIF_LIMIT:
        out[OUT_BIF] = flight - 1 if row[IN_FLAGS] & (SYN | FIN) else flight
    if state[s, fwd + PUSH_LAST] != 0:
        state[s, fwd + PUSH_BYTES] = row[IN_SIZE]
    else:
        state[s, fwd + PUSH_BYTES] += row[IN_SIZE]
    state[s, fwd + PUSH_LAST] = row[IN_FLAGS] & PSH
    if out[OUT_BIF] != 0:
        out[OUT_PUSH] = state[s, fwd + PUSH_BYTES]
    return True


@hot
def rto(state: Any, s: int, fwd: int, row: Any, out: Any, segments: Any) -> None:
    """How long the oldest listed segment had waited."""
    if state[s, fwd + HEAD] >= 0:
        oldest = state[s, fwd + TAIL]
        waited, frame = row[IN_TS] - segments[oldest, SEG_TS], segments[oldest, SEG_FRAME]
    else:
        waited, frame = row[IN_TS] - state[s, fwd + NEXT_TS], state[s, fwd + NEXT_FRAME]
    if waited != 0:
        out[OUT_RTO], out[OUT_RTO_FRAME] = waited, frame


@hot
def analyze_segment(
    state: Any, s: int, fwd: int, rev: int, row: Any, out: Any, segments: Any, free: Any
) -> bool:
    """Steps 0 to 15 for a segment of known length; whether Wireshark keeps a record of it."""
    if state[s, fwd + BASE] != row[IN_BASE]:
        rebase(state, s, fwd, row[IN_BASE], segments)
    if row[IN_FLAGS] & ACK:
        state[s, rev + VALID_BIF] = 1
    found = simple_flags(state, s, fwd, rev, row)
    if found & DUPLICATE_ACK:
        count = state[s, fwd + DUP_COUNT]
        state[s, fwd + DUP_COUNT] = count + 1 if count >= 0 else 1
        out[OUT_DUP_NUM] = state[s, fwd + DUP_COUNT]
        out[OUT_DUP_FRAME] = state[s, fwd + NON_DUP_FRAME]
    if row[IN_ACK] != state[s, fwd + LAST_ACK]:
        state[s, fwd + NON_DUP_FRAME], state[s, fwd + DUP_COUNT] = row[IN_N], 0
    state[s, fwd + KNOWN] = state[s, OPERATIONS]
    unseen = unseen_ack(state, s, rev, row[IN_ACK]) if row[IN_FLAGS] & ACK else 0
    if unseen == 1:
        found |= ACK_LOST
    if (row[IN_SIZE] > 0 or row[IN_FLAGS] & (SYN | FIN)) and found & KEEP_ALIVE == 0:
        kind = retransmission(state, s, fwd, rev, row)
        if kind == RETRANSMISSION:
            rto(state, s, fwd, row, out, segments)
        found |= kind
    advance(state, s, fwd, row, found, segments, free)
    exact = acknowledge(state, s, rev, row, out, segments, free)
    flying = in_flight(state, s, fwd, rev, row, out)
    out[OUT_FLAGS] |= found
    return exact or flying or unseen != 0 or found != 0


def rebase(state: Any, s: int, side: int, base: int, segments: Any) -> None:
    """A side's first sequence number has changed: its list is measured again."""
    state[s, side + BASE] = base
    state[s, side + LISTED], kept = 0, 0
    at = state[s, side + HEAD]
    while at >= 0:
        widen(state, s, side, segments[at, SEG_SEQ], segments[at, SEG_NEXT])
        kept += 1
        state[s, side + LISTED] = kept
        at = segments[at, SEG_OLDER]


@hot
def scale_window(state: Any, s: int, fwd: int, row: Any, out: Any) -> None:
    """The window as its sender means it, and the shift; the shift is 0 in the output of a SYN."""
    scale = state[s, fwd + WSCALE]
    out[OUT_WINDOW], out[OUT_SCALE] = row[IN_WINDOW], scale
    if row[IN_FLAGS] & SYN:
        out[OUT_SCALE] = 0
    elif scale >= 0:
        out[OUT_WINDOW] = row[IN_WINDOW] << scale


@hot
def learn(state: Any, s: int, fwd: int, rev: int, row: Any) -> None:
    """What the options and flags teach for later segments: scale, SACK, MPTCP, RTT of the handshake."""
    flags = row[IN_FLAGS]
    state[s, OPERATIONS] |= row[IN_MPTCP]
    if row[IN_WSCALE] >= 0:
        state[s, fwd + WSCALE] = min(row[IN_WSCALE], 14)
    state[s, fwd + SACKED] = row[IN_SACK]
    if flags & SYN:
        state[s, fwd + FIRST_ACK] = 1
        if state[s, fwd + WSCALE] == -1:
            state[s, fwd + WSCALE] = state[s, rev + WSCALE] = -2
        elif flags & ACK and state[s, rev + WSCALE] == -2:
            state[s, fwd + WSCALE] = -2
        if flags & ACK == 0:
            state[s, SYN_TS] = row[IN_TS]
    elif flags & ACK:
        state[s, fwd + FIRST_ACK] = 0
        if state[s, INITIAL_RTT] == 0 and state[s, SYN_TS] != 0:
            state[s, INITIAL_RTT] = row[IN_TS] - state[s, SYN_TS]


@hot
def complete(state: Any, s: int, row: Any, fresh: bool) -> None:
    """The parts of a connection's life that were seen; of the packet that opens it only SYN and its data count."""
    flags, seen = row[IN_FLAGS], state[s, COMPLETENESS]
    if fresh:
        if flags & (SYN | ACK) == SYN and row[IN_REUSED] == 0:
            seen = DONE_SYN | DONE_DATA if row[IN_SIZE] > 0 else DONE_SYN
        state[s, COMPLETENESS] = seen
        return
    if flags & (SYN | ACK) == (SYN | ACK):
        seen |= DONE_SYNACK
    elif flags & ACK:
        if row[IN_SIZE] > 0:
            seen |= DONE_DATA
        elif row[IN_SIZE] == 0:
            seen |= DONE_ACK
    if flags & (FIN | ACK) == (FIN | ACK):
        seen |= DONE_FIN
    if flags & RST:
        seen |= DONE_RST
    state[s, COMPLETENESS] = seen


def analyze(rows: Any, start: int, state: Any, segments: Any, free: Any, out: Any) -> int:
    """Analyse segments in capture order.

    Parameters
    ----------
    rows : (IN_WIDTH, segments) int64
        Input columns, IN_*; streams are numbered in order of appearance, and sequence numbers absolute.
    start : int
        First row to do.
    state : (capacity, WIDTH) int64
        Conversations; zero where not used yet.
    segments : (room, SEG_WIDTH) int64
        Listed segments; unused ones are chained by SEG_OLDER.
    free : (1,) int64
        First unused one, -1 where there is none.
    out : (OUT_WIDTH, segments) int64
        Output columns, OUT_*, written.

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
        if fresh and row[IN_REUSED] != 0:  # Wireshark notes the SYN of a reused pair at once
            state[s, COMPLETENESS] = DONE_SYN
        result[OUT_COMPLETENESS] = state[s, COMPLETENESS]
        record = row[IN_REUSED] != 0
        if record:
            result[OUT_FLAGS] = REUSED
        if not fresh and row[IN_FLAGS] & (SYN | ACK) == SYN and row[IN_SEQ] == state[s, fwd + BASE]:
            state[s, fwd + NEXT] = state[s, fwd + MAX_TO_ACK]
            record = True
        if row[IN_SIZE] >= 0 and analyze_segment(state, s, fwd, rev, row, result, segments, free):
            record = True
        scale_window(state, s, fwd, row, result)
        learn(state, s, fwd, rev, row)
        complete(state, s, row, fresh)
        if record:
            result[OUT_INITIAL_RTT] = state[s, INITIAL_RTT]
    return height
