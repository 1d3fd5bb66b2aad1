r"""Heads of HTTP/1 messages: start line and header fields, and what they say about the body.

Knows: RFC 9112 sections 3, 4, 5 (grammar of the head) and 6.3 (length of the body). The fields are parsed by
llhttp (httptools), strictly; where it refuses, again with its leniencies, and at last by lines, so that a
faulty head still gives what is in it, with llhttp's reason as `trouble`.
Must not know: packets, streams, pairing.
Left out: HTTP/0.9 requests (no version in the request line) are not taken for HTTP.

A head is handed over whole, from its first byte to its empty line; finding that end is `http_reader`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Any

import httptools

__all__ = [
    "Fields",
    "Framing",
    "RequestHead",
    "ResponseHead",
    "looks_like_request",
    "looks_like_response",
    "parse_request",
    "parse_response",
    "request_body",
    "response_body",
    "text",
]

# RFC 9110 section 5.6.2 (token); methods in use are upper case, and no longer than this.
_METHOD_MAX = 32
_METHOD = re.compile(rb"[A-Z][A-Z0-9_-]{0,31}")
_TOKEN_START = re.compile(rb"[A-Z][A-Z0-9_-]{1,31} +[^ \r\n]")
_VERSION = re.compile(rb"HTTP/([01]\.[0-9])")
_STATUS_LINE = re.compile(rb"HTTP/([01]\.[0-9]) +([0-9]{3})(?: [^\r\n]*)?\r?\n")
_LENIENT = (
    *("lenient_headers", "lenient_chunked_length", "lenient_keep_alive", "lenient_transfer_encoding"),
    *("lenient_version", "lenient_data_after_close", "lenient_optional_lf_after_cr"),
    *(
        "lenient_optional_cr_before_lf",
        "lenient_optional_crlf_after_chunk",
        "lenient_spaces_after_chunk_size",
    ),
)

# Short heads are remembered, so at most 2 MB of each kind.
_REMEMBERED_BYTES = 2048

Field = tuple[bytes, bytes]

# Request lines that llhttp takes in any case: what it thinks of such a head depends on what stands behind the line.
_PLAIN_LINE = re.compile(rb"[A-Z]+ /[\w./~%&=+,;:@!-]*(?:\?[\w./~%&=+,;:@!-]*)? HTTP/1\.[01]\r")


class Fields(list[Field]):
    """Header fields as they were sent, and what is asked of them again and again. Not changed once made.

    Attributes
    ----------
    firsts : dict
        First value of each name, in lower case.

    Examples
    --------
    >>> fields = Fields([(b"Host", b"x"), (b"A", b"1"), (b"a", b"2")])
    >>> fields.firsts[b"a"], fields.repeat, fields.texts[0]
    (b'1', True, ['Host', 'A', 'a'])
    """

    __slots__ = ("_texts", "firsts")

    def __init__(self, fields: Iterable[Field] = ()) -> None:
        super().__init__(fields)
        self.firsts = {key.lower(): value for key, value in reversed(self)}
        self._texts: tuple[list[str], list[str]] | None = None

    @property
    def repeat(self) -> bool:
        """Whether a name comes twice."""
        return len(self.firsts) < len(self)

    @property
    def texts(self) -> tuple[list[str], list[str]]:
        """Names and values as text; not to be changed."""
        if self._texts is None:
            self._texts = [text(key) for key, _ in self], [text(value) for _, value in self]
        return self._texts


class Framing(Enum):
    """How a body ends (RFC 9112 section 6.3)."""

    NONE = "no body"
    LENGTH = "Content-Length"
    CHUNKED = "chunked"
    CLOSE = "until the connection closes"
    TUNNEL = "what follows is another protocol"
    LOST = "cannot be known"


@dataclass(slots=True)
class _Head:
    """What both kinds of heads have. Not changed once it is parsed: equal heads may be one object."""

    version: str
    fields: Fields = field(default_factory=Fields)
    size: int = 0
    trouble: str | None = None

    def values(self, name: bytes) -> list[bytes]:
        """Values of all fields of a name, given in lower case."""
        first = self.fields.firsts.get(name)
        if first is None:
            return []
        if not self.fields.repeat:
            return [first]
        return [value for key, value in self.fields if key.lower() == name]

    def first(self, name: bytes) -> str | None:
        """First value of a field, as text."""
        value = self.fields.firsts.get(name)
        return None if value is None else text(value)


@dataclass(slots=True)
class RequestHead(_Head):
    """A request's head.

    Parameters
    ----------
    version : str
        As in "1.1".
    fields : Fields
        Names as sent, values without the white space around them.
    size : int
        Bytes, from the first of the request line to the last of the empty line.
    trouble : str or None
        Why llhttp refused it.
    method, target : str
    """

    method: str = ""
    target: str = ""


@dataclass(slots=True)
class ResponseHead(_Head):
    """A response's head; fields as in `RequestHead`.

    Parameters
    ----------
    status : int
    """

    status: int = 0


def text(raw: bytes) -> str:
    r"""Header bytes as text: UTF-8, other bytes as backslash escapes.

    Examples
    --------
    >>> print(text(b"caf\xc3\xa9 \xff"))
    café \xff
    """
    return raw.decode("utf-8", "backslashreplace")


def looks_like_request(raw: bytes) -> bool:
    r"""Whether a message that begins so can be a request; says yes as long as it is too short to tell.

    Examples
    --------
    >>> looks_like_request(b"GET / HT"), looks_like_request(b"GE"), looks_like_request(b"\x16\x03\x01")
    (True, True, False)
    """
    line, end, _ = raw.partition(b"\n")
    if end:
        return _request_line(line) is not None
    return _TOKEN_START.match(line) is not None or (
        len(line) <= _METHOD_MAX and _METHOD.fullmatch(line.rstrip(b" ")) is not None
    )


def _request_line(line: bytes) -> tuple[bytes, bytes, str] | None:
    """Method, target and version of a request line.

    By hand, because a pattern with two runs of spaces is quadratic on hostile lines.
    """
    method, space, rest = line.partition(b" ")
    target, space, end = rest.rstrip(b" \r").rpartition(b" ")
    version = _VERSION.fullmatch(end)
    if not space or version is None or _METHOD.fullmatch(method) is None:
        return None
    return method, target.strip(b" "), version[1].decode()


def looks_like_response(raw: bytes) -> bool:
    """Whether a message that begins so can be a response.

    Examples
    --------
    >>> looks_like_response(b"HTT"), looks_like_response(b"HTTP/1.1 2"), looks_like_response(b"SIP/2.0 200")
    (True, True, False)
    """
    line, end, _ = raw.partition(b"\n")
    if end:
        return _STATUS_LINE.match(raw) is not None
    return line.startswith((b"HTTP/1", b"HTTP/0")) or b"HTTP/".startswith(line[:5])


class _Collector:
    def __init__(self) -> None:
        self.fields: list[Field] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value.rstrip(b" \t")))


def _fields(parser_class: Any, raw: bytes) -> tuple[Fields, str | None]:
    """Header fields by llhttp: strictly, then leniently, then by lines; and why not strictly."""
    trouble: str | None = None
    for lenient in (False, True):
        seen = _Collector()
        parser = parser_class(seen)
        if lenient:
            parser.set_dangerous_leniencies(**dict.fromkeys(_LENIENT, True))
        try:
            parser.feed_data(raw)
        except httptools.HttpParserUpgrade:
            pass  # says only that another protocol may follow
        except httptools.HttpParserError as error:
            trouble = trouble or str(error)
            continue
        return Fields(seen.fields), trouble
    return Fields(_fields_by_line(raw)), trouble


@lru_cache(1024)
def _fields_behind(line: bytes, rest: bytes) -> tuple[Fields, str | None]:
    return _fields(httptools.HttpRequestParser, line + rest)


def _fields_by_line(raw: bytes) -> list[Field]:
    fields: list[Field] = []
    for line in raw.split(b"\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon and name.strip():
            fields.append((name.strip(), value.strip()))
    return fields


def parse_request(raw: bytes) -> RequestHead | None:
    r"""A request's head, None where the first line is no request line.

    Examples
    --------
    >>> head = parse_request(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
    >>> head.method, head.target, head.version, head.fields, head.trouble
    ('GET', '/a', '1.1', [(b'Host', b'x')], None)
    >>> parse_request(b"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n").trouble
    >>> parse_request(b"GET / HTTP/1.1\nHost: x\n\n").trouble
    'Expected CRLF after version'
    """
    return _request_again(raw) if len(raw) <= _REMEMBERED_BYTES else _request(raw)


def _request(raw: bytes) -> RequestHead | None:
    first, _, rest = raw.partition(b"\n")
    line = _request_line(first)
    if line is None:
        return None
    method, target, version = line
    if method != b"CONNECT" and len(rest) <= _REMEMBERED_BYTES and _PLAIN_LINE.fullmatch(first):
        fields, trouble = _fields_behind(b"GET / HTTP/%s\r\n" % version.encode(), rest)
    else:
        # llhttp knows a fixed list of methods; any token is one (RFC 9110 section 9.1). CONNECT has another target.
        known = raw if method == b"CONNECT" else b"GET" + raw[len(method) :]
        fields, trouble = _fields(httptools.HttpRequestParser, known)
    return RequestHead(version, fields, len(raw), trouble, text(method), text(target))


def parse_response(raw: bytes) -> ResponseHead | None:
    r"""A response's head, None where the first line is no status line.

    Examples
    --------
    >>> parse_response(b"HTTP/1.0 404 Not Found\r\nServer: x\r\n\r\n").status
    404
    """
    return _response_again(raw) if len(raw) <= _REMEMBERED_BYTES else _response(raw)


def _response(raw: bytes) -> ResponseHead | None:
    line = _STATUS_LINE.match(raw)
    if line is None:
        return None
    version, status = line.groups()
    # A body that llhttp would expect is none of its business here: it sees the head alone.
    fields, trouble = _fields(httptools.HttpResponseParser, raw)
    return ResponseHead(version.decode(), fields, len(raw), trouble, int(status))


# Heads repeat, and so does what stands behind request lines: clients ask with the same fields again and again, servers
# answer within the same second.
_request_again, _response_again = lru_cache(1024)(_request), lru_cache(1024)(_response)


def _codings(head: _Head) -> list[bytes]:
    if b"transfer-encoding" not in head.fields.firsts:
        return []
    return [
        c.strip().lower()
        for value in head.values(b"transfer-encoding")
        for c in value.split(b",")
        if c.strip()
    ]


def _length(head: _Head) -> int | None:
    """Content-Length, None where there is none, -1 where it cannot be trusted."""
    value = head.fields.firsts.get(b"content-length")
    if value is None:
        return None
    if value.isdigit() and len(value) <= 18 and not head.fields.repeat:
        return int(value)
    given = {part.strip() for value in head.values(b"content-length") for part in value.split(b",")}
    if not given:
        return None
    number = given.pop()
    if given or not number.isdigit() or len(number) > 18:
        return -1
    return int(number)


def request_body(head: RequestHead) -> tuple[Framing, int]:
    """How a request's body ends, and its length where that is given.

    A request whose length cannot be known would be answered with 400 by a careful server.
    """
    codings = _codings(head)
    if codings:
        return (Framing.CHUNKED, 0) if codings[-1] == b"chunked" else (Framing.LOST, 0)
    length = _length(head)
    if length is None:
        return Framing.NONE, 0
    return (Framing.LENGTH, length) if length >= 0 else (Framing.LOST, 0)


def response_body(head: ResponseHead, method: str | None) -> tuple[Framing, int]:
    r"""How a response's body ends, given the request's method (None: not known).

    Examples
    --------
    >>> response_body(parse_response(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), "HEAD")
    (<Framing.NONE: 'no body'>, 0)
    """
    if head.status == 101 or (method == "CONNECT" and 200 <= head.status < 300):
        return Framing.TUNNEL, 0
    if method == "HEAD" or head.status < 200 or head.status in (204, 304):
        return Framing.NONE, 0
    codings = _codings(head)
    if codings:
        return (Framing.CHUNKED if codings[-1] == b"chunked" else Framing.CLOSE), 0
    length = _length(head)
    if length is None or length < 0:
        return Framing.CLOSE, 0
    return Framing.LENGTH, length
