"""How much memory `pcaptool analyze` takes of a long capture, and of one with very many conversations.

    python -m tests.bench.memory [--gigabytes N] [--flows N] [--open N] [--report FILE]

The long capture is the benchmark's full-size one, piped again and again: nothing lies on the disk. The others are
`open_conversations`: without data, and with data and without end.
Peak memory is the kernel's ru_maxrss. Writes the section `memory` of reports/benchmarks.md.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import BinaryIO

from tests.bench.analyze import REPORT, make_capture, write_sections
from tests.bench.open_conversations import FILE_HEADER, KINDS, write_conversations

LIMIT_MIB, LIMIT_KIB_A_FLOW = 350, 2


def repeated(pipe: BinaryIO, capture: Path, size_bytes: int) -> None:
    """Write a capture's packets until so many bytes have passed."""
    packets = capture.read_bytes()[len(FILE_HEADER) :]
    pipe.write(FILE_HEADER)
    pipe.writelines(packets for _ in range(-(-size_bytes // len(packets))))


def peak(*what: str, tables: str = "") -> tuple[float, float]:
    """Seconds, and MiB at most, of analyzing what this script writes when it is called with `what`.

    A process's peak is at least what its parent held when it was born, so another process writes.
    """
    with tempfile.TemporaryDirectory(prefix="pcaptool-bench-") as folder:
        command = [sys.executable, "-m", "pcaptool.cli.main", "analyze", "-", "-o", f"{folder}/report", "-q"]
        command += ["--tables", tables] if tables else []
        writing = [sys.executable, "-m", "tests.bench.memory", "--write", *what]
        begin = time.perf_counter()
        with subprocess.Popen(writing, stdout=subprocess.PIPE) as writer:
            child = subprocess.Popen(command, stdin=writer.stdout)
            _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode or writer.returncode:
            raise SystemExit(f"analyze ended with {child.returncode}, its writer with {writer.returncode}")
    return time.perf_counter() - begin, usage.ru_maxrss / 1024


def of_conversations(kind: str, count: int) -> str:
    """A row of the report: conversations of a kind, all tables and `flows` alone."""
    (seconds, mib), (_, flows_mib) = (peak(kind, str(count), tables=names) for names in ("", "flows"))
    limit = LIMIT_MIB + count * LIMIT_KIB_A_FLOW / 1024
    packets = count * len(KINDS[kind][0])
    numbers = f"{packets:,} | {seconds:.0f} | {mib:.0f} | {limit:.0f} | {flows_mib:.0f}"
    return f"| {count:,} conversations: {kind} | {numbers} |"


def main() -> None:
    """All captures, and the section of the report."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--gigabytes", type=float, default=10)
    options.add_argument("--flows", type=int, default=1_000_000, help="conversations without data")
    options.add_argument("--open", type=int, default=200_000, help="conversations of each kind with data")
    options.add_argument("--report", type=Path, default=REPORT)
    options.add_argument("--write", nargs=2, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.write:
        what, size = chosen.write
        if what in KINDS:
            write_conversations(sys.stdout.buffer, what, int(size))
        else:
            repeated(sys.stdout.buffer, Path(what), int(size))
        return
    lines = [
        "| capture | packets | seconds | peak MiB | limit MiB | `flows` alone |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    with tempfile.TemporaryDirectory(prefix="pcaptool-bench-") as folder:
        capture = Path(folder) / "full.pcap"
        make_capture(capture, 300_000, 262_144)
        size = capture.stat().st_size
        for gigabytes in (min(1.0, chosen.gigabytes), chosen.gigabytes):
            total = round(gigabytes * 1e9)
            seconds, mib = peak(str(capture), str(total))
            packets = -(-total // size) * 300_000
            numbers = f"{packets:,} | {seconds:.0f} | {mib:.0f} | {LIMIT_MIB} | "
            lines.append(f"| {gigabytes:g} GB, full-size packets | {numbers}|")
    for kind in KINDS:
        lines.append(of_conversations(kind, chosen.flows if kind == next(iter(KINDS)) else chosen.open))
        print(lines[-1], flush=True)
    command = shlex.join(["-m", "tests.bench.memory", *sys.argv[1:]])
    how = f"`python {command}`: all tables of `pcaptool analyze`, read from a pipe. Conversations with data never end."
    write_sections(chosen.report, {"memory": "\n".join([how, "", *lines])})
    print("\n".join(lines))


if __name__ == "__main__":
    main()
