"""`pcaptool lab`: scenarios on this machine's kernel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pcaptool.cli.terminal import console, make_folder, status
from pcaptool.errors import OutputError, UsageError, printable

__all__ = ["lab"]

lab = typer.Typer(help="Run scenarios on this machine's kernel, between two network namespaces (root).")


@lab.command("run")
def run(
    scenario: Annotated[Path, typer.Argument(help="What to run: docs/scenario.md.", metavar="SCENARIO.toml")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for what is made.", metavar="DIR")],
    trace: Annotated[bool, typer.Option(help="Record the kernel's tracepoints: stages.parquet.")] = True,
    functions: Annotated[
        bool,
        typer.Option("--functions", help="Kernel functions too, by bpftrace, where the kernel allows it."),
    ] = False,
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

    if functions and not trace:
        raise UsageError("--functions adds to the tracepoints", hint="leave --no-trace out")
    with status(f"{scenario.name}: preparing") as say:
        made = lab_run(
            scenario,
            out,
            trace=trace,
            functions=functions,
            cpu=None if spread else 0,
            timeout_s=timeout,
            progress=say,
        )
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


@lab.command("calibrate")
def calibrate(
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The file of costs to write.", metavar="COSTS.toml")
    ],
    requests: Annotated[int, typer.Option(min=50, max=100_000, help="Requests of each run.")] = 400,
    spread: Annotated[
        bool, typer.Option("--spread", help="Let the programs run on any processor; else both on one.")
    ] = False,
) -> None:
    """Measure what each step of the path costs on this machine; write it as [costs]. Needs root and a kernel to trace.

    COSTS.toml is measured with tcpdump on both ends, as captures are made; COSTS.bare.toml without. Both are for
    --costs of generate and predict.
    """
    from pcaptool.lab.calibrate import calibrate as run_calibrate
    from pcaptool.lab.calibrate import page

    with status("calibrating") as say:
        found = run_calibrate(requests=requests, cpu=None if spread else 0, progress=say)
    make_folder(out.parent)
    bare = out.with_name(f"{out.name.removesuffix('.toml')}.bare.toml")
    for path, costs in ((out, found.costs), (bare, found.bare)):
        _write(path, page(found, costs))
        console().print(printable(str(path)), markup=False, soft_wrap=True)
    off, standard = found.off_by(), found.off_by(default=True)
    console().print(
        f"a further run: a step is off by a factor of {off:.2f} on average (by the defaults {standard:.2f})",
        markup=False,
        soft_wrap=True,
    )
    for note in found.notes:
        console(error=True).print(f"note: {printable(note)}", markup=False)


@lab.command("matrix")
def matrix(
    out: Annotated[Path, typer.Option("-o", "--out", help="The page to write.", metavar="REPORT.md")],
    count: Annotated[int, typer.Option(min=1, max=100_000, help="How many scenarios.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Which ones.")] = 1,
    keep: Annotated[
        Path | None, typer.Option(help="Folder that keeps each scenario with its captures.", metavar="DIR")
    ] = None,
) -> None:
    """Run random scenarios on the real kernel and through the model; write how they compare. Needs root.

    A scenario takes two to eight seconds. The same seed gives the same scenarios.
    """
    from pcaptool.lab.matrix import Row, page
    from pcaptool.lab.matrix import matrix as run_matrix

    def tell(row: Row) -> None:
        said = "equal" if row.same else f"{row.equal} of {row.frames} frames equal; {printable(row.first)}"
        console(error=True).print(f"{row.number:4} {', '.join(row.sample.families)}: {said}", markup=False)

    rows = run_matrix(count, seed, keep=keep, progress=tell)
    make_folder(out.parent)
    _write(out, page(rows, seed))
    equal = sum(row.same for row in rows)
    console().print(
        f"{equal} of {len(rows)} scenarios have no difference: {printable(str(out))}", markup=False
    )


def _write(path: Path, text: str) -> None:
    """A text file, whole or not at all."""
    from pcaptool.file.aside import AsideFile

    file = AsideFile(path)
    try:
        file.write(text.encode())
        file.commit()
    except OutputError:
        file.discard()
        raise
