"""A capture's HTTP conversation as a scenario that stands alone: both hosts, the requests, the answers, the link.

Knows: how what was recorded becomes keys of a scenario file, and what a scenario cannot say (then a note does).
Must not know: how a scenario is run.

The server's settings and writes are those that `predict.infer` finds; the client's settings are read from its SYN by
the same rules. Every connection of a scenario does the same: it does what the capture's first one did. Bodies are told
by their size, and are the letters a to z. A wait counts as a program's, or the link's, from WAIT_NS on.
"""

from __future__ import annotations

import ipaddress
import re
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from pcaptool.errors import CaptureError, printable
from pcaptool.predict.calls import Program
from pcaptool.predict.infer import infer_host, infer_program
from pcaptool.predict.observe import Connection, Observation, observe
from pcaptool.replay.recorded import Asked, Conversation, recorded_conversations
from pcaptool.scenario import Client, Host, Hosts, Link, Route, Scenario, Server, content_length
from pcaptool.scenario.kinds import Request
from pcaptool.wire.tcp import TcpFlag

__all__ = ["Inferred", "scenario_of"]

WAIT_NS = 300_000  # shorter waits are what the stack and a program's call take
_UP_NS = 100_000  # of a wait: from the request's arrival to the program
_PATH = re.compile(r"/[\x21-\x7e]*")
_MODES = {1: "one", 2: "head-then-body"}


@dataclass(frozen=True, slots=True)
class Inferred:
    """A scenario, and what of the capture it does not say.

    Parameters
    ----------
    scenario : Scenario
    notes : tuple of str
    """

    scenario: Scenario
    notes: tuple[str, ...]


def scenario_of(capture: str | Path) -> Inferred:
    """What the capture's server and client did, as a scenario for `generate` and `lab run`.

    Parameters
    ----------
    capture : path
        Taken at the server, with handshakes.

    Raises
    ------
    CaptureError
        It cannot be read, or holds no GET or HEAD on a connection with a handshake.

    Examples
    --------
    >>> made = scenario_of("fixtures/captures/lab/keepalive-5.server.pcap").scenario
    >>> [request.path for request in made.client.requests][:2], made.server.routes[0].body_bytes
    (['/bytes/1000', '/bytes/10'], 1000)
    """
    seen = observe(capture)
    talks = {talk.first_ns: talk for talk in recorded_conversations(capture)}
    pairs = [
        (talks[c.from_client[0].time_ns], c) for c in seen.connections if c.from_client[0].time_ns in talks
    ]
    if not pairs:
        raise CaptureError("no HTTP connection with a captured handshake is in it", path=capture)
    notes: list[str] = []
    talk, connection = pairs[0]
    asked = list(_usable(talk, notes))
    if not asked:
        raise CaptureError(
            "no GET or HEAD on its first connection was captured whole, and answered", path=capture
        )
    others = sum(_paths(other) != _paths(talk) for other, _ in pairs)
    if others:
        notes.append(
            f"{others} of {len(pairs)} connections ask something else: here all ask what the first did"
        )
    plan = _hosts(Scenario(family=4 if len(seen.server) == 4 else 6), seen, connection, notes)
    program = infer_program(connection, plan.costs, recognise=False)
    plan = _requests(plan, asked, connection, notes)
    answers = list(_answers(program, asked))
    plan = _server(plan, asked, answers, program, notes)
    plan = _ends(plan, asked, connection, program)
    starts = [c.from_client[0].time_ns for _, c in pairs]
    apart = [b - a for a, b in pairwise(starts)]
    client = replace(
        plan.client, connections=len(pairs), stagger_ns=int(statistics.median(apart)) if apart else 0
    )
    plan = replace(
        plan,
        name=printable(Path(capture).name),
        note="made from a capture by pcaptool replay --model",
        start_time_ns=connection.from_client[0].time_ns,
        client=client,
        link=Link(delay_ns=_delay_ns([c for _, c in pairs])),
    )
    return Inferred(plan, tuple(dict.fromkeys(notes)))


def _paths(talk: Conversation) -> list[tuple[str, str]]:
    return [(asked.method, asked.target) for asked in talk.asked]


def _usable(talk: Conversation, notes: list[str]) -> Iterator[Asked]:
    """Requests that a scenario can say."""
    for asked in talk.asked:
        if asked.method not in ("GET", "HEAD") or not _PATH.fullmatch(asked.target):
            notes.append(f"left out: {printable(asked.method)} {printable(asked.target[:60])}")
        elif asked.raw is None or asked.answer is None:
            notes.append(
                f"left out: {asked.method} {printable(asked.target[:60])}, not wholly captured or answered"
            )
        else:
            yield asked


# -- hosts and link ------------------------------------------------------------------------------------------------


def _hosts(plan: Scenario, seen: Observation, connection: Connection, notes: list[str]) -> Scenario:
    """Both kernels, as far as the handshake shows them."""
    server = _offloads(infer_host(seen, plan.host.server), connection, plan.host.server)
    mirrored = Connection(
        connection.server,
        connection.client,
        from_client=connection.from_server,
        from_server=connection.from_client,
    )
    source = connection.from_client[0].skb.source_mac
    other = replace(seen, server=connection.client[0], server_mac=source, connections=[mirrored])
    client = _offloads(infer_host(other, plan.host.client), mirrored, plan.host.client)
    options = connection.from_client[0].tcp.options
    client = replace(
        client,
        tcp_timestamps=int(options.timestamps is not None),
        tcp_sack=options.sack_permitted,
        tcp_window_scaling=options.window_scale is not None,
    )
    if client.mac == server.mac:
        client = replace(client, mac=plan.host.client.mac)
    addresses = [
        ipaddress.ip_interface(f"{a}/{24 if plan.family == 4 else 64}")
        for a in _addresses(server, client, plan)
    ]
    if addresses[0].network != addresses[1].network or addresses[0] == addresses[1]:
        notes.append(
            "the hosts are in different networks: the scenario's have the addresses of the laboratory"
        )
        standard = plan.host
        server = replace(server, ipv4=standard.server.ipv4, ipv6=standard.server.ipv6)
        client = replace(client, ipv4=standard.client.ipv4, ipv6=standard.client.ipv6)
    return replace(plan, host=Hosts(server=server, client=client))


def _addresses(server: Host, client: Host, plan: Scenario) -> tuple[str, str]:
    return (server.ipv4, client.ipv4) if plan.family == 4 else (server.ipv6, client.ipv6)


def _offloads(host: Host, connection: Connection, standard: Host) -> Host:
    """Settings as a scenario can say them. No super-packets tell something where a segment was full."""
    full = host.mtu - (40 if len(connection.server[0]) == 4 else 60)
    low, standard_rmem, most = host.tcp_rmem
    if most <= standard_rmem:  # the scale is the same for one byte more, and a scenario wants rising numbers
        host = replace(host, tcp_rmem=(low, standard_rmem, standard_rmem + 1))
    if any(f.skb.length >= full - 12 for f in connection.from_server):
        return host
    return replace(host, offload=replace(host.offload, tso=standard.offload.tso))


def _delay_ns(connections: list[Connection]) -> int:
    """One way, from the time between a SYN-ACK and its ACK."""
    trips = [
        c.from_client[1].time_ns - c.from_server[0].time_ns for c in connections if len(c.from_client) > 1
    ]
    least = min((trip for trip in trips if trip > 0), default=0)
    return _rounded(least // 2) if least > WAIT_NS else 0


def _rounded(time_ns: int) -> int:
    """To microseconds: a scenario file is for people."""
    return round(time_ns / 1000) * 1000


# -- the client ----------------------------------------------------------------------------------------------------


def _requests(plan: Scenario, asked: list[Asked], connection: Connection, notes: list[str]) -> Scenario:
    fields = _fields(asked[0].raw or b"", {b"host": (plan.authority, "{host}")}, notes)
    if any(_fields(a.raw or b"", {b"host": (plan.authority, "{host}")}, []) != fields for a in asked[1:]):
        notes.append("requests differ in their header fields: here all have those of the first")
    closing = len(asked) == 1 and bool(fields) and fields[-1] == ("Connection", "close")
    pipelined = len(asked) > 1 and all(a.pipelined for a in asked[1:])
    pauses = [b.first_ns - a.answer.last_ns for a, b in pairwise(asked) if a.answer]
    pause = int(statistics.median(pauses)) if pauses and not pipelined else 0
    client = Client(
        requests=tuple(Request(a.method, a.target) for a in asked),
        headers=fields[:-1] if closing else fields,
        keepalive=not closing,
        pipeline=pipelined,
        pause_ns=_rounded(pause) if pause > WAIT_NS else 0,
        port=connection.client[1] or None,
    )
    return replace(plan, server=replace(plan.server, port=connection.server[1]), client=client)


def _fields(
    head: bytes, replaced: dict[bytes, tuple[str, str]], notes: list[str]
) -> tuple[tuple[str, str], ...]:
    """Header fields of a head; values that a scenario names by a placeholder are replaced."""
    out = []
    for line in head.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        text = value.strip(b" \t").decode("latin-1")
        old, new = replaced.get(name.lower(), ("", ""))
        if new and (not old or old == text):
            text = new
        elif re.search(r"[{}]|[\x00-\x08\x0a-\x1f\x7f-\x9f]", text) or not re.fullmatch(rb"[!-9;-~]+", name):
            notes.append(f"left out: the header field {printable(name[:60].decode('latin-1'))}")
            continue
        out.append((name.decode("ascii"), text))
    return tuple(out)


# -- the server ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Written:
    """An answer's head, and the sizes and times of the calls that wrote it."""

    head: bytes
    sizes: tuple[int, ...]
    times: tuple[int, ...]


def _answers(program: Program, asked: list[Asked]) -> Iterator[_Written]:
    """The calls of each answer; ends where a body's end is not told by Content-Length."""
    calls = [(write.time_ns, write.data) for write in program.writes]
    for one in asked:
        data, sizes, times = b"", [], []
        end = -1
        while calls and (end < 0 or len(data) < end):
            time_ns, more = calls.pop(0)
            data += more
            sizes.append(len(more))
            times.append(time_ns)
            if end < 0 and b"\r\n\r\n" in data:
                head = data[: data.index(b"\r\n\r\n") + 4]
                if b"\ncontent-length:" not in head.lower():
                    yield _Written(head, (len(data),), tuple(times[:1]))
                    return
                end = len(head) + (0 if one.method == "HEAD" else content_length(head[:-4]))
        if end < 0:
            return
        if len(data) > end:  # one call wrote several answers
            calls.insert(0, (times[-1], data[end:]))
            sizes[-1] -= len(data) - end
        yield _Written(data[: data.index(b"\r\n\r\n") + 4], tuple(sizes), tuple(times))


def _server(
    plan: Scenario, asked: list[Asked], answers: list[_Written], program: Program, notes: list[str]
) -> Scenario:
    routes: dict[str, Route] = {}
    for index, one in enumerate(asked):
        written = answers[index] if index < len(answers) else None
        route = _route(one, written, nodelay=program.nodelay)
        known = routes.setdefault(one.target, route)
        if (known.status, known.body_bytes) != (route.status, route.body_bytes) and one.method == "GET":
            notes.append(
                f"{printable(one.target[:60])} was answered in different ways: here as the first time"
            )
    if len(answers) < len(asked) or b"\ntransfer-encoding:" in answers[-1].head.lower():
        notes.append("an answer's head is cut, or without Content-Length: here it is written in one call")
    replaced = {
        b"content-length": ("", "{length}"),
        b"date": ("", "{date}"),
    }
    server = replace(plan.server, routes=tuple(routes.values()))
    if answers:
        for word in ("close", "keep-alive"):
            if f"\nconnection: {word}\r".encode() in answers[-1].head.lower():
                replaced[b"connection"] = (word, "{connection}")
        server = replace(server, headers=_fields(answers[-1].head, replaced, notes))
    return replace(plan, server=server)


def _route(asked: Asked, written: _Written | None, *, nodelay: bool) -> Route:
    answer = asked.answer
    size = answer.body_bytes if answer else 0
    status = f"{answer.status} OK" if answer else "200 OK"
    if written is None:
        return Route(path=asked.target, status=status, body_bytes=size, nodelay=nodelay)
    if asked.method == "HEAD":
        size = content_length(written.head[:-4])
    line = written.head.partition(b"\r\n")[0].decode("latin-1").partition(" ")[2]
    wait = written.times[0] - asked.last_ns - _UP_NS
    split = len(written.sizes) > 1 and written.sizes[0] == len(written.head)
    pauses = [b - a for a, b in pairwise(written.times)] if split else []
    pause = int(statistics.median(pauses)) if pauses else 0
    mode = (_MODES.get(len(written.sizes), "chunks") if pause <= WAIT_NS else "chunks") if split else "one"
    return Route(
        path=asked.target,
        status=line if re.fullmatch(r"[1-5][0-9]{2} [\x20-\x7e]*", line) else status,
        body_bytes=size,
        think_time_ns=_rounded(wait) if wait > WAIT_NS else 0,
        write=mode,
        chunk_bytes=written.sizes[1] if mode == "chunks" else Route().chunk_bytes,
        pause_ns=_rounded(pause) if mode == "chunks" and pause > WAIT_NS else 0,
        nodelay=nodelay,
    )


# -- the end -------------------------------------------------------------------------------------------------------


def _ends(plan: Scenario, asked: list[Asked], connection: Connection, program: Program) -> Scenario:
    """Who ended the connection, and how."""
    server, client = plan.server, plan.client
    ended = next((f for f in connection.from_client if f.tcp.flags & (TcpFlag.FIN | TcpFlag.RST)), None)
    last = asked[-1].answer
    if program.reset:
        return replace(plan, server=replace(server, close="rst", close_after=len(asked)))
    if ended is not None and ended.tcp.flags & TcpFlag.RST:
        return replace(plan, client=replace(client, close="rst"))
    if ended is not None and last is not None and ended.time_ns < last.last_ns:
        client = replace(client, half_close=True)
    elif program.close_ns is not None and (ended is None or program.close_ns < ended.time_ns):
        client = replace(client, close="auto" if not client.keepalive else "server")
        if client.keepalive:
            server = _closing(server, len(asked))
    return replace(plan, server=server, client=client)


def _closing(server: Server, after: int) -> Server:
    return replace(server, close="server", close_after=after)
