"""The programs: which calls they make, with which bytes, at which times.

Knows: sockets as a program sees them (`syscalls`), and the scenario.
Must not know: anything below the system calls.
`SERVERS` is the registry of server profiles: a program takes a host and the scenario, and runs for ever. What they
write in their heads is in `scenario.programs`.
"""

from __future__ import annotations

from collections.abc import Callable

from pcaptool.scenario import Scenario
from pcaptool.sim.events import Step
from pcaptool.stack.application.nginx import nginx_server
from pcaptool.stack.application.node import node_server
from pcaptool.stack.application.python import python_server
from pcaptool.stack.application.reference import reference_server
from pcaptool.stack.host import Host

__all__ = ["SERVERS"]

SERVERS: dict[str, Callable[[Host, Scenario], Step]] = {
    "reference": reference_server,
    "python": python_server,
    "nginx": nginx_server,
    # From read() to writev(): medians by tracepoints, 297 requests for 1,000 bytes, the process warm.
    "node": node_server(think_ns=252_000),
    "express": node_server(think_ns=514_000),
}
