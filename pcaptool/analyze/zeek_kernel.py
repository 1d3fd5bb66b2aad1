"""Kernel: what Zeek would say of each connection: the states of its two ends, and the letters of its history.

Knows: Zeek's rules (its documentation of conn.log, and how its releases behave): when an end is established,
closed or reset, which packet adds which letter, in which order. Must not know: addresses, ports, tables; which
connection a packet belongs to and who is its originator (`flow_kernel`).
The same source runs as plain Python and compiled: only integers, flat arrays and loops.

Letters, capital for the originator's: S SYN, H SYN-ACK, A pure ACK, D data, F FIN, R RST (F and R again where the
number differs from the last one's), I FIN and RST in one, Q SYN and FIN or RST in one, each once; T payload again,
W window closed, G bytes that were acknowledged and never seen: the first, 10th, 100th time; ^ the sides were
exchanged (`flow_kernel.begin`).

Left out: C, a wrong checksum (packets are taken as `zeek -C` does: in a capture at the sender most checksums are not
filled in yet); ends by time (attempts, inactivity); a second SYN-ACK or SYN whose number differs, behind the end;
36 letters at most. Behind the first two blocks that wait beyond a hole, further holes are not counted.
What comes 5 s after both sides ended, or after a reset, is another connection to Zeek, and has no part here.

Memory: WIDE integers of 8 bytes and NARROW of 4 a connection (176 bytes). Time: O(1) a packet.
"""

from __future__ import annotations

from typing import Any

from pcaptool.analyze.flow_kernel import (
    ACK,
    FIN,
    FLIPPED,
    IN_ACK,
    IN_FLAGS,
    IN_PAYLOAD,
    IN_PROTOCOL,
    IN_SEQ,
    IN_TS,
    OUT_FLOW,
    OUT_SIDE,
    RST,
    SYN,
)
from pcaptool.engine.loads import hot

__all__ = [
    "CLOSED",
    "EDGE",
    "ESTABLISHED",
    "FINS",
    "INACTIVE",
    "LAST",
    "LETTERS",
    "NARROW",
    "PARTIAL",
    "RESET",
    "SIDE_WIDTH",
    "START",
    "STATE",
    "SYN_ACK_SENT",
    "SYN_SENT",
    "WIDE",
    "WORDS",
    "follow",
]

MASK32, HALF = 0xFFFFFFFF, 0x80000000
UDP = 17
CLOSE_DELAY_NS = 5 * 10**9  # Zeek's tcp_close_delay

# Wide columns. Letters of 5 bits, first one lowest, 12 a word.
LETTERS, COUNT, SEEN, ENDED_TS = 0, 3, 4, 5
BEGUN, ENDED = 1, 2  # bits of SEEN below those of the letters
WORDS, WORD_LETTERS = 3, 12
WIDE = 6
# Narrow columns of each side, originator's first. Sequence numbers less 2**31.
START, LAST, EDGE, FIN_AT, RST_AT, REPEATS, SHUT, GAPS = 0, 1, 2, 3, 4, 5, 6, 7
BLOCKS = 8  # left and right edge of two blocks beyond a hole; empty where they are equal
STATE, BEFORE, FINS, DID_CLOSE = 12, 13, 14, 15
SIDE_WIDTH = 16
NARROW = 2 * SIDE_WIDTH

INACTIVE, SYN_SENT, SYN_ACK_SENT, PARTIAL, ESTABLISHED, CLOSED, RESET = 0, 1, 2, 3, 4, 5, 6

# Letters: the originator's even, the responder's one more.
H_S, H_H, H_A, H_D, H_F, H_R, H_I, H_Q, H_T, H_W, H_G, H_FLIP = 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24
HUGE_STEP = 1 << 20  # SYN and RST that leap further do not move what was seen


def add(wide: Any, flow: int, letter: int) -> None:
    """One letter more."""
    count = wide[flow, COUNT]
    if count < WORDS * WORD_LETTERS:
        wide[flow, LETTERS + count // WORD_LETTERS] |= letter << (5 * (count % WORD_LETTERS))
        wide[flow, COUNT] = count + 1


def add_once(wide: Any, flow: int, letter: int) -> bool:
    """One letter more, if it is the first such one; whether it was there before."""
    if wide[flow, SEEN] >> letter & 1:
        return True
    wide[flow, SEEN] |= 1 << letter
    add(wide, flow, letter)
    return False


def add_scaled(wide: Any, narrow: Any, flow: int, at: int, letter: int) -> None:
    """Count an event; a letter for the first, the 10th, the 100th..."""
    count = narrow[flow, at] + 1
    if count < HALF - 1:
        narrow[flow, at] = count
    if count in (1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000):
        add(wide, flow, letter)


@hot
def ahead(a: int, b: int) -> int:
    """How far sequence number `a` is ahead of `b`, signed."""
    return ((a - b + HALF) & MASK32) - HALF


@hot
def bit(flags: int, flag: int) -> int:
    """1 where a flag is set."""
    return 1 if flags & flag else 0


@hot
def enter(narrow: Any, flow: int, here: int, state: int) -> None:
    """An end's next state."""
    if narrow[flow, here + STATE] != state:
        narrow[flow, here + BEFORE] = narrow[flow, here + STATE]
        narrow[flow, here + STATE] = state


def set_start(narrow: Any, flow: int, here: int, start: int, last: int) -> None:
    """Where an end's numbers begin."""
    narrow[flow, here + START] = start - HALF
    narrow[flow, here + LAST] = last - HALF
    narrow[flow, here + EDGE] = ((start + 1) & MASK32) - HALF
    for k in range(4):
        narrow[flow, here + BLOCKS + k] = 0


def init_side(narrow: Any, flow: int, here: int, flags: int, seq: int, after: int) -> None:
    """Numbers of the end that sends: at its first packet, and at a SYN that says otherwise."""
    state = narrow[flow, here + STATE]
    if state == INACTIVE:
        if flags & SYN:
            set_start(narrow, flow, here, seq, after)
        else:  # joined late: as if there had been a SYN
            set_start(narrow, flow, here, (seq - 1) & MASK32, seq)
    elif flags & SYN:
        other = narrow[flow, here + START] + HALF != seq
        if state in (SYN_SENT, SYN_ACK_SENT):
            if other:
                set_start(narrow, flow, here, seq, after)
        elif state in (ESTABLISHED, PARTIAL):
            if other:
                set_start(narrow, flow, here, seq, after)
            else:
                narrow[flow, here + LAST] = after - HALF
        elif state == RESET and narrow[flow, here + BEFORE] == INACTIVE:
            set_start(narrow, flow, here, seq, after)


def note_flags(wide: Any, narrow: Any, flow: int, side: int, flags: int, seq: int, size: int) -> None:
    """The letter of the packet's flags or payload."""
    here = side * SIDE_WIDTH
    controls = bit(flags, SYN) + bit(flags, FIN) + bit(flags, RST)
    if controls > 1:
        add_once(wide, flow, (H_I if flags & FIN and flags & RST else H_Q) + side)
    elif flags & SYN:
        add_once(wide, flow, (H_H if flags & ACK else H_S) + side)
    elif flags & FIN:
        end = ((seq + size) & MASK32) - HALF
        if add_once(wide, flow, H_F + side) and end != narrow[flow, here + FIN_AT]:
            add(wide, flow, H_F + side)
    elif flags & RST:
        if add_once(wide, flow, H_R + side) and seq - HALF != narrow[flow, here + RST_AT]:
            add(wide, flow, H_R + side)
        narrow[flow, here + RST_AT] = seq - HALF
    elif size > 0:
        add_once(wide, flow, H_D + side)
    elif flags & ACK:
        add_once(wide, flow, H_A + side)
    if flags & FIN:
        narrow[flow, here + FIN_AT] = ((seq + size) & MASK32) - HALF
        narrow[flow, here + FINS] = 1


def note_last(wide: Any, narrow: Any, flow: int, side: int, flags: int, after: int, size: int) -> None:
    """The highest number that was sent, or that payload came again."""
    here = side * SIDE_WIDTH
    step = ahead(after, narrow[flow, here + LAST] + HALF)
    if flags & (SYN | RST) and (step > HUGE_STEP or step < -HUGE_STEP):
        return
    if narrow[flow, here + STATE] == RESET:
        return
    if step > 0:
        narrow[flow, here + LAST] = after - HALF
    elif size > 0:
        add_scaled(wide, narrow, flow, here + REPEATS, H_T + side)


def first_state(narrow: Any, flow: int, side: int, flags: int, size: int) -> int:
    """The first packet of an end; returns whether it ended."""
    here, there = side * SIDE_WIDTH, (1 - side) * SIDE_WIDTH
    other, closes = narrow[flow, there + STATE], 0
    if flags & SYN:
        if side == 1:
            if other == SYN_SENT:
                enter(narrow, flow, there, ESTABLISHED)
            enter(narrow, flow, here, ESTABLISHED)
        elif flags & ACK:
            enter(narrow, flow, here, SYN_ACK_SENT)
        else:  # SYN and SYN-ACK may have changed places on their way
            enter(narrow, flow, here, ESTABLISHED if other == ESTABLISHED else SYN_SENT)
    if flags & FIN:
        enter(narrow, flow, here, CLOSED)
        closes = 1
    if flags & RST:
        enter(narrow, flow, here, RESET)
        closes = 1
    if narrow[flow, here + STATE] == INACTIVE:
        if side == 1 and size <= 0 and other == SYN_SENT:
            return 0  # an ACK before the SYN-ACK
        enter(narrow, flow, here, ESTABLISHED if flags & ACK and other == ESTABLISHED else PARTIAL)
    return closes


def next_state(narrow: Any, flow: int, side: int, flags: int, size: int) -> int:
    """What the packet's flags make of its sender's state; returns whether that ended."""
    here, there = side * SIDE_WIDTH, (1 - side) * SIDE_WIDTH
    state, other = narrow[flow, here + STATE], narrow[flow, there + STATE]
    if state == INACTIVE:
        return first_state(narrow, flow, side, flags, size)
    if state == CLOSED:
        if flags & RST and other != CLOSED:
            enter(narrow, flow, here, RESET)
            return 1
        return 0
    if state == RESET:
        return 0
    if state == PARTIAL and flags & (SYN | ACK) == SYN and other == INACTIVE:
        enter(narrow, flow, here, SYN_SENT)
    closes = 0
    if flags & FIN and (not flags & RST or state in (SYN_SENT, SYN_ACK_SENT)):
        enter(narrow, flow, here, CLOSED)
        if state in (ESTABLISHED, PARTIAL) and other == RESET and narrow[flow, there + BEFORE] == CLOSED:
            enter(narrow, flow, there, CLOSED)  # FIN, then RST: an ordinary end after all
        closes = 1
    if flags & RST:
        enter(narrow, flow, here, RESET)
        closes = 1
    return closes


def clean(narrow: Any, flow: int, here: int) -> bool:
    """Whether an end was established, and if it ended, by FIN."""
    state = narrow[flow, here + STATE]
    return bool(state == ESTABLISHED or (state == CLOSED and narrow[flow, here + BEFORE] == ESTABLISHED))


def take_blocks(narrow: Any, flow: int, here: int) -> None:
    """Blocks that the edge has reached are no longer beyond a hole."""
    at = here + BLOCKS
    for _ in range(2):
        left, right = narrow[flow, at] + HALF, narrow[flow, at + 1] + HALF
        edge = narrow[flow, here + EDGE] + HALF
        if left == right or ahead(left, edge) > 0:
            return
        if ahead(right, edge) > 0:
            narrow[flow, here + EDGE] = right - HALF
        narrow[flow, at], narrow[flow, at + 1] = narrow[flow, at + 2], narrow[flow, at + 3]
        narrow[flow, at + 2] = narrow[flow, at + 3] = 0


def put(narrow: Any, flow: int, here: int, seq: int, after: int) -> None:
    """Payload from `seq` to `after` was seen."""
    edge = narrow[flow, here + EDGE] + HALF
    if ahead(after, edge) <= 0:
        return
    at = here + BLOCKS
    if ahead(seq, edge) <= 0:
        narrow[flow, here + EDGE] = after - HALF
        take_blocks(narrow, flow, here)
        return
    for k in range(2):
        block = at + 2 * k
        left, right = narrow[flow, block] + HALF, narrow[flow, block + 1] + HALF
        if left == right:
            narrow[flow, block], narrow[flow, block + 1] = seq - HALF, after - HALF
            return
        if ahead(seq, right) <= 0 and ahead(after, left) >= 0:  # touches this block
            if ahead(seq, left) < 0:
                narrow[flow, block] = seq - HALF
            if ahead(after, right) > 0:
                narrow[flow, block + 1] = after - HALF
            break
        if ahead(after, left) < 0:  # before this block: the second one grows down to the first
            if k == 0:
                if narrow[flow, at + 2] == narrow[flow, at + 3]:
                    narrow[flow, at + 3] = right - HALF
                narrow[flow, at + 2] = left - HALF
            narrow[flow, block], narrow[flow, block + 1] = seq - HALF, after - HALF
            if k == 1 and ahead(right, after) > 0:
                narrow[flow, block + 1] = right - HALF
            break
        if k == 1:  # beyond both: the second one grows up to it
            narrow[flow, block + 1] = after - HALF
    if (
        narrow[flow, at + 2] != narrow[flow, at + 3]
        and ahead(narrow[flow, at + 1], narrow[flow, at + 2]) >= 0
    ):
        if ahead(narrow[flow, at + 3], narrow[flow, at + 1]) > 0:
            narrow[flow, at + 1] = narrow[flow, at + 3]
        narrow[flow, at + 2] = narrow[flow, at + 3] = 0


def acknowledge(wide: Any, narrow: Any, flow: int, sender: int, ack: int, counts: bool) -> None:
    """The other side has all before `ack`: what of it was not seen is a gap."""
    here = sender * SIDE_WIDTH
    if narrow[flow, here + FINS] > 0 and ahead(ack, narrow[flow, here + FIN_AT] + HALF) > 0:
        ack = narrow[flow, here + FIN_AT] + HALF
    for _ in range(3):
        edge = narrow[flow, here + EDGE] + HALF
        if ahead(ack, edge) <= 0:
            return
        left, right = narrow[flow, here + BLOCKS] + HALF, narrow[flow, here + BLOCKS + 1] + HALF
        if counts:
            add_scaled(wide, narrow, flow, here + GAPS, H_G + sender)
        if left == right or ahead(ack, left) <= 0:
            narrow[flow, here + EDGE] = ack - HALF
        else:
            narrow[flow, here + EDGE] = left - HALF
        take_blocks(narrow, flow, here)


@hot
def ordinary(wide: Any, narrow: Any, flow: int, side: int, rows: Any, i: int, window: int) -> bool:
    """Take a segment that adds no letter and changes no state, as most do; whether it was one."""
    here, there = side * SIDE_WIDTH, (1 - side) * SIDE_WIDTH
    flags, seq, size = rows[i, IN_FLAGS], rows[i, IN_SEQ] - HALF, rows[i, IN_PAYLOAD]
    if (
        flags & (SYN | FIN | RST | ACK) != ACK
        or window == 0
        or narrow[flow, here + STATE] != ESTABLISHED
        or narrow[flow, there + STATE] != ESTABLISHED
        or seq != narrow[flow, here + LAST]
        or ahead(rows[i, IN_ACK], narrow[flow, there + EDGE] + HALF) > 0
    ):
        return False
    if size <= 0:
        return bool(wide[flow, SEEN] >> (H_A + side) & 1)
    if seq != narrow[flow, here + EDGE] or not wide[flow, SEEN] >> (H_D + side) & 1:
        return False
    narrow[flow, here + LAST] = narrow[flow, here + EDGE] = ((seq + HALF + size) & MASK32) - HALF
    return True


def segment(wide: Any, narrow: Any, flow: int, side: int, rows: Any, i: int, window: int) -> None:
    """One TCP segment."""
    seq, ack, flags, size = rows[i, IN_SEQ], rows[i, IN_ACK], rows[i, IN_FLAGS], rows[i, IN_PAYLOAD]
    here, there = side * SIDE_WIDTH, (1 - side) * SIDE_WIDTH
    size = max(size, 0)
    length = (0 if flags & RST else size) + bit(flags, SYN) + bit(flags, FIN)
    after = (seq + length) & MASK32
    init_side(narrow, flow, here, flags, seq, after)
    note_flags(wide, narrow, flow, side, flags, seq, size)
    if (
        window == 0
        and not flags & RST
        and narrow[flow, there + STATE] != CLOSED
        and narrow[flow, here + STATE] != RESET
    ):
        add_scaled(wide, narrow, flow, here + SHUT, H_W + side)
    known = narrow[flow, there + STATE] != INACTIVE
    if flags & ACK and not known:
        before = (ack - 1) & MASK32
        set_start(narrow, flow, there, before, before)
    note_last(wide, narrow, flow, side, flags, after, size)
    closes = next_state(narrow, flow, side, flags, size)
    if flags & ACK and known:
        counts = clean(narrow, flow, here) and clean(narrow, flow, there)
        acknowledge(wide, narrow, flow, 1 - side, ack, counts)
    if size > 0 and not flags & RST:
        first = (seq + 1) & MASK32 if flags & SYN else seq
        put(narrow, flow, here, first, (first + size) & MASK32)
    if closes and narrow[flow, here + DID_CLOSE] == 0:
        narrow[flow, here + DID_CLOSE] = 1
        if (
            narrow[flow, here + STATE] == RESET
            or narrow[flow, there + DID_CLOSE]
            or narrow[flow, there + STATE] == INACTIVE
        ):
            wide[flow, SEEN] |= ENDED
            wide[flow, ENDED_TS] = rows[i, IN_TS]


def follow(rows: Any, found: Any, tcp_rows: Any, windows: Any, flows: Any, wide: Any, narrow: Any) -> None:
    """Give each packet to its connection.

    Parameters
    ----------
    rows, found : int64 arrays
        Input and output of `flow_kernel.track`.
    tcp_rows : int64 array
        Where each stands in the tcp table.
    windows : array
        Of the tcp table: the window as it was sent.
    flows : (capacity, flow_kernel.WIDTH) int64
        Conversations.
    wide, narrow : (capacity, WIDE) int64, (capacity, NARROW) int32
        State of each; zero where there is none yet.
    """
    for i in range(len(rows)):
        flow, side = found[i, OUT_FLOW], found[i, OUT_SIDE]
        if wide[flow, SEEN] == 0:
            wide[flow, SEEN] = BEGUN
            if flows[flow, FLIPPED]:
                add(wide, flow, H_FLIP)
        if rows[i, IN_PROTOCOL] == UDP:
            add_once(wide, flow, H_D + side)
        elif not wide[flow, SEEN] & ENDED or rows[i, IN_TS] - wide[flow, ENDED_TS] <= CLOSE_DELAY_NS:
            window = windows[tcp_rows[i]]
            if not ordinary(wide, narrow, flow, side, rows, i, window):
                segment(wide, narrow, flow, side, rows, i, window)
