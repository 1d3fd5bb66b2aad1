"""Python's http.server with a handler as its users write them (`httpserver`), by the interpreter that runs this."""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

from pcaptool.lab.programs import httpserver
from pcaptool.lab.programs.kinds import ServerProgram, answers
from pcaptool.scenario import Scenario

__all__ = ["PYTHON"]


def _command(plan: Scenario, _scenario: Path, folder: Path) -> list[str]:
    about = {"answers": answers(plan), "sndbuf": plan.server.sndbuf, "rcvbuf": plan.server.rcvbuf}
    (folder / "answers.json").write_text(json.dumps(about))
    script = str(Path(httpserver.__file__).resolve())
    return [
        *(sys.executable, "-I", script, str(folder / "answers.json")),
        *(plan.server_address, str(plan.server.port)),
    ]


PYTHON = ServerProgram(needs=(), command=_command, version=platform.python_version)
