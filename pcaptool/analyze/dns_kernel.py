r"""Kernel: DNS messages to numbers and text.

Knows: RFC 1035 section 4 (header, question, resource records, name compression), RFC 3596 (AAAA), 2782 (SRV),
6672 (DNAME). Must not know: packets, which query a response answers (`dns`), tables.
The same source runs as plain Python and compiled by numba; the whole call tree stands in this file.

Names are written as people type them: labels with dots between, a dot or backslash inside a label behind a
backslash, control bytes as `\ddd` (RFC 1035 section 5.1), other bytes as they are; the root is `<Root>`, as
Wireshark has it. A name has at most 255 bytes on the wire and follows at most JUMPS pointers.
Of a message with several questions the first one counts. Of records that carry more than one value MX and SRV
give their target and SOA its primary server; TXT gives its strings without border; of all other types the data
is left out. A message that ends too early, or lies about lengths, gives what stands before the fault.

Time: O(bytes) a message but for names, which are bounded. Kernels do not allocate: a caller whose arrays are
full is told, grows them and calls again.
"""

from __future__ import annotations

from typing import Any

from pcaptool.engine.loads import be16, be32

__all__ = ["parse"]

JUMPS = 64
NAME_BYTES = 255
NAME_TEXT = 1032  # what the longest name can become: each byte as \ddd, and dots

A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV, DNAME, OPT = 1, 2, 5, 6, 12, 15, 16, 28, 33, 39, 41

# Columns of a message. Name positions are in the text; -1 where there is no question.
ID, FLAGS, QUERIES, ANSWERS, AUTHORITIES, ADDITIONALS = 0, 1, 2, 3, 4, 5
NAME, NAME_END, TYPE, CLASS, RECORD, RECORD_END, TROUBLE, MESSAGE_WIDTH = 6, 7, 8, 9, 10, 11, 12, 13

# Values of TROUBLE.
FINE, SHORT, BAD_NAME, BAD_LENGTH = 0, 1, 2, 3

# Columns of a resource record. KIND says what stands in the text as its data: nothing, an address, a text.
R_TYPE, R_CLASS, R_TTL, R_NAME, R_NAME_END, R_DATA, R_DATA_END, R_KIND, RECORD_WIDTH = (
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
NOTHING, ADDRESS, WORDS = 0, 1, 2

# Cursor: records and text bytes used; where a name ended; why one was refused.
C_RECORDS, C_TEXT, C_AT, C_FAULT, CURSOR_WIDTH = 0, 1, 2, 3, 4


def put_byte(text: Any, to: int, byte: int) -> int:
    """One byte of a label, escaped; where the text goes on."""
    if byte in (46, 92):  # a dot, a backslash
        text[to], text[to + 1] = 92, byte
        return to + 2
    if byte < 32 or byte == 127:
        text[to], text[to + 1] = 92, 48 + byte // 100
        text[to + 2], text[to + 3] = 48 + byte // 10 % 10, 48 + byte % 10
        return to + 4
    text[to] = byte
    return to + 1


def name(data: Any, start: int, end: int, at: int, text: Any, cursor: Any) -> bool:
    """Write the name at `at`; C_AT is then behind it. False: it is faulty (C_FAULT)."""
    to, size, jumps, after = cursor[C_TEXT], 1, 0, -1
    begin = to
    while True:
        if at >= end:
            cursor[C_FAULT] = SHORT
            return False
        count = int(data[at])
        if count >= 192:
            if at + 2 > end:
                cursor[C_FAULT] = SHORT
                return False
            if after < 0:
                after = at + 2
            at = start + (be16(data, at) & 0x3FFF)
            jumps += 1
            if jumps > JUMPS:
                cursor[C_FAULT] = BAD_NAME
                return False
            continue
        if count >= 64:
            cursor[C_FAULT] = BAD_NAME
            return False
        at += 1
        if count == 0:
            break
        size += count + 1
        if size > NAME_BYTES:
            cursor[C_FAULT] = BAD_NAME
            return False
        if at + count > end:
            cursor[C_FAULT] = SHORT
            return False
        if to > begin:
            text[to] = 46
            to += 1
        for k in range(count):
            to = put_byte(text, to, int(data[at + k]))
        at += count
    if to == begin:
        text[to], text[to + 1], text[to + 2] = 60, 82, 111
        text[to + 3], text[to + 4], text[to + 5] = 111, 116, 62  # <Root>
        to += 6
    cursor[C_TEXT] = to
    cursor[C_AT] = at if after < 0 else after
    return True


def record_data(
    data: Any, start: int, end: int, at: int, size: int, record: Any, text: Any, cursor: Any
) -> None:
    """What a record says, for the types that say it in one value; a faulty one says nothing."""
    kind, to = record[R_TYPE], cursor[C_TEXT]
    record[R_DATA] = record[R_DATA_END] = to
    record[R_KIND] = NOTHING
    if (kind == A and size == 4) or (kind == AAAA and size == 16):
        for k in range(size):
            text[to + k] = data[at + k]
        record[R_KIND] = ADDRESS
        cursor[C_TEXT] = to + size
    elif kind == TXT:
        k = at
        while k < at + size and k + 1 + int(data[k]) <= at + size:
            for j in range(int(data[k])):
                text[to] = data[k + 1 + j]
                to += 1
            k += 1 + int(data[k])
        cursor[C_TEXT] = to
        record[R_KIND] = WORDS
    else:
        before = -1
        if kind in (NS, CNAME, PTR, DNAME, SOA):
            before = 0
        elif kind == MX:
            before = 2
        elif kind == SRV:
            before = 6
        if (
            before >= 0
            and size > before
            and name(data, start, min(end, at + size), at + before, text, cursor)
        ):
            record[R_KIND] = WORDS
    record[R_DATA_END] = cursor[C_TEXT]


def record_at(data: Any, start: int, end: int, at: int, record: Any, text: Any, cursor: Any) -> int:
    """One resource record; where the next one begins, or -1 (C_FAULT)."""
    record[R_NAME] = cursor[C_TEXT]
    if not name(data, start, end, at, text, cursor):
        return -1
    at, record[R_NAME_END] = cursor[C_AT], cursor[C_TEXT]
    if at + 10 > end:
        cursor[C_FAULT] = SHORT
        return -1
    record[R_TYPE], record[R_CLASS] = be16(data, at), be16(data, at + 2)
    record[R_TTL] = be32(data, at + 4)
    size = be16(data, at + 8)
    at += 10
    if at + size > end:
        cursor[C_FAULT] = SHORT
        return -1
    record_data(data, start, end, at, size, record, text, cursor)
    return at + size


def message(data: Any, start: int, end: int, out: Any, records: Any, text: Any, cursor: Any) -> bool:
    """One message; False: there is no room."""
    for k in range(6):
        out[k] = be16(data, start + 2 * k)
    out[NAME], out[NAME_END], out[TYPE], out[CLASS] = -1, -1, -1, -1
    out[RECORD] = cursor[C_RECORDS]
    out[TROUBLE] = FINE
    at = start + 12
    for k in range(out[QUERIES]):
        if cursor[C_TEXT] + NAME_TEXT > len(text):
            return False
        before = cursor[C_TEXT]
        if not name(data, start, end, at, text, cursor) or cursor[C_AT] + 4 > end:
            cursor[C_TEXT] = before
            out[TROUBLE] = SHORT if cursor[C_FAULT] == FINE else cursor[C_FAULT]
            break
        at = cursor[C_AT]
        if k == 0:
            out[NAME], out[NAME_END] = before, cursor[C_TEXT]
            out[TYPE], out[CLASS] = be16(data, at), be16(data, at + 2)
        else:
            cursor[C_TEXT] = before
        at += 4
    if out[TROUBLE] == FINE:
        for _ in range(out[ANSWERS] + out[AUTHORITIES] + out[ADDITIONALS]):
            if at >= end:
                out[TROUBLE] = SHORT
                break
            if cursor[C_RECORDS] >= len(records) or cursor[C_TEXT] + 2 * NAME_TEXT + end - start > len(text):
                return False
            before = cursor[C_TEXT]
            at = record_at(data, start, end, at, records[cursor[C_RECORDS]], text, cursor)
            if at < 0:
                cursor[C_TEXT] = before
                out[TROUBLE] = cursor[C_FAULT]
                break
            cursor[C_RECORDS] += 1
    out[RECORD_END] = cursor[C_RECORDS]
    return True


def parse(
    data: Any, starts: Any, ends: Any, begin: int, out: Any, records: Any, text: Any, cursor: Any
) -> int:
    """Read messages.

    Parameters
    ----------
    data : bytes
    starts, ends : int64 arrays
        Where each message lies, of at least 12 bytes.
    begin : int
        First message to do.
    out : (messages, MESSAGE_WIDTH) int64
    records : (room, RECORD_WIDTH) int64
    text : uint8 array
        Names and data.
    cursor : (CURSOR_WIDTH,) int64

    Returns
    -------
    int
        The first message that was not done: all are, or `records` or `text` must grow.
    """
    for i in range(begin, len(starts)):
        kept_records, kept_text = cursor[C_RECORDS], cursor[C_TEXT]
        cursor[C_FAULT] = FINE
        if not message(data, starts[i], ends[i], out[i], records, text, cursor):
            cursor[C_RECORDS], cursor[C_TEXT] = kept_records, kept_text
            return i
    return len(starts)
