"""`pcaptool info`: what is in a capture, or in a report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pcaptool.cli.terminal import console, status

if TYPE_CHECKING:
    from pcaptool.file import CaptureReader

__all__ = ["info"]


def info(
    capture: Annotated[
        str,
        typer.Argument(
            help='pcap or pcapng, also compressed; "-" reads a pipe. Or a report.', metavar="CAPTURE|REPORT"
        ),
    ],
    flows: Annotated[int, typer.Option(min=0, help="Flows to list.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """What is in a capture: format, link types, times, counts, top flows, trouble. Of a report its summary."""
    if Path(capture).is_dir():
        from pcaptool.cli.analyze import show_report
        from pcaptool.tables.report import open_report

        show_report(open_report(capture), as_json=as_json)
        return
    from pcaptool.analyze.pipeline import Pass
    from pcaptool.report.info import COLUMNS, CaptureInfo

    passed = Pass(capture, COLUMNS)
    with status("reading"):
        found = CaptureInfo(passed.rows(), flows)
    about = [each for read in passed.captures for each in _about(capture, read)]
    about += [("note", notice) for notice in passed.notices]
    if as_json:
        typer.echo(json.dumps(found.as_dict(about), indent=1, default=str))
    else:
        console().print(found.shown(about))


def _about(path: str, capture: CaptureReader) -> list[tuple[str, object]]:
    """What the file's headers say; pcapng names interfaces on the way."""
    return [
        ("file", path),
        ("format", capture.format + (f", {capture.compression}" if capture.compression else "")),
        *((f"interface {n}", text) for n, text in enumerate(_interfaces(capture))),
    ]


def _interfaces(capture: CaptureReader) -> list[str]:
    from pcaptool.wire.linktype import LinkType

    known = {int(kind): kind.name for kind in LinkType}
    out = []
    for face in capture.interfaces:
        words = [face.name, known.get(face.linktype, f"link type {face.linktype}")]
        words += [face.description, f"snaplen {face.snaplen}" if face.snaplen else "no snaplen"]
        out.append(", ".join(word for word in words if word))
    return out
