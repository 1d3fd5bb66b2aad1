"""The reference HTTP server: a thread per connection, blocking sockets, the writes that the route asks for.

Knows: HTTP/1.1 as far as it needs: a request head ends at an empty line, requests have no body.
Must not know: TCP.
"""

from __future__ import annotations

import ipaddress

from pcaptool.scenario import NOT_FOUND, Route, Scenario, find_route, response_head, route_body
from pcaptool.sim.events import Sleep, Step
from pcaptool.stack.application.content import Content
from pcaptool.stack.application.listening import listen
from pcaptool.stack.host import Host
from pcaptool.stack.syscalls import Socket, SocketError

__all__ = ["reference_server"]

READ_BYTES = 65536


def reference_server(host: Host, scenario: Scenario) -> Step:
    """The main thread: accept connections for ever, or open them."""
    if scenario.server.connects:
        for index in range(scenario.client.connections):
            host.spawn(_connect(host, scenario, index), delay_ns=index * scenario.client.stagger_ns)
        return
    listening = listen(host, scenario)
    while True:
        if scenario.server.accept_pause_ns:
            yield from listening.wait_acceptable()
            yield Sleep(scenario.server.accept_pause_ns)
        connection = yield from listening.accept()
        host.spawn(_serve(connection, host, scenario))


def _connect(host: Host, scenario: Scenario, index: int) -> Step:
    """The thread of a connection that the server opens while the client does."""
    server, client = scenario.server, scenario.client
    connection = Socket(host)
    if server.sndbuf:
        connection.set_send_buffer(server.sndbuf)
    if server.rcvbuf:
        connection.set_receive_buffer(server.rcvbuf)
    address = ipaddress.ip_address(scenario.client_address).packed
    try:
        yield from connection.connect(address, (client.port or 0) + index, local_port=server.port)
    except SocketError:
        yield from connection.close()
        return
    yield from _serve(connection, host, scenario)


def _serve(connection: Socket, host: Host, scenario: Scenario) -> Step:
    """One connection's thread."""
    server, costs = scenario.server, host.costs
    yield costs.accept_ns
    if server.tcp_keepidle_s is not None:
        connection.set_keepalive(
            idle_ms=1000 * server.tcp_keepidle_s,
            interval_ms=1000 * server.tcp_keepintvl_s,
            probes=server.tcp_keepcnt,
        )
    try:
        yield from _answer_all(connection, host, scenario)
        if server.close == "rst":
            connection.set_linger_zero()
        elif server.shutdown:
            yield from connection.shutdown_write()
            while (yield from connection.recv(READ_BYTES)):
                pass
    except SocketError:
        pass  # the client is gone: nothing is left to do but to close
    yield costs.application_ns
    yield from connection.close()


def _answer_all(connection: Socket, host: Host, scenario: Scenario) -> Step:
    """Answer requests until one is the last."""
    server = scenario.server
    buffered, done = b"", 0
    while True:
        while b"\r\n\r\n" not in buffered:
            data = yield from connection.recv(READ_BYTES)
            if not data:
                return
            buffered += data
        head, buffered = buffered.split(b"\r\n\r\n", 1)
        lines = head.split(b"\r\n")
        close = any(line.lower() == b"connection: close" for line in lines[1:])
        found = find_route(server, lines[0].split(b" ")[1].decode("latin-1"))
        yield host.costs.application_ns
        if found is None:
            yield from connection.send(NOT_FOUND)
            return
        route, size = found
        if route.think_time_ns:
            yield Sleep(route.think_time_ns)
        head = response_head(scenario, route, size, close=close, now_ns=host.now_ns)
        without_body = lines[0].startswith(b"HEAD ")
        if route.body is None and route.write == "one":
            whole = Content(head, 0 if without_body else size)
            yield from _write(connection, host, route, whole)
        else:
            body = b"" if without_body else route_body(route, size)
            yield from _write(connection, host, route, head, body)
        done += 1
        if close or done == server.close_after:
            return


def _write(connection: Socket, host: Host, route: Route, head: bytes | Content, body: bytes = b"") -> Step:
    """Write a response with the calls that the route names."""
    if route.nodelay:
        yield from connection.set_nodelay(on=True)
    if route.cork:
        yield from connection.set_cork(on=True)
    if route.write == "one":
        yield from connection.send(head + body if isinstance(head, bytes) else head)
    else:
        pieces = [body]
        if route.write == "chunks":
            pieces = [body[at : at + route.chunk_bytes] for at in range(0, len(body), route.chunk_bytes)]
        yield from connection.send(head, more=route.more)
        for piece in pieces:
            if piece:
                yield Sleep(route.pause_ns) if route.pause_ns else host.costs.application_ns // 10
                yield from connection.send(piece)
    if route.cork:
        yield from connection.set_cork(on=False)
