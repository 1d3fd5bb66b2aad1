"""`pcaptool generate`: a scenario to captures, as the modelled stack would send it."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pcaptool.cli.terminal import console, status
from pcaptool.errors import printable

if TYPE_CHECKING:
    from pcaptool.generate import Run, Together

__all__ = ["generate", "print_run"]


class Tap(StrEnum):
    """Where a capture is taken."""

    SERVER = "server"
    CLIENT = "client"
    WIRE = "wire"


class Format(StrEnum):
    """Capture formats."""

    PCAP = "pcap"
    PCAPNG = "pcapng"


def generate(
    scenario: Annotated[
        list[Path],
        typer.Argument(
            help="What to run: docs/scenario.md. Several, with hosts of their own, make one capture.",
            metavar="SCENARIO.toml...",
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The capture to write.", metavar="OUT.pcapng")],
    tap: Annotated[
        list[Tap] | None,
        typer.Option(help="Where to capture: server (default), client, wire. May be given several times."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the scenario's seed.")] = None,
    format: Annotated[  # noqa: A002 - the word people use
        Format | None, typer.Option(help="Without: by the name; pcapng unless it ends in .pcap.")
    ] = None,
    costs: Annotated[
        Path | None,
        typer.Option(help="Costs of each step, as lab calibrate writes them.", metavar="COSTS.toml"),
    ] = None,
    annotate: Annotated[
        bool, typer.Option("--annotate", help="A comment on each packet says what the stack did (pcapng).")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that run several scenarios; default: one a processor."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="What was made, as JSON.")] = False,
) -> None:
    """Run a scenario through the modelled Linux stack; write what tcpdump would have seen.

    Beside OUT.pcapng lie OUT.stages.parquet (when each buffer passed each stage of the egress path) and
    OUT.scenario.toml (the scenario as it was run). The same scenario and seed give the same bytes. Several scenarios
    run side by side, each in a process of its own; packets come in the order of time.
    """
    from pcaptool.generate import generate as run_generate

    if len(scenario) > 1:
        _together(scenario, out, tap, seed, format, costs, jobs, annotate=annotate, as_json=as_json)
        return
    with status(f"{scenario[0].name}: running the model") as say:
        run = run_generate(
            scenario[0],
            out,
            taps=[t.value for t in tap] if tap else ["server"],
            seed=seed,
            costs=costs,
            format=format.value if format else None,
            progress=say,
            annotate=annotate,
        )
    if as_json:
        typer.echo(json.dumps(_as_dict(run), indent=1))
    else:
        print_run(run)


def _together(
    scenarios: list[Path],
    out: Path,
    tap: list[Tap] | None,
    seed: int | None,
    format: Format | None,  # noqa: A002 - the word people use
    costs: Path | None,
    jobs: int | None,
    *,
    annotate: bool,
    as_json: bool,
) -> None:
    """Several scenarios."""
    from pcaptool.generate import generate_together

    with status(f"running {len(scenarios)} scenarios"):
        made = generate_together(
            scenarios,
            out,
            taps=[t.value for t in tap] if tap else ["server"],
            seed=seed,
            costs=costs,
            format=format.value if format else None,
            annotate=annotate,
            jobs=jobs,
        )
    if as_json:
        about = {
            "captures": {name: str(path) for name, path in made.captures.items()},
            "packets": made.packets,
            "stages": str(made.stages),
            "scenarios": [str(path) for path in made.scenario_paths],
            "notices": list(made.notices),
        }
        typer.echo(json.dumps(about, indent=1))
    else:
        _print_together(made)


def _print_together(made: Together) -> None:
    from pcaptool.report.words import count, grid

    rows: list[tuple[str, Any]] = [
        (f"{tap} tap", f"{printable(str(path))} ({count(made.packets[tap])} packets)")
        for tap, path in made.captures.items()
    ]
    rows.append(("stages", printable(str(made.stages))))
    rows += [("scenario", printable(str(path))) for path in made.scenario_paths]
    rows += [("note", printable(notice)) for notice in made.notices]
    console().print(grid(rows))


def print_run(run: Run) -> None:
    """What was made, and where it lies."""
    from pcaptool.report.words import count, duration, grid

    rows: list[tuple[str, Any]] = [
        (f"{tap} tap", f"{printable(str(path))} ({count(run.packets[tap])} packets)")
        for tap, path in run.captures.items()
    ]
    rows += [
        ("stages", printable(str(run.stages))),
        ("scenario", printable(str(run.scenario_path))),
        ("virtual time", f"{duration(run.duration_ns)}, seed {run.scenario.seed}"),
        *(("note", printable(notice)) for notice in run.notices),
    ]
    console().print(grid(rows))


def _as_dict(run: Run) -> dict[str, Any]:
    return {
        "captures": {tap: str(path) for tap, path in run.captures.items()},
        "packets": run.packets,
        "stages": str(run.stages),
        "scenario": str(run.scenario_path),
        "seed": run.scenario.seed,
        "duration_ns": run.duration_ns,
        "notices": list(run.notices),
    }
