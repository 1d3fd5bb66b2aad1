"""`pcaptool analyze`: captures to a report, a folder of Parquet tables."""

from __future__ import annotations

import json
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pcaptool.cli.terminal import command_line, console, first_interrupt, progress
from pcaptool.errors import printable

if TYPE_CHECKING:
    from pcaptool.tables.report import Report

__all__ = ["analyze", "print_report", "show_report"]


class TcpRules(StrEnum):
    """Wireshark's versions."""

    V40 = "4.0"
    V44 = "4.4"


def analyze(
    captures: Annotated[
        list[str],
        typer.Argument(help='pcap or pcapng, also compressed; "-" reads a pipe.', metavar="CAPTURE..."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write.", metavar="REPORT")],
    tables: Annotated[
        str | None, typer.Option(help="Only these tables, with commas between.", metavar="NAME,...")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            help="Only these columns (and whole --tables), with commas between.", metavar="TABLE.COLUMN,..."
        ),
    ] = None,
    packet_filter: Annotated[
        str | None,
        typer.Option(
            "--filter",
            help="Only packets that fit, as tcpdump takes it: 'tcp port 80'; others are passed over and not numbered.",
            metavar="EXPRESSION",
        ),
    ] = None,
    extract: Annotated[
        Path | None,
        typer.Option(help="Write the bodies of HTTP messages into this folder, new or empty.", metavar="DIR"),
    ] = None,
    stages: Annotated[
        Path | None,
        typer.Option(
            help="Recorded stages of the host that the capture is from (lab run, generate): timings by layer.",
            metavar="FILE",
        ),
    ] = None,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow", "-f", help="Read on as the capture grows; Ctrl-C ends it, and the report is written."
        ),
    ] = False,
    tcp_rules: Annotated[
        TcpRules,
        typer.Option(help="The version of Wireshark whose rules make conversations and TCP analysis."),
    ] = TcpRules.V40,
    html: Annotated[
        Path | None, typer.Option(help="Write a page to look at, too.", metavar="FILE.html")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="What was written, as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No summary.")] = False,
) -> None:
    """Decode captures into columns; write one Parquet file a layer, and say what is in them.

    A capture that is cut is analyzed up to the cut, and the summary says so. Tables: pcaptool schema.
    Bodies are written as they came: chunks joined, gzip and the like not undone; bodies.json says which is which.
    """
    from pcaptool.analyze.pipeline import analyze as run_analyze
    from pcaptool.engine.heap import keep_freed

    keep_freed()
    with progress("analyzing") as tell, first_interrupt() if follow else nullcontext() as until:
        report = run_analyze(
            captures,
            out,
            tables=_words(tables),
            columns=_words(columns),
            extract=extract,
            progress=tell,
            command=command_line(),
            packet_filter=packet_filter,
            stages=stages,
            until=until,
            tcp_rules=tcp_rules.value,
        )
    if html is not None:
        from pcaptool.cli.report import write_page

        write_page(report, html, captures=captures)
    if as_json or not quiet:
        show_report(report, as_json=as_json)


def _words(text: str | None) -> list[str] | None:
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def show_report(report: Report, *, as_json: bool) -> None:
    """What is in a report, for people or for programs."""
    if as_json:
        typer.echo(json.dumps(_as_dict(report), indent=1))
    else:
        print_report(report)


def print_report(report: Report) -> None:
    """What is in a report, where it lies, and what was not complete."""
    from rich.text import Text

    from pcaptool.report.summary import summary

    out = console()
    if all(report.whole(name) for name in ("packets", "flows", "http")):
        out.print(summary(report))
    rows = ", ".join(f"{name} {count:,}" for name, count in report.counts.items())
    out.print(Text(f"{printable(str(report.path))}: {rows}"))
    for notice in report.notices:
        out.print(Text(f"note: {printable(notice)}", style="yellow"))


def _as_dict(report: Report) -> dict[str, object]:
    return {
        "report": str(report.path),
        "tables": report.counts,
        "sources": report.sources,
        "notices": report.notices,
    }
