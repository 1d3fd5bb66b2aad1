"""Damaged captures, for a while: reading and decoding must end without any exception but the house's own.

    python tests/fuzz/captures.py [--seconds N] [--seed N] [--compiled] [FOLDER...]

Bytes of real captures are changed and cut at random; the same seed makes the same files. Plain kernels raise
where they read beyond a buffer, compiled ones would crash: run both. Prints how many files were tried and the
slowest; a failure is written beside the working folder, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import io
import random
import time
import traceback
from pathlib import Path

from pcaptool.decode.decoder import Decoder
from pcaptool.engine import Engine
from pcaptool.errors import PcapToolError
from pcaptool.file import open_capture

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "captures" / "lab"
LONGEST = 4000  # bytes of a seed: short files are tried more often


def damaged(seeds: list[bytes], chance: random.Random) -> bytes:
    """One of the seeds with some bytes changed, perhaps cut."""
    raw = bytearray(chance.choice(seeds))
    for _ in range(chance.choice([1, 2, 5, 20, 80])):
        raw[chance.randrange(len(raw))] = chance.choice([0, 255, chance.randrange(256)])
    return bytes(raw[: chance.randrange(len(raw))] if chance.random() < 0.2 else raw)


def decode(raw: bytes, mode: str) -> None:
    """Read and decode all of it."""
    engine = Engine(mode)
    try:
        with open_capture(io.BytesIO(raw), engine) as capture:
            for _ in Decoder(engine).batches(capture):
                pass
    except PcapToolError:
        pass


def main() -> int:
    """Try until the time is over."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("folders", nargs="*", type=Path, default=[FIXTURES])
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--compiled", action="store_true")
    chosen = options.parse_args()
    files = sorted(p for folder in chosen.folders for p in folder.glob("*.pcap*") if p.is_file())
    seeds = [p.read_bytes()[:LONGEST] for p in files]
    chance = random.Random(chosen.seed)
    end = time.monotonic() + chosen.seconds
    tried = failed = 0
    slowest = 0.0
    while time.monotonic() < end:
        raw = damaged(seeds, chance)
        begin = time.monotonic()
        try:
            decode(raw, "compiled" if chosen.compiled else "plain")
        except Exception:  # noqa: BLE001 - whatever it is, it is the finding
            traceback.print_exc()
            Path(f"fuzz-failure-{chosen.seed}-{tried}.pcap").write_bytes(raw)
            failed += 1
        slowest = max(slowest, time.monotonic() - begin)
        tried += 1
    print(f"{tried} files, {failed} failures, slowest {slowest:.3f} s")  # noqa: T201 - a script
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
