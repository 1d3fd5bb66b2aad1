"""How far from the least: our kernels against a C program (`floor.c`), an analysis against C and pyarrow in series.

    python tests/bench/floor.py [--packets N] [--runs N] [--write]

The C program reads the same capture and fills arrays with the common fields; it does less than our kernels do. Of our
side the processor time of reading, walking and field kernels is counted, warm, in this process; the rest of decoding
(columns from arrays) is Python. The floor of a report is the C program's time and that of one thread which encodes the
same columns by pyarrow with the report's own settings. Needs a C compiler (cc). With --write the section "floor" of
reports/benchmarks.md is written anew.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import pyarrow.parquet as pq  # noqa: E402 - a script finds the package by itself

from pcaptool.analyze.pipeline import analyze  # noqa: E402
from pcaptool.decode.decoder import Decoder, decoded_columns  # noqa: E402
from pcaptool.engine import Engine  # noqa: E402
from pcaptool.file.reader import open_capture  # noqa: E402
from pcaptool.tables import TABLES  # noqa: E402
from pcaptool.tables.parquet import writer  # noqa: E402
from tests.bench.analyze import LAYERS, REPORT, make_capture, write_sections  # noqa: E402


def c_program(folder: Path, capture: Path) -> float:
    """Seconds of the C program's best round of five."""
    program = folder / "floor"
    source = Path(__file__).with_suffix(".c")
    subprocess.run(["cc", "-O3", "-march=native", "-o", str(program), str(source)], check=True)
    done = subprocess.run([str(program), str(capture), "5"], check=True, capture_output=True, text=True)
    return min(map(float, done.stdout.split()))


class CountingEngine(Engine):
    """An engine that adds up the processor time of its kernels."""

    def __init__(self) -> None:
        super().__init__("compiled")
        self.spent_ns: Counter[str] = Counter()

    def function(self, module: str, name: str) -> Callable[..., Any]:
        """As Engine has it, counted."""
        call = super().function(module, name)

        def counted(*args: Any) -> Any:
            begin = time.thread_time_ns()
            result = call(*args)
            self.spent_ns[name] += time.thread_time_ns() - begin
            return result

        return counted


def decoding(capture: Path) -> tuple[float, float]:
    """Seconds of processor time: kernels, and all of reading and decoding, without checksums."""
    engine = CountingEngine()
    sums = {"checksum_status", "checksum_partial"}
    tables = ("packets", "link", "ip", "tcp", "udp")
    decoder = Decoder(
        engine, {t: set(decoded_columns(t)) - (sums if t in ("tcp", "udp") else set()) for t in tables}
    )
    best = (float("inf"), float("inf"))
    for _ in range(3):
        engine.spent_ns.clear()
        begin = time.thread_time()
        with open_capture(capture, engine) as opened:
            for _batch in decoder.batches(opened):
                pass
        best = min(best, (engine.spent_ns.total() / 1e9, time.thread_time() - begin))
    return best


def encoding(report: Path, folder: Path) -> float:
    """Seconds of processor time in which one thread writes a report's tables again."""
    total = 0.0
    for name in LAYERS.split(","):
        table = pq.read_table(report / f"{name}.parquet", schema=TABLES[name].arrow_schema)
        batches = table.to_batches(65_536)
        begin = time.thread_time()
        with writer(TABLES[name], folder / "again.parquet") as out:
            for batch in batches:
                out.write_batch(batch)
        total += time.thread_time() - begin
    return total


def main() -> None:
    """Measure, print, and write if asked."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--packets", type=int, default=1_000_000)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--write", action="store_true")
    chosen = options.parse_args()
    if shutil.which("cc") is None:
        sys.exit("no C compiler (cc)")
    lines = [
        (
            f"`python {shlex.join(['tests/bench/floor.py', *sys.argv[1:]])}`: {chosen.packets:,} packets,"
            f" {os.cpu_count()} processors; seconds, medians of {chosen.runs} runs."
            " C: 43 arrays, no errors, tunnels, fragments, dictionaries (`tests/bench/floor.c`)."
        ),
        "",
        (
            "| capture | C | our kernels | C / kernels | our decoding | encoding | C and encoding"
            " | our analysis, warm | of the floor |"
        ),
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for title, snaplen in (("full-size", 262_144), ("128 bytes a packet", 128)):
        with tempfile.TemporaryDirectory(prefix="pcaptool-floor-") as name:
            folder = Path(name)
            capture = folder / "bench.pcap"
            make_capture(capture, chosen.packets, snaplen)
            rows = []
            analyze(capture, folder / "report", tables=LAYERS.split(","), engine=Engine("compiled"))
            for _ in range(chosen.runs):
                c, (kernels, decoded) = c_program(folder, capture), decoding(capture)
                begin = time.perf_counter()
                analyze(capture, folder / "report", tables=LAYERS.split(","), engine=Engine("compiled"))
                ours = time.perf_counter() - begin
                encoded = encoding(folder / "report", folder)
                rows.append(
                    (c, kernels, c / kernels, decoded, encoded, c + encoded, ours, ours / (c + encoded))
                )
            middle = [statistics.median(column) for column in zip(*rows, strict=True)]
            cells = " | ".join(f"{value:.2f}" for value in middle)
            lines.append(f"| {title} | {cells} |")
    lines += [
        "",
        "Wanted: kernels at least 0.9 times as fast as C; the analysis at most 1.5 times the floor.",
    ]
    print("\n".join(lines))
    if chosen.write:
        write_sections(REPORT, {"floor": "\n".join(lines)})


if __name__ == "__main__":
    main()
