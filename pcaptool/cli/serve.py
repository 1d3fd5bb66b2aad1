"""`pcaptool serve`: the reference HTTP server, for real."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pcaptool.cli.terminal import console
from pcaptool.errors import ScenarioError, printable

__all__ = ["serve"]


def serve(
    scenario: Annotated[
        Path, typer.Argument(help="What to serve: docs/scenario.md.", metavar="SCENARIO.toml")
    ],
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Instead of the scenario's; 0: one that is free.")
    ] = None,
    bind: Annotated[str, typer.Option(help="Address to listen on.", metavar="ADDRESS")] = "127.0.0.1",
    connections: Annotated[int, typer.Option(min=1, help="Connections served at the same time.")] = 512,
    timeout: Annotated[
        int, typer.Option(min=1, help="Seconds without progress of a client until its connection ends.")
    ] = 60,
) -> None:
    """Serve a scenario's routes over HTTP/1.1 with the writes and pauses that it says, until interrupted.

    The same bytes and the same system calls as those of the modelled server: a thread per connection, blocking
    sockets.
    """
    from pcaptool.lab.owner import SERVER_COMM, set_comm
    from pcaptool.lab.server import ReferenceServer
    from pcaptool.scenario import load_scenario

    plan = load_scenario(scenario, model=False)
    if plan.server.connects:
        raise ScenarioError(
            "server.connects: a server that opens its connections needs a client that does so at the same time",
            path=scenario,
            hint="pcaptool generate and lab run have both",
        )
    set_comm(SERVER_COMM)
    with ReferenceServer(
        plan,
        bind,
        plan.server.port if port is None else port,
        max_connections=connections,
        timeout_s=timeout,
    ) as server:
        host = f"[{bind}]" if ":" in bind else bind
        paths = ", ".join(route.path for route in plan.server.routes)
        console(error=True).print(
            f"serving http://{printable(host)}:{server.port} ({printable(paths)}); Ctrl-C ends it",
            markup=False,
        )
        server.serve()
