"""How fast application tables alone are: `analyze --tables http` against tshark's HTTP fields and tcpflow's streams;
and what TCP analysis costs beside decoding.

    python tests/bench/streams.py [--runs N] [--packets N] [--report FILE]

On the benchmark's full-size capture (`analyze.make_capture`: downloads of 1 MiB over HTTP, one a connection). Programs
take turns, a ratio is the median over the runs of (their time / ours) of one run; one run of ours before them warms
the caches. What the capture does not have (DNS, TLS) costs what finding that out costs. A second capture holds nothing
but small exchanges. What an analysis costs is the processor time of one thread in this process, batch by batch,
decoding and analysis in turns: other programs on the machine make it less exact, not longer. Writes the section
`streams` of reports/benchmarks.md.
"""

from __future__ import annotations

import argparse
import resource
import shlex
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from pcaptool.analyze.flows import FlowAnalysis
from pcaptool.analyze.selection import select
from pcaptool.decode.decoder import DECODED, Decoder
from pcaptool.engine import Engine
from pcaptool.file.reader import open_capture
from tests.bench.analyze import REPORT, make_capture, run, warm, write_sections
from tests.bench.small_exchanges import make_small_exchanges

FIELDS = [
    "frame.number",
    "tcp.stream",
    "http.request.method",
    "http.request.uri",
    "http.response.code",
    "http.time",
]
GOALS = {("http", "tshark -Y http -T fields"): "20", ("http", "tcpflow"): "1"}

SMALL = 30_000  # exchanges

# What the flow analysis is asked for: column by column more of it runs.
ANALYSED = {
    "which conversation (`tcp.flow`)": ["tcp.flow"],
    "Wireshark's `tcp.analysis.*`": ["tcp.analysis_retransmission"],
}


def thread_seconds(capture: Path, columns: list[str] | None, engine: Engine) -> tuple[float, float]:
    """Processor time of decoding all layers of a capture, and of the flow analysis of its batches."""
    analysis = FlowAnalysis(engine, select(columns=columns))
    decoder = Decoder(engine, set(DECODED))
    decoding = analyzing = 0.0
    with open_capture(capture, engine) as file:
        batches = decoder.batches(file, 0)
        while True:
            begin = time.thread_time()
            batch = next(batches, None)
            decoded = time.thread_time()
            decoding += decoded - begin
            if batch is None:
                break
            analysis.feed(batch)
            analyzing += time.thread_time() - decoded
    begin = time.thread_time()
    for _ in analysis.parts():
        pass
    return decoding, analyzing + time.thread_time() - begin


def cpu_seconds() -> float:
    """Processor time of all programs that were run and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def analysis_costs(capture: Path, runs: int) -> list[str]:
    """Rows of a table: what is analyzed, decoding, analysis, ratio."""
    engine = Engine("compiled")
    asked: dict[str, list[str] | None] = {**ANALYSED, "all columns of `tcp` and `flows`": None}
    thread_seconds(capture, None, engine)
    seconds = {
        name: [thread_seconds(capture, columns, engine) for _ in range(runs)]
        for name, columns in asked.items()
    }
    lines = [
        "| analysis | its seconds | decoding | analysis / decoding | goal |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, found in seconds.items():
        decoding, analyzing = (statistics.median(each[k] for each in found) for k in (0, 1))
        ratio = statistics.median(a / d for d, a in found)
        lines.append(f"| {name} | {analyzing:.3f} | {decoding:.3f} | {ratio:.2f} | at most 1 |")
    return lines


def timed(
    capture: Path, tables: dict[str, str], runs: int, folder: Path, goals: dict[tuple[str, str], str]
) -> list[str]:
    """Rows of a table: analyze's tables of a capture against tshark and tcpflow, in turns."""

    def analyze(names: str) -> list[str]:
        program = [sys.executable, "-m", "pcaptool.cli.main", "analyze", str(capture), "-q"]
        return [*program, "-o", f"{folder}/report", "--tables", names]

    fields = [word for name in FIELDS for word in ("-e", name)]
    commands = {name: analyze(names) for name, names in tables.items()}
    theirs = {
        "tshark -Y http -T fields": [
            "tshark",
            "-n",
            "-r",
            str(capture),
            "-Y",
            "http",
            "-T",
            "fields",
            *fields,
        ]
    }
    if shutil.which("tcpflow"):
        theirs["tcpflow"] = ["tcpflow", "-q", "-r", str(capture), "-o", f"{folder}/flows"]
    run(next(iter(commands.values())))
    seconds: dict[str, list[float]] = {name: [] for name in (*commands, *theirs)}
    cpu: dict[str, list[float]] = {name: [] for name in seconds}
    for _ in range(runs):
        for name, command in (commands | theirs).items():
            warm(capture)
            before = cpu_seconds()
            seconds[name].append(run(command)[0])
            cpu[name].append(cpu_seconds() - before)
            shutil.rmtree(f"{folder}/flows", ignore_errors=True)
    lines = [
        "| ours | seconds | processor | against | seconds | processor | theirs / ours | of processor time | goal |",
        "| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for mine in commands:
        start = f"| `{mine}` | {statistics.median(seconds[mine]):.2f} | {statistics.median(cpu[mine]):.2f} |"
        if not mine.startswith("http"):
            lines.append(f"{start} | | | | | |")
            continue
        for other in theirs:
            wall, busy = (
                statistics.median(t / m for t, m in zip(of[other], of[mine], strict=True))
                for of in (seconds, cpu)
            )
            against = (
                f"{other} | {statistics.median(seconds[other]):.2f} | {statistics.median(cpu[other]):.2f}"
            )
            lines.append(f"{start} {against} | {wall:.1f} | {busy:.1f} | {goals.get((mine, other), '')} |")
    return lines


def main() -> None:
    """Time all programs, write the section."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--packets", type=int, default=1_000_000)
    options.add_argument("--report", type=Path, default=REPORT)
    chosen = options.parse_args()
    ours = {
        "http": "http", "http and timings": "http,timings", "dns": "dns", "tls": "tls", "flows": "flows",
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="pcaptool-bench-") as folder:
        capture, small = (Path(folder) / name for name in ("bench.pcap", "small.pcap"))
        make_capture(capture, chosen.packets, 262_144)
        make_small_exchanges(small, SMALL)
        costs = analysis_costs(capture, max(chosen.runs, 3))
        lines = timed(capture, ours, chosen.runs, Path(folder), GOALS)
        small_lines = timed(small, {"http": "http"}, chosen.runs, Path(folder), {})
    command = shlex.join(["tests/bench/streams.py", *sys.argv[1:]])
    how = (
        f"`python {command}`: `pcaptool analyze --tables`, {chosen.packets:,} full-size packets of HTTP downloads;"
        f" medians of {chosen.runs} paired runs. Other work ran on the machine at the same time."
    )
    inside = (
        "What TCP analysis costs beside decoding all layers, processor seconds of one thread in one process:"
    )
    few = f"{SMALL:,} exchanges of 100 bytes, ten a connection, and nothing else (no goal is set for it):"
    text = "\n".join([how, "", *lines, "", few, "", *small_lines, "", inside, "", *costs])
    write_sections(chosen.report, {"streams": text})
    print(text)


if __name__ == "__main__":
    main()
