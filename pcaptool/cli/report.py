"""`pcaptool report`: a report as one HTML page."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pcaptool.cli.terminal import command_line, progress
from pcaptool.errors import printable

if TYPE_CHECKING:
    from pcaptool.tables.report import Report

__all__ = ["report", "write_page"]


def report(
    source: Annotated[Path, typer.Argument(help="A report folder, or a capture.", metavar="REPORT|CAPTURE")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The page to write.", metavar="FILE.html")],
    title: Annotated[str, typer.Option(help="Its title; by default the captures' names.")] = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing.")] = False,
) -> None:
    """One self-contained HTML page: overview, exchanges, time-sequence graphs, ladders, tables.

    It asks no network. Of large captures it shows a sample, and says so.
    """
    from pcaptool.analyze.pipeline import analyze
    from pcaptool.tables.report import open_report

    with tempfile.TemporaryDirectory(prefix="pcaptool-") as folder:
        if source.is_dir():
            opened = open_report(source)
        else:
            with progress("analyzing") as tell:
                opened = analyze(source, Path(folder) / "report", progress=tell, command=command_line())
        written = write_page(opened, out, title)
    if not quiet:
        typer.echo(f"{printable(str(out))}: {written / 1e6:.1f} MB")


def write_page(report: Report, out: Path, title: str = "") -> int:
    """Write a report's page, whole or not at all; its bytes."""
    from pcaptool.file.aside import AsideFile
    from pcaptool.report.page import html_page

    page = html_page(report, title).encode()
    file = AsideFile(out)
    try:
        file.write(page)
    except BaseException:
        file.discard()
        raise
    file.commit()
    return len(page)
