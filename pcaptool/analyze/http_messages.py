"""What is known of HTTP messages and exchanges, and how it rests.

Knows: which values these are, and how they become plain ones (numbers, texts, bytes, tuples, lists) and come back:
a connection that is not heard of for a while rests so (`open_connections`), in an eighth of the memory.
Must not know: how values are found (`http_pairing`), what rows they make (`http_rows`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pcaptool.analyze.bodies import Bodies, Body
from pcaptool.analyze.http_head import Fields, RequestHead, ResponseHead

__all__ = ["Exchange", "Message", "packets_of"]


@dataclass(slots=True)
class Message:
    """What was seen of one request or response; packet number 0 stands for not seen."""

    head: RequestHead | ResponseHead | None = None
    first_n: int = 0
    first_ts: int = 0
    head_n: int = 0
    head_ts: int = 0
    last_n: int = 0
    last_ts: int = 0
    position: int = 0  # of the first byte, in its stream
    received: int = 0  # what its sender had received when it began: a position in the other stream
    body_bytes: int = 0
    gap_bytes: int = 0
    complete: bool = False
    over: bool = False  # nothing more will come for it
    trouble: str | None = None
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: Body | None = None  # the file that it goes to
    asked: bool = False  # whether a file was asked for

    def rest(self, bodies: Bodies | None) -> tuple[Any, ...]:
        """All that is known, as plain values."""
        head = self.head
        said: tuple[Any, ...] | None = None
        if isinstance(head, RequestHead):
            said = (head.version, list(head.fields), head.size, head.trouble, head.method, head.target)
        elif head is not None:
            said = (head.version, list(head.fields), head.size, head.trouble, head.status)
        numbers = (
            *(self.first_n, self.first_ts, self.head_n, self.head_ts, self.last_n, self.last_ts),
            *(self.position, self.received, self.body_bytes, self.gap_bytes, self.complete, self.over),
        )
        file = None if self.body is None or bodies is None else bodies.rest(self.body)
        return said, numbers, self.trouble, self.trailers, file, self.asked

    @classmethod
    def of(cls, state: tuple[Any, ...] | None, bodies: Bodies | None) -> Message | None:
        """The message that `rest` gave this for."""
        if state is None:
            return None
        said, numbers, *others, file, asked = state
        head: RequestHead | ResponseHead | None = None
        if said is not None:
            kind = RequestHead if len(said) == 6 else ResponseHead
            head = kind(said[0], Fields(said[1]), *said[2:])
        body = None if file is None or bodies is None else bodies.of(file)
        return cls(head, *(*numbers, *others, body, asked))


@dataclass(slots=True)
class Exchange:
    """A request and its response; either may be missing."""

    number: int
    request: Message | None = None
    response: Message | None = None
    interim_status: int = 0
    interim_n: int = 0
    client: int = 0  # the side that asked
    unread: str | None = None  # why what came later was not read

    def rest(self, bodies: Bodies | None) -> tuple[Any, ...]:
        """All that is known, as plain values."""
        request, response = (None if m is None else m.rest(bodies) for m in (self.request, self.response))
        return self.number, request, response, self.interim_status, self.interim_n, self.client

    @classmethod
    def of(cls, state: tuple[Any, ...], bodies: Bodies | None) -> Exchange:
        """The exchange that `rest` gave this for."""
        number, request, response, *others = state
        return cls(number, Message.of(request, bodies), Message.of(response, bodies), *others)

    @property
    def finished(self) -> bool:
        """Nothing more will come for what it has."""
        answered = self.response is not None and self.response.over
        return answered and (self.request is None or self.request.over)


def packets_of(state: tuple[Any, ...]) -> tuple[int, int]:
    """The first and the last packet so far of the message that rests so.

    Examples
    --------
    >>> packets_of(Message(first_n=3, last_n=5).rest(None))
    (3, 5)
    """
    numbers = state[1]
    return numbers[0], numbers[4]
