"""HTTP exchanges from segments: framing, pairing, gaps, odd connections."""

from __future__ import annotations

import time
from typing import Any

import polars as pl
import pytest

from pcaptool.analyze.flows import FlowAnalysis
from pcaptool.analyze.http import HttpAnalysis
from pcaptool.analyze.http_reader import HEAD_BYTES
from pcaptool.tables import HTTP
from pcaptool.tables.columns import to_arrow

FIN, SYN, RST, ACK = 1, 2, 4, 16
GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"


class Talk:
    """Writes a conversation in order; `at` moves a segment elsewhere."""

    def __init__(self, tools: Any, handshake: bool = True) -> None:
        self.tools, self.segments = tools, []
        self.next = {"c": 1, "s": 1}
        if handshake:
            self.segments += [self._make("c", 0, 0, SYN, b""), self._make("s", 0, 1, SYN | ACK, b"")]

    def _make(self, who: str, seq: int, ack: int, flags: int, data: bytes, *, cut: int = 0) -> Any:
        ends = ("10.0.0.1", "10.0.0.2", 1000, 8081)
        if who == "s":
            ends = (ends[1], ends[0], ends[3], ends[2])
        at = (len(self.segments) + 1) * 1000 if hasattr(self, "segments") else 0
        return self.tools.Segment(*ends, seq=seq, ack=ack, flags=flags, data=data, ts=at, cut=cut)

    def say(self, who: str, data: bytes = b"", flags: int = ACK, *, cut: int = 0, lost: bool = False) -> Talk:
        other = "s" if who == "c" else "c"
        if not lost:
            self.segments.append(self._make(who, self.next[who], self.next[other], flags, data, cut=cut))
        self.next[who] += len(data) + (flags & FIN)
        return self

    def exchanges(self, size: int = 1000) -> list[dict[str, Any]]:
        flows, http, frames = FlowAnalysis(), HttpAnalysis(), []
        for batch in self.tools.split(self.segments, size):
            flows.feed(batch)
            frames.append(http.feed(batch))
        frames.append(http.finish())
        rows = [pl.DataFrame(to_arrow(HTTP, f["http"])) for f in frames if f]
        return pl.concat(rows).rows(named=True) if rows else []


@pytest.fixture
def talk(by_hand):
    return Talk(by_hand)


def test_times_are_those_of_the_completing_packets(talk):
    talk.say("c", GET[:7]).say("c", GET[7:]).say("s").say("s", OK + b"12").say("s", b"345")
    (row,) = talk.exchanges()
    numbers = [row[f"{m}_{w}_n"] for m in ("request", "response") for w in ("first", "last")]
    assert numbers == [3, 4, 6, 7]
    assert (row["server_time_ns"], row["transfer_time_ns"]) == (2000, 1000)
    assert (row["method"], row["target"], row["host"], row["status"]) == ("GET", "/a", "h", 200)
    assert (row["request_head_bytes"], row["response_head_bytes"]) == (len(GET), len(OK))
    assert (row["response_body_bytes"], row["complete"], row["trouble"]) == (5, True, None)


def test_pipelined_requests_are_answered_in_order(talk):
    requests = [GET.replace(b"/a", b"/%d" % i) for i in range(5)]
    talk.say("c", b"".join(requests)).say(
        "s", b"".join(OK.replace(b"200", b"20%d" % i) + b"hello" for i in range(4))
    )
    talk.say("s", OK.replace(b"200", b"404") + b"hello")
    rows = talk.exchanges()
    assert [(r["exchange"], r["target"], r["status"]) for r in rows] == [
        *[(i, f"/{i}", 200 + i) for i in range(3)],
        (3, "/3", 203),
        (4, "/4", 404),
    ]


def test_chunked_body_with_extension_and_trailer(talk):
    body = b"5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 1\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    talk.say("c", GET)
    for i in range(len(body)):
        talk.say("s", (head if i == 0 else b"") + body[i : i + 1])
    talk.say("c", GET).say("s", OK + b"12345")
    first, second = talk.exchanges()
    assert (first["response_body_bytes"], first["transfer_coding"], first["complete"]) == (6, "chunked", True)
    assert first["response_last_n"] == 3 + len(body)
    assert second["status"] == 200


@pytest.mark.parametrize("head", [b"204 No Content", b"304 Not Modified"])
def test_responses_without_body(talk, head):
    talk.say("c", GET + GET).say("s", b"HTTP/1.1 " + head + b"\r\nContent-Length: 5\r\n\r\n" + OK + b"12345")
    assert [r["response_body_bytes"] for r in talk.exchanges()] == [0, 5]


def test_head_has_no_body(talk):
    talk.say("c", GET.replace(b"GET", b"HEAD") + GET).say("s", OK + OK + b"12345")
    rows = talk.exchanges()
    assert [(r["method"], r["response_body_bytes"], r["content_length"]) for r in rows] == [
        ("HEAD", 0, 5),
        ("GET", 5, 5),
    ]


def test_continue_is_not_the_response(talk):
    post = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    talk.say("c", post).say("s", b"HTTP/1.1 100 Continue\r\n\r\n").say("c", b"abc").say("s", OK + b"12345")
    (row,) = talk.exchanges()
    assert (row["interim_status"], row["interim_n"], row["status"]) == (100, 4, 200)
    assert (row["request_last_n"], row["request_body_bytes"], row["response_first_n"]) == (5, 3, 6)


def test_body_until_close(talk):
    talk.say("c", GET).say("s", b"HTTP/1.0 200 OK\r\n\r\nabc").say("s", b"def").say("s", flags=ACK | FIN)
    (row,) = talk.exchanges()
    assert (row["response_body_bytes"], row["response_last_n"], row["complete"]) == (6, 5, True)


@pytest.mark.parametrize(
    ("flags", "trouble"),
    [
        (FIN | ACK, "response: closed before the message was complete"),
        (RST, "response: reset before it was complete"),
        (ACK, "response: the capture ends first"),
    ],
)
def test_a_body_that_is_cut(talk, flags, trouble):
    talk.say("c", GET).say("s", OK + b"12").say("s", flags=flags)
    (row,) = talk.exchanges()
    assert (row["complete"], row["trouble"], row["response_last_n"]) == (False, trouble, None)
    assert row["response_body_bytes"] == 2


@pytest.mark.parametrize(
    ("request_", "response"),
    [
        (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200 Established\r\n\r\n"),
        (
            b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        ),
    ],
)
def test_what_follows_an_upgrade_is_not_read(talk, request_, response):
    talk.say("c", request_).say("s", response + GET).say("c", GET).say("s", OK)
    (row,) = talk.exchanges()
    assert (row["complete"], row["response_body_bytes"]) == (True, 0)


def test_a_gap_inside_a_body_is_counted_and_the_next_exchange_found(talk):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n"
    talk.say("c", GET).say("s", head + b"x" * 500).say("s", b"x" * 1000, lost=True).say("s", b"x" * 1500)
    talk.say("c", GET).say("s", OK + b"12345")
    first, second = talk.exchanges()
    assert (first["response_body_bytes"], first["response_gap_bytes"]) == (3000, 1000)
    assert first["response_last_n"] == 5  # the packet with its last byte, not the next request's
    assert (first["complete"], first["trouble"]) == (False, "response: 1000 body bytes not captured")
    assert (second["complete"], second["status"]) == (True, 200)


def test_bodies_cut_by_the_snap_length(talk):
    talk.say("c", GET).say("s", OK + b"12345", cut=5).say("c", GET).say("s", OK + b"12345", cut=2)
    assert [(r["response_body_bytes"], r["response_gap_bytes"]) for r in talk.exchanges()] == [(5, 5), (5, 2)]


def test_a_lost_request_does_not_shift_the_pairs(talk):
    talk.say("c", GET).say("s", OK + b"12345").say("c", GET, lost=True).say(
        "s", OK.replace(b"200", b"500") + b"12345"
    )
    talk.say("c", GET.replace(b"/a", b"/c")).say("s", OK.replace(b"200", b"203") + b"12345")
    rows = talk.exchanges()
    assert [(r["target"], r["status"]) for r in rows] == [("/a", 200), (None, 500), ("/c", 203)]
    assert rows[1]["trouble"] == "no request"


def test_a_response_that_the_capture_has_before_its_request(talk):
    talk.say("c", GET).say("s", OK + b"12345").say("c", GET.replace(b"/a", b"/b")).say("s", OK + b"12345")
    talk.segments[2:4] = talk.segments[3:1:-1]
    rows = talk.exchanges()
    assert [(r["target"], r["status"], r["trouble"]) for r in rows] == [("/a", 200, None), ("/b", 200, None)]
    assert rows[0]["server_time_ns"] == 1000  # the captured times were right, the order was not


def test_a_request_whose_second_half_comes_first(talk):
    talk.say("c", GET[:4]).say("c", GET[4:]).say("s", OK + b"12345")
    talk.segments[2:4] = talk.segments[3:1:-1]
    (row,) = talk.exchanges()
    assert (row["method"], row["request_first_n"], row["request_last_n"]) == ("GET", 4, 4)


def test_retransmissions_make_no_exchanges(talk):
    talk.say("c", GET).say("s", OK + b"12345").say("c", flags=ACK | FIN).say("s", flags=ACK | FIN)
    talk.segments += talk.segments[2:4]
    assert len(talk.exchanges()) == 1


@pytest.mark.parametrize("size", [1, 1000])
def test_a_request_that_comes_again_with_other_content_is_noted(talk, size):
    talk.say("c", GET)
    talk.next["c"] -= len(GET)
    talk.say("c", GET.replace(b"GET", b"PUT")).say("s", OK + b"12345")
    [row] = talk.exchanges(size)
    assert (row["method"], row["trouble"]) == ("GET", "request: overlapping segments differ")


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_what_is_compared_does_not_depend_on_batches(talk, size):
    head = OK.replace(b"5", b"4500", 1)
    talk.say("c", GET).say("s", head)
    for _ in range(4):
        talk.say("s", b"x" * 1000)
    talk.next["s"] -= 1000
    talk.say("s", b"y" * 1000).say("s", b"x" * 500)  # other bytes in the midst of a body: not compared
    [row] = talk.exchanges(size)
    assert (row["response_body_bytes"], row["trouble"]) == (4500, None)


def test_a_conversation_joined_in_its_midst(by_hand):
    talk = Talk(by_hand, handshake=False)
    talk.say("s", b"tail of a body").say("c", GET).say("s", OK + b"12345")
    (row,) = talk.exchanges()
    assert (row["complete"], row["request_first_n"]) == (True, 2)


@pytest.mark.parametrize(
    "first",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HELO example.org\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\n\r\n",
        b"GET /\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
    ],
)
def test_other_protocols_are_no_http(talk, first):
    talk.say("c", first).say("s", b"250 hello\r\n").say("c", b"more\r\n\r\n")
    assert talk.exchanges() == []


@pytest.mark.parametrize(
    ("head", "trouble"),
    [
        (b"GET / HTTP/1.1\nHost: h\n\n", "Expected CRLF after version"),
        (b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", "Invalid header token"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\x01b\r\n\r\n", "Invalid header value char"),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding can't be present with Content-Length",
        ),
    ],
)
def test_faulty_heads_are_read_and_named(talk, head, trouble):
    talk.say("c", head).say("s", OK + b"12345")
    (row,) = talk.exchanges()
    assert (row["host"], row["trouble"]) == ("h", f"request: {trouble}")
    assert row["status"] == 200


def test_methods_are_tokens(talk):
    talk.say("c", GET.replace(b"GET", b"FLY")).say("s", OK + b"12345")
    (row,) = talk.exchanges()
    assert (row["method"], row["trouble"]) == ("FLY", None)


def test_a_head_that_never_ends_is_bounded_and_linear(by_hand):
    def seconds(count):
        talk = Talk(by_hand)
        talk.say("c", b"GET / HTTP/1.1\r\n")
        for _ in range(count):
            talk.say("c", b"x" * 1400)
        begin = time.process_time()
        rows = talk.exchanges()
        assert [(r["method"], r["trouble"]) for r in rows] == [
            ("GET", f"request: head longer than {HEAD_BYTES} bytes; no response"),
        ]
        return time.process_time() - begin

    few, many = min(seconds(1000) for _ in range(3)), seconds(8000)
    assert many < 8 * few * 4  # eight times the packets; quadratic would be 64 times


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_batches_may_be_cut_anywhere(talk, size):
    talk.say("c", GET[:3]).say("c", GET[3:] + GET).say("s", OK + b"123").say("s", b"45" + OK).say(
        "s", b"12345"
    )
    assert talk.exchanges(size) == talk.exchanges(1000)
