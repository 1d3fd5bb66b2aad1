"""A DNS responder and its client: one datagram asks, one answers (the lab's few lines of Python on real sockets).

Knows: UDP sockets as a program sees them.
Must not know: how a datagram travels, or how large one may be.
The client asks one question after the other on one connected socket; the responder's socket is not connected.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from pcaptool.scenario import Scenario
from pcaptool.scenario.dns import answer_bytes, query_bytes
from pcaptool.sim.events import Sleep, Step
from pcaptool.stack.host import Host
from pcaptool.stack.udp import DatagramSocket

__all__ = ["DnsClient", "dns_responder"]

TIMEOUT_NS = 5_000_000_000
ATTEMPTS = 2


def dns_responder(host: Host, scenario: Scenario) -> Step:
    """recvfrom(), sendto(), for ever."""
    socket = DatagramSocket(host, scenario.dns.port)
    while True:
        query, client = yield from socket.recv()
        yield host.costs.application_ns
        if scenario.dns.think_time_ns:
            yield Sleep(scenario.dns.think_time_ns)
        yield from socket.send(answer_bytes(query), client)


class DnsClient:
    """All questions of the scenario, in order.

    Parameters
    ----------
    host : Host
    scenario : Scenario
    """

    def __init__(self, host: Host, scenario: Scenario) -> None:
        self.host = host
        self.scenario = scenario
        self.left = len(scenario.dns.queries)
        self.notices: list[str] = []

    def run(self, *, then: Callable[[], None]) -> Step:
        """One after the other; a question without answer is asked again once (resolv.conf: attempts, timeout)."""
        dns, host = self.scenario.dns, self.host
        socket = DatagramSocket(host)
        socket.connect(ipaddress.ip_address(self.scenario.server_address).packed, dns.port)
        try:
            for number, size in enumerate(dns.queries, 1):
                if number > 1 and dns.pause_ns:
                    yield Sleep(dns.pause_ns)
                if not (yield from self._ask(socket, query_bytes(number, size))):
                    self.notices.append(f"DNS question {number} got no answer")
                self.left -= 1
                yield host.costs.application_ns
        except OSError as error:
            self.notices.append(
                f"DNS: {error}: the server's host says that nobody listens on port {dns.port}"
            )
        self.left = 0
        socket.close()
        then()

    def _ask(self, socket: DatagramSocket, query: bytes) -> Step:
        for _attempt in range(ATTEMPTS):
            yield from socket.send(query)
            if (yield from socket.recv(timeout_ns=TIMEOUT_NS)) is not None:
                return True
        return False
