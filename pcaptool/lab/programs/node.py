"""node's http module, and express on it.

express comes from npm, into a cache folder outside any project; a run does not install it but names the command.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from pcaptool.errors import SystemRefusedError, printable
from pcaptool.lab.programs.kinds import ServerProgram, answers
from pcaptool.scenario import Scenario, idle_ns

__all__ = ["EXPRESS", "NODE", "modules_folder"]

_COMMON = """
const { answers, address, port, idle } = require(process.argv[2]);
const body = a => a.text !== null ? Buffer.from(a.text) : Buffer.alloc(a.bytes, 'abcdefghijklmnopqrstuvwxyz');
const after = (a, act) => a.think_ms ? setTimeout(act, a.think_ms) : act();
"""
_HTTP = (
    _COMMON
    + """
const server = require('http').createServer((request, response) => {
  const a = answers[request.url];
  if (!a) { response.statusCode = 404; response.end(); return; }
  after(a, () => {
    const data = body(a);
    response.statusCode = a.status;
    response.statusMessage = a.reason;
    response.setHeader('Content-Type', 'text/plain');
    response.setHeader('Content-Length', data.length);
    response.end(data);
  });
});
server.keepAliveTimeout = idle;
server.listen(port, address);
"""
)
_EXPRESS = (
    _COMMON
    + """
const app = require('express')();
app.get(/.*/, (request, response, next) => {
  const a = answers[request.url];
  if (!a) next(); else after(a, () => response.type('text/plain').send(body(a)));
});
app.listen(port, address).keepAliveTimeout = idle;
"""
)


def modules_folder() -> Path:
    """Where express is looked for (`npm install --prefix`)."""
    cache = os.environ.get("PCAPTOOL_CACHE_DIR") or (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pcaptool"
    )
    return Path(cache) / "node"


def _files(plan: Scenario, folder: Path, script: str) -> list[str]:
    about = {
        "answers": answers(plan),
        "address": plan.server_address,
        "port": plan.server.port,
        "idle": (idle_ns(plan.server) or 0) // 1_000_000,
    }
    (folder / "about.json").write_text(json.dumps(about))
    (folder / "server.js").write_text(script)
    return ["node", str(folder / "server.js"), str(folder / "about.json")]


def _node(plan: Scenario, _scenario: Path, folder: Path) -> list[str]:
    return _files(plan, folder, _HTTP)


def _express(plan: Scenario, _scenario: Path, folder: Path) -> list[str]:
    return ["env", f"NODE_PATH={modules_folder() / 'node_modules'}", *_files(plan, folder, _EXPRESS)]


def _check_express() -> None:
    if not (modules_folder() / "node_modules" / "express" / "package.json").exists():
        raise SystemRefusedError(
            "the laboratory needs express",
            hint=f"npm install --prefix {printable(str(modules_folder()))} express@5",
        )


NODE = ServerProgram(needs=("node",), command=_node)
EXPRESS = ServerProgram(needs=("node",), command=_express, check=_check_express)
