"""wrk: many connections that ask for one path, as fast as they can, for some seconds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pcaptool.lab.programs.kinds import ClientProgram, url
from pcaptool.scenario import Scenario

__all__ = ["WRK"]


def _commands(plan: Scenario, _scenario: Path, limit_s: float) -> list[tuple[int, list[str]]]:
    client = plan.client
    seconds = max(1, min(client.duration_ns // 1_000_000_000, int(limit_s)))
    command = ["wrk", "--threads", "1", "--connections", str(client.connections), "--duration", f"{seconds}s"]
    return [(0, [*command, "--latency", url(plan, client.requests[0].path)])]


def _read(said: str) -> list[dict[str, Any]]:
    r"""What wrk printed.

    Examples
    --------
    >>> _read("  10 requests in 1.00s, 2.00MB read\n  Socket errors: connect 0, read 1, write 0, timeout 0\n")
    [{'event': 'load', 'requests': 10, 'seconds': 1.0, 'errors': 1}]
    """
    found = re.search(r"(\d+) requests in ([0-9.]+)(s|m)", said)
    if found is None:
        return []
    errors = sum(map(int, re.findall(r"(?:connect|read|write|timeout|responses:) (\d+)", said)))
    seconds = float(found[2]) * (60 if found[3] == "m" else 1)
    return [{"event": "load", "requests": int(found[1]), "seconds": seconds, "errors": errors}]


WRK = ClientProgram(needs=("wrk",), commands=_commands, read=_read)
