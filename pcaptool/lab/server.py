"""The reference HTTP server on real sockets: a thread per connection, blocking calls, the writes of the route.

Knows: which system calls the modelled server makes (`stack.application.reference`) and makes the same ones: read
until a request is whole, think, write as the route says. Bytes come from `scenario.application`, as the model's do.
Must not know: namespaces, captures.

Differences to the model are where a real server meets what a scenario cannot contain: bad requests (400, 413, 431,
501), other methods (405), silence (the connection ends after `timeout_s`), more connections than `max_connections`
(they wait in the listen queue). Timeouts are SO_RCVTIMEO and SO_SNDTIMEO: Python's own would turn each blocking call
into poll() and a non-blocking one, which sends other packets.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from typing import Self

from pcaptool.errors import SystemRefusedError, printable
from pcaptool.lab.requests import HttpRequest, RequestReader
from pcaptool.scenario import NOT_FOUND, Route, Scenario, find_route, response_head, route_body

__all__ = ["ReferenceServer", "serve_connection", "set_buffers"]

READ_BYTES = 65536
BACKLOG = 1024
DRAIN_S = 2


class ReferenceServer:
    """Listens as soon as it is made; `serve` answers until `close`.

    Parameters
    ----------
    scenario : Scenario
        Routes, headers, ends of connections, socket options.
    address : str
        IPv4 or IPv6 address to listen on.
    port : int
        0: one that is free.
    max_connections : int
        Connections that are served at the same time.
    timeout_s : int
        Seconds without progress of a peer, after which its connection ends.

    Raises
    ------
    SystemRefusedError
        The address cannot be listened on.

    Examples
    --------
    >>> with ReferenceServer(Scenario(), "127.0.0.1", 0) as server:
    ...     server.address
    '127.0.0.1'
    """

    def __init__(
        self,
        scenario: Scenario,
        address: str,
        port: int,
        *,
        max_connections: int = 512,
        timeout_s: int = 60,
    ) -> None:
        self.scenario = scenario
        self.address = address
        self._timeout_s = timeout_s
        self._slots = threading.BoundedSemaphore(max_connections)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closing = False
        self._listening = _listen(scenario, address, port)
        self.port: int = self._listening.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def serve(self) -> None:
        """Accept connections until `close`."""
        while not self._closing:
            self._slots.acquire()
            try:
                if pause_ns := self.scenario.server.accept_pause_ns:
                    select.select([self._listening], [], [])
                    time.sleep(pause_ns / 1e9)
                connection, _ = self._listening.accept()
            except OSError:
                self._slots.release()
                if not self._closing:
                    time.sleep(0.05)  # out of descriptors, or the peer has gone already: the next may work
                continue
            with self._lock:
                self._open.add(connection)
            try:
                threading.Thread(target=self._thread, args=(connection,), daemon=True).start()
            except RuntimeError:  # no more threads: this peer is sent away, the others are served on
                self._forget(connection)

    def close(self) -> None:
        """Stop listening and end what is open."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._listening.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _thread(self, connection: socket.socket) -> None:
        try:
            # Gone, silent or slow for too long: nothing is left to do but to close.
            with contextlib.suppress(OSError):
                serve_connection(self.scenario, connection, self._timeout_s)
        finally:
            self._forget(connection)

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)
        connection.close()
        self._slots.release()


def serve_connection(scenario: Scenario, connection: socket.socket, timeout_s: int = 60) -> None:
    """One connection, from its first request to its end; who calls closes it.

    Raises
    ------
    OSError
        The peer is gone, or made no progress for `timeout_s` seconds.
    """
    server = scenario.server
    timeout = struct.pack("ll", timeout_s, 0)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        connection.setsockopt(socket.SOL_SOCKET, option, timeout)
    if server.tcp_keepidle_s is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, server.tcp_keepidle_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, server.tcp_keepintvl_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, server.tcp_keepcnt)
    if not _answer_all(scenario, connection):
        _end_gently(connection)
    elif server.close == "rst":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif server.shutdown:
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(READ_BYTES):
            pass


def _answer_all(scenario: Scenario, connection: socket.socket) -> bool:
    """Answer requests until one is the last; False where an error was answered."""
    reader, done = RequestReader(), 0
    while True:
        while not reader.ready and reader.error is None:
            data = connection.recv(READ_BYTES)
            if not data:
                return True
            reader.feed(data)
        if not reader.ready:
            connection.sendall(_error(reader.error or "400 Bad Request"))
            return False
        request = reader.ready.popleft()
        if request.method not in ("GET", "HEAD"):
            connection.sendall(_error("405 Method Not Allowed", "Allow: GET, HEAD\r\n"))
            return False
        found = find_route(scenario.server, request.path)
        if found is None:
            connection.sendall(NOT_FOUND)
            return True
        _answer(scenario, connection, request, *found)
        done += 1
        if request.close or done == scenario.server.close_after:
            return True


def _answer(
    scenario: Scenario, connection: socket.socket, request: HttpRequest, route: Route, size: int
) -> None:
    if route.think_time_ns:
        time.sleep(route.think_time_ns / 1e9)
    head = response_head(scenario, route, size, close=request.close, now_ns=time.time_ns())
    body = b"" if request.method == "HEAD" else route_body(route, size)
    _write(connection, route, head, body)


def _listen(scenario: Scenario, address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    set_buffers(listening, scenario)
    try:
        if scenario.server.fastopen:
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, scenario.server.fastopen)
        listening.bind((address, port))
        listening.listen(BACKLOG if scenario.server.backlog is None else scenario.server.backlog)
    except OSError as error:
        listening.close()
        raise SystemRefusedError(
            f"cannot listen on {printable(address)} port {port}: {(error.strerror or str(error)).lower()}",
            hint="choose another with --port and --bind; ports below 1024 need root",
        ) from error
    return listening


def set_buffers(sock: socket.socket, scenario: Scenario) -> None:
    """SO_SNDBUF and SO_RCVBUF, where the scenario has them."""
    if scenario.server.sndbuf:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, scenario.server.sndbuf)
    if scenario.server.rcvbuf:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, scenario.server.rcvbuf)


def _write(connection: socket.socket, route: Route, head: bytes, body: bytes) -> None:
    """Write a response with the calls that the route names."""
    if route.nodelay:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if route.cork:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    if route.write == "one":
        connection.sendall(head + body)
    else:
        step = route.chunk_bytes if route.write == "chunks" else max(1, len(body))
        connection.sendall(head, socket.MSG_MORE if route.more else 0)
        for at in range(0, len(body), step):
            if route.pause_ns:
                time.sleep(route.pause_ns / 1e9)
            connection.sendall(body[at : at + step])
    if route.cork:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)


def _error(status: str, fields: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{fields}Content-Length: 0\r\nConnection: close\r\n\r\n".encode()


def _end_gently(connection: socket.socket) -> None:
    """RFC 9112 section 9.6: closing with unread bytes resets, and the peer may lose the answer."""
    connection.shutdown(socket.SHUT_WR)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", DRAIN_S, 0))
    until = time.monotonic() + DRAIN_S
    while time.monotonic() < until and connection.recv(READ_BYTES):
        pass
