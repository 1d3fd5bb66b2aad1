"""The diff's speed: two long captures, one packet in a thousand differing, against tcpdump twice and diff.

    python tests/bench/diff.py [--packets N] [--snaplen N] [--runs N] [--write]
    python tests/bench/diff.py --memory 1000000,5000000 [--write]

The captures are made here: A is the capture of `tests/bench/analyze.py`, B the same a second later; of every
thousandth packet, in turn, the window or the TTL is another, the packet is missing, or it is there twice. Every run
takes both programs one after the other; the ratio is the median over the runs of (their time / ours) of one run.
tcpdump prints no times (-t): with them every line would differ. With --write the section "diff" of
reports/benchmarks.md is written anew. With --memory only the greatest resident memory of one process is measured,
for each length and relation (the page's section "diff memory").
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shlex
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from pcaptool.wire.checksum import sum16  # noqa: E402 - a script finds the package by itself
from tests.bench.analyze import make_capture  # noqa: E402

PAGE = ROOT / "reports" / "benchmarks.md"
EVERY = 1000
MOST_MODEL = 2_000_000  # packets of a side where everything is decoded: some GB


class Cost(NamedTuple):
    """Of one process and its children: seconds on the clock, seconds of processors, largest resident memory."""

    seconds: float
    cpu: float
    peak_mb: float


def changed(frame: bytes, turn: int) -> list[bytes]:
    """What becomes of a frame of TCP over IPv4 without IP options."""
    if turn == 0:
        window = (int.from_bytes(frame[48:50], "big") + 1) % 65536
        return [frame[:48] + window.to_bytes(2, "big") + frame[50:]]
    if turn == 1:
        head = bytearray(frame[14:34])
        head[8] -= 1
        head[10:12] = b"\0\0"
        head[10:12] = (~sum16(bytes(head), 0) & 0xFFFF).to_bytes(2, "big")
        return [frame[:14] + bytes(head) + frame[34:]]
    return [] if turn == 2 else [frame, frame]


def make_other(source: Path, path: Path) -> tuple[int, int]:
    """The capture a second later, with its changes; packets of the source, and how many were changed."""
    data, at, count, changes = source.read_bytes(), 24, 0, 0
    with path.open("wb") as file:
        file.write(data[:24])
        while at < len(data):
            sec, frac, caplen, length = struct.unpack_from("<IIII", data, at)
            frame = data[at + 16 : at + 16 + caplen]
            frames = [frame]
            if count % EVERY == EVERY // 2:
                frames = changed(frame, changes % 4)
                changes += 1
            for one in frames:
                file.write(struct.pack("<IIII", sec + 1, frac, caplen, length) + one)
            at, count = at + 16 + caplen, count + 1
    return count, changes


def make_pair(folder: Path, packets: int, snaplen: int) -> tuple[Path, Path, tuple[int, int]]:
    """Both captures, and what `make_other` says.

    A process's peak is at least what its parent held when it was born, so another process makes them.
    """
    a, b = folder / "a.pcap", folder / "b.pcap"
    with ProcessPoolExecutor(1, get_context("spawn")) as maker:
        maker.submit(make_capture, a, packets, snaplen).result()
        return a, b, maker.submit(make_other, a, b).result()


def measured(command: list[str]) -> Cost:
    """One run of a command; exit codes 0 and 1 are fine."""
    # Installed modules have bytecode; a checkout's may be told to have none.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    begin = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    took = time.perf_counter() - begin
    if process.returncode not in (0, 1):
        raise SystemExit(f"{shlex.join(command)}: exit code {process.returncode}")
    return Cost(took, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000)


def section(packets: int, snaplen: int, runs: int) -> str:
    """Measure, and the figures as a section of the page."""
    with tempfile.TemporaryDirectory(prefix="pcaptool-bench-") as folder:
        a, b, (count, changes) = make_pair(Path(folder), packets, snaplen)
        texts = [shlex.quote(f"{p}.txt") for p in (a, b)]
        script = "; ".join(
            f"tcpdump -nn -t -r {shlex.quote(str(p))} > {t}" for p, t in zip((a, b), texts, strict=True)
        )
        theirs = ["sh", "-c", f"{script}; diff {' '.join(texts)}"]
        ours = [sys.executable, "-m", "pcaptool.cli.main", "diff", str(a), str(b)]
        measured(ours)  # kernels are compiled, files are in the page cache
        measured(theirs)
        pairs = [(measured(ours), measured(theirs)) for _ in range(runs)]
    mine, other = ([pair[i] for pair in pairs] for i in (0, 1))

    def row(name: str, costs: list[Cost]) -> str:
        seconds, cpu = (statistics.median(getattr(c, w) for c in costs) for w in ("seconds", "cpu"))
        peak = max(c.peak_mb for c in costs)
        return f"| {name} | {seconds:.2f} | {cpu:.2f} | {2 * count / seconds:,.0f} | {peak:,.0f} MB |"

    ratio = statistics.median(t.seconds / o.seconds for o, t in pairs)
    ratio_cpu = statistics.median(t.cpu / o.cpu for o, t in pairs)
    load = os.getloadavg()[0]
    return "\n".join(
        (
            "## diff",
            "",
            f"`tests/bench/diff.py --packets {packets} --snaplen {snaplen} --runs {runs}`: two captures of {count:,}",
            f"packets, {changes:,} of them changed (window, TTL, missing, twice); medians of {runs} paired runs,",
            f"Python {platform.python_version()}, {os.cpu_count()} processors, load {load:.1f} while it ran.",
            "",
            "| what | seconds | of processors | packets/s (both sides) | memory |",
            "| --- | ---: | ---: | ---: | ---: |",
            row("`pcaptool diff`", mine),
            row("`tcpdump -nn -t` twice and `diff`", other),
            "",
            (
                f"Ratio: theirs took {ratio:.2f} times as long as ours, and {ratio_cpu:.2f} times the processors' time"
                " (wanted: 3)."
            ),
            "",
        )
    )


def memory_section(lengths: list[int], snaplen: int) -> str:
    """The greatest resident memory for some lengths, as a section of the page."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="pcaptool-bench-") as folder:
        for packets in lengths:
            a, b, _ = make_pair(Path(folder), packets, snaplen)
            command = [sys.executable, "-m", "pcaptool.cli.main", "diff", str(a), str(b), "--as"]
            peaks = [
                measured([*command, relation]).peak_mb
                if relation != "model" or packets <= MOST_MODEL
                else None
                for relation in ("path", "exact", "model")
            ]
            cells = " | ".join("not run" if peak is None else f"{peak:,.0f} MB" for peak in peaks)
            rows.append(f"| {packets:,} | {cells} |")
    return "\n".join(
        (
            "## diff memory",
            "",
            f"`tests/bench/diff.py --memory {','.join(map(str, lengths))} --snaplen {snaplen}`: ru_maxrss of the whole",
            f"process, captures as above, one run each; temporary files in {tempfile.gettempdir()} (a tmpfs is memory,",
            f"too, but not the process's). Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}.",
            "",
            "| packets of each side | `path` | `exact` | `model` |",
            "| ---: | ---: | ---: | ---: |",
            *rows,
            "",
        )
    )


def main() -> None:
    """Measure and print; with --write into the page."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--packets", type=int, default=1_000_000)
    options.add_argument("--snaplen", type=int, default=128)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--write", action="store_true")
    options.add_argument("--memory", type=lambda text: [int(n) for n in text.split(",")])
    chosen = options.parse_args()
    if chosen.memory:
        made, name = memory_section(chosen.memory, chosen.snaplen), "diff memory"
    else:
        made, name = section(chosen.packets, chosen.snaplen, chosen.runs), "diff"
    print(made)
    if chosen.write:
        text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else "# Benchmarks\n"
        other = re.sub(rf"## {name}\n.*?(?=^## |\Z)", "", text, flags=re.DOTALL | re.MULTILINE)
        PAGE.write_text(f"{other.rstrip()}\n\n{made}", encoding="utf-8")


if __name__ == "__main__":
    main()
