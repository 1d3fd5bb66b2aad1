"""The manifest of the lab captures: name, tap, time of the first packet, packets, bytes, SHA-256.

    python tests/lab_manifest.py        writes fixtures/captures/lab/manifest.csv anew

Run it after a capture was added; the sums of those that were there must not change.
"""

from __future__ import annotations

import csv
import hashlib
from datetime import UTC, datetime
from pathlib import Path

import dpkt

FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "captures" / "lab"
COLUMNS = ("file", "scenario", "tap", "first_packet", "packets", "bytes", "sha256")


def row(path: Path) -> dict[str, str]:
    """One line of the manifest."""
    with path.open("rb") as file:
        packets = list(dpkt.pcap.Reader(file))
    data = path.read_bytes()
    scenario, tap, _ = path.name.rsplit(".", 2)
    first = datetime.fromtimestamp(int(packets[0][0]), UTC)
    values = (path.name, scenario, tap, first.strftime("%Y-%m-%dT%H:%M:%SZ"), len(packets), len(data))
    return dict(zip(COLUMNS, [*map(str, values), hashlib.sha256(data).hexdigest()], strict=True))


def rows() -> list[dict[str, str]]:
    """The manifest of the captures that are there."""
    return [row(path) for path in sorted(FOLDER.glob("*.pcap"))]


if __name__ == "__main__":
    with (FOLDER / "manifest.csv").open("w", newline="") as out:
        writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows())
