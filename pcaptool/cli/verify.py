"""`pcaptool verify`: our columns against Wireshark's, value by value."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pcaptool.cli.terminal import answer, console, status

__all__ = ["verify"]


class Decoder(StrEnum):
    """Who else decodes the capture."""

    TSHARK = "tshark"


def verify(
    capture: Annotated[Path, typer.Argument(help="pcap or pcapng.", metavar="CAPTURE")],
    against: Annotated[Decoder, typer.Option(help="Who else decodes it.")] = Decoder.TSHARK,
    shown: Annotated[int, typer.Option("--show", min=0, help="Mismatches to list.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Compare every column that has a Wireshark name with another decoder's value, in every packet.

    Exit code 0: equal but for what is meant to differ; 1: mismatches; 2: cannot be compared.
    """
    from rich.text import Text

    from pcaptool.errors import printable
    from pcaptool.report.words import count
    from pcaptool.verify import verify as run_verify

    with status(f"decoding twice: pcaptool, {against.value}"):
        verdict = run_verify(capture)
    wrong = verdict.mismatches
    if as_json:
        found = {
            "packets": verdict.packets,
            "values": verdict.values,
            "mismatches": [str(m) for m in wrong[:shown]],
            "mismatch_count": len(wrong),
            "meant": verdict.meant,
        }
        answer(json.dumps(found, indent=1))
    else:
        out = console()
        out.print(f"{count(verdict.packets)} packets, {count(verdict.values)} values compared: ", end="")
        out.print(f"{count(len(wrong))} mismatches" if wrong else "all equal")
        for reason, times in verdict.meant.items():
            out.print(Text(f"  {count(times)} differ as meant: {printable(reason)}"))
        for mismatch in wrong[:shown]:
            out.print(Text(f"  {printable(str(mismatch))}"))
    raise typer.Exit(1 if wrong else 0)
