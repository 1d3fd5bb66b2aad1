"""The real programs of a scenario: how each is started, which version it is, what it needs.

Knows: the registries; what every program has in common: an address, a port, answers to the paths that are asked for.
Must not know: namespaces (`session` starts what it is told here), or what the programs do with their sockets.

A server is a `ServerProgram`: it writes what it needs into a folder of its own and names the command. Whether it
listens is seen from outside (`/proc/net/tcp`), without a packet. A client is a `ClientProgram`.
"""

from __future__ import annotations

from pcaptool.lab.programs.curl import CURL
from pcaptool.lab.programs.kinds import ClientProgram, ServerProgram
from pcaptool.lab.programs.nginx import NGINX
from pcaptool.lab.programs.node import EXPRESS, NODE
from pcaptool.lab.programs.python import PYTHON
from pcaptool.lab.programs.reference import REFERENCE_CLIENT, REFERENCE_SERVER
from pcaptool.lab.programs.wrk import WRK

__all__ = ["CLIENTS", "SERVERS", "ClientProgram", "ServerProgram"]

SERVERS: dict[str, ServerProgram] = {
    "reference": REFERENCE_SERVER,
    "python": PYTHON,
    "nginx": NGINX,
    "node": NODE,
    "express": EXPRESS,
}
CLIENTS: dict[str, ClientProgram] = {"reference": REFERENCE_CLIENT, "curl": CURL, "wrk": WRK}
