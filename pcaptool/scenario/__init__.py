"""What to run: a scenario file (TOML) to frozen dataclasses, and back.

Knows: the keys of a scenario, their bounds, defaults and meaning (`model` is the table that reading,
messages and docs/scenario.md derive from); the bytes that the reference programs write (`application`).
Must not know: how a run is done.
"""

from __future__ import annotations

from pcaptool.scenario.application import (
    NOT_FOUND,
    body,
    content_length,
    find_route,
    request_bytes,
    response_head,
    route_body,
)
from pcaptool.scenario.costs import Costs
from pcaptool.scenario.dump import dump_scenario
from pcaptool.scenario.kinds import Request
from pcaptool.scenario.load import load_costs, load_scenario, parse_scenario
from pcaptool.scenario.model import (
    Client,
    Dns,
    Drop,
    Hook,
    Host,
    Hosts,
    Late,
    Limits,
    Link,
    Nginx,
    Nic,
    Offload,
    Route,
    Scenario,
    Server,
)
from pcaptool.scenario.objects import check_scenario
from pcaptool.scenario.programs import idle_ns, settled

__all__ = [
    "NOT_FOUND",
    "Client",
    "Costs",
    "Dns",
    "Drop",
    "Hook",
    "Host",
    "Hosts",
    "Late",
    "Limits",
    "Link",
    "Nginx",
    "Nic",
    "Offload",
    "Request",
    "Route",
    "Scenario",
    "Server",
    "body",
    "check_scenario",
    "content_length",
    "dump_scenario",
    "find_route",
    "idle_ns",
    "load_costs",
    "load_scenario",
    "parse_scenario",
    "request_bytes",
    "response_head",
    "route_body",
    "settled",
]
