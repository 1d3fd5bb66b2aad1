"""Recorded requests against a live server: real connections, each with its requests in order.

Knows: asyncio, when a request may be written, what ends a connection.
Must not know: captures, tables, how answers are judged.

Structure is kept: a recorded connection is a live one, opened at its recorded time; a request that had waited for the
answer before it waits again, a pipelined one does not; nothing is written before its time. Without times a connection
begins as soon as no more are open than ever were at once in the capture. A server that closes a connection which the
recorded one had kept gets a new one for what is left, and that is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pcaptool.errors import UsageError, printable
from pcaptool.replay.messages import Answer, RecordingConnection, answer_of
from pcaptool.replay.pace import Pace
from pcaptool.replay.recorded import Asked, Conversation

__all__ = ["Live", "Server", "Session", "ask_all", "with_host"]

_READ_BYTES = 1 << 18
_HOST = re.compile(rb"(\r?\nhost:[ \t]*)([^\r\n]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Server:
    """Where to ask.

    Parameters
    ----------
    host : str
    port : int
    tls : bool
    hosts : dict
        Recorded Host header to the one to send; "" is for all.
    timeout_s : float
        For a connection to open, and for each answer.
    """

    host: str
    port: int
    tls: bool = False
    hosts: tuple[tuple[str, str], ...] = ()
    timeout_s: float = 30.0

    @staticmethod
    def of(url: str, hosts: Sequence[str] = (), timeout_s: float = 30.0) -> Server:
        """From a user's words.

        Parameters
        ----------
        url : str
            http://HOST[:PORT], or https.
        hosts : sequence of str
            OLD=NEW, or NEW for all.

        Raises
        ------
        UsageError
            No such address.

        Examples
        --------
        >>> Server.of("http://[::1]:8080", ["a.example=b.example"])
        Server(host='::1', port=8080, tls=False, hosts=(('a.example', 'b.example'),), timeout_s=30.0)
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise UsageError(f"--http {printable(url)!r}: {error}") from error
        rest = parts.path.strip("/") or parts.query or parts.fragment or parts.username
        if parts.scheme not in ("http", "https") or not parts.hostname or rest:
            raise UsageError(
                f"--http {printable(url)!r} is not http://HOST:PORT", hint="paths are the capture's"
            )
        tls = parts.scheme == "https"
        pairs = tuple(word.rpartition("=")[::2] for word in hosts)
        return Server(parts.hostname, port or (443 if tls else 80), tls, pairs, timeout_s)


@dataclass(slots=True)
class Live:
    """What became of a recorded request; times are nanoseconds since the start.

    Parameters
    ----------
    flow : int
    asked : Asked
    planned_ns : int
    sent_ns : int or None
    answer : Answer or None
    trouble : str
        Why there is no (whole) answer.
    """

    flow: int
    asked: Asked
    planned_ns: int
    sent_ns: int | None = None
    answer: Answer | None = None
    trouble: str = ""


@dataclass(slots=True)
class Session:
    """All that was asked.

    Parameters
    ----------
    lives : list of Live
    reopened : int
        Connections that the server had closed too early.
    interrupted : bool
    """

    lives: list[Live] = field(default_factory=list)
    reopened: int = 0
    interrupted: bool = False


def with_host(raw: bytes, hosts: Sequence[tuple[str, str]]) -> bytes:
    r"""A request with its Host header mapped.

    Examples
    --------
    >>> with_host(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", [("a", "b:80")])
    b'GET / HTTP/1.1\r\nHost: b:80\r\n\r\n'
    """
    end = re.search(rb"\n\r?\n", raw)
    head, rest = (raw[: end.end()], raw[end.end() :]) if end else (raw, b"")
    found = _HOST.search(head)
    if found is None:
        return raw
    new = next((new for old, new in hosts if old in ("", found[2].decode("latin-1").strip())), None)
    if new is None:
        return raw
    return head[: found.start(2)] + new.encode("latin-1", "replace") + head[found.end(2) :] + rest


async def ask_all(talks: Sequence[Conversation], server: Server, pace: Pace) -> Session:
    """Ask everything; what became of it, in the capture's order."""
    session = Session()
    zero_ns = min(talk.first_ns for talk in talks)

    def scaled(ts_ns: int) -> int:
        since = ts_ns - zero_ns
        return 0 if pace.kind == "topspeed" else since * pace.rate.denominator // pace.rate.numerator

    gate = asyncio.Semaphore(_most_at_once(talks) if pace.kind == "topspeed" else len(talks))
    start_ns = time.monotonic_ns()
    workers = []
    for talk in talks:
        lives = [Live(talk.flow, asked, scaled(asked.first_ns)) for asked in talk.asked]
        session.lives += lives
        workers.append(_Worker(lives, server, session, start_ns).run(scaled(talk.first_ns), gate))
    try:
        await asyncio.gather(*workers)
    except asyncio.CancelledError:
        session.interrupted = True
        for live in session.lives:
            if live.answer is None and not live.trouble:
                live.trouble = "interrupted"
    return session


def _most_at_once(talks: Sequence[Conversation]) -> int:
    events = sorted([(t.first_ns, 1) for t in talks] + [(t.last_ns + 1, -1) for t in talks])
    most = now = 0
    for _, step in events:
        now += step
        most = max(most, now)
    return most


class _Worker:
    """One recorded connection, live."""

    def __init__(self, lives: list[Live], server: Server, session: Session, start_ns: int) -> None:
        self._lives, self._server, self._session, self._start_ns = lives, server, session, start_ns

    def _now(self) -> int:
        return time.monotonic_ns() - self._start_ns

    async def _until(self, when_ns: int) -> None:
        left_ns = when_ns - self._now()
        if left_ns > 0:
            await asyncio.sleep(left_ns / 1e9)

    async def run(self, opens_ns: int, gate: asyncio.Semaphore) -> None:
        """Open at its time, ask, close."""
        await self._until(opens_ns)
        async with gate:
            waiting = [live for live in self._lives if live.asked.raw is not None]
            for live in self._lives:
                if live.asked.raw is None:
                    live.trouble = "not asked: the capture lacks bytes of the request"
            while waiting:
                left = await self._connection(waiting)
                if len(left) == len(waiting):
                    for live in left:
                        live.trouble = live.trouble or "no answer: the server closed the connection"
                    return
                if left:
                    self._session.reopened += 1
                waiting = left

    async def _connection(self, waiting: list[Live]) -> list[Live]:
        """Ask on one connection; what is left when it ended too early, all of it after an error."""
        server = self._server
        try:
            async with asyncio.timeout(server.timeout_s):
                reader, writer = await asyncio.open_connection(
                    server.host, server.port, ssl=ssl.create_default_context() if server.tls else None
                )
        except (OSError, TimeoutError) as error:
            for live in waiting:
                live.trouble = f"no connection: {_said(error)}"
            return waiting
        talk = _Talk(reader, writer, self._start_ns, server.timeout_s)
        try:
            return await self._converse(talk, waiting)
        finally:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await writer.wait_closed()

    async def _converse(self, talk: _Talk, waiting: list[Live]) -> list[Live]:
        asked: list[Live] = []
        for at, live in enumerate(waiting):
            if not live.asked.pipelined:
                await talk.read_until(asked)
            if talk.ended:
                return [*[a for a in asked if a.answer is None and not a.trouble], *waiting[at:]]
            while (left_ns := live.planned_ns - self._now()) > 0:
                await talk.read_for(asked, left_ns / 1e9)
            live.sent_ns = self._now()
            asked.append(live)
            await talk.write(with_host(live.asked.raw or b"", self._server.hosts))
        await talk.read_until(asked)
        return [live for live in asked if live.answer is None and not live.trouble]


class _Talk:
    """A live connection: bytes out, exchanges in."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, start_ns: int, timeout_s: float
    ) -> None:
        self._reader, self._writer, self._start_ns, self._timeout_s = reader, writer, start_ns, timeout_s
        self._pair = RecordingConnection()
        self._sent = self._received = 1  # as sequence numbers, whose SYN was 0
        self._answered = 0
        self._data: asyncio.Task[bytes] | None = None
        self.ended = False

    async def write(self, raw: bytes) -> None:
        """A request, as far as the server takes it."""
        now = time.monotonic_ns() - self._start_ns
        self._pair.segment(0, self._sent & 0xFFFFFFFF, raw, 0, now, ack=self._received & 0xFFFFFFFF)
        self._sent += len(raw)
        try:
            self._writer.write(raw)
            await self._writer.drain()
        except OSError:
            self.ended = True

    async def read_until(self, asked: list[Live]) -> None:
        """Read until all that was asked is answered, or nothing more comes."""
        while not self.ended and self._answered < len(asked):
            if not await self.read_for(asked, self._timeout_s):
                asked[self._answered].trouble = f"no answer within {self._timeout_s:g} s"
                self.ended = True

    async def read_for(self, asked: list[Live], seconds: float) -> bool:
        """Read what comes within a time; whether anything came."""
        if self.ended:
            await asyncio.sleep(seconds)
            return False
        if self._data is None:
            self._data = asyncio.ensure_future(self._reader.read(_READ_BYTES))
        done, _ = await asyncio.wait([self._data], timeout=seconds)
        if not done:
            return False
        try:
            data = self._data.result()
        except OSError:
            data = b""
        self._data = None
        now = time.monotonic_ns() - self._start_ns
        ack = self._sent & 0xFFFFFFFF
        self._pair.segment(1, self._received & 0xFFFFFFFF, data, 0, now, fin=not data, ack=ack)
        self._received += len(data)
        if not data:
            self.ended = True
            self._pair.end("the server closed the connection")
        self._take(asked)
        return True

    def _take(self, asked: list[Live]) -> None:
        exchanges = self._pair.take_all() if self.ended else self._pair.take_finished()
        for exchange in exchanges:
            answer = answer_of(exchange)
            if answer is None or self._answered >= len(asked):
                continue
            live = asked[self._answered]
            live.answer = answer
            if not answer.complete:
                live.trouble = "the answer was cut off"
            self._answered += 1


def _said(error: BaseException) -> str:
    if isinstance(error, TimeoutError) and not error.args:
        return "timed out"
    number = getattr(error, "errno", None)
    # asyncio puts its own words into strerror; a resolver's and TLS's numbers are not errno's.
    if (
        isinstance(number, int)
        and number in errno.errorcode
        and not isinstance(error, (socket.gaierror, ssl.SSLError))
    ):
        return os.strerror(number).lower()
    return printable(getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
