"""HTTP messages with their bytes: what was asked and answered on a connection, recorded or live.

Knows: that `analyze` finds message borders and pairs; how bodies lie in streams (RFC 9112 section 7.1: chunked).
Must not know: files, sockets, pacing.
The same reader serves the capture and the live connection, so both sides of the comparison are read alike.
Memory: the streams of connections that are read, at most STREAM_BYTES a direction; what is longer has no digest.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pcaptool.analyze.http_head import RequestHead, ResponseHead
from pcaptool.analyze.http_messages import Exchange, Message
from pcaptool.analyze.http_pairing import HttpConnection
from pcaptool.analyze.streams import Event, Gap, Part, Piece, StreamReassembler

__all__ = ["STREAM_BYTES", "Answer", "RecordingConnection", "answer_of", "dechunk", "request_bytes"]

STREAM_BYTES = 256 << 20
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,15})[^\r\n]*\r?\n")


class _KeptStream(StreamReassembler):
    """A stream that remembers its bytes; missing ones are zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = bytearray()
        self.too_long = False

    def push(self, *args: Any, **named: Any) -> list[Event]:
        return self._keep(super().push(*args, **named))

    def acknowledged(self, ack: int) -> list[Event]:
        return self._keep(super().acknowledged(ack))

    def flush(self) -> list[Event]:
        return self._keep(super().flush())

    def _keep(self, events: list[Event]) -> list[Event]:
        for event in events:
            size = (
                event.size if isinstance(event, Gap) else len(event.data) if isinstance(event, Piece) else 0
            )
            if len(self.kept) + size > STREAM_BYTES:
                self.too_long = True
            elif isinstance(event, Piece):
                self.kept += event.data
            elif isinstance(event, Gap):
                self.kept += bytes(size)
        return events


@dataclass(slots=True)
class _KeptExchange(Exchange):
    """An exchange that knows the streams it lies in."""

    streams: tuple[_KeptStream, _KeptStream] | None = None
    sides: list[int] = field(default_factory=list)  # of the request


class RecordingConnection(HttpConnection):
    r"""Both sides of a connection, whose exchanges give their bytes (`request_bytes`, `answer_of`).

    Examples
    --------
    >>> c = RecordingConnection()
    >>> _ = c.segment(0, 1, b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", n=1, ts=0, ack=1)
    >>> _ = c.segment(1, 1, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", n=2, ts=9, ack=28)
    >>> [exchange] = c.take_finished()
    >>> request_bytes(exchange)
    b'GET /a HTTP/1.1\r\nHost: x\r\n\r\n'
    >>> answer_of(exchange).body_bytes
    2
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept = (_KeptStream(), _KeptStream())
        self.streams = self._kept

    def body_room(self, side: int) -> int:  # noqa: ARG002 - every byte is wanted
        """Nothing may be skipped."""
        return 0

    def hold_body(self, side: int, seq: int, parts: Sequence[Part]) -> bool:  # noqa: ARG002 - as above
        """Segments are taken one by one."""
        return False

    def _new(self, request: Message | None = None) -> Exchange:
        made = super()._new(request)
        return _KeptExchange(made.number, made.request, streams=self._kept, sides=[self._client])


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Parameters
    ----------
    status : int
    body_bytes : int
        Without transfer coding.
    sha256 : str or None
        Of the body; None where bytes of it are missing.
    first_ns, last_ns : int
        When its first and last byte were there.
    complete : bool
    """

    status: int
    body_bytes: int
    sha256: str | None
    first_ns: int
    last_ns: int
    complete: bool


def request_bytes(exchange: Exchange) -> bytes | None:
    """A request as it was on the wire; None where the capture lacks bytes of it."""
    message = exchange.request
    if message is None or not message.complete or message.gap_bytes:
        return None
    return _raw(exchange, message, request=True)


def answer_of(exchange: Exchange) -> Answer | None:
    """The response of an exchange; None where there is none."""
    message = exchange.response
    if message is None or not isinstance(message.head, ResponseHead):
        return None
    digest = None
    if message.complete and not message.gap_bytes:
        raw = _raw(exchange, message, request=False)
        if raw is not None:
            body = raw[message.head.size :]
            digest = hashlib.sha256(dechunk(body) if _chunked(message) else body).hexdigest()
    return Answer(
        status=message.head.status,
        body_bytes=message.body_bytes,
        sha256=digest,
        first_ns=message.first_ts,
        last_ns=message.last_ts,
        complete=message.complete,
    )


def _chunked(message: Message) -> bool:
    coding = message.head.first(b"transfer-encoding") if message.head else None
    return coding is not None and "chunked" in coding.lower()


def _raw(exchange: Exchange, message: Message, *, request: bool) -> bytes | None:
    """A message's bytes: head and body as they were in the stream."""
    if not isinstance(exchange, _KeptExchange) or exchange.streams is None or message.head is None:
        return None
    client = exchange.sides[0]
    stream = exchange.streams[client if request else 1 - client]
    start = message.position
    if not _chunked(message):
        end = start + message.head.size + message.body_bytes
    else:
        head = bytes(stream.kept[start : start + message.head.size])
        if isinstance(message.head, RequestHead):
            end = start + len(head) + _chunked_size(stream.kept, start + len(head))
        else:
            end = len(stream.kept)
    return bytes(stream.kept[start:end]) if end <= len(stream.kept) else None


def _chunked_size(data: bytes | bytearray, at: int) -> int:
    """Bytes of a chunked body, its last chunk and trailer fields included."""
    begin = at
    while (found := _CHUNK_SIZE.match(data, at)) is not None:
        size = int(found[1], 16)
        at = found.end() + size
        if not size:
            end = re.compile(rb"(?:[^\r\n]+\r?\n)*\r?\n").match(data, at)
            return (end.end() if end else len(data)) - begin
        at += 2 if data[at : at + 1] == b"\r" else 1
    return len(data) - begin


def dechunk(data: bytes) -> bytes:
    r"""A chunked body without its coding; what follows it is left out.

    Examples
    --------
    >>> dechunk(b"2\r\nhi\r\n1;x=y\r\n!\r\n0\r\n\r\nHTTP/1.1 200 OK")
    b'hi!'
    """
    out, at = bytearray(), 0
    while (found := _CHUNK_SIZE.match(data, at)) is not None and (size := int(found[1], 16)):
        at = found.end() + size
        out += data[found.end() : at]
        at += 2 if data[at : at + 1] == b"\r" else 1
    return bytes(out)
