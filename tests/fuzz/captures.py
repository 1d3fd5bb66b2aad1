"""Damaged captures, for a while: reading, decoding and analyzing must end with no exception but the house's own.

    python tests/fuzz/captures.py [--seconds N] [--seed N] [--compiled] [FOLDER...]

Bytes of real captures are changed and cut at random, mostly behind the headers of the records, so that what is
behind is still read, and some are said to have another link type; the same seed makes the same files. Plain
kernels raise where they read beyond a buffer, compiled ones would crash: run both. Prints how many files were
tried and the slowest; a failure is written beside the working folder, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import time
import traceback
from pathlib import Path

from pcaptool.analyze.pipeline import frames
from pcaptool.engine import Engine
from pcaptool.errors import PcapToolError
from pcaptool.wire.linktype import LinkType

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "captures" / "lab"
LONGEST = 4000  # bytes of a seed: short files are tried more often


def damaged(seeds: list[bytes], chance: random.Random) -> bytes:
    """One of the seeds with some bytes changed, perhaps cut."""
    raw = bytearray(chance.choice(seeds))
    if chance.random() < 0.1 and raw[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"):
        raw[20:24] = chance.choice(list(LinkType)).to_bytes(4, "little")
    places = packet_bytes(raw) if chance.random() < 0.8 else range(len(raw))
    for _ in range(chance.choice([1, 2, 5, 20, 80])):
        raw[chance.choice(places or range(len(raw)))] = chance.choice([0, 255, chance.randrange(256)])
    return bytes(raw[: chance.randrange(len(raw))] if chance.random() < 0.2 else raw)


def packet_bytes(raw: bytearray) -> list[int]:
    """Where the packets of a little-endian pcap file are; empty for another one."""
    places: list[int] = []
    if raw[:4] not in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"):
        return places
    at = 24
    while at + 16 < len(raw):
        end = at + 16 + int.from_bytes(raw[at + 8 : at + 12], "little")
        places += range(at + 16, min(end, len(raw)))
        at = end
    return places


def analyze(raw: bytes, mode: str) -> None:
    """All tables of it."""
    with contextlib.suppress(PcapToolError):
        frames(io.BytesIO(raw), engine=Engine(mode))


def main() -> int:
    """Try until the time is over."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("folders", nargs="*", type=Path, default=[FIXTURES])
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--compiled", action="store_true")
    chosen = options.parse_args()
    files = sorted(p for folder in chosen.folders for p in folder.rglob("*.*cap*") if p.is_file())
    seeds = [p.read_bytes()[:LONGEST] for p in files]
    chance = random.Random(chosen.seed)
    end = time.monotonic() + chosen.seconds
    analyze(seeds[0], "plain")  # so that imports are not the slowest
    tried = failed = 0
    slowest = 0.0
    while time.monotonic() < end:
        raw = damaged(seeds, chance)
        begin = time.process_time()
        try:
            analyze(raw, "compiled" if chosen.compiled else "plain")
        except Exception:  # noqa: BLE001 - whatever it is, it is the finding
            traceback.print_exc()
            Path(f"fuzz-failure-{chosen.seed}-{tried}.pcap").write_bytes(raw)
            failed += 1
        slowest = max(slowest, time.process_time() - begin)
        tried += 1
    print(f"{tried} files, {failed} failures, slowest {slowest:.3f} s of processor time")  # noqa: T201 - a script
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
