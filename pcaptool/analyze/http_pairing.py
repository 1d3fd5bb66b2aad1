"""Both directions of an HTTP/1 connection: which response answers which request.

Knows: responses come in the order of requests (RFC 9112 section 9.3.2); 1xx responses belong to the request
that is being answered (RFC 9110 section 15.2); after 101, or 2xx to CONNECT, the connection speaks something
else.
Must not know: packets beyond their numbers and times, tables.

A response is not given to a request that its sender had not received when it began (its acknowledgement
number tells): so a capture that misses requests does not shift all pairs behind them.
Memory: the heads of exchanges that are not finished, at most PENDING of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pcaptool.analyze.bodies import Bodies, Body
from pcaptool.analyze.http_head import (
    Framing,
    RequestHead,
    ResponseHead,
    looks_like_request,
    looks_like_response,
    parse_request,
    parse_response,
    request_body,
    response_body,
)
from pcaptool.analyze.http_messages import Exchange, Message, packets_of
from pcaptool.analyze.http_reader import MessageReader
from pcaptool.analyze.streams import Part, Piece, StreamReassembler

__all__ = ["PENDING", "HttpConnection", "open_packets"]

PENDING = 1024  # unanswered requests; a connection of which one direction was captured would pile them up
TRAILERS = 100  # fields of a trailer that are kept
UNASKED = 16  # responses that wait for a request which the capture has behind them


class HttpConnection:
    r"""One connection: stream events of both sides in, exchanges out.

    Side 0 and 1 are the two directions; which one is the client's is learnt from the first start line.
    Positions are kept relative, as `StreamReassembler` counts them.

    Examples
    --------
    >>> c = HttpConnection()
    >>> c.segment(0, 1, b"GET / HTTP/1.1\r\n\r\n", n=4, ts=10, ack=1)
    True
    >>> c.segment(1, 1, b"HTTP/1.1 204 No Content\r\n\r\n", n=5, ts=25, ack=19)
    True
    >>> [(x.request.head.method, x.response.head.status, x.response.last_n) for x in c.take_finished()]
    [('GET', 204, 5)]
    """

    __slots__ = ("_client", "_count", "_ended", "_open", "_sides", "bodies", "flow", "seen_http", "streams")

    def __init__(self, flow: int = 0, bodies: Bodies | None = None) -> None:
        self.flow = flow
        self.bodies = bodies
        self.streams = (StreamReassembler(), StreamReassembler())
        self.seen_http = False  # a whole head was found
        self._client = -1
        self._sides: tuple[_Side, ...] = (_Side(self, 0), _Side(self, 1))
        self._open: list[Exchange] = []
        self._count = 0
        self._ended = False

    def rest(self) -> tuple[Any, ...]:
        """All that it knows, as plain values; `wake` of another one goes on from there."""
        messages = [message for x in self._open for message in (x.request, x.response)]
        sides = [side.rest(messages, self.bodies) for side in self._sides]
        exchanges = [x.rest(self.bodies) for x in self._open]
        about = (self.seen_http, self._client, self._count)
        return about, exchanges, sides, [stream.rest() for stream in self.streams]

    def wake(self, state: tuple[Any, ...]) -> None:
        """Go on where another one was."""
        (self.seen_http, self._client, self._count), exchanges, sides, streams = state
        self._open = [Exchange.of(known, self.bodies) for known in exchanges]
        messages = [message for x in self._open for message in (x.request, x.response)]
        for side, known in zip(self._sides, sides, strict=True):
            side.wake(known, messages, self.bodies)
        for stream, known in zip(self.streams, streams, strict=True):
            stream.wake(known)

    def let_go(self) -> None:
        """It is not used any more: its sides do not refer to it, nor their readers to them."""
        for side in self._sides:
            side.reader.let_go()
        self._sides = ()

    def segment(
        self,
        side: int,
        seq: int,
        data: memoryview | bytes,
        n: int,
        ts: int,
        *,
        missing: int = 0,
        fin: bool = False,
        ack: int = 0,
    ) -> bool:
        """Take a segment (see `StreamReassembler.push`); says whether a message ended with it."""
        self._ended = False
        other = self.streams[1 - side]
        if other.has_hole:
            for event in other.acknowledged(ack):
                self._sides[1 - side].reader.feed(event)
        reader, stream = self._sides[side].reader, self.streams[side]
        before, room = stream.conflicting_bytes, self.body_room(side)
        for event in stream.push(seq, data, n, ts, missing=missing, fin=fin, ack=ack):
            reader.feed(event)
        if stream.conflicting_bytes != before:
            self._sides[side].on_conflict()
        if len(data) + missing <= room:  # `skip_body` could have taken it: bodies are not compared either way
            stream.forget()
        return self._ended

    def body_room(self, side: int) -> int:
        """How many bytes of a side may be given to `skip_body` now."""
        return 0 if self.streams[1 - side].has_hole else self._sides[side].reader.room

    def skip_body(self, side: int, seq: int, size: int, n: int, ts: int, *, missing: int = 0) -> bool:
        """Take contiguous segments without looking at their bytes, if those are the middle of a body.

        The same as `segment` of each, for what large bodies are made of: `size` is the
        sum, of which `missing` bytes were not captured; `n` and `ts` are the last one's.
        False means that `segment` must be called.
        """
        if size > self.body_room(side) or not self.streams[side].skip(seq, size, missing):
            return False
        here = self._sides[side]
        here.reader.skip(size)
        here.on_body_gap(missing)
        here.on_body(size, n, ts)
        return True

    def hold_body(self, side: int, seq: int, parts: Sequence[Part]) -> bool:
        """Take contiguous segments that wait behind a hole: the same as `segment` of each."""
        stream, room = self.streams[side], self.body_room(side)
        if not stream.hold_run(seq, parts):
            return False
        if any(len(part.data) + part.missing <= room for part in parts):
            stream.forget()
        return True

    def note_end(self) -> None:
        """A message is over."""
        self._ended = True

    def end(self, why: str, *, unread: bool = False) -> None:
        """Nothing more will come in either direction; or (`unread`) will be read."""
        if unread:
            for exchange in self._open:
                exchange.unread = why
        for side, stream in zip(self._sides, self.streams, strict=True):
            for event in stream.flush():
                side.reader.feed(event)
            side.reader.end(why, closed=False)

    @property
    def confirmed(self) -> bool:
        """Whether it is HTTP."""
        return self.seen_http

    @property
    def over(self) -> bool:
        """There is nothing more to learn from it: both directions are done, or it is no HTTP."""
        client, server = self._sides[0].reader, self._sides[1].reader
        if self.seen_http:
            return client.opaque and server.opaque
        return client.lost or server.lost or client.opaque or server.opaque

    def take_finished(self) -> list[Exchange]:
        """Exchanges at the front that are finished, in the order of their requests.

        A response without request waits until one behind it is finished: its request may still come, where a
        capture has them in the wrong order.
        """
        ready = 0
        for i, exchange in enumerate(self._open):
            if not exchange.finished:
                break
            if exchange.request is not None or i - ready >= UNASKED:
                ready = i + 1
        ready = max(ready, len(self._open) - PENDING)
        out = self._open[:ready]
        del self._open[:ready]
        return out

    def take_all(self) -> list[Exchange]:
        """All that are left, finished or not."""
        out, self._open = self._open, []
        return out

    @property
    def packets(self) -> list[int]:
        """Packets with which messages of exchanges that were not taken began, and end so far."""
        messages = (message for x in self._open for message in (x.request, x.response))
        return [number for m in messages if m is not None for number in (m.first_n, m.last_n)]

    def place_of(self, message: Message) -> tuple[int, str] | None:
        """Number of the exchange that a message belongs to, and which of its messages it is."""
        for exchange in reversed(self._open):
            if exchange.response is message:
                return exchange.number, "response"
            if exchange.request is message:
                return exchange.number, "request"
        return None

    def is_client(self, side: int) -> bool:
        """Whether a direction carries requests."""
        return self._client == side

    def may_begin(self, side: int, raw: bytes) -> bool:
        """Whether a message of this direction may begin so."""
        if self._client < 0:
            return looks_like_request(raw) or looks_like_response(raw)
        return looks_like_request(raw) if self._client == side else looks_like_response(raw)

    def on_head(self, side: int, raw: bytes, message: Message) -> tuple[Framing, int]:
        """A whole head in a direction: opens an exchange, or answers one."""
        if self._client != 1 - side:
            request = parse_request(raw)
            if request is not None:
                return self._request(side, request, message)
        if self._client != side:
            response = parse_response(raw)
            if response is not None:
                return self._response(side, response, message)
        return Framing.LOST, 0

    def _request(self, side: int, head: RequestHead, message: Message) -> tuple[Framing, int]:
        self._client, self.seen_http = side, True
        message.head, message.trouble = head, message.trouble or head.trouble
        early = next((x for x in self._open if x.request is None and _covers(x.response, message)), None)
        if early is not None:  # the capture has the response first
            early.request = message
        else:
            self._open.append(self._new(request=message))
        return request_body(head)

    def _response(self, side: int, head: ResponseHead, message: Message) -> tuple[Framing, int]:
        self._client, self.seen_http = 1 - side, True
        message.head, message.trouble = head, message.trouble or head.trouble
        exchange = self._answered_by(message)
        if 100 <= head.status < 200 and head.status != 101:
            if exchange is not None:
                exchange.interim_status, exchange.interim_n = head.status, message.head_n
            return Framing.NONE, 0
        if exchange is None:
            exchange = self._unasked()
        exchange.response = message
        asked = None if exchange.request is None else exchange.request.head
        framing, length = response_body(head, asked.method if isinstance(asked, RequestHead) else None)
        if framing is Framing.TUNNEL:
            self._sides[1 - side].reader.become_opaque()
        return framing, length

    def _answered_by(self, message: Message) -> Exchange | None:
        """The oldest request without a response, if the responder had received any of it."""
        waiting = next((x for x in self._open if x.response is None), None)
        if waiting is None or waiting.request is None or not _covers(message, waiting.request):
            return None
        return waiting

    def _unasked(self) -> Exchange:
        """An exchange without request, in front of those that wait for their response."""
        exchange = self._new()
        where = next((i for i, x in enumerate(self._open) if x.response is None), len(self._open))
        self._open.insert(where, exchange)
        return exchange

    def _new(self, request: Message | None = None) -> Exchange:
        self._count += 1
        return Exchange(self._count - 1, request, client=self._client)


def open_packets(found: HttpConnection | tuple[Any, ...]) -> list[int]:
    """Packets with which messages of exchanges that were not taken began, and end so far.

    Parameters
    ----------
    found : HttpConnection, or what its `rest` gave
    """
    if isinstance(found, HttpConnection):
        return found.packets
    return [number for x in found[1] for message in x[1:3] if message for number in packets_of(message)]


def _covers(response: Message | None, request: Message) -> bool:
    """Whether the responder had received anything of the request when its response began."""
    return response is not None and response.received > request.position


def _place(message: Message | None, messages: Sequence[Message | None]) -> int:
    """Where this very message stands, -1 for nowhere."""
    if message is None:
        return -1
    return next((i for i in range(len(messages) - 1, -1, -1) if messages[i] is message), -1)


class _Side:
    """What one direction's reader reports, put into the current message."""

    __slots__ = ("_connection", "_last", "_message", "_side", "reader")

    def __init__(self, connection: HttpConnection, side: int) -> None:
        self._connection = connection
        self._side = side
        self.reader = MessageReader(self, keeps=connection.bodies is not None)
        self._message: Message | None = None
        self._last: Message | None = None  # the current one, or the one before

    def rest(self, messages: list[Message | None], bodies: Bodies | None) -> tuple[Any, ...]:
        """What it knows; of messages that are among those given their places."""
        places = [_place(message, messages) for message in (self._message, self._last)]
        own = None  # a message whose head is not whole belongs to no exchange yet
        if self._message is not None and places[0] < 0:
            own = self._message.rest(bodies)
        return *places, own, self.reader.rest()

    def wake(self, state: tuple[Any, ...], messages: list[Message | None], bodies: Bodies | None) -> None:
        """Go on where another one was."""
        place, last, own, reader = state
        self._message = messages[place] if place >= 0 else Message.of(own, bodies)
        self._last = messages[last] if last >= 0 else self._message
        self.reader.wake(reader)

    def on_start(self, piece: Piece, at: int) -> None:
        other = self._connection.streams[1 - self._side]
        self._message = self._last = Message(
            first_n=piece.n,
            first_ts=piece.ts,
            position=piece.at + at,
            received=other.offset_of(piece.ack) if other.started else 0,
        )

    def on_head(self, raw: bytes, piece: Piece) -> tuple[Framing, int]:
        message = self._message
        if message is None:  # a reader always begins a message first
            return Framing.LOST, 0
        message.head_n = message.last_n = piece.n
        message.head_ts = message.last_ts = piece.ts
        return self._connection.on_head(self._side, raw, message)

    def on_head_cut(self, raw: bytes, why: str) -> None:
        if self._message is not None:
            self._message.trouble = why
            self._connection.on_head(self._side, raw, self._message)
        self.on_broken(why)

    def on_body(self, size: int, n: int, ts: int) -> None:
        if self._message is not None:
            self._message.body_bytes += size
            self._message.last_n, self._message.last_ts = n, ts

    def on_body_gap(self, size: int) -> None:
        if self._message is not None:
            self._message.gap_bytes += size
            body = self._body(self._message)
            if body is not None and self._connection.bodies is not None:
                self._connection.bodies.gap(body, size)

    def on_data(self, data: memoryview | bytes) -> None:
        if self._message is not None:
            body = self._body(self._message)
            if body is not None and self._connection.bodies is not None:
                self._connection.bodies.add(body, data)

    def _body(self, message: Message) -> Body | None:
        """The file of a message's body, begun with the first bytes."""
        bodies = self._connection.bodies
        if bodies is None or message.head is None or message.asked:
            return message.body
        place = self._connection.place_of(message)
        if place is not None:
            message.asked = True
            kinds = (message.head.first(b"content-type"), message.head.first(b"content-encoding"))
            message.body = bodies.begin(self._connection.flow, *place, *kinds)
        return message.body

    def _finish_body(self, message: Message) -> None:
        if message.body is not None and self._connection.bodies is not None:
            self._connection.bodies.end(message.body, complete=message.complete)

    def on_trailer(self, line: bytes) -> None:
        if self._message is not None and len(self._message.trailers) < TRAILERS:
            name, _, value = line.partition(b":")
            self._message.trailers.append((name, value.strip(b" \t")))

    def on_conflict(self) -> None:
        """Bytes came twice, and not the same; perhaps those of a message that is whole, in an exchange that is not."""
        message = self._last
        if message is not None and (
            message is self._message or self._connection.place_of(message) is not None
        ):
            message.trouble = message.trouble or "overlapping segments differ"

    def on_end(self) -> None:
        if self._message is not None:
            self._message.complete = self._message.over = True
            self._finish_body(self._message)
            self._message = None
            self._connection.note_end()

    def on_broken(self, why: str) -> None:
        if self._message is not None:
            self._message.trouble = self._message.trouble or why
            self._message.over = True
            self._finish_body(self._message)
            self._message = None
            self._connection.note_end()

    def on_lost(self) -> None:
        self._message = None

    def may_begin(self, raw: bytes) -> bool:
        return self._connection.may_begin(self._side, raw)
