"""HTTP messages with their bytes: what was asked and answered, however it was cut into segments."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcaptool.errors import CaptureError, UsageError
from pcaptool.replay.asking import Server, with_host
from pcaptool.replay.messages import RecordingConnection, answer_of, dechunk, request_bytes
from pcaptool.replay.recorded import recorded_conversations

BODIES = st.binary(max_size=200)


def chunked(body, sizes):
    out, at = [], 0
    for size in sizes:
        piece = body[at : at + size]
        if piece:
            out.append(b"%x;x=1\r\n%b\r\n" % (len(piece), piece))
        at += size
    rest = body[at:]
    if rest:
        out.append(b"%X\r\n%b\r\n" % (len(rest), rest))
    return b"".join(out) + b"0\r\nTrailer: t\r\n\r\n"


@given(body=BODIES, sizes=st.lists(st.integers(1, 40), max_size=8), rest=st.binary(max_size=20))
def test_a_chunked_body_comes_back(body, sizes, rest):
    assert dechunk(chunked(body, sizes) + rest) == body


@given(
    exchanges=st.lists(st.tuples(BODIES, st.booleans(), BODIES, st.booleans()), min_size=1, max_size=4),
    cut=st.integers(1, 50),
)
def test_messages_come_back_whatever_the_segments(exchanges, cut):
    connection, found = RecordingConnection(), []
    at = [1, 1]
    requests = []
    for number, (asked, asked_chunked, answered, answered_chunked) in enumerate(exchanges):
        coded = chunked(asked, [7]) if asked_chunked else asked
        field = b"Transfer-Encoding: chunked" if asked_chunked else b"Content-Length: %d" % len(asked)
        requests.append(b"POST /%d HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n%b" % (number, field, coded))
        coded = chunked(answered, [9]) if answered_chunked else answered
        field = b"transfer-encoding: Chunked" if answered_chunked else b"Content-Length: %d" % len(answered)
        response = b"HTTP/1.1 %d OK\r\n%b\r\n\r\n%b" % (200 + number, field, coded)
        for side, message in ((0, requests[-1]), (1, response)):
            for k in range(0, len(message), cut):
                piece = message[k : k + cut]
                connection.segment(side, at[side], piece, number, 10 * number + side, ack=at[1 - side])
                at[side] += len(piece)
        found += connection.take_finished()
    assert [request_bytes(exchange) for exchange in found] == requests
    for number, (exchange, (_, _, body, _)) in enumerate(zip(found, exchanges, strict=True)):
        answer = answer_of(exchange)
        assert (answer.status, answer.body_bytes, answer.complete) == (200 + number, len(body), True)
        assert answer.sha256 == hashlib.sha256(body).hexdigest()


def test_a_request_of_which_bytes_are_missing_is_not_there_and_its_answer_is():
    connection = RecordingConnection()
    head = b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n"
    connection.segment(0, 1, head + b"x" * 50, 1, 0, missing=50, ack=1)
    connection.segment(1, 1, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 2, 1, ack=1 + len(head) + 100)
    [exchange] = connection.take_finished()
    assert request_bytes(exchange) is None
    assert answer_of(exchange).status == 200


def test_a_body_that_was_not_captured_whole_has_no_digest(lab_captures):
    """Captures of the laboratory that a snap length cut."""
    found = [a for c in recorded_conversations(lab_captures / "size-100k.server.pcap") for a in c.asked]
    assert [(a.answer.body_bytes, a.answer.sha256 is None) for a in found] == [(102400, False)]


def test_a_capture_without_requests_is_refused(lab_captures):
    with pytest.raises(CaptureError, match="no HTTP request is in it"):
        recorded_conversations(lab_captures / "closed-port.server.pcap")


def test_order_and_connections_are_the_captures(lab_captures):
    talks = recorded_conversations(lab_captures / "concurrent-4.server.pcap")
    assert [len(talk.asked) for talk in talks] == [2, 2, 2, 2]
    assert [talk.first_ns for talk in talks] == sorted(talk.first_ns for talk in talks)
    assert not any(asked.pipelined for talk in talks for asked in talk.asked)


@pytest.mark.parametrize(
    ("raw", "hosts", "wanted"),
    [
        (b"PUT / HTTP/1.1\r\nHost: a\r\n\r\nHost: a", [("a", "b")], b"PUT / HTTP/1.1\r\nHost: b\r\n\r\nHost: a"),
        (b"GET / HTTP/1.1\r\nhOST:a\r\n\r\n", [("", "b")], b"GET / HTTP/1.1\r\nhOST:b\r\n\r\n"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", [("c", "b")], b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (b"GET / HTTP/1.0\r\n\r\n", [("", "b")], b"GET / HTTP/1.0\r\n\r\n"),
    ],
)  # fmt: skip
def test_the_host_header_is_mapped(raw, hosts, wanted):
    assert with_host(raw, hosts) == wanted


@pytest.mark.parametrize(
    "url", ["localhost:80", "ftp://x", "http://", "http://x/path", "http://x:99999", "http://[::1"]
)
def test_what_is_no_server_is_refused(url):
    with pytest.raises(UsageError, match="--http"):
        Server.of(url)
