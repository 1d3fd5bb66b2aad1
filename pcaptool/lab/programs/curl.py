"""curl: a process for each connection, which asks for the paths one after the other."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from pcaptool.lab.programs.kinds import ClientProgram, url
from pcaptool.scenario import Scenario

__all__ = ["CURL"]


def _commands(plan: Scenario, _scenario: Path, limit_s: float) -> list[tuple[int, list[str]]]:
    client = plan.client
    command = ["curl", "-q", "-sS", "--http1.1", "--noproxy", "*", "--globoff", "--path-as-is"]
    command += ["--max-time", f"{limit_s:g}", "--write-out", "%{json}\\n"]
    command += ["--head"] if client.requests[0].method == "HEAD" else []
    command += [] if client.keepalive else ["--header", "Connection: close"]
    for request in client.requests:
        command += ["--output", "/dev/null", url(plan, request.path)]
    out = []
    for index in range(client.connections):
        port = ["--local-port", str(client.port + index)] if client.port else []
        out.append((index * client.stagger_ns, [*command, *port]))
    return out


def _read(said: str) -> list[dict[str, Any]]:
    events = []
    for line in said.splitlines():
        about = json.loads(line)
        events.append(
            {
                "event": "response" if about["response_code"] else "error",
                "status": about["response_code"],
                "bytes": about["size_download"],
                "port": about["local_port"],
                "seconds": about["time_total"],
            }
        )
    return events


def _version() -> str:
    said = subprocess.run(["curl", "-V"], capture_output=True, text=True, check=False, timeout=20)  # noqa: S607
    words = said.stdout.split()
    return words[1] if len(words) > 1 else ""


CURL = ClientProgram(needs=("curl",), commands=_commands, read=_read, version=_version)
