"""Both directions of a TLS connection, up to the point where only encrypted data follow.

Knows: records (RFC 8446 section 5.1, RFC 5246 section 6.2), handshake messages that span or share records, alerts.
Must not know: what hellos say (`tls_hello`), tables.
A direction has been read when its first application data or encrypted alert has come: nothing behind it can be read
without keys, and counting it would cost more than it tells.
Memory: the unfinished record and handshake message, at most HANDSHAKE_BYTES a direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from pcaptool.analyze.streams import Event, Part, Piece, StreamEnd, StreamReassembler
from pcaptool.analyze.tls_hello import ClientHello, ServerHello, parse_client, parse_server

__all__ = ["Handshake", "Side", "TlsConnection"]

CHANGE_CIPHER, ALERT, HANDSHAKE, APPLICATION, HEARTBEAT = 20, 21, 22, 23, 24
CLIENT_HELLO, SERVER_HELLO, CERTIFICATE = 1, 2, 11
RECORD_BYTES = (1 << 14) + 2048  # RFC 5246 section 6.2.3
HANDSHAKE_BYTES = 1 << 18


@dataclass(slots=True)
class Side:
    """What was seen of one direction; packet number 0 stands for not seen."""

    records: int = 0  # that were read
    bytes: int = 0  # of these, headers included
    first_n: int = 0
    first_ts: int = 0
    hello_n: int = 0
    hello_ts: int = 0
    application_n: int = 0
    application_ts: int = 0
    alert: tuple[int, int] | None = None
    changed: bool = False  # ChangeCipherSpec has come
    done: bool = False
    last_n: int = 0
    last_ts: int = 0
    trouble: str = ""


@dataclass(slots=True)
class Handshake:
    """A connection's beginning; `client_side` is the direction of the ClientHello, -1 where it is not known."""

    sides: tuple[Side, Side] = field(default_factory=lambda: (Side(), Side()))
    client_side: int = -1
    client: ClientHello | None = None
    server: ServerHello | None = None
    retried: bool = False
    certificate_bytes: int = 0


def values_of(each: Side | ClientHello | ServerHello | None) -> tuple[Any, ...] | None:
    """What a record of these kinds is made of.

    Examples
    --------
    >>> Side(*values_of(Side(records=2))).records
    2
    """
    return None if each is None else tuple(getattr(each, name.name) for name in fields(each))


class TlsConnection:
    """Segments in, one `Handshake` out."""

    __slots__ = ("_buffers", "_given", "_messages", "found", "streams")

    def __init__(self) -> None:
        self.streams = (StreamReassembler(), StreamReassembler())
        self.found = Handshake()
        self._buffers = (bytearray(), bytearray())
        self._messages = (bytearray(), bytearray())
        self._given = False

    def rest(self) -> tuple[Any, ...]:
        """All that it knows, as plain values; `wake` of another one goes on from there."""
        found = self.found
        halves = [bytes(each) for each in (*self._buffers, *self._messages)]
        said = [values_of(each) for each in (*found.sides, found.client, found.server)]
        about = (found.client_side, found.retried, found.certificate_bytes, self._given)
        return [each.rest() for each in self.streams], halves, said, about

    def wake(self, state: tuple[Any, ...]) -> None:
        """Go on where another one was."""
        streams, (a, b, c, d), (first, second, client, server), about = state
        for stream, known in zip(self.streams, streams, strict=True):
            stream.wake(known)
        self._buffers, self._messages = (bytearray(a), bytearray(b)), (bytearray(c), bytearray(d))
        self.found = Handshake(
            (Side(*first), Side(*second)),
            client=None if client is None else ClientHello(*client),
            server=None if server is None else ServerHello(*server),
        )
        self.found.client_side, self.found.retried, self.found.certificate_bytes, self._given = about

    def let_go(self) -> None:
        """Nothing here refers to itself."""

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
        """Take a segment (see `StreamReassembler.push`); the answer comes when all is over."""
        other = 1 - side
        if self.streams[other].has_hole:
            self._feed(other, self.streams[other].acknowledged(ack))
        self._feed(side, self.streams[side].push(seq, data, n, ts, missing=missing, fin=fin, ack=ack))
        return False

    def body_room(self, side: int) -> int:
        """Of a direction that was read nothing is looked at; holes in the other must still be noticed."""
        return 1 << 62 if self.found.sides[side].done and not self.streams[1 - side].has_hole else 0

    def skip_body(
        self,
        side: int,
        seq: int,
        size: int,
        n: int,  # noqa: ARG002 - as in the protocol
        ts: int,  # noqa: ARG002
        *,
        missing: int = 0,
    ) -> bool:
        """Take contiguous segments without looking at their bytes."""
        return self.streams[side].skip(seq, size, missing)

    def hold_body(self, side: int, seq: int, parts: Sequence[Part]) -> bool:  # noqa: ARG002
        """Segments are taken one by one."""
        return False

    def end(self, why: str, *, unread: bool = False) -> None:  # noqa: ARG002 - a handshake has no other trouble
        """Nothing more will come."""
        for side, stream in enumerate(self.streams):
            self._feed(side, stream.flush())
            state = self.found.sides[side]
            if not state.done:
                state.done, state.trouble = True, state.trouble or why

    @property
    def over(self) -> bool:
        """Whether both directions were read, or this is no TLS."""
        a, b = self.found.sides
        return (a.done and b.done) or (not self.confirmed and (a.done or b.done))

    @property
    def confirmed(self) -> bool:
        """Whether a hello was found."""
        return self.found.client is not None or self.found.server is not None

    def take_finished(self) -> list[Handshake]:
        """The result, once."""
        return self.take_all() if self.over else []

    def take_all(self) -> list[Handshake]:
        """What there is of it, once."""
        if self._given or not self.confirmed:
            return []
        self._given = True
        return [self.found]

    def _feed(self, side: int, events: list[Event]) -> None:
        state = self.found.sides[side]
        for event in events:
            if state.done:
                return
            if isinstance(event, Piece):
                self._read(side, state, event)
            elif isinstance(event, StreamEnd):
                self._stop(side, state, "closed before it was complete")
            elif state.first_n:  # before the first byte it only means that the stream was joined late
                self._stop(side, state, "gap")

    def _stop(self, side: int, state: Side, why: str) -> None:
        state.done, state.trouble = True, why
        self._buffers[side].clear()
        self._messages[side].clear()

    def _read(self, side: int, state: Side, piece: Piece) -> None:
        """Whole records; what is left waits for more."""
        buffer = self._buffers[side]
        buffer += piece.data
        if not state.first_n:
            state.first_n, state.first_ts = piece.n, piece.ts
        at = 0
        while len(buffer) - at >= 5 and not state.done:
            kind, size = buffer[at], int.from_bytes(buffer[at + 3 : at + 5], "big")
            if not CHANGE_CIPHER <= kind <= HEARTBEAT or buffer[at + 1] != 3 or size > RECORD_BYTES:
                self._stop(side, state, "no TLS record")
                return
            if kind == APPLICATION:  # its header is enough
                state.application_n, state.application_ts = piece.n, piece.ts
                state.done = True
                break
            if len(buffer) - at < 5 + size:
                break
            state.records += 1
            state.bytes += 5 + size
            self._record(side, state, kind, bytes(buffer[at + 5 : at + 5 + size]), piece)
            at += 5 + size
        del buffer[: at if not state.done else len(buffer)]

    def _record(self, side: int, state: Side, kind: int, body: bytes, piece: Piece) -> None:
        state.last_n, state.last_ts = piece.n, piece.ts
        if kind == CHANGE_CIPHER:
            # After a HelloRetryRequest it means nothing: plain hellos follow (RFC 8446 appendix D.4).
            state.changed = self.found.server is not None and not self._retrying
        elif state.changed:
            state.done = kind == ALERT  # encrypted: a Finished message, or the connection's end
        elif kind == ALERT and len(body) == 2:
            state.alert = (body[0], body[1])
        elif kind == HANDSHAKE:
            self._handshake(side, state, body, piece)

    @property
    def _retrying(self) -> bool:
        return self.found.server is not None and self.found.server.retry

    def _handshake(self, side: int, state: Side, body: bytes, piece: Piece) -> None:
        messages = self._messages[side]
        messages += body
        while len(messages) >= 4:
            kind, size = messages[0], int.from_bytes(messages[1:4], "big")
            if size > HANDSHAKE_BYTES or (not self.confirmed and kind not in {CLIENT_HELLO, SERVER_HELLO}):
                self._stop(
                    side, state, "handshake message too long" if size > HANDSHAKE_BYTES else "no hello"
                )
                return
            if len(messages) < 4 + size:
                return
            self._message(side, state, kind, bytes(messages[4 : 4 + size]), piece)
            del messages[: 4 + size]

    def _message(self, side: int, state: Side, kind: int, body: bytes, piece: Piece) -> None:
        found = self.found
        if kind == CLIENT_HELLO:
            found.client_side = side
            found.client = found.client or parse_client(body)  # the first one says what is offered
            if not state.hello_n:
                state.hello_n, state.hello_ts = piece.n, piece.ts
        elif kind == SERVER_HELLO:
            found.client_side = 1 - side
            found.server = parse_server(body)
            found.retried |= found.server.retry
            state.hello_n, state.hello_ts = piece.n, piece.ts
        elif kind == CERTIFICATE and found.client_side == 1 - side:
            found.certificate_bytes = len(body)
