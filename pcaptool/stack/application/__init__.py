"""The programs: which calls they make, with which bytes, at which times.

Knows: sockets as a program sees them (`syscalls`), and the scenario.
Must not know: anything below the system calls.
`SERVERS` is the registry of server profiles.
"""

from __future__ import annotations

from collections.abc import Callable

from pcaptool.scenario import Scenario
from pcaptool.sim.events import Step
from pcaptool.stack.application.reference import reference_server
from pcaptool.stack.host import Host

__all__ = ["SERVERS"]

SERVERS: dict[str, Callable[[Host, Scenario], Step]] = {"reference": reference_server}
