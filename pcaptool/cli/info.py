"""`pcaptool info`: what is in a capture, or in a report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    from pcaptool.analyze.pipeline import frames
    from pcaptool.report.info import capture_info

    notices: list[str] = []
    with status("reading"):
        about = [] if capture == "-" else _about(capture)
        tables = frames(capture, ["packets", "flows"], notices=notices)
    about += [("note", notice) for notice in notices]
    if as_json:
        typer.echo(json.dumps(_as_dict(about, tables), indent=1, default=str))
    else:
        console().print(capture_info(about, tables, flows))


def _about(path: str) -> list[tuple[str, object]]:
    """What the file's headers say; pcapng names interfaces on the way, so it is read once through."""
    from pcaptool.file import open_capture

    with open_capture(path) as capture:
        if capture.format == "pcapng":
            for _ in capture.runs():
                pass
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


def _as_dict(about: list[tuple[str, object]], tables: dict[str, Any]) -> dict[str, Any]:
    packets, flows = tables["packets"], tables["flows"]
    times = packets["ts"].cast(int) if packets.height else None
    return {
        "about": [{"name": name, "value": value} for name, value in about],
        "packets": packets.height,
        "flows": flows.height,
        "captured_bytes": int(packets["cap_len"].sum()),
        "original_bytes": int(packets["len"].sum()),
        "first_ns": None if times is None else times.min(),
        "last_ns": None if times is None else times.max(),
        "undecoded": int(packets["err_layer"].is_not_null().sum()),
    }
