"""Whether `generate` still writes the same bytes: for changes that are to make it faster and nothing else.

    python tests/bench/same.py BEFORE.json              on the old code: SHA-256 of every file of every run
    python tests/bench/same.py AFTER.json BEFORE.json   on the new code: which of them differ

Runs: all scenarios of fixtures/, a bulk transfer, many short connections, network cards with a queue, IPv6 with losses;
as pcap and pcapng, with notes and without, at one tap and at several. Exit code 1 where a file differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from pcaptool.errors import PcapToolError  # noqa: E402 - a script finds the package by itself
from pcaptool.generate import generate  # noqa: E402
from pcaptool.scenario import Scenario, load_scenario, parse_scenario  # noqa: E402

MORE = {
    "bulk": '[client]\nrequests = ["/bytes/30000000"]\n[limits]\nmax_frames = 100000000\n',
    "short": '[client]\nconnections = 400\nstagger_ms = 0.2\nrequests = ["/bytes/1000"]\n',
    "card": '[client]\nconnections = 20\nrequests = ["/bytes/300000"]\n[host.server]\ndriver = "nic"\n'
    'qdisc = "fq_codel"\n[link]\nrate_mbit = 1000\ndelay_ms = 5\n',
    "losses": 'family = 6\n[client]\nconnections = 50\nstagger_ms = 0.1\nrequests = ["/bytes/100000"]\n'
    "[link]\nloss_percent = 0.5\n",
}
TAPS = (("server",), ("wire",), ("server", "client", "wire"))


def plans() -> Iterator[tuple[str, Scenario]]:
    """Name and scenario of each run."""
    for path in sorted((ROOT / "fixtures").rglob("*.toml")):
        try:
            yield str(path.relative_to(ROOT)), load_scenario(path)
        except PcapToolError:
            continue  # tables of other things are TOML, too
    for name, text in MORE.items():
        yield name, parse_scenario(text)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file, by run and name."""
    found = {}
    for name, plan in plans():
        for ending, annotate in (("pcap", False), ("pcapng", False), ("pcapng", True)):
            for taps in TAPS:
                generate(plan, folder / f"x.{ending}", taps=taps, annotate=annotate)
                for path in sorted(folder.iterdir()):
                    key = f"{name} {'+'.join(taps)} {'annotated ' if annotate else ''}{path.name}"
                    found[key] = hashlib.sha256(path.read_bytes()).hexdigest()
                    path.unlink()
    return found


def main() -> int:
    """Write the digests; compare them with earlier ones."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("before", type=Path, nargs="?")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pcaptool-same-") as folder:
        found = digests(Path(folder))
    chosen.out.write_text(json.dumps(found, indent=0))
    if chosen.before is None:
        print(f"{len(found)} files")
        return 0
    before = json.loads(chosen.before.read_text())
    differ = sorted(key for key in before.keys() | found.keys() if before.get(key) != found.get(key))
    print(f"{len(found)} files, {len(differ)} differ", *differ[:20], sep="\n")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
