"""The reference client on real sockets: the calls of the modelled client, in its order.

    python -m pcaptool.lab.client SCENARIO.toml

Knows: what the modelled client does (`stack.application.client`); prints what happened as JSON.
Must not know: namespaces.
"""

from __future__ import annotations

import errno
import json
import socket
import struct
import sys
import threading
import time
from typing import Any

from pcaptool.lab.connecting import wait_for_start
from pcaptool.lab.owner import CLIENT_COMM, set_comm
from pcaptool.scenario import Scenario, content_length, load_scenario, request_bytes

__all__ = ["run_client"]

Event = dict[str, Any]


def run_client(scenario: Scenario) -> list[Event]:
    """All connections to their ends; what happened, in the order of time."""
    events: list[Event] = []
    threads = [
        threading.Thread(target=_Connection(scenario, index, events).run)
        for index in range(scenario.client.connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(events, key=lambda event: event["time_ns"])


class _Connection:
    def __init__(self, scenario: Scenario, index: int, events: list[Event]) -> None:
        self.scenario = scenario
        self.client = scenario.client
        self.index = index
        self.events = events
        self.socket = socket.socket(
            socket.AF_INET if scenario.family == 4 else socket.AF_INET6, socket.SOCK_STREAM
        )
        self.buffered = b""
        self.got_bytes = 0

    def note(self, event: str, **more: object) -> None:
        self.events.append({"time_ns": time.time_ns(), "connection": self.index, "event": event, **more})

    def run(self) -> None:
        """connect, converse, close."""
        client, sock = self.client, self.socket
        _sleep(self.index * client.stagger_ns)
        if client.rcvbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, client.rcvbuf)
        if client.port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((self.scenario.client_address, client.port + self.index))
        self.note("connect")
        try:
            requests = [request_bytes(self.scenario, index) for index in range(len(client.requests))]
            server, said = (self.scenario.server_address, self.scenario.server.port), 0
            if client.fastopen:
                said = len(requests) if client.pipeline else 1
                self.connect_with(server, b"".join(requests[:said]))
            else:
                sock.connect(server)
            self.note("connected", port=sock.getsockname()[1])
            if client.nodelay:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.converse(requests, said)
        except OSError as error:
            self.note("error", error=errno.errorcode.get(error.errno or 0, str(error)))
        if client.ended_by == "rst":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        self.note("closed", bytes=self.got_bytes)

    def connect_with(self, server: tuple[str, int], data: bytes) -> None:
        """Connect by sending (Fast Open); the rest of what did not fit into the SYN goes the usual way."""
        taken = self.socket.sendto(data, socket.MSG_FASTOPEN, server)
        if taken < len(data):
            self.socket.sendall(data[taken:])

    def converse(self, requests: list[bytes], said: int) -> None:
        client, sock = self.client, self.socket
        if client.pipeline and not said:
            sock.sendall(b"".join(requests))
        for number, request in enumerate(requests):
            if number >= said and not client.pipeline:
                if number:
                    _sleep(client.pause_ns)
                sock.sendall(request)
            if client.half_close and number == len(requests) - 1:
                sock.shutdown(socket.SHUT_WR)
            _sleep(client.stall_ns)
            if not self.read_response(head_only=request.startswith(b"HEAD ")):
                break
            self.note("response", bytes=self.got_bytes)
        if client.ended_by == "server":
            while self.read():
                pass
        _sleep(client.hold_ns)

    def read(self) -> bytes:
        _sleep(self.client.read_pause_ns)
        data = self.socket.recv(self.client.read_chunk_bytes)
        self.got_bytes += len(data)
        return data

    def enough(self) -> bool:
        return 0 < self.client.rst_after_bytes <= self.got_bytes

    def read_response(self, *, head_only: bool) -> bool:
        """Read one response; whether it was whole."""
        while b"\r\n\r\n" not in self.buffered:
            data = self.read()
            if not data:
                return False
            self.buffered += data
            if self.enough():
                return False
        head, rest = self.buffered.split(b"\r\n\r\n", 1)
        left = 0 if head_only else content_length(head)
        self.buffered = rest[left:]
        left -= min(left, len(rest))
        while left > 0:
            data = self.read()
            if not data or self.enough():
                return False
            if len(data) > left:
                self.buffered = data[left:]
            left -= len(data)
        return True


def _sleep(duration_ns: int) -> None:
    if duration_ns:
        time.sleep(duration_ns / 1e9)


if __name__ == "__main__":
    set_comm(CLIENT_COMM)
    plan = load_scenario(sys.argv[1], model=False)
    wait_for_start(sys.argv[1])
    json.dump(run_client(plan), sys.stdout)
