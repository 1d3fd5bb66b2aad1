"""The client program: opens connections, sends requests, reads answers, ends (the lab's Python client).

Knows: HTTP/1.1 as far as it needs: a response has a Content-Length or no body.
Must not know: TCP.
"""

from __future__ import annotations

import ipaddress

from pcaptool.scenario import Scenario, content_length, request_bytes
from pcaptool.sim.events import Sleep, Step, WaitQueue
from pcaptool.stack.host import Host
from pcaptool.stack.syscalls import Socket, SocketError

__all__ = ["ClientProgram"]


class ClientProgram:
    """All connections of the client.

    Parameters
    ----------
    host : Host
    scenario : Scenario
    """

    def __init__(self, host: Host, scenario: Scenario) -> None:
        self.host = host
        self.scenario = scenario
        self.address = ipaddress.ip_address(scenario.server_address).packed
        self.requests = [request_bytes(scenario, i) for i in range(len(scenario.client.requests))]
        self.left = scenario.client.connections
        self.ended = WaitQueue()
        self.refused = 0

    def start(self) -> None:
        """Spawn a thread for each connection."""
        client = self.scenario.client
        for index in range(client.connections):
            self.host.spawn(self._thread(index), delay_ns=index * client.stagger_ns)

    def _thread(self, index: int) -> Step:
        client = self.scenario.client
        socket = Socket(self.host)
        if client.rcvbuf:
            socket.set_receive_buffer(client.rcvbuf)
        try:
            port = client.port + index if client.port else 0
            server_port, said = self.scenario.server.port, 0
            if client.fastopen:
                said = len(self.requests) if client.pipeline else 1
                first = b"".join(self.requests[:said])
                yield from socket.connect_with(self.address, server_port, first, local_port=port)
            else:
                yield from socket.connect(self.address, server_port, local_port=port)
            if client.nodelay:
                yield from socket.set_nodelay(on=True)
            if not said:
                yield self.host.costs.application_ns
            yield from _Conversation(self.host, self.scenario, socket).run(self.requests, said)
        except SocketError as error:
            self.refused += str(error) == "ECONNREFUSED"
        if client.ended_by == "rst":
            socket.set_linger_zero()
        yield from socket.close()
        self.left -= 1
        if not self.left:
            self.ended.wake()


class _Conversation:
    """One connection from the first request to the moment of closing."""

    def __init__(self, host: Host, scenario: Scenario, socket: Socket) -> None:
        self.host = host
        self.client = scenario.client
        self.socket = socket
        self.buffered = b""
        self.got_bytes = 0

    def run(self, requests: list[bytes], said: int) -> Step:
        """All requests, of which so many have left with the connection's first call."""
        client, application_ns = self.client, self.host.costs.application_ns
        if client.pipeline and not said:
            yield from self.socket.send(b"".join(requests))
        for number, request in enumerate(requests):
            if number >= said and not client.pipeline:
                if number:
                    yield Sleep(client.pause_ns) if client.pause_ns else application_ns
                yield from self.socket.send(request)
            if client.half_close and number == len(requests) - 1:
                yield from self.socket.shutdown_write()
            if client.stall_ns:
                yield Sleep(client.stall_ns)
            whole = yield from self._read_response(head_only=request.startswith(b"HEAD "))
            if not whole:
                break
        if client.ended_by == "server":
            while (yield from self._read()):
                pass
        yield Sleep(client.hold_ns) if client.hold_ns else application_ns

    def _read(self) -> Step:
        if self.client.read_pause_ns:
            yield Sleep(self.client.read_pause_ns)
        data = yield from self.socket.recv(self.client.read_chunk_bytes)
        self.got_bytes += len(data)
        return data

    def _enough(self) -> bool:
        """Whether this client has read all that it wants before resetting the connection."""
        return 0 < self.client.rst_after_bytes <= self.got_bytes

    def _read_response(self, *, head_only: bool) -> Step:
        """Read one response; returns whether it was whole."""
        while b"\r\n\r\n" not in self.buffered:
            data = yield from self._read()
            if not data:
                return False
            self.buffered += data
            if self._enough():
                return False
        head, rest = self.buffered.split(b"\r\n\r\n", 1)
        left = 0 if head_only else content_length(head)
        have = rest[:left]
        left -= len(have)
        self.buffered = rest[len(have) :]
        while left > 0:
            yield self.host.costs.application_ns
            data = yield from self._read()
            if not data or self._enough():
                return False
            left -= len(data)
            if left < 0:
                self.buffered = data[left:]
        return True
