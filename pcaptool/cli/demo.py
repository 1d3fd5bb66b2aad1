"""`pcaptool demo`: the whole line on bundled input: predict, observe, compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pcaptool.cli.bundled import bundled
from pcaptool.cli.diff import write_diff
from pcaptool.cli.generate import print_run
from pcaptool.cli.terminal import command_line, console, make_folder, status
from pcaptool.errors import printable

if TYPE_CHECKING:
    from pcaptool.generate import Run
    from pcaptool.tables.report import Report

__all__ = ["demo"]

_QUERY = "SELECT n, srcport, seq, ack, len, window_size FROM tcp"


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for what is made.", metavar="DIR")] = Path(
        "reports/demo"
    ),
) -> None:
    """Predict a server's packets, observe a real server's, compare the two.

    Takes a bundled scenario (a server that answers five requests on one connection, from 0 bytes to 100 kB)
    and a bundled tcpdump capture of the same scenario on a real Linux 6.18.
    """
    from pcaptool.analyze.pipeline import analyze
    from pcaptool.diff import diff
    from pcaptool.generate import generate
    from pcaptool.report.diff import diff_renderable

    say = console()
    scenario, real = bundled("scenario.toml"), _from_here(bundled("real.server.pcap"))
    make_folder(out)

    _chapter("1  Predict: what a Linux server would send")
    say.print(
        "A scenario says what to run: a server, a client, the kernels under them. This one is bundled:\n"
    )
    say.print(_indented(scenario.read_text()), markup=False)
    say.print("The modelled stack runs it in virtual time and writes what tcpdump would have seen.\n")
    with status("running the model"):
        run = generate(scenario, out / "model.pcapng")
    print_run(run)
    say.print()
    _one_response(run)

    _chapter("2  Observe: both captures as tables")
    say.print(
        "The same scenario was run on a real Linux 6.18 under tcpdump. Both captures become tables, one"
    )
    say.print("a layer; here the one of the HTTP exchanges, with the server's time to answer.\n")
    for name, capture in (("the model's", run.capture), ("a real server's, by tcpdump", real)):
        with status(f"analyzing {capture.name}"):
            report = analyze([capture], out / capture.name.partition(".")[0], command=command_line())
        _exchanges(name, report)

    _chapter("3  Compare: the model's capture (A) with the real one (B)")
    say.print("Packets are aligned by what they say, then compared field by field. What is random by nature")
    say.print("(ports, initial sequence numbers, clocks) is made equal by rules, which are listed.\n")
    with status("comparing"):
        found = diff(run.capture, real)
    write_diff(found, out / "diff")
    say.print(diff_renderable(found))

    _chapter("4  What lies where, and what to try next")
    _next(out, real)


def _chapter(title: str) -> None:
    from rich.rule import Rule

    console().print()
    console().print(Rule(f"[bold]{title}[/bold]", align="left", characters="="))
    console().print()


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" if line else "\n" for line in text.splitlines())


def _one_response(run: Run) -> None:
    """One buffer of the model's server, stage by stage."""
    import polars as pl

    from pcaptool.report.stages import example_buffer, way_of_a_buffer

    stages = pl.read_parquet(run.stages)
    origin = example_buffer(stages)
    if origin is not None:
        console().print(way_of_a_buffer(stages, origin))


def _exchanges(name: str, report: Report) -> None:
    """The five requests and their responses."""
    from pcaptool.report.conversations import http_table
    from pcaptool.report.rows import plain

    packets, flows = report.counts["packets"], report.counts["flows"]
    title = f"{name}: {packets} packets, {flows} connection, {report.counts['http']} HTTP exchanges"
    rows = [row for batch in report.batches("http") for row in plain(batch)]
    console().print(http_table(sorted(rows, key=lambda row: row["exchange"]), title))


def _next(out: Path, real: Path) -> None:
    made, taken = printable(str(out)), printable(str(real))
    scenario = printable(str(_from_here(bundled("scenario.toml"))))
    files = [
        (f"{made}/model.pcapng", "what tcpdump would have seen at the model's server; Wireshark opens it"),
        (f"{made}/model.stages.parquet", "when each buffer passed each stage of the egress path"),
        (f"{made}/model.scenario.toml", "the scenario as it was run"),
        (f"{made}/model, {made}/real", "the two reports: one Parquet file a layer"),
        (f"{made}/diff", "the comparison as text, JSON and Parquet"),
    ]
    width = max(len(name) for name, _ in files)
    lines = [
        *(f"{name:{width}}  {what}" for name, what in files),
        "",
        "Try next:",
        f"  pcaptool info {taken}",
        f"  pcaptool query '{_QUERY}' {made}/real",
        f"  pcaptool diff {made}/model.pcapng {taken} --tolerance time=50us",
        "  pcaptool schema tcp",
        f"  or copy {scenario}, set mtu = 9000 for both hosts, generate it, and diff it with this run",
    ]
    for line in lines:
        console().print(line, markup=False, soft_wrap=True)


def _from_here(path: Path) -> Path:
    """The path as a person at this folder would write it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
