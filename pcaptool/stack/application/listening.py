"""The socket that a server program listens on.

Knows: which options of the scenario it gets; a connection inherits them.
Must not know: what is done with connections.
"""

from __future__ import annotations

from pcaptool.scenario import Scenario
from pcaptool.stack.host import Host
from pcaptool.stack.syscalls import Socket

__all__ = ["listen"]


def listen(host: Host, scenario: Scenario) -> Socket:
    """socket(), setsockopt(SO_SNDBUF, SO_RCVBUF, TCP_FASTOPEN) where the scenario says so, bind(), listen()."""
    listening = Socket(host)
    if scenario.server.sndbuf:
        listening.set_send_buffer(scenario.server.sndbuf)
    if scenario.server.rcvbuf:
        listening.set_receive_buffer(scenario.server.rcvbuf)
    server = scenario.server
    listening.listen(server.port, server.backlog, fastopen=server.fastopen)
    return listening
