"""`pcaptool replay` against tcpreplay, in the same run: times as the far side sees them, and top speed. Needs root.

    python tests/bench/replay.py [--runs N] [--packets N] [--loops N] [--write]

Two network namespaces of its own, joined by a veth pair, are made and removed. Timing: a capture of 30,000 packets in
2.6 s (bursts with gaps of microseconds, pauses of up to a millisecond, as TCP has them) is sent by each program in
turn; tcpdump on the far side, with nanoseconds, tells each gap's error and the drift of the last packet. Programs
that are compared have the same priority: plain, both of niceness -20, both real-time. Speed: the same packets once,
and over and over, as fast as it goes. With --write the section "replay" of reports/benchmarks.md is written.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import random
import re
import shlex
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from pcaptool.file import open_capture  # noqa: E402 - a script finds the package's tests by itself
from pcaptool.replay.watching import match  # noqa: E402
from tests.bench.analyze import conversation, write_sections  # noqa: E402

PAGE = ROOT / "reports" / "benchmarks.md"
NEAR, FAR = f"pcaptool-b{os.getpid()}-n", f"pcaptool-b{os.getpid()}-f"
DURATION_NS = 2_600_000_000
SNAPLEN = 80
TIMERS = ("gtod", "nano", "select")
BEST = "gtod"  # what comes nearest of tcpreplay's, which the table shows
LOOPS_TIMED = 2
VERIFIED = (25_000, 50_000, 100_000, 150_000, 200_000, 0)  # frames a second; 0: top speed


class Timing(NamedTuple):
    """Of one run, in microseconds; the drift in milliseconds."""

    p50: float
    p99: float
    worst: float
    drift_ms: float
    lost: int  # packets that tcpdump did not get: the far side's queue overflows where no processor is free


def gaps(count: int) -> list[int]:
    """Gaps of so many packets: bursts of 1 to 20, within them 1.5 to 12 us."""
    chance, out = random.Random(5), []
    while len(out) < count:
        burst = chance.choice((1, 2, 3, 10, 20))
        out += [chance.randint(1_500, 12_000) for _ in range(burst - 1)] + [
            chance.randint(100_000, 1_200_000)
        ]
    del out[count:]
    pauses = [i for i, gap in enumerate(out) if gap >= 100_000]
    room = DURATION_NS - sum(gap for gap in out if gap < 100_000)
    total = sum(out[i] for i in pauses)
    for i in pauses:
        out[i] = out[i] * room // total
    return out


def make_capture(path: Path, packets: int) -> None:
    """Write the capture."""
    spaces, at, done, number = gaps(packets - 1), 1_700_000_000_000_000_000, 0, 0
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1))
        while done < packets:
            for frame in conversation(number):
                file.write(struct.pack("<IIII", at // 10**9, at % 10**9, len(frame), len(frame)) + frame)
                at += spaces[done] if done < packets - 1 else 0
                done += 1
                if done == packets:
                    break
            number += 1


@contextmanager
def link() -> Iterator[None]:
    """Two namespaces, a veth pair, no addresses."""
    try:
        for name in (NEAR, FAR):
            subprocess.run(["ip", "netns", "add", name], check=True)
            for where in ("all", "default"):
                quiet = f"net.ipv6.conf.{where}.disable_ipv6=1"
                subprocess.run(["ip", "netns", "exec", name, "sysctl", "-qw", quiet], check=True)
        pair = ["link", "add", "e0", "type", "veth", "peer", "name", "e0", "netns", FAR]
        subprocess.run(["ip", "-n", NEAR, *pair], check=True)
        for name in (NEAR, FAR):
            subprocess.run(["ip", "-n", name, "link", "set", "e0", "up"], check=True)
        yield
    finally:
        for name in (NEAR, FAR):
            subprocess.run(["ip", "netns", "del", name], check=False)


@contextmanager
def far_capture(path: Path) -> Iterator[None]:
    """tcpdump on the far side; headers only."""
    words = ["tcpdump", "-i", "e0", "-n", "-Z", "root", "-B", "131072", "-Q", "in", "-s", str(SNAPLEN)]
    with subprocess.Popen(
        ["ip", "netns", "exec", FAR, *words, "--time-stamp-precision=nano", "-w", str(path)],
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            if "listening on" in line:
                break
        time.sleep(0.2)
        yield
        time.sleep(1.2)  # tcpdump's buffer hands on a block that is not full after a second
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def near(command: list[str]) -> str:
    """Run a program in the near namespace; what it said."""
    done = subprocess.run(
        ["ip", "netns", "exec", NEAR, *command], check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def ours(capture: Path, *options: str) -> list[str]:
    """Our command."""
    program = [sys.executable, "-m", "pcaptool.cli.main", "replay"]
    return [*program, str(capture), "-i", "e0", "--json", *options]


def programs(capture: Path) -> dict[str, dict[str, list[str]]]:
    """Who is timed, by the priority that both have in the same way."""
    theirs = ["tcpreplay", "-q", "-i", "e0"]
    best = [*theirs, f"--timer={BEST}", str(capture)]
    raised, real_time = ["nice", "-n", "-20"], ["chrt", "--fifo", "50"]
    return {
        "plain": {
            "**ours**": ours(capture),
            **{f"tcpreplay `--timer={t}`": [*theirs, f"--timer={t}", str(capture)] for t in TIMERS},
        },
        "`nice -n -20`": {
            "**ours**": [*raised, *ours(capture)],
            f"tcpreplay `--timer={BEST}`": [*raised, *best],
        },
        "real time, 50": {
            "**ours** `--priority 50`": ours(capture, "--priority", "50"),
            f"`chrt --fifo 50` tcpreplay `--timer={BEST}`": [*real_time, *best],
        },
        f"plain, `--loop {LOOPS_TIMED}`": {
            "**ours**": ours(capture, "--loop", str(LOOPS_TIMED)),
            f"tcpreplay `--timer={BEST}`": [*best[:-1], f"--loop={LOOPS_TIMED}", str(capture)],
        },
    }


def prefixes(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times of a capture's packets, and digests of their first bytes, which no two packets share."""
    with open_capture(path) as capture:
        rows = [(r.ts_ns, int.from_bytes(blake2b(r.data[:SNAPLEN], digest_size=7).digest())) for r in capture]
    times, digests = zip(*rows, strict=True)
    return np.array(times, np.int64), np.array(digests, np.int64)


def timed(command: list[str], once: tuple[np.ndarray, np.ndarray], folder: Path) -> Timing:
    """Run one program; how the far side saw it. Gaps between two rounds, which nothing records, are left out."""
    rounds = LOOPS_TIMED if any("loop" in word for word in command) else 1
    count, lasts = len(once[0]), once[0][-1] - once[0][0]
    sent = np.concatenate([once[0] + k * lasts for k in range(rounds)]), np.tile(once[1], rounds)
    path = folder / "far.pcap"
    with far_capture(path):
        near(command)
    times, digests = prefixes(path)
    where = match(sent[1], digests)
    there = np.flatnonzero(where >= 0)
    seen, recorded = times[where[there]], sent[0][there]
    inside = (np.diff(there) == 1) & (there[1:] % count != 0)
    wrong = np.abs(np.diff(seen) - np.diff(recorded))[inside] / 1e3
    drift_ms = (int(seen[-1] - seen[0]) - int(recorded[-1] - recorded[0])) / 1e6
    quantiles = (float(np.quantile(wrong, q)) for q in (0.5, 0.99, 1.0))
    return Timing(*quantiles, drift_ms, len(sent[0]) - len(there))


def received() -> int:
    """Frames that the far interface has taken."""
    place = "/sys/class/net/e0/statistics/rx_packets"
    said = subprocess.run(
        ["ip", "netns", "exec", FAR, "cat", place], check=True, capture_output=True, text=True
    )
    return int(said.stdout)


def speeds(capture: Path, packets: int, loops: int) -> dict[str, float]:
    """Frames a second of each program, all plain; every frame must have arrived."""
    theirs = ["tcpreplay", "-q", "-t", f"--loop={loops}", "-i", "e0"]
    commands = {
        "**ours** `--topspeed`": ours(capture, "--topspeed", "--loop", str(loops)),
        "**ours** `--topspeed --bypass`": ours(capture, "--topspeed", "--bypass", "--loop", str(loops)),
        "tcpreplay `--topspeed -K`": [*theirs, "-K", str(capture)],
        "tcpreplay `--topspeed`": [*theirs, str(capture)],
    }
    out = {}
    for name, command in commands.items():
        before = received()
        said = near(command)
        if received() - before != packets * loops:
            raise SystemExit(f"{name}: {received() - before} of {packets * loops} frames arrived")
        if "tcpreplay" in name:
            found = re.search(r"Rated:.*?([\d.]+) pps", said)
            out[name] = float(found[1]) if found else 0.0
        else:
            report = json.loads(said)
            out[name] = report["sent"] / report["duration_ns"] * 1e9
    return out


def verified(capture: Path, *options: str) -> tuple[dict[str, Any], float]:
    """A replay with --verify: its report, and the most memory it had, in MB."""
    words = ["ip", "netns", "exec", NEAR, *ours(capture, "--verify", f"{FAR}/e0", *options)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        report = json.loads(process.stdout.read())
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return report, usage.ru_maxrss / 1024


def verify_lines(capture: Path, packets: int, loops: int) -> list[str]:
    """The limits of --verify: at which rates the far side's socket has to drop."""
    lines = [
        f"`--verify`: {packets * loops:,} frames at a steady rate; what the far side saw, what its socket had to drop.",
        "",
        "| frames/s wanted | sent/s | seen | dropped there | most memory MB |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for rate in VERIFIED:
        options = ["--pps", str(rate)] if rate else ["--topspeed"]
        report, memory = verified(capture, *options, "--loop", str(loops))
        sent = report["sent"] / report["duration_ns"] * 1e9
        share = 100 * report["seen"] / report["planned"]
        wanted = f"{rate:,}" if rate else "top speed"
        lines.append(f"| {wanted} | {sent:,.0f} | {share:.1f} % | {report['unwatched']:,} | {memory:,.0f} |")
    idle = verified(capture, "--limit", "1")[1]
    return [*lines, "", f"With a single frame it has {idle:,.0f} MB."]


def section(runs: int, packets: int, loops: int) -> str:
    """Measure, and the figures as a section of the page."""
    with tempfile.TemporaryDirectory(prefix="pcaptool-bench-") as name, link():
        folder = Path(name)
        capture = folder / "timing.pcap"
        make_capture(capture, packets)
        commands = programs(capture)
        once = prefixes(capture)
        near(ours(capture))  # the kernel is compiled, files are in the page cache
        results: dict[str, dict[str, list[Timing]]] = {
            how: {key: [] for key in group} for how, group in commands.items()
        }
        for turn in range(runs):
            for how, group in commands.items():
                # Who goes first changes, so that what else the machine does hits both alike.
                for key in list(group)[:: 1 if turn % 2 == 0 else -1]:
                    results[how][key].append(timed(group[key], once, folder))
        rates = {n: [speeds(capture, packets, n) for _ in range(runs)] for n in (1, loops)}
        limits = verify_lines(capture, packets, loops)
    return "\n".join([about(runs), "", *timing_lines(results, packets), *speed_lines(rates), "", *limits])


def about(runs: int) -> str:
    """What was measured, where."""
    version = subprocess.run(["tcpreplay", "-V"], check=False, capture_output=True, text=True)
    theirs = re.search(r"tcpreplay version: (\S+)", version.stdout + version.stderr)
    cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    load = " ".join(f"{x:.1f}" for x in os.getloadavg())
    return (
        f"`python {shlex.join(['tests/bench/replay.py', *sys.argv[1:]])}` as root, {dt.datetime.now(dt.UTC).date()};"
        f" {cpu.group(1) if cpu else platform.machine()}, {os.cpu_count()} processors (load {load});"
        f" Linux {platform.release()}, Python {platform.python_version()}, tcpreplay {theirs[1] if theirs else '?'}."
        f" veth between two namespaces; all programs in turn, {runs} times, in alternating order; medians of the runs,"
        " and in brackets the best and the worst run. Programs that are compared have the same priority. Errors are"
        " those of gaps between packets."
    )


def timing_lines(results: dict[str, dict[str, list[Timing]]], packets: int) -> list[str]:
    """The table of gap errors, and a line of judgement for each priority."""
    lines = [
        f"A capture of {packets:,} packets in {DURATION_NS / 1e9:.3f} s, as tcpdump on the far side saw it:",
        "",
        "| priority | program | gap error p50 µs | p99 µs | max µs | drift at the end ms | not captured |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    judged = []
    for how, group in results.items():
        for key, timings in group.items():
            cells = [
                spread([getattr(t, field) for t in timings])
                for field in ("p50", "p99", "worst", "drift_ms", "lost")
            ]
            lines.append(f"| {how} | {key} | {' | '.join(cells)} |")
        mine = next(group[key] for key in group if "ours" in key)
        theirs = [group[key] for key in group if "tcpreplay" in key]
        best = min(theirs, key=lambda timings: statistics.median(t.p99 for t in timings))
        wins = sum(a.p99 <= b.p99 for a, b in zip(mine, best, strict=True))
        ratio = statistics.median(a.p99 / b.p99 for a, b in zip(mine, best, strict=True))
        judged.append(
            f"* {how}: our p99 is {ratio:.2f} times that of tcpreplay's best timer (median of the pairs), no worse in"
            f" {wins} of {len(mine)}; our largest drift {max(abs(t.drift_ms) for t in mine):.3f} ms (wanted: under 1)."
        )
    return [*lines, "", *judged, ""]


def speed_lines(rates: dict[int, list[dict[str, float]]]) -> list[str]:
    """The tables of top speed."""
    lines = ["Top speed, no capture running; all frames arrived:", ""]
    lines += [
        "| rounds | program | k frames/s | of tcpreplay's best, paired |",
        "| ---: | --- | ---: | ---: |",
    ]
    for loops, runs in rates.items():
        others = [key for key in runs[0] if "tcpreplay" in key]
        for key in runs[0]:
            values = [rate[key] / 1e3 for rate in runs]
            ratio = statistics.median(rate[key] / max(rate[other] for other in others) for rate in runs)
            lines.append(
                f"| {loops} | {key} | {spread(values)} | {'' if key in others else f'{ratio:.2f}'} |"
            )
    return lines


def spread(values: list[float]) -> str:
    """Median, and least and largest."""
    digits = 3 if statistics.median(abs(v) for v in values) < 10 else 0
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def main() -> None:
    """Measure and print; with --write into the page."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--runs", type=int, default=7)
    options.add_argument("--packets", type=int, default=30_000)
    options.add_argument("--loops", type=int, default=20)
    options.add_argument("--write", action="store_true")
    chosen = options.parse_args()
    if shutil.which("tcpreplay") is None or os.geteuid():
        raise SystemExit("this needs root, and tcpreplay and tcpdump (apt-get install tcpreplay tcpdump)")
    body = section(chosen.runs, chosen.packets, chosen.loops)
    print(body)
    if chosen.write:
        write_sections(PAGE, {"replay": body})


if __name__ == "__main__":
    main()
