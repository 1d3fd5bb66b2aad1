"""node's http module, by itself or under express: one thread, non-blocking sockets, TCP_NODELAY.

Knows: its system calls: head and body leave in one writev() (the socket is corked until the next tick); what was not
taken follows as soon as there is room; an end is shutdown(SHUT_WR) and close(), an idle connection is closed at once.
Must not know: TCP.

    strace of node 20.20 (http, and express 5.3)        here
    accept4(SOCK_NONBLOCK), setsockopt(TCP_NODELAY, 1)  accept, set_nodelay
    epoll_pwait(), read(65536)                          wait_readable, recv
    writev(head, body), again until EAGAIN              send_some
    epoll_pwait() for EPOLLOUT, writev(the rest)        wait_writable, send_some
    read() = 0, or Connection: close                    recv
    shutdown(SHUT_WR), close()                          shutdown_write, close

Leaves out: limits of a request's time (headersTimeout, requestTimeout), garbage collection, compiling on the way: the
first answers of a process take some milliseconds more than THINK_NS.
"""

from __future__ import annotations

from collections.abc import Callable

from pcaptool.scenario import Scenario, find_route, idle_ns, response_head, route_body
from pcaptool.sim.events import Sleep, Step
from pcaptool.stack.application.listening import listen
from pcaptool.stack.application.request import Request, take_request
from pcaptool.stack.host import Host
from pcaptool.stack.syscalls import Socket, SocketError

__all__ = ["node_server"]

READ_BYTES = 65536
# Medians between the end of one call and the beginning of the next, by tracepoints, 300 requests on a loaded machine,
# of a process that is warm.
ACCEPT_NS = 330_000  # from accept4() to the first epoll_pwait() that has the socket
END_NS = 139_000  # from read() to shutdown()
CLOSE_NS = 44_000  # from shutdown() to close()


def node_server(think_ns: int) -> Callable[[Host, Scenario], Step]:
    """A server program.

    Parameters
    ----------
    think_ns : int
        From read() to writev().
    """

    def server(host: Host, scenario: Scenario) -> Step:
        listening = listen(host, scenario)
        while True:
            connection = yield from listening.accept()
            host.spawn(_serve(connection, host, scenario, think_ns))

    return server


def _serve(connection: Socket, host: Host, scenario: Scenario, think_ns: int) -> Step:
    """One connection's part of the event loop."""
    buffered, timeout_ns, close = b"", None, False
    try:
        yield from connection.set_nodelay(on=True)
        yield ACCEPT_NS
        while not close:
            request, buffered = take_request(buffered)
            if request is not None:
                yield think_ns
                yield from _answer(connection, host, scenario, request)
                timeout_ns, close = idle_ns(scenario.server), request.close
                continue
            if not (yield from connection.wait_readable(timeout_ns)):
                yield from connection.close()  # socket.destroy()
                return
            data = yield from connection.recv(READ_BYTES)
            if not data:
                break
            buffered += data
        yield END_NS
        yield from connection.shutdown_write()
        yield CLOSE_NS
    except SocketError:
        pass  # the client is gone
    yield from connection.close()


def _answer(connection: Socket, host: Host, scenario: Scenario, request: Request) -> Step:
    found = find_route(scenario.server, request.path)
    if found is None:
        raise SocketError("no route")
    route, size = found
    if route.think_time_ns:
        yield Sleep(route.think_time_ns)
    data = response_head(scenario, route, size, close=request.close, now_ns=host.now_ns)
    if request.method != "HEAD":
        data += route_body(route, size)
    while data:
        taken = yield from connection.send_some(data)
        data = data[taken:]
        if data and not taken:
            yield from connection.wait_writable()
