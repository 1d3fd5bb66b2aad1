"""`pcaptool lab`: scenarios on this machine's kernel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pcaptool.cli.terminal import console, status
from pcaptool.errors import printable

__all__ = ["lab"]

lab = typer.Typer(help="Run scenarios on this machine's kernel, between two network namespaces (root).")


@lab.command("run")
def run(
    scenario: Annotated[Path, typer.Argument(help="What to run: docs/scenario.md.", metavar="SCENARIO.toml")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for what is made.", metavar="DIR")],
    trace: Annotated[bool, typer.Option(help="Record the kernel's tracepoints: stages.parquet.")] = True,
    spread: Annotated[
        bool, typer.Option("--spread", help="Let the programs run on any processor; else both on one.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds after which the client is ended.")] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="What was made, as JSON.")] = False,
) -> None:
    """Run a scenario on the real kernel: two network namespaces, tcpdump on both ends. Needs root.

    DIR gets server.pcap, client.pcap, run.json (kernel, sysctls, versions, notes), scenario.toml and, where the
    kernel can be traced, stages.parquet. Everything it makes is removed again; the host's own network is not touched.
    """
    from pcaptool.lab.run import lab_run

    with status(f"{scenario.name}: preparing") as say:
        made = lab_run(scenario, out, trace=trace, cpu=None if spread else 0, timeout_s=timeout, progress=say)
    if as_json:
        about = {
            "captures": {"server": str(made.server), "client": str(made.client)},
            "packets": made.packets,
            "stages": str(made.stages) if made.stages else None,
            "notes": list(made.notes),
        }
        typer.echo(json.dumps(about, indent=1))
        return
    from pcaptool.report.words import count, grid

    rows: list[tuple[str, Any]] = [
        (f"{tap} tap", f"{printable(str(made.folder / tap))}.pcap ({count(packets)} packets)")
        for tap, packets in made.packets.items()
    ]
    rows += [("stages", printable(str(made.stages)))] if made.stages else []
    rows += [("note", printable(note)) for note in made.notes]
    console().print(grid(rows))
