"""DNS: messages are read back as they were written; garbage never raises; both ways of running agree."""

from __future__ import annotations

import socket
import struct

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pcaptool.analyze import dns_kernel as dk
from pcaptool.analyze.dns_stream import DnsConnection

label = st.binary(min_size=1, max_size=20)
names = st.lists(label, max_size=5)


def on_wire(name):
    return b"".join(bytes([len(part)]) + part for part in name) + b"\0"


def in_words(name):
    """RFC 1035 section 5.1, of bytes one character each."""
    out = []
    for part in name:
        text = ""
        for byte in part:
            if byte in b".\\":
                text += "\\" + chr(byte)
            else:
                text += f"\\{byte:03d}" if byte < 32 or byte == 127 else chr(byte)
        out.append(text)
    return ".".join(out) or "<Root>"


@st.composite
def messages(draw):
    """A response; names after the first repeat it by pointer where they can. Bytes, and what is in them."""
    question = draw(names)
    raw = struct.pack(">6H", draw(st.integers(0, 65535)), 0x8180, 1, 0, 0, 0)
    raw += on_wire(question) + struct.pack(">2H", draw(st.integers(1, 300)), 1)
    records = []
    for _ in range(draw(st.integers(0, 6))):
        owner = draw(st.one_of(st.none(), names))
        kind = draw(st.sampled_from([1, 28, 5, 2, 15, 33, 16, 99]))
        ttl = draw(st.integers(0, 2**32 - 1))
        target = draw(names)
        value = {
            1: (bytes([192, 0, 2, 9]), "192.0.2.9"),
            28: (bytes(range(16)), socket.inet_ntop(socket.AF_INET6, bytes(range(16)))),
            5: (on_wire(target), in_words(target)),
            2: (b"\xc0\x0c", in_words(question)),
            15: (b"\0\5" + on_wire(target), in_words(target)),
            33: (bytes(6) + b"\xc0\x0c", in_words(question)),
            16: (b"\3abc\2de", "abcde"),
            99: (b"anything", ""),
        }[kind]
        raw += b"\xc0\x0c" if owner is None else on_wire(owner)
        raw += struct.pack(">2HIH", kind, 1, ttl, len(value[0])) + value[0]
        records.append((in_words(question if owner is None else owner), kind, ttl, value[1]))
    raw = raw[:6] + struct.pack(">H", len(records)) + raw[8:]
    return raw, in_words(question), records


def read(raws, parse=dk.parse, room=1 << 16):
    """The kernel's answer: message rows, record rows, text."""
    data = np.frombuffer(b"".join(raws) or b"\0", np.uint8)
    sizes = np.array([len(raw) for raw in raws], np.int64)
    ends = np.cumsum(sizes)
    out = np.zeros((len(raws), dk.MESSAGE_WIDTH), np.int64)
    records, text = np.zeros((room // 16, dk.RECORD_WIDTH), np.int64), np.zeros(room, np.uint8)
    cursor = np.zeros(dk.CURSOR_WIDTH, np.int64)
    done = parse(data, ends - sizes, ends, 0, out, records, text, cursor)
    assert done == len(raws)
    assert cursor[dk.C_TEXT] <= room
    return out, records[: cursor[dk.C_RECORDS]], text[: cursor[dk.C_TEXT]].tobytes()


@given(st.lists(messages(), min_size=1, max_size=3))
def test_what_was_written_is_read(written):
    out, records, text = read([raw for raw, _, _ in written])
    for row, (_, question, wanted) in zip(out, written, strict=True):
        assert row[dk.TROUBLE] == dk.FINE
        assert text[row[dk.NAME] : row[dk.NAME_END]].decode("latin-1") == question
        found = []
        for r in records[row[dk.RECORD] : row[dk.RECORD_END]].tolist():
            data = text[r[dk.R_DATA] : r[dk.R_DATA_END]]
            if r[dk.R_KIND] == dk.ADDRESS:
                said = socket.inet_ntop(socket.AF_INET if len(data) == 4 else socket.AF_INET6, data)
            else:
                said = data.decode("latin-1")
            owner = text[r[dk.R_NAME] : r[dk.R_NAME_END]].decode("latin-1")
            found.append((owner, r[dk.R_TYPE], r[dk.R_TTL], said))
        assert found == wanted


LOOP = struct.pack(">6H", 1, 0, 1, 0, 0, 0) + b"\xc0\x0c" + b"\0\1\0\1"
LONG = struct.pack(">6H", 1, 0, 1, 0, 0, 0) + (b"\x3f" + b"a" * 63) * 8 + b"\0" + b"\0\1\0\1"
MANY = struct.pack(">6H", 1, 0x8000, 0, 65535, 65535, 65535) + b"\0\0\1\0\1\0\0\0\0\0\0" * 30


@given(st.lists(st.binary(min_size=12, max_size=200), min_size=1, max_size=3))
@example([LOOP])
@example([LONG])
@example([MANY])
def test_garbage_neither_raises_nor_runs_away(raws):
    out, records, _ = read(raws)
    assert len(records) <= sum(len(raw) for raw in raws) // 11
    assert set(out[:, dk.TROUBLE].tolist()) <= {dk.FINE, dk.SHORT, dk.BAD_NAME}


@pytest.mark.parametrize(("raw", "why"), [(LOOP, dk.BAD_NAME), (LONG, dk.BAD_NAME), (MANY, dk.SHORT)])
def test_faults_are_named(raw, why):
    assert read([raw])[0][0, dk.TROUBLE] == why


def test_a_full_array_is_told():
    data = np.frombuffer(MANY, np.uint8)
    out = np.zeros((1, dk.MESSAGE_WIDTH), np.int64)
    cursor = np.zeros(dk.CURSOR_WIDTH, np.int64)
    records, text = np.zeros((4, dk.RECORD_WIDTH), np.int64), np.zeros(1 << 16, np.uint8)
    start, end = np.array([0]), np.array([len(MANY)])
    assert dk.parse(data, start, end, 0, out, records, text, cursor) == 0
    assert cursor[dk.C_RECORDS] == cursor[dk.C_TEXT] == 0


@pytest.mark.slow
def test_compiled_as_plain():
    from pcaptool.engine import Engine

    compiled = Engine("compiled").function(dk.__name__, "parse")

    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(st.one_of(st.binary(min_size=12, max_size=90), messages().map(lambda m: m[0])), min_size=1)
    )
    def same(raws):
        for a, b in zip(read(raws, room=1 << 20), read(raws, compiled, room=1 << 20), strict=True):
            assert np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b

    same()


@given(st.lists(st.binary(min_size=12, max_size=60), max_size=5), st.lists(st.integers(1, 30), min_size=1))
def test_messages_in_a_stream_do_not_depend_on_segments(raws, sizes):
    stream = b"".join(struct.pack(">H", len(raw)) + raw for raw in raws)
    connection, at, n = DnsConnection(), 0, 0
    connection.streams[0].begin(1)
    while at < len(stream):
        size = sizes[n % len(sizes)]
        n += 1
        connection.segment(0, 1 + at, stream[at : at + size], n, n)
        at += size
    assert [message.data for message in connection.take_finished()] == raws
