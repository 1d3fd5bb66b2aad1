"""`pcaptool predict`: what the modelled server would have sent, given a capture's client packets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pcaptool.cli.terminal import console, status
from pcaptool.errors import UsageError, printable

if TYPE_CHECKING:
    from pcaptool.predict import Prediction
    from pcaptool.scenario import Host

__all__ = ["as_dict", "predict", "show"]


def predict(
    capture: Annotated[Path, typer.Argument(help="A capture taken at a server, handshake included.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The capture to write.", metavar="OUT.pcapng")],
    scenario: Annotated[
        Path | None,
        typer.Option(
            help="Settings of [host.server] that the capture does not tell.", metavar="SCENARIO.toml"
        ),
    ] = None,
    congestion: Annotated[
        str | None,
        typer.Option(
            help="Congestion control of the server; without: cubic, or another one that fits better."
        ),
    ] = None,
    costs: Annotated[
        Path | None,
        typer.Option(help="Costs of each step, as lab calibrate writes them.", metavar="COSTS.toml"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="What was inferred and made, as JSON.")] = False,
) -> None:
    """Play a capture's client packets to the modelled server; write what it would have sent.

    The server's settings and what its program wrote are inferred from the capture. Compare the result with the
    capture: pcaptool diff OUT.pcapng CAPTURE --as model --side server.
    """
    from pcaptool.predict import predict as run_predict
    from pcaptool.scenario import load_scenario
    from pcaptool.stack.tcp.congestion import CONTROLS

    if congestion is not None and congestion not in CONTROLS:
        raise UsageError(
            f"congestion control {congestion!r} is not modelled", hint=f"one of {', '.join(CONTROLS)}"
        )

    def settings(host: Host) -> Host:
        return host if congestion is None else replace(host, congestion=congestion)

    base = load_scenario(scenario).host.server if scenario else None
    with status(f"{capture.name}: playing it to the model"):
        made = run_predict(capture, out, base=base, settings=settings, costs=costs)
    if as_json:
        typer.echo(json.dumps(as_dict(made), indent=1))
    else:
        show(made, capture)


def as_dict(made: Prediction) -> dict[str, Any]:
    """A prediction for a program."""
    host = made.settings
    return {
        "capture": str(made.capture),
        "stages": str(made.stages),
        "packets": made.packets,
        "settings": {
            "mtu": host.mtu,
            "tcp_rmem": list(host.tcp_rmem),
            "tcp_timestamps": host.tcp_timestamps,
            "tcp_sack": host.tcp_sack,
            "tcp_window_scaling": host.tcp_window_scaling,
            "congestion": host.congestion,
            "initial_cwnd": host.initial_cwnd,
            "offload": {"tso": host.offload.tso, "tx_checksum": host.offload.tx_checksum},
        },
        "connections": [
            {
                "writes": [{"time_ns": w.time_ns, "bytes": len(w.data)} for w in program.writes],
                "close_ns": program.close_ns,
                "nodelay": program.nodelay,
            }
            for program in made.programs
        ],
        "guessed": list(made.guessed),
        "notices": list(made.notices),
    }


def show(made: Prediction, capture: Path) -> None:
    """A prediction for a person."""
    from pcaptool.report.words import count, grid

    host = made.settings
    offload = ", ".join(
        word for word, on in (("tso", host.offload.tso), ("tx_checksum", host.offload.tx_checksum)) if on
    )
    writes = sum(len(program.writes) for program in made.programs)
    console().print(
        grid(
            [
                ("predicted", f"{printable(str(made.capture))} ({count(made.packets)} packets)"),
                ("stages", printable(str(made.stages))),
                ("server", f"mtu {host.mtu}, {host.congestion}, offloads: {offload or 'none'}"),
                ("program", f"{count(len(made.programs))} connections, {count(writes)} calls of send()"),
                *[("note", printable(notice)) for notice in made.notices],
                (
                    "compare",
                    f"pcaptool diff {printable(str(made.capture))} {printable(str(capture))} --as model --side server",
                ),
            ]
        )
    )
