"""The programs that a scenario can name: what is theirs, and what of a scenario they heed.

Knows: the header fields that each server program writes, in its order; its version, how long it keeps an idle
connection, which keys of `[server]` and `[[server.route]]` mean something to it; what curl asks for.
Must not know: sockets and system calls (`stack.application` has those, a file each), or how a real one is started
(`lab.programs`).

Evidence: fields and lengths as the real programs wrote them (nginx 1.22.1, node 20.20, express 5.3, Python 3.11, curl
7.88; the captures fixtures/captures/lab/{nginx,node,express,python}-*).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pcaptool.scenario.model import Client, Route, Scenario, Server

__all__ = [
    "CLIENT_PROGRAMS",
    "CURL_VERSION",
    "SERVER_PROGRAMS",
    "ServerProgram",
    "head_fields",
    "idle_ns",
    "not_heeded",
    "settled",
    "version",
]

_SECOND_NS = 1_000_000_000
_ALWAYS = frozenset({"profile", "port", "listen", "routes", "path", "body", "body_bytes"})
_SOCKET = frozenset({"sndbuf", "rcvbuf"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProgram:
    """What is a server program's own.

    Parameters
    ----------
    headers : tuple
        Header fields after the status line: (name, value). None of its own (empty): the scenario's.
    version : str
        The version in its fields, where the scenario gives none.
    idle_ns : int or None
        How long it keeps an idle connection, where the scenario gives nothing; None: for ever.
    heeds : frozenset of str
        Attributes of `Server` and `Route` that mean something to it, beside path and body.
    """

    headers: tuple[tuple[str, str], ...] = ()
    version: str = ""
    idle_ns: int | None = None
    heeds: frozenset[str] = frozenset()


_DATED = ("Date", "{date}")
_LENGTH = ("Content-Length", "{length}")
_CONNECTION = ("Connection", "{connection}")
_KEPT = ("Keep-Alive", "{kept}")  # only where the connection is kept
_PLAIN = ("Content-Type", "text/plain")

SERVER_PROGRAMS: dict[str, ServerProgram] = {
    "reference": ServerProgram(
        heeds=_SOCKET
        | {"headers", "close", "close_after", "shutdown", "status", "think_time_ns", "write", "chunk_bytes"}
        | {
            "pause_ns",
            "nodelay",
            "cork",
            "more",
            "backlog",
            "accept_pause_ns",
            "fastopen",
            "connects",
            "tcp_keepidle_s",
            "tcp_keepintvl_s",
            "tcp_keepcnt",
        }
    ),
    "python": ServerProgram(
        headers=(("Server", "BaseHTTP/0.6 Python/{version}"), _DATED, _PLAIN, _LENGTH),
        version="3.11.2",
        heeds=_SOCKET | {"version", "status", "think_time_ns"},
    ),
    "nginx": ServerProgram(
        headers=(
            ("Server", "nginx/{version}"),
            _DATED,
            _PLAIN,
            _LENGTH,
            ("Last-Modified", "{modified}"),
            _CONNECTION,
            ("ETag", '"{modified_hex}-{length_hex}"'),
            ("Accept-Ranges", "bytes"),
        ),
        version="1.22.1",
        idle_ns=75 * _SECOND_NS,
        heeds=_SOCKET | {"version", "keepalive_timeout_ns", "nginx"},
    ),
    "node": ServerProgram(
        headers=(_PLAIN, _LENGTH, _DATED, _CONNECTION, _KEPT),
        idle_ns=5 * _SECOND_NS,
        heeds=frozenset({"keepalive_timeout_ns", "status", "think_time_ns"}),
    ),
    "express": ServerProgram(
        headers=(
            ("X-Powered-By", "Express"),
            ("Content-Type", "text/plain; charset=utf-8"),
            _LENGTH,
            ("ETag", 'W/"{length_hex}-{body_sha1}"'),
            _DATED,
            _CONNECTION,
            _KEPT,
        ),
        idle_ns=5 * _SECOND_NS,
        heeds=frozenset({"keepalive_timeout_ns", "think_time_ns"}),
    ),
}
CLIENT_PROGRAMS: dict[str, frozenset[str]] = {
    "reference": frozenset(Client.__dataclass_fields__) - {"version", "duration_ns"},
    "curl": frozenset({"program", "connections", "stagger_ns", "requests", "keepalive", "version", "port"}),
    "wrk": frozenset({"program", "connections", "requests", "duration_ns"}),
}
CURL_VERSION = "7.88.1"
_CURL_READ_BYTES = 102_400  # the tool's CURLOPT_BUFFERSIZE


def head_fields(server: Server, *, close: bool) -> tuple[tuple[str, str], ...]:
    """Names and values, with placeholders, of the header fields that a server's program writes.

    Parameters
    ----------
    close : bool
        Whether the connection ends with this response.

    Examples
    --------
    >>> head_fields(Server(profile="node"), close=True)[-1]
    ('Connection', '{connection}')
    """
    own = SERVER_PROGRAMS[server.profile].headers or server.headers
    return tuple(field for field in own if not (close and field == _KEPT))


def idle_ns(server: Server) -> int | None:
    """How long a server's program keeps an idle connection; None: for ever."""
    if server.keepalive_timeout_ns is not None:
        return server.keepalive_timeout_ns
    return SERVER_PROGRAMS[server.profile].idle_ns


def version(server: Server) -> str:
    """The version that a server's program tells in its header fields."""
    return server.version or SERVER_PROGRAMS[server.profile].version


def not_heeded(scenario: Scenario) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Keys that are given and mean nothing to the program: (place of the attribute, attribute).

    Examples
    --------
    >>> list(not_heeded(Scenario(server=Server(profile="nginx", close_after=1))))
    [(('server',), 'close_after')]
    """
    server, client = scenario.server, scenario.client
    heeds = SERVER_PROGRAMS[server.profile].heeds | _ALWAYS
    yield from ((("server",), name) for name in _given(server, Server()) if name not in heeds)
    for index, route in enumerate(server.routes):
        place = ("server", "route", index)
        yield from ((place, name) for name in _given(route, Route()) if name not in heeds)
    heeds = CLIENT_PROGRAMS[client.program]
    yield from ((("client",), name) for name in _given(client, Client()) if name not in heeds)


def _given(model: Server | Route | Client, standard: Server | Route | Client) -> Iterator[str]:
    for name in type(model).__dataclass_fields__:
        if getattr(model, name) != getattr(standard, name):
            yield name


def settled(scenario: Scenario) -> Scenario:
    """The same scenario where the client's program is told by what it does: what a modelled client plays.

    Examples
    --------
    >>> settled(Scenario(client=Client(program="curl"))).client.headers[1]
    ('User-Agent', 'curl/7.88.1')
    """
    client = scenario.client
    if client.program != "curl":
        return scenario
    agent = ("User-Agent", f"curl/{client.version or CURL_VERSION}")
    # It closes as soon as it has the last response, also where the server is about to.
    return replace(
        scenario,
        client=replace(
            client,
            program="reference",
            headers=(("Host", "{host}"), agent, ("Accept", "*/*")),
            nodelay=True,
            read_chunk_bytes=_CURL_READ_BYTES,
            close="client",
        ),
    )
