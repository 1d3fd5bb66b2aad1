"""`pcaptool report`: a report as one HTML page."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pcaptool.cli.terminal import command_line, progress
from pcaptool.errors import UsageError, printable

if TYPE_CHECKING:
    from pcaptool.tables.report import Report

__all__ = ["report", "write_page"]


def report(
    source: Annotated[Path, typer.Argument(help="A report folder, or a capture.", metavar="REPORT|CAPTURE")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The page to write.", metavar="FILE.html")],
    capture: Annotated[
        list[Path] | None,
        typer.Option(
            help="The capture that REPORT was made from: the page shows bytes, too.", metavar="FILE"
        ),
    ] = None,
    title: Annotated[str, typer.Option(help="Its title; by default the captures' names.")] = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing.")] = False,
) -> None:
    """One self-contained HTML page: overview, exchanges, time-sequence graphs, ladders, tables.

    It asks no network. Of large captures it shows a sample, and says so.
    """
    from pcaptool.analyze.pipeline import analyze
    from pcaptool.tables.report import open_report

    with tempfile.TemporaryDirectory(prefix="pcaptool-") as folder:
        captures = capture or ([] if source.is_dir() else [source])
        if source.is_dir():
            opened = open_report(source)
        else:
            with progress("analyzing") as tell:
                opened = analyze(source, Path(folder) / "report", progress=tell, command=command_line())
        written = write_page(opened, out, title, captures=captures)
    if not quiet:
        typer.echo(f"{printable(str(out))}: {written / 1e6:.1f} MB")


def write_page(report: Report, out: Path, title: str = "", captures: Sequence[str | Path] = ()) -> int:
    """Write a report's page, whole or not at all; its bytes. `captures` are what the report was made from.

    Raises
    ------
    UsageError
        Other captures than those.
    """
    from pcaptool.cli.capture_bytes import frames_of
    from pcaptool.file.aside import AsideFile
    from pcaptool.report.page import html_page

    _check(report, captures)
    frames = frames_of(captures, report.packet_filter) if captures else None
    page = html_page(report, title, frames=frames).encode()
    file = AsideFile(out)
    try:
        file.write(page)
    except BaseException:
        file.discard()
        raise
    file.commit()
    return len(page)


def _check(report: Report, captures: Sequence[str | Path]) -> None:
    """Whether captures are those of the report, as far as their sizes tell."""
    sizes = [source.get("size_bytes") for source in report.sources]
    for path, size in zip(captures, sizes, strict=False):
        if size is not None and Path(path).is_file() and Path(path).stat().st_size != size:
            raise UsageError(
                f"{printable(str(path))} is not the capture of this report", hint="it has another size"
            )
    if captures and len(captures) != len(sizes):
        raise UsageError(
            f"the report is of {len(sizes)} captures, not {len(captures)}", hint="name all, in order"
        )
