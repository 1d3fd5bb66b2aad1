"""nginx: one worker, static files, non-blocking sockets.

Knows: its system calls around a response (ngx_linux_sendfile_chain, ngx_http_set_keepalive) and when it corks.
Must not know: TCP.

    strace of nginx 1.22.1                              here
    accept4(SOCK_NONBLOCK)                              accept
    epoll_wait(), recvfrom(1024)                        wait_readable, recv
    setsockopt(TCP_NODELAY, 0) if it was set            set_nodelay (tcp_nopush, with a body)
    setsockopt(TCP_CORK, 1)                             set_cork (the same)
    writev(head), sendfile(at most 2 MiB)               send_some, sendfile
      or: writev(head, first 32 KiB), writev(32 KiB)..  send_some        sendfile off
    epoll_wait() for EPOLLOUT where less was taken      wait_writable
    setsockopt(TCP_CORK, 0), or (TCP_NODELAY, 1)        set_cork, set_nodelay   the connection is kept
    close()                                             close            Connection: close; corked, so that the tail
                                                                         and the FIN are one segment

Of pipelined requests that are in its buffer already the next one is answered without uncorking.
Leaves out: open() and close() of the file, other modules, lingering close.
"""

from __future__ import annotations

import contextlib

from pcaptool.scenario import Scenario, find_route, idle_ns, response_head
from pcaptool.sim.events import Step
from pcaptool.stack.application.content import Content, route_content
from pcaptool.stack.application.listening import listen
from pcaptool.stack.application.request import Request, take_request
from pcaptool.stack.host import Host
from pcaptool.stack.syscalls import Socket, SocketError

__all__ = ["nginx_server"]

READ_BYTES = 1024  # client_header_buffer_size
OUTPUT_BUFFER_BYTES = 32768  # output_buffers 2 32k
SENDFILE_CHUNK_BYTES = 2 << 20  # sendfile_max_chunk 2m
HEADER_TIMEOUT_NS = 60_000_000_000  # client_header_timeout
# Medians between the end of one call and the beginning of the next, by tracepoints, 300 requests on a loaded machine.
THINK_NS = 45_000  # from recvfrom() to the first call of the answer, the file being opened in between
STEP_NS = 2_000  # from one call to the next: 1,467 to 2,744
READ_FILE_NS = 9_000  # pread64() of 32 KiB and the 3,054 from it to writev(); the read itself is an estimate


def nginx_server(host: Host, scenario: Scenario) -> Step:
    """The worker: accept connections for ever."""
    listening = listen(host, scenario)
    while True:
        connection = yield from listening.accept()
        host.spawn(_Connection(connection, host, scenario).serve())


class _Connection:
    """One connection: what the worker does for it."""

    def __init__(self, socket: Socket, host: Host, scenario: Scenario) -> None:
        self.socket = socket
        self.host = host
        self.scenario = scenario
        self.settings = scenario.server.nginx
        self.corked = False
        self.nodelay = False

    def serve(self) -> Step:
        """From accept() to close()."""
        with contextlib.suppress(SocketError):  # the client is gone
            yield from self._answer_all()
        yield STEP_NS
        yield from self.socket.close()

    def _answer_all(self) -> Step:
        buffered, timeout_ns = b"", HEADER_TIMEOUT_NS
        while True:
            request, buffered = take_request(buffered)
            if request is not None:
                yield THINK_NS
                yield from self._answer(request)
                if request.close:
                    return
                if b"\r\n\r\n" not in buffered:
                    yield from self._keep()
                timeout_ns = idle_ns(self.scenario.server) or 0
                continue
            if not (yield from self.socket.wait_readable(timeout_ns)):
                return
            data = yield from self.socket.recv(READ_BYTES)
            if not data:
                return
            buffered += data

    def _answer(self, request: Request) -> Step:
        found = find_route(self.scenario.server, request.path)
        if found is None:
            raise SocketError("no route")
        route, size = found
        head = response_head(self.scenario, route, size, close=request.close, now_ns=self.host.now_ns)
        body = b"" if request.method == "HEAD" else route_content(route, size)
        if not self.settings.sendfile:
            yield from self._write_from_memory(head, body)
            return
        if body and self.settings.tcp_nopush and not self.corked:
            if self.nodelay:
                yield from self.socket.set_nodelay(on=False)
                self.nodelay = False
            yield from self.socket.set_cork(on=True)
            self.corked = True
            yield STEP_NS
        yield from self._write_all(head)
        at = 0
        while at < len(body):
            yield STEP_NS
            wanted = min(SENDFILE_CHUNK_BYTES, len(body) - at)
            taken = yield from self.socket.sendfile(body[at : at + wanted])
            at += taken
            if taken < wanted:
                yield from self.socket.wait_writable()

    def _write_from_memory(self, head: bytes, body: bytes | Content) -> Step:
        waiting = head
        for at in range(0, len(body), OUTPUT_BUFFER_BYTES):
            piece = body[at : at + OUTPUT_BUFFER_BYTES]
            yield max(1, READ_FILE_NS * len(piece) // OUTPUT_BUFFER_BYTES)
            yield from self._write_all(waiting + piece)
            waiting = b""
        if waiting:
            yield from self._write_all(waiting)

    def _write_all(self, data: bytes) -> Step:
        while data:
            taken = yield from self.socket.send_some(data)
            data = data[taken:]
            if data:
                yield from self.socket.wait_writable()

    def _keep(self) -> Step:
        """ngx_http_set_keepalive: what was held back leaves; later answers are not delayed by Nagle."""
        yield STEP_NS
        if self.corked:
            yield from self.socket.set_cork(on=False)
            self.corked = False
        elif self.settings.tcp_nodelay and not self.nodelay:
            yield from self.socket.set_nodelay(on=True)
            self.nodelay = True
