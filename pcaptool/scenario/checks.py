"""Values that are allowed each, but not together.

Knows: which keys of a scenario contradict each other.
Must not know: files and lines (`load`), or what the modelled stack can do (`capabilities`).

Each check yields (place, what is wrong); the place is that of the key which is the easiest to change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pcaptool.scenario.application import find_route
from pcaptool.scenario.keys import keys_of
from pcaptool.scenario.model import Client, Hook, Route, Scenario, Server
from pcaptool.scenario.programs import idle_ns, not_heeded

__all__ = ["contradictions"]

XDP_VETH_MTU = 3506  # a page of 4096 less headroom 256, link header 14, skb_shared_info 320 (veth_xdp_set)
_Fault = tuple[tuple[str | int, ...], str]


def contradictions(scenario: Scenario) -> Iterator[_Fault]:
    """What does not fit together; empty where everything does.

    Examples
    --------
    >>> list(contradictions(Scenario(server=Server(close_after=2))))
    [(('server', 'close_after'), 'the server ends nothing with close = "client"')]
    """
    for index, route in enumerate(scenario.server.routes):
        yield from _route(route, ("server", "route", index))
    for index, hook in enumerate(scenario.hooks):
        yield from _hook(scenario, hook, ("hook", index))
    yield from _server(scenario.server)
    yield from _client(scenario.client)
    yield from _both(scenario)
    yield from _programs(scenario)
    yield from _hosts(scenario)


def _route(route: Route, at: tuple[str | int, ...]) -> Iterator[_Fault]:
    sized = "{n}" in route.path
    if route.path.count("{n}") > 1:
        yield (*at, "path"), "{n} may stand once"
    if route.body is not None and route.body_bytes is not None:
        yield (*at, "body"), "body and body_bytes exclude each other"
    if sized and (route.body is not None or route.body_bytes is not None):
        key = "body" if route.body is not None else "body_bytes"
        yield (*at, key), "the size of the body is said by {n} in the path already"
    if not sized and route.body is None and route.body_bytes is None:
        yield (*at, "path"), "no body: give body_bytes, body, or {n} in the path"
    if route.pause_ns and route.write != "chunks":
        yield (*at, "pause_ms"), 'a pause is between pieces: it needs write = "chunks"'
    if route.chunk_bytes != Route().chunk_bytes and route.write != "chunks":
        yield (*at, "chunk_bytes"), 'it needs write = "chunks"'
    if route.more and route.write != "head-then-body":
        yield (*at, "more"), 'it needs write = "head-then-body"'


def _hook(scenario: Scenario, hook: Hook, at: tuple[str | int, ...]) -> Iterator[_Fault]:
    values = {"ttl": hook.ttl, "tos": hook.tos, "mss": hook.mss}
    given = [name for name, value in values.items() if value is not None]
    if hook.action == "rewrite" and not given:
        yield (*at, "action"), "rewrite what? give ttl, tos or mss"
    if hook.action != "rewrite" and given:
        yield (*at, given[0]), 'it needs action = "rewrite"'
    if hook.action == "redirect" and hook.at not in ("xdp", "tc-ingress"):
        yield (
            (*at, "at"),
            f"nothing can be redirected at {hook.at}: a host has one device, by which frames come in (xdp, tc-ingress)",
        )
    if (
        hook.at in ("output", "postrouting", "prerouting", "input")
        and hook.match == "other"
        and scenario.family == 6
    ):
        yield (*at, "match"), f"{hook.at} sees IP only, and neighbour discovery is below it in the model"
    me, peer = scenario.host.server, scenario.host.client
    if hook.host == "client":
        me, peer = peer, me
    if hook.at == "xdp" and me.driver == "veth":
        if peer.offload.tso:
            other = "client" if hook.host == "server" else "server"
            yield (
                (*at, "at"),
                f"XDP on veth needs host.{other}.offload.tso = false: no super-packets reach a program",
            )
        if peer.mtu > XDP_VETH_MTU:
            yield (
                (*at, "at"),
                f"XDP on veth allows the peer an MTU of {XDP_VETH_MTU} (a page), not {peer.mtu}",
            )


def _server(server: Server) -> Iterator[_Fault]:
    if not server.routes:
        yield ("server", "route"), "a server needs a route"
    if server.close == "client" and server.close_after:
        yield ("server", "close_after"), 'the server ends nothing with close = "client"'
    if server.close == "server" and not server.close_after:
        yield ("server", "close"), 'close = "server" needs close_after: how many responses until then'
    if server.connects and server.fastopen:
        yield ("server", "fastopen"), "a server that connects listens to nobody"
    if server.connects and server.backlog is not None:
        yield ("server", "backlog"), "a server that connects listens to nobody"
    if server.close == "rst" and server.shutdown:
        yield ("server", "shutdown"), 'an end by shutdown excludes close = "rst"'


def _client(client: Client) -> Iterator[_Fault]:
    if client.port is None and not client.connections and client.stagger_ns:
        yield ("client", "stagger_ms"), "there are no connections"
    if client.rst_after_bytes and client.close in ("client", "server"):
        yield ("client", "close"), "rst_after_bytes ends the connection with a reset"
    if not client.keepalive and len(client.requests) > 1:
        many = len(client.requests)
        yield (
            ("client", "keepalive"),
            f"false ends a connection with its first response, but there are {many} requests",
        )
    if client.port is not None and client.port + client.connections > 65536:
        yield (
            ("client", "port"),
            f"{client.connections} connections from port {client.port} on go beyond 65535",
        )
    if client.fastopen and client.nodelay:
        yield (
            ("client", "nodelay"),
            "fastopen sends the first request before there is a connection to set it on",
        )
    if client.pause_ns and client.pipeline:
        yield ("client", "pause_ms"), "pipelined requests are sent in one call, without pauses"


def _both(scenario: Scenario) -> Iterator[_Fault]:
    server, client = scenario.server, scenario.client
    if not client.connections and not scenario.dns.queries:
        yield ("client", "connections"), "nothing happens: no connections, and no dns.queries"
    if server.connects:
        if client.port is None:
            yield ("client", "port"), "the server connects to it, so it has to be given"
        if client.fastopen:
            yield ("client", "fastopen"), "both ends open the connection: no SYN has data"
        if not scenario.link.delay_ns:
            yield (
                ("link", "delay_ms"),
                "SYNs cross only on a link with a delay, else the first one is refused",
            )
        if not server.listen:
            yield ("server", "listen"), "false means that no program runs, but it connects"
    for index, request in enumerate(client.requests):
        if find_route(server, request.path) is None:
            known = ", ".join(r.path for r in server.routes)
            yield ("client", "requests", index), f"no route answers {request.path} (routes: {known})"
    waits = client.ended_by == "server" and server.close == "client" and idle_ns(server) is None
    if waits and client.keepalive and not client.half_close:
        yield (
            ("client", "close"),
            'the client waits for the server to end, which needs server.close = "server"',
        )
    if server.close_after and server.close_after < len(client.requests):
        yield (
            ("server", "close_after"),
            f"the server ends after {server.close_after}, but the client has {len(client.requests)} requests",
        )


def _programs(scenario: Scenario) -> Iterator[_Fault]:
    server, client = scenario.server, scenario.client
    names = {k.field: k.name for model in (Server, Route, Client) for k in keys_of(model)}
    for place, attribute in not_heeded(scenario):
        program = client.program if place[0] == "client" else server.profile
        yield (*place, names[attribute]), f"it means nothing to {program}"
    if server.profile == "nginx":
        paths = [request.path for request in client.requests]
        for index, path in enumerate(paths):
            if not re.fullmatch(r"(/[0-9A-Za-z_-][0-9A-Za-z._-]*)+", path):
                yield ("client", "requests", index), f"{path} is not the name of a file that nginx serves"
            if any(other.startswith(f"{path}/") for other in paths):
                yield ("client", "requests", index), f"{path} cannot be a file and a folder"
    if client.program == "curl" and len({request.method for request in client.requests}) > 1:
        yield ("client", "requests"), "one run of curl has one method"
    if client.program == "wrk":
        if len(client.requests) > 1 or client.requests[0].method != "GET":
            yield ("client", "requests"), "wrk repeats one GET"
        if client.duration_ns % 1_000_000_000:
            yield ("client", "duration_ms"), "wrk takes whole seconds"


def _hosts(scenario: Scenario) -> Iterator[_Fault]:
    server, client, link = scenario.host.server, scenario.host.client, scenario.link
    for name in ("mac", "ipv4", "ipv6"):
        if getattr(server, name) == getattr(client, name):
            yield ("host", "client", name), f"both hosts have {getattr(client, name)}"
    for side, host in (("server", server), ("client", client)):
        if scenario.family == 6 and host.mtu < 1280:
            yield ("host", side, "mtu"), f"{host.mtu} is less than 1280, the least that IPv6 needs (RFC 8200)"
    for side, host in (("server", server), ("client", client)):
        if host.driver == "nic" and host.qdisc == "noqueue":
            yield (
                ("host", side, "qdisc"),
                "a card's ring can be full: it needs a queue (pfifo_fast, fq_codel, ...)",
            )
    least = 1280 if scenario.family == 6 else 68
    if link.mtu and link.mtu < least:
        yield ("link", "mtu"), f"{link.mtu} is less than {least}, the least that IPv{scenario.family} needs"
    if link.queue_packets and not (link.rate_bps or link.spacing_ns):
        yield ("link", "queue_packets"), "nothing waits for a link without rate_mbit or spacing_ms"
