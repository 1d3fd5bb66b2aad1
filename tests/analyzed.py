"""A capture's tables by our decoder and analyses, and tshark's fields of it: what the oracle tests compare."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import polars as pl

from pcaptool.analyze.pipeline import frames
from pcaptool.engine import Engine

# Between several occurrences of a field in one frame; a comma also occurs inside values.
SEPARATOR = "\x1f"
# tshark 4.0's defaults, but for the first: pinned, because users change them.
PREFERENCES = {
    "tcp.relative_sequence_numbers": "TRUE",
    "tcp.analyze_sequence_numbers": "TRUE",
    "tcp.desegment_tcp_streams": "TRUE",
    "tcp.reassemble_out_of_order": "FALSE",
    "tcp.track_bytes_in_flight": "TRUE",
    "tcp.bif_seq_based": "FALSE",
    "tcp.fastrt_supersedes_ooo": "TRUE",
    "tcp.calculate_timestamps": "TRUE",
    "tcp.check_checksum": "FALSE",
    "http.desegment_headers": "TRUE",
    "http.desegment_body": "TRUE",
}


def analyzed(path: Path) -> dict[str, pl.DataFrame]:
    """Tables of a capture."""
    return frames(path, engine=Engine("plain"))


def tshark(path: Path, fields: list[str], program: str = "tshark") -> list[dict[str, str]]:
    """One row a frame, field name to text; an absent field is empty."""
    command = [program, "-n", "-r", str(path), "-T", "fields", "-E", f"aggregator={SEPARATOR}"]
    for name, value in PREFERENCES.items():
        command += ["-o", f"{name}:{value}"]
    for field in fields:
        command += ["-e", field]
    environment = os.environ | {"LC_ALL": "C.UTF-8", "TZ": "UTC", "WIRESHARK_CONFIG_DIR": "/nonexistent"}
    out = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, env=environment
    )
    lines = out.stdout.decode("utf-8", "replace").splitlines()
    return [dict(zip(fields, line.split("\t"), strict=True)) for line in lines]


def nanoseconds(text: str) -> int:
    """Seconds with a decimal fraction, as tshark prints them, without a float in between."""
    whole, _, fraction = text.lstrip("-").partition(".")
    value = int(whole) * 1_000_000_000 + int(fraction.ljust(9, "0"))
    return -value if text.startswith("-") else value
