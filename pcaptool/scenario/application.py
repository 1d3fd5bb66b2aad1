"""The bytes that the reference programs write: requests, response heads, bodies.

Knows: HTTP/1.1 message syntax as far as these programs use it (RFC 9112).
Must not know: sockets, or when anything is written. The modelled stack and the real server share it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime

from pcaptool.scenario.model import Route, Scenario, Server
from pcaptool.scenario.programs import head_fields, idle_ns, version

__all__ = [
    "NOT_FOUND",
    "body",
    "content_length",
    "find_route",
    "request_bytes",
    "response_head",
    "route_body",
]

# What is answered where no route fits; the connection is closed after it.
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

_LETTERS = b"abcdefghijklmnopqrstuvwxyz"
_MAX_BODY = 2**31 - 1
_PLACE = re.compile(r"\{[a-z0-9_]+\}")


def body(size: int) -> bytes:
    """A deterministic body: the letters a-z over and over.

    Examples
    --------
    >>> body(28)
    b'abcdefghijklmnopqrstuvwxyzab'
    """
    return (_LETTERS * (size // 26 + 1))[:size]


def content_length(head: bytes) -> int:
    r"""Bytes of the body that a response's head announces; 0 without the field.

    Examples
    --------
    >>> content_length(b"HTTP/1.1 200 OK\r\nContent-Length: 12")
    12
    """
    for line in head.lower().split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
    return 0


def request_bytes(scenario: Scenario, index: int) -> bytes:
    r"""The client's request number `index` (from 0) of a connection.

    Examples
    --------
    >>> request_bytes(Scenario(), 0)
    b'GET /bytes/1024 HTTP/1.1\r\nHost: 192.0.2.1\r\nUser-Agent: lab\r\n\r\n'
    """
    client = scenario.client
    request = client.requests[index]
    fields = [(n, v.replace("{host}", scenario.authority)) for n, v in client.headers]
    fields += [] if client.keepalive else [("Connection", "close")]
    return _head(f"{request.method} {request.path} HTTP/1.1", fields)


def find_route(server: Server, path: str) -> tuple[Route, int] | None:
    """The first route that answers a path, and the size of its body; None where none does.

    Examples
    --------
    >>> find_route(Server(), "/bytes/17")[1]
    17
    """
    for route in server.routes:
        before, marker, after = route.path.partition("{n}")
        match = re.fullmatch(
            re.escape(before) + ("([0-9]{1,10})" if marker else "()") + re.escape(after), path
        )
        if match is None:
            continue
        if not marker:
            return route, len(route_body(route, route.body_bytes or 0))
        if int(match.group(1)) <= _MAX_BODY:
            return route, int(match.group(1))
    return None


def route_body(route: Route, size: int) -> bytes:
    """The body that a route sends: its text, or `size` letters."""
    return body(size) if route.body is None else route.body.encode()


def response_head(scenario: Scenario, route: Route, size: int, *, close: bool, now_ns: int) -> bytes:
    r"""The head of a response with `size` bytes of body, up to and with the empty line.

    Parameters
    ----------
    close : bool
        Whether the connection ends with this response.
    now_ns : int
        Nanoseconds since 1970, for {date}.

    Examples
    --------
    >>> plan = Scenario(server=Server(headers=(("Date", "{date}"),)))
    >>> response_head(plan, Route(), 5, close=False, now_ns=0)
    b'HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n'
    """
    server = scenario.server
    words: dict[str, Callable[[], str]] = {
        "{length}": lambda: str(size),
        "{length_hex}": lambda: f"{size:x}",
        "{connection}": lambda: "close" if close else "keep-alive",
        "{date}": lambda: _http_date(now_ns),
        "{version}": lambda: version(server),
        "{kept}": lambda: f"timeout={(idle_ns(server) or 0) // 1_000_000_000}",
        # A file of nginx was changed when the scenario began.
        "{modified}": lambda: _http_date(scenario.start_time_ns),
        "{modified_hex}": lambda: f"{scenario.start_time_ns // 1_000_000_000:x}",
        # What express's ETag is made of: 27 characters of base64.
        "{body_sha1}": lambda: base64.b64encode(_sha1(route_body(route, size))).decode()[:27],
    }
    fields = head_fields(server, close=close)
    filled = [(n, _PLACE.sub(lambda m: words[m.group()](), v) if "{" in v else v) for n, v in fields]
    return _head(f"HTTP/1.1 {route.status}", filled)


def _http_date(now_ns: int) -> str:
    return format_datetime(datetime.fromtimestamp(now_ns // 1_000_000_000, UTC), usegmt=True)


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()


def _head(first: str, fields: list[tuple[str, str]]) -> bytes:
    lines = [first, *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1")
