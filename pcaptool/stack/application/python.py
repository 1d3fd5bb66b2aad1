"""Python's http.server, as its users write one: a BaseHTTPRequestHandler with HTTP/1.1 in a ThreadingHTTPServer.

Knows: its system calls. A thread per connection, blocking sockets, Nagle on. The head is one sendto(), the body another
(wfile has no buffer); a connection ends by shutdown(SHUT_WR) and close() (socketserver's shutdown_request).
Must not know: TCP.

    strace of Python 3.11                               here
    accept4()                                           accept
    recvfrom(8192) in the connection's thread           recv
    sendto(head), sendto(body)                          send, send
    recvfrom(8192) = 0, or Connection: close            recv
    shutdown(SHUT_WR), close()                          shutdown_write, close

Leaves out: the log line that it writes to standard error, 404 (a scenario's requests all have a route).
"""

from __future__ import annotations

from pcaptool.scenario import Scenario, find_route, response_head
from pcaptool.sim.events import Sleep, Step
from pcaptool.stack.application.content import route_content
from pcaptool.stack.application.listening import listen
from pcaptool.stack.application.request import Request, take_request
from pcaptool.stack.host import Host
from pcaptool.stack.syscalls import Socket, SocketError

__all__ = ["python_server"]

READ_BYTES = 8192  # io.DEFAULT_BUFFER_SIZE of rfile
# Medians between the end of one call and the beginning of the next, by tracepoints, 300 requests on a loaded machine.
THREAD_NS = 340_000  # from accept() to the first recv() of the new thread (`lab calibrate`)
THINK_NS = 220_000  # from recv() to the head; a tenth of them took less than 61,000
BODY_NS = 5_000  # from the head to the body
END_NS = 6_000  # from the last call to shutdown(), and on to close()


def python_server(host: Host, scenario: Scenario) -> Step:
    """The main thread: accept connections for ever."""
    listening = listen(host, scenario)
    while True:
        connection = yield from listening.accept()
        host.spawn(_serve(connection, host, scenario))


def _serve(connection: Socket, host: Host, scenario: Scenario) -> Step:
    """One connection's thread."""
    yield THREAD_NS
    try:
        buffered, close = b"", False
        while not close:
            request, buffered = take_request(buffered)
            if request is not None:
                yield from _answer(connection, host, scenario, request)
                close = request.close
                continue
            data = yield from connection.recv(READ_BYTES)
            if not data:
                break
            buffered += data
        yield END_NS
        yield from connection.shutdown_write()
        yield END_NS
    except SocketError:
        pass  # the client is gone
    yield from connection.close()


def _answer(connection: Socket, host: Host, scenario: Scenario, request: Request) -> Step:
    found = find_route(scenario.server, request.path)
    if found is None:
        raise SocketError("no route")
    route, size = found
    yield THINK_NS
    if route.think_time_ns:
        yield Sleep(route.think_time_ns)
    # It never says how the connection goes on: HTTP/1.1 keeps it.
    yield from connection.send(response_head(scenario, route, size, close=False, now_ns=host.now_ns))
    if request.method != "HEAD" and size:
        yield BODY_NS
        yield from connection.send(route_content(route, size))
