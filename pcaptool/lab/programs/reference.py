"""The reference programs: `pcaptool serve` and the laboratory's own client."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pcaptool.lab.programs.kinds import ClientProgram, ServerProgram
from pcaptool.scenario import Scenario

__all__ = ["REFERENCE_CLIENT", "REFERENCE_SERVER"]

_PYTHON = (sys.executable, "-P", "-m")


def _serve(plan: Scenario, scenario: Path, _folder: Path) -> list[str]:
    if plan.server.connects:
        return [*_PYTHON, "pcaptool.lab.connecting", str(scenario)]
    return [*_PYTHON, "pcaptool.cli.main", "serve", str(scenario), "--bind", plan.server_address]


def _ask(_plan: Scenario, scenario: Path, _limit_s: float) -> list[tuple[int, list[str]]]:
    return [(0, [*_PYTHON, "pcaptool.lab.client", str(scenario)])]


def _read(said: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = json.loads(said)
    return events


REFERENCE_SERVER = ServerProgram(needs=(), command=_serve)
REFERENCE_CLIENT = ClientProgram(needs=(), commands=_ask, read=_read)
