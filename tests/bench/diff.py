"""How fast `pcaptool diff` is against `tcpdump -nn` twice and `diff`, as whole processes on the same captures.

    python tests/bench/diff.py [--packets N] [--runs N] [--write]

The captures are made here: A is the bundled capture of `tests/bench/analyze.py` over and over, B the same with the
window of one packet in a thousand changed and its times shifted. With --write the section "diff" of
reports/benchmarks.md is written anew.
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
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tests.bench.analyze import make_capture  # noqa: E402 - a script finds the package's tests by itself

PAGE = ROOT / "reports" / "benchmarks.md"
_EVERY = 1000


def make_other(source: Path, path: Path) -> int:
    """The capture a second later; of every thousandth packet, or the next TCP one, another window."""
    data, out, at, count, changed, due = source.read_bytes(), [], 24, 0, 0, 500
    out.append(data[:24])
    while at < len(data):
        sec, frac, caplen, length = struct.unpack_from("<IIII", data, at)
        frame = data[at + 16 : at + 16 + caplen]
        if count >= due and frame[12:14] == b"\x08\x00" and frame[23] == 6:
            window = (int.from_bytes(frame[48:50], "big") + 1) % 65536
            frame = frame[:48] + window.to_bytes(2, "big") + frame[50:]
            changed, due = changed + 1, due + _EVERY
        out.append(struct.pack("<IIII", sec + 1, frac, caplen, length) + frame)
        at, count = at + 16 + caplen, count + 1
    path.write_bytes(b"".join(out))
    return changed


def measured(command: list[str], runs: int) -> tuple[float, float]:
    """Median wall time in seconds and largest resident memory in MB of a command; exit codes 0 and 1 are fine."""
    times, most = [], 0
    for _ in range(runs):
        begin = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        times.append(time.perf_counter() - begin)
        most = max(most, usage.ru_maxrss)
        if process.returncode not in (0, 1):
            raise SystemExit(f"{shlex.join(command)}: exit code {process.returncode}")
    return statistics.median(times), most / 1000


def section(packets: int, runs: int) -> str:
    """Measure, and the figures as a section of the page."""
    with tempfile.TemporaryDirectory(prefix="pcaptool-bench-") as folder:
        a, b = Path(folder) / "a.pcap", Path(folder) / "b.pcap"
        count = make_capture(a, packets)
        changed = make_other(a, b)
        texts = [shlex.quote(str(p) + ".txt") for p in (a, b)]
        script = "; ".join(
            f"tcpdump -nn -tt -r {shlex.quote(str(p))} > {t}" for p, t in zip((a, b), texts, strict=True)
        )
        theirs = ["sh", "-c", f"{script}; diff {' '.join(texts)}"]
        ours = [sys.executable, "-m", "pcaptool.cli.main", "diff", str(a), str(b), "--as", "path"]
        measured(ours, 1)  # kernels are compiled, files are in the page cache
        our_time, our_memory = measured(ours, runs)
        their_time, _ = measured(theirs, runs)
    return "\n".join(
        (
            "## diff",
            "",
            f"`tests/bench/diff.py --packets {packets}`: two captures of {count:,} packets,",
            f"{changed:,} of them differing; median of {runs}, Python {platform.python_version()},",
            f"{os.cpu_count()} processors.",
            "",
            "| what | seconds | packets/s (both sides) | memory |",
            "| --- | ---: | ---: | ---: |",
            f"| `pcaptool diff --as path` | {our_time:.2f} | {2 * count / our_time:,.0f} | {our_memory:,.0f} MB |",
            f"| `tcpdump -nn` twice and `diff` | {their_time:.2f} | {2 * count / their_time:,.0f} | |",
            "",
            f"Ratio: pcaptool takes {our_time / their_time:.1f} times as long (wanted: a third).",
            "",
        )
    )


def main() -> None:
    """Measure and print; with --write into the page."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--packets", type=int, default=1_000_000)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--write", action="store_true")
    chosen = options.parse_args()
    made = section(chosen.packets, chosen.runs)
    print(made)
    if chosen.write:
        text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else "# Benchmarks\n"
        other = re.sub(r"## diff\n.*?(?=^## |\Z)", "", text, flags=re.DOTALL | re.MULTILINE)
        PAGE.write_text(f"{other.rstrip()}\n\n{made}", encoding="utf-8")


if __name__ == "__main__":
    main()
