"""HTTP exchanges do not depend on how bytes were cut into segments, repeated or reordered; garbage never raises."""

from __future__ import annotations

from itertools import pairwise

import httptools
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pcaptool.analyze.http_head import _fields, parse_request
from pcaptool.analyze.http_pairing import HttpConnection
from pcaptool.analyze.http_rows import exchange_columns

ISN = 2**32 - 40  # so that every stream wraps around


@st.composite
def exchanges(draw):
    """A connection's exchanges: request bytes, response bytes, and what is to be found."""
    out = []
    for i in range(draw(st.integers(1, 5))):
        method = draw(st.sampled_from(["GET", "HEAD", "POST", "PROPFIND"]))
        sent = draw(st.binary(max_size=30)) if method == "POST" else b""
        body = draw(st.binary(max_size=60))
        request = f"{method} /{i} HTTP/1.1\r\nHost: h\r\n".encode()
        request += (b"Content-Length: %d\r\n\r\n" % len(sent)) + sent if sent else b"\r\n"
        status = draw(st.sampled_from([200, 404, 204, 304]))
        head = f"HTTP/1.1 {status} x\r\n".encode()
        empty = method == "HEAD" or status in (204, 304)
        if draw(st.booleans()):
            cut = draw(st.integers(0, len(body)))
            parts = [p for p in (body[:cut], body[cut:]) if p]
            coded = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n"
            response = head + b"Transfer-Encoding: chunked\r\n\r\n" + (b"" if empty else coded)
        else:
            response = head + b"Content-Length: %d\r\n\r\n" % len(body) + (b"" if empty else body)
        if draw(st.booleans()):
            response = b"HTTP/1.1 100 Continue\r\n\r\n" + response
        found = (method, f"/{i}", len(sent), status, 0 if empty else len(body))
        out.append((request, response, found))
    return out


def cut(draw, data):
    """A byte string as segments: position and bytes, some repeated, neighbours perhaps exchanged."""
    marks = sorted(draw(st.sets(st.integers(1, max(len(data) - 1, 1)), max_size=8)))
    edges = [0, *[m for m in marks if m < len(data)], len(data)]
    pieces = [(a, data[a:b]) for a, b in pairwise(edges)]
    for _ in range(draw(st.integers(0, 3))):
        i = draw(st.integers(0, len(pieces) - 1))
        start = max(pieces[i][0] - draw(st.integers(0, 5)), 0)
        again = (start, data[start : start + draw(st.integers(1, 20))])
        pieces.insert(draw(st.integers(i, len(pieces))), again)
    if len(pieces) > 1 and draw(st.booleans()):
        i = draw(st.integers(0, len(pieces) - 2))
        pieces[i], pieces[i + 1] = pieces[i + 1], pieces[i]
    return pieces


@given(st.data(), exchanges(), st.booleans(), st.booleans())
@settings(max_examples=200)
def test_exchanges_do_not_depend_on_segmentation(data, wanted, pipelined, fast):
    connection = HttpConnection()
    for stream in connection.streams:
        stream.begin(ISN)
    at, n, found = [0, 0], 0, []

    def say(side, text):
        nonlocal n
        for position, piece in cut(data.draw, text):
            n += 1
            seq = (ISN + at[side] + position) % 2**32
            ack = (ISN + at[1 - side]) % 2**32
            if fast and connection.skip_body(side, seq, len(piece), n, n * 10):
                continue
            if connection.segment(side, seq, piece, n, n * 10, ack=ack):
                found.extend(connection.take_finished())
        at[side] += len(text)

    if pipelined:
        say(0, b"".join(request for request, _, _ in wanted))
        say(1, b"".join(response for _, response, _ in wanted))
    else:
        for request, response, _ in wanted:
            say(0, request)
            say(1, response)
    found += connection.take_finished()
    assert connection.take_all() == []
    columns = exchange_columns([(0, exchange) for exchange in found])
    names = ("method", "target", "request_body_bytes", "status", "response_body_bytes")
    got = zip(
        *(c if isinstance(c, list) else c.values.tolist() for c in map(columns.get, names)), strict=True
    )
    assert list(got) == [what for _, _, what in wanted]
    assert all(columns["complete"].values)
    for name in ("request", "response"):
        first, last = columns[f"{name}_first_n"].values, columns[f"{name}_last_n"].values
        assert (first <= last).all()


@given(st.data(), exchanges(), st.integers(0, 5))
@settings(max_examples=100)
def test_skipping_what_a_short_snap_length_left_of_bodies_changes_nothing(data, wanted, kept):
    pieces = []
    for side, text in ((side, each[side]) for each in wanted for side in (0, 1)):
        pieces += [(side, position, piece) for position, piece in cut(data.draw, text)]
        pieces.append((side, len(text), None))
    rows = []
    for fast in (False, True):
        connection, at, found = HttpConnection(), [0, 0], []
        for stream in connection.streams:
            stream.begin(ISN)
        for n, (side, position, piece) in enumerate(pieces, 1):
            if piece is None:
                at[side] += position
                continue
            seq, ack = ((ISN + k) % 2**32 for k in (at[side] + position, at[1 - side]))
            missing = max(len(piece) - kept, 0) if connection.body_room(side) else 0  # heads are whole
            if fast and connection.skip_body(side, seq, len(piece), n, n * 10, missing=missing):
                continue
            if connection.segment(
                side, seq, piece[: len(piece) - missing], n, n * 10, missing=missing, ack=ack
            ):
                found.extend(connection.take_finished())
        connection.end("the capture ends first")
        rows.append([(0, exchange) for exchange in [*found, *connection.take_all()]])
    plain, skipped = (repr(exchange_columns(found)) if found else "" for found in rows)
    assert plain == skipped


words = st.sampled_from(
    [
        *(
            b"GET / HTTP/1.1\r\n",
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 100 \r\n",
            b"HTTP/1.1 101 \r\n",
            b"\r\n",
            b"\n",
        ),
        *(b"Content-Length: 5\r\n", b"Content-Length: 99999999999999999999\r\n", b"Content-Length: -1\r\n"),
        *(
            b"Transfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: x\r\n",
            b"5\r\nhello\r\n",
            b"fffffffff\r\n",
            b"0\r\n\r\n",
        ),
        *(
            b"CONNECT x HTTP/1.1\r\n",
            b"Upgrade: h2c\r\n",
            b"X",
            b":",
            b" ",
            b"\xff\x00\x1b",
            b"PRI * HTTP/2.0\r\n",
        ),
    ]
)
steps = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.lists(words | st.binary(max_size=10), max_size=5).map(b"".join),
        st.integers(-20, 20),
        st.integers(0, 30),
        st.sampled_from([0, 0, 0, 0, 7, 2**31 - 1]),
        st.booleans(),
    ),
    max_size=25,
)


@given(steps)
@settings(max_examples=300)
@example([(0, b"GET / HTTP/1.1\r\n\r\n", 0, 0, 0, False), (1, b"HTTP/1.1 101 \r\n\r\n", 0, 30, 0, False)] * 2)
def test_garbage_never_raises(moves):
    connection, found, at = HttpConnection(), [], [0, 0]
    for n, (side, data, jump, ack, missing, fin) in enumerate(moves, 1):
        seq = (at[side] + jump) % 2**32
        at[side] = seq + len(data) + missing
        connection.segment(side, seq, data, n, n, missing=missing, fin=fin and n % 5 == 0, ack=ack)
        found += connection.take_finished()
    connection.end("the capture ends first")
    found += connection.take_all()
    exchange_columns([(0, exchange) for exchange in found])
    assert len({exchange.number for exchange in found}) == len(found)


LINES = st.one_of(
    st.builds(
        "{} {} HTTP/1.{}{}".format,
        st.sampled_from(["GET", "POST", "PROPFIND", "A", "CONNECT", "OPTIONS"]),
        st.one_of(
            st.text("/aZ0._~%&=+,;:@!-?", max_size=12).map(lambda path: "/" + path),
            st.sampled_from(["*", "http://h/a?b=c", "/a b", "/?a?b", "/#", "h:443", "/\u00e4", "/[x]"]),
        ),
        st.sampled_from("01"),
        st.sampled_from(["\r", "", " \r"]),
    )
)
BLOCKS = st.lists(
    st.sampled_from(
        ["Host: x", "host: y", "Content-Length: 3", "Content-Length: 03, 3", "Transfer-Encoding: chunked",
         "Bad name: 1", "A:\tb ", " folded", "Upgrade: h2c", "Connection: Upgrade", "nothing", "X: \u00e4\x01"]
    ),
    max_size=4,
)  # fmt: skip


@given(LINES, BLOCKS, st.sampled_from(["\r\n", "\n"]))
@settings(max_examples=600)
def test_what_stands_behind_a_plain_request_line_is_read_as_with_it(line, block, end):
    """Fields that are remembered without their request line are those that llhttp finds with it."""
    raw = (line + "\n" + "".join(field + end for field in block) + end).encode()
    head = parse_request(raw)
    if head is None:
        return
    method = head.method.encode()
    known = raw if method == b"CONNECT" else b"GET" + raw[len(method) :]
    assert (head.fields, head.trouble) == _fields(httptools.HttpRequestParser, known)
    assert head.values(b"host") == [value for name, value in head.fields if name.lower() == b"host"]
