"""Bytes of a connection to requests, without I/O.

Knows: what the reference server needs of a request (RFC 9112: method, target, whether the connection goes on),
and how large one may be. httptools (llhttp) parses.
Must not know: sockets, routes.
Leaves out: request bodies' content (counted and thrown away), upgrades (answered like any other request).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import httptools

__all__ = ["MAX_BODY_BYTES", "MAX_HEAD_BYTES", "HttpRequest", "RequestReader"]

MAX_HEAD_BYTES = 65536
MAX_BODY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request.

    Parameters
    ----------
    method : str
    path : str
        The request target, latin-1; of an absolute one (`http://host/x`) the path.
    close : bool
        Whether the connection ends with its response (RFC 9112 section 9.3).
    """

    method: str
    path: str
    close: bool


class _RefusedError(Exception):
    """Carries the status to answer."""


class RequestReader:
    r"""Feed it what was received; take whole requests from `ready`.

    `error` is the status to answer when the bytes are no HTTP (any further): requests that were whole before stay
    in `ready`.

    Examples
    --------
    >>> reader = RequestReader()
    >>> reader.feed(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nHEAD /b HT")
    >>> reader.ready.popleft(), len(reader.ready), reader.error
    (HttpRequest(method='GET', path='/a', close=False), 0, None)
    >>> reader.feed(b"TP/9\r\n")
    >>> reader.error
    '400 Bad Request'
    """

    def __init__(self) -> None:
        self.ready: deque[HttpRequest] = deque()
        self.error: str | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._begin()

    def _begin(self) -> None:
        self._target = b""
        self._hosts = 0
        self._close = False
        self._in_head = True
        self._head_bytes = 0
        self._body_bytes = 0

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer; after an error they are ignored."""
        if self.error is not None:
            return
        whole = len(self.ready)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.error = "501 Not Implemented"  # what follows the head is another protocol
        except httptools.HttpParserError as error:
            # An exception of a callback arrives as the parser's, with the cause in its context.
            cause = error.__context__
            self.error = str(cause) if isinstance(cause, _RefusedError) else "400 Bad Request"
        if self._in_head and self.error is None:
            # Bytes of a head that began in an earlier read; of this one, at most all.
            self._head_bytes = len(data) + (self._head_bytes if len(self.ready) == whole else 0)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.error = "431 Request Header Fields Too Large"

    # -- called by httptools

    def on_message_begin(self) -> None:
        """A request line begins."""
        self._begin()

    def on_url(self, part: bytes) -> None:
        """A piece of the target."""
        self._target += part

    def on_header(self, name: bytes, _value: bytes) -> None:
        """One header field."""
        self._hosts += name.lower() == b"host"

    def on_headers_complete(self) -> None:
        """The empty line: exactly one Host in HTTP/1.1 (RFC 9112 section 3.2)."""
        self._in_head = False
        if self._hosts != 1 and (self._hosts or self._parser.get_http_version() != "1.0"):
            raise _RefusedError("400 Bad Request")
        self._close = not self._parser.should_keep_alive()

    def on_body(self, part: bytes) -> None:
        """A piece of the body, thrown away."""
        self._body_bytes += len(part)
        if self._body_bytes > MAX_BODY_BYTES:
            raise _RefusedError("413 Content Too Large")

    def on_message_complete(self) -> None:
        """A whole request."""
        method = self._parser.get_method().decode("latin-1")
        self.ready.append(HttpRequest(method, _path(self._target), self._close))
        self._in_head, self._head_bytes = True, 0


def _path(target: bytes) -> str:
    if not target.startswith(b"/"):
        try:
            target = httptools.parse_url(target).path or b"/"
        except httptools.HttpParserInvalidURLError:
            return "*"
    return target.decode("latin-1")
