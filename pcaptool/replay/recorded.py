"""The requests of a capture: connections in the order of their start, exchanges in the order of their connection.

Knows: how batches of a capture become exchanges with their bytes. Must not know: servers, pacing.
Memory: `messages` says; everything that HTTP connections carried is held.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pcaptool.analyze.flows import FlowAnalysis
from pcaptool.analyze.http import HttpAnalysis
from pcaptool.analyze.http_head import RequestHead
from pcaptool.analyze.http_messages import Exchange, Message
from pcaptool.analyze.take import integers
from pcaptool.decode.decoder import Decoder
from pcaptool.engine import Engine
from pcaptool.errors import CaptureError
from pcaptool.file import open_capture
from pcaptool.replay.messages import Answer, RecordingConnection, answer_of, request_bytes
from pcaptool.tables.columns import Columns

__all__ = ["Asked", "Conversation", "recorded_conversations"]


@dataclass(slots=True)
class Asked:
    """A recorded request.

    Parameters
    ----------
    number : int
        On its connection, 0-based.
    method, target : str
    raw : bytes or None
        Head and body; None where the capture lacks some.
    first_ns, last_ns : int
        Times of its first and last byte.
    pipelined : bool
        It was written before the answer to the one before it was complete.
    answer : Answer or None
    """

    number: int
    method: str
    target: str
    raw: bytes | None
    first_ns: int
    last_ns: int
    pipelined: bool = False
    answer: Answer | None = None


@dataclass(slots=True)
class Conversation:
    """A recorded connection with HTTP on it.

    Parameters
    ----------
    flow : int
    first_ns, last_ns : int
        Times of its first and last packet.
    asked : list of Asked
    """

    flow: int
    first_ns: int = 0
    last_ns: int = 0
    asked: list[Asked] = field(default_factory=list)


class _Recorder(HttpAnalysis):
    """The HTTP analysis, with bytes, and without a table."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[int, Exchange]] = []

    def make(self, flow: int) -> RecordingConnection:  # noqa: ARG002 - a connection does not know its number
        return RecordingConnection()

    def columns(self, found: list[tuple[int, Any]]) -> Columns:
        self.found += found
        return {}


def recorded_conversations(path: str | Path) -> list[Conversation]:
    """All HTTP connections of a capture that asked something.

    Raises
    ------
    CaptureError
        The capture cannot be read, or holds no HTTP request.

    Examples
    --------
    >>> [talk] = recorded_conversations("fixtures/captures/lab/keepalive-5.server.pcap")
    >>> [(a.method, a.target, a.answer.status, a.answer.body_bytes) for a in talk.asked][:2]
    [('GET', '/bytes/1000', 200, 1000), ('GET', '/bytes/10', 200, 10)]
    """
    engine = Engine("auto")
    flows, recorder = FlowAnalysis(engine), _Recorder()
    with open_capture(path, engine) as capture:
        for batch in Decoder(engine, ("packets", "ip", "tcp", "udp")).batches(capture):
            flows.feed(batch)
            recorder.feed(batch)
    recorder.finish()
    table = flows.finish()["flows"]
    first, last = integers(table, "first_ts"), integers(table, "last_ts")
    out: dict[int, Conversation] = {}
    for flow, exchange in recorder.found:
        request = exchange.request
        if request is None or not isinstance(request.head, RequestHead) or not request.head.method:
            continue
        talk = out.setdefault(flow, Conversation(flow, int(first[flow]), int(last[flow])))
        talk.asked.append(_asked(exchange, request, request.head))
    if not out:
        raise CaptureError("no HTTP request is in it", path=path, hint="encrypted ones (TLS) cannot be read")
    for talk in out.values():
        talk.asked.sort(key=lambda asked: asked.number)
        for before, asked in zip(talk.asked, talk.asked[1:], strict=False):
            asked.pipelined = before.answer is not None and asked.first_ns < before.answer.last_ns
    return sorted(out.values(), key=lambda talk: (talk.first_ns, talk.flow))


def _asked(exchange: Exchange, request: Message, head: RequestHead) -> Asked:
    return Asked(
        number=exchange.number,
        method=head.method,
        target=head.target,
        raw=request_bytes(exchange),
        first_ns=request.first_ts,
        last_ns=request.last_ts,
        answer=answer_of(exchange),
    )
