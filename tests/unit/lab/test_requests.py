"""Bytes to requests: whole ones, pieces, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcaptool.lab.requests import MAX_BODY_BYTES, MAX_HEAD_BYTES, HttpRequest, RequestReader
from pcaptool.scenario import Client, Request, Scenario, request_bytes

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n"


def read(*pieces):
    reader = RequestReader()
    for piece in pieces:
        reader.feed(piece)
    return list(reader.ready), reader.error


@given(st.lists(st.sampled_from(["GET", "HEAD"]), min_size=1, max_size=5), st.booleans(), st.data())
def test_the_clients_requests_are_read_however_they_are_cut(methods, keepalive, data):
    methods = methods if keepalive else methods[:1]
    wanted = [Request(method, f"/bytes/{n}") for n, method in enumerate(methods)]
    plan = Scenario(client=Client(requests=tuple(wanted), keepalive=keepalive))
    stream = b"".join(request_bytes(plan, n) for n in range(len(wanted)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    got = read(*(stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)))
    assert got == ([HttpRequest(m, p, not keepalive) for m, p in wanted], None)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400"),
        (b"GET / HTTP/1.1\r\n\r\n", "400"),
        (GET + b"Host: y\r\n\r\n", "400"),
        (GET + b"Content-Length: 5, 6\r\n\r\n", "400"),
        (GET + b"x: " + b"y" * (MAX_HEAD_BYTES + 1), "431"),
        (
            b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n" + b"z" * (MAX_BODY_BYTES + 1),
            "413",
        ),
        (GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "501"),
    ],
)
def test_what_is_refused_says_why(data, status):
    requests, error = read(*(data[at : at + 65536] for at in range(0, len(data), 65536)))
    assert error is not None
    assert error.startswith(status)
    assert len(requests) <= (status == "501")


def test_requests_before_nonsense_are_answered():
    assert read(GET + b"\r\n\x00\x01") == ([HttpRequest("GET", "/a", close=False)], "400 Bad Request")


def test_a_body_is_read_over_and_an_absolute_target_means_its_path():
    first = b"POST http://h/p?q=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
    assert read(first, GET + b"\r\n")[0] == [
        HttpRequest("POST", "/p", close=False),
        HttpRequest("GET", "/a", close=False),
    ]


def test_http_1_0_ends_unless_it_asks_to_go_on():
    assert read(b"GET / HTTP/1.0\r\n\r\n")[0] == [HttpRequest("GET", "/", close=True)]


@given(st.binary(max_size=200))
def test_any_bytes_are_requests_or_an_error_or_not_yet_either(data):
    requests, error = read(data)
    assert error is None or error[:3].isdigit()
    assert all(r.method.isupper() or "-" in r.method for r in requests)
