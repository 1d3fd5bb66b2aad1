"""The generator's speed: wire frames a second, against dpkt and scapy building as many packets.

    python tests/bench/generate.py [--megabytes N] [--connections N] [--runs N] [--scapy PYTHON] [--write]

Two workloads: one connection with a large response, and many connections with one response of 1,000 bytes each. The
model runs each (`generate` with a wire tap, pcap and pcapng; stages are written, too). dpkt and scapy build as many
full frames (1,448 bytes, timestamps, checksums) without any protocol behind them, and write pcap. Four pairs of hosts
with the second workload each are run by one process and by two (`generate_together`). Programs of one run
follow each other; ratios are medians over the runs of pairs of one run. Seconds are of processors (user and system,
children included): on a machine that others use, the clock says more about them. The model runs on one processor alone,
too: what the clock then says more is what the other one took over. scapy is no dependency of this
project: its row is there where `--scapy` names a Python that has it. With --write the section "generate" of
reports/benchmarks.md is written anew.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tests.bench.analyze import write_sections  # noqa: E402 - a script finds the package by itself

PAGE = ROOT / "reports" / "benchmarks.md"
SCAPY_PACKETS = 10_000  # its rate does not depend on the number

OURS = """
import os, sys
if len(sys.argv) > 3:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from pcaptool.generate import generate
from pcaptool.scenario import parse_scenario
run = generate(parse_scenario(sys.argv[1]), sys.argv[2], taps=["wire"])
print(run.packets["wire"])
"""

TOGETHER = """
import sys
from pcaptool.generate import generate_together
from pcaptool.scenario import parse_scenario
plans = []
for number in range(1, 5):
    text = sys.argv[1]
    for side, last in (("server", 1), ("client", 2)):
        text += f'[host.{side}]\\nmac = "02:00:00:00:{number:02x}:{last:02x}"\\n'
        text += f'ipv4 = "10.0.{number}.{last}"\\nipv6 = "2001:db8:{number}::{last}"\\n'
    plans.append(parse_scenario(text))
print(generate_together(plans, sys.argv[2], taps=["wire"], jobs=int(sys.argv[3])).packets["wire"])
"""

DPKT = """
import dpkt, struct, sys
payload, count = bytes(range(256)) * 6, int(sys.argv[1])
payload = payload[:1448]
with open(sys.argv[2], "wb") as file:
    writer = dpkt.pcap.Writer(file, nano=True)
    for n in range(count):
        stamps = dpkt.tcp.TCP_OPT_NOP.to_bytes(1, "big") * 2 + struct.pack("!BBII", 8, 10, n, n)
        tcp = dpkt.tcp.TCP(sport=80, dport=40000, seq=n * 1448 & 0xFFFFFFFF, ack=1, flags=0x10, win=64)
        tcp.opts, tcp.data = stamps, payload
        tcp.off = 8
        ip = dpkt.ip.IP(src=b"\\xc0\\0\\2\\1", dst=b"\\xc0\\0\\2\\2", p=6, id=n & 0xFFFF, df=1, ttl=64, data=tcp)
        ip.len = len(ip)
        frame = dpkt.ethernet.Ethernet(dst=b"\\2\\0\\0\\0\\0\\2", src=b"\\2\\0\\0\\0\\0\\1", type=0x800, data=ip)
        writer.writepkt(bytes(frame), 1767225600 + n * 1e-6)
print(count)
"""

SCAPY = """
import sys
from scapy.all import IP, TCP, Ether, PcapWriter
payload, count = (bytes(range(256)) * 6)[:1448], int(sys.argv[1])
writer = PcapWriter(sys.argv[2])
for n in range(count):
    options = [("NOP", None), ("NOP", None), ("Timestamp", (n, n))]
    tcp = TCP(sport=80, dport=40000, seq=n * 1448 & 0xFFFFFFFF, ack=1, flags="A", window=64, options=options)
    ip = IP(src="192.0.2.1", dst="192.0.2.2", id=n & 0xFFFF, flags="DF")
    writer.write(Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01") / ip / tcp / payload)
writer.close()
print(count)
"""

BULK = '[client]\nrequests = ["/bytes/{size}"]\n[limits]\nmax_frames = 100000000\n'
SHORT = '[client]\nconnections = {count}\nstagger_ms = 0.2\nrequests = ["/bytes/1000"]\n'


class Cost(NamedTuple):
    """Of one program: frames, seconds of processors, seconds on the clock."""

    frames: int
    cpu: float
    seconds: float

    @property
    def rate(self) -> float:
        """Frames a second of a processor."""
        return self.frames / self.cpu


def measured(python: str, program: str, *arguments: str) -> Cost:
    """Run a program that prints how many frames it made."""
    # Installed modules have bytecode; a checkout's may be told to have none.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began, before = time.perf_counter(), os.times()
    done = subprocess.run(
        [python, "-c", program, *arguments],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(int(done.stdout.split()[-1]), cpu, time.perf_counter() - began)


def measure(megabytes: int, connections: int, runs: int, scapy: str | None) -> dict[str, list[Cost]]:
    """All programs, one after the other, several times."""
    found: dict[str, list[Cost]] = {}
    bulk, short = BULK.format(size=megabytes * 1_000_000), SHORT.format(count=connections)
    with tempfile.TemporaryDirectory(prefix="pcaptool-bench-") as folder:
        out = Path(folder)
        measured(sys.executable, OURS, "", str(out / "warm.pcap"))
        for _ in range(runs):
            first = measured(sys.executable, OURS, bulk, str(out / "bulk.pcap"))
            found.setdefault("bulk, pcap", []).append(first)
            found.setdefault("bulk, pcapng", []).append(
                measured(sys.executable, OURS, bulk, str(out / "bulk.pcapng"))
            )
            found.setdefault("bulk, one processor", []).append(
                measured(sys.executable, OURS, bulk, str(out / "bulk.pcap"), "alone")
            )
            found.setdefault("dpkt", []).append(
                measured(sys.executable, DPKT, str(first.frames), str(out / "dpkt.pcap"))
            )
            if scapy:
                found.setdefault("scapy", []).append(
                    measured(scapy, SCAPY, str(SCAPY_PACKETS), str(out / "scapy.pcap"))
                )
            found.setdefault("short connections, pcap", []).append(
                measured(sys.executable, OURS, short, str(out / "short.pcap"))
            )
            found.setdefault("short, one processor", []).append(
                measured(sys.executable, OURS, short, str(out / "short.pcap"), "alone")
            )
            for jobs in (1, 2):
                found.setdefault(f"together, {jobs}", []).append(
                    measured(sys.executable, TOGETHER, short, str(out / "together.pcap"), str(jobs))
                )
    return found


TITLES = {
    "bulk, pcap": "**model**, one response of {megabytes} MB, pcap",
    "bulk, pcapng": "**model**, the same, pcapng",
    "bulk, one processor": "**model**, one response of {megabytes} MB, pcap, on one processor",
    "short connections, pcap": "**model**, {connections} connections of 1,000 bytes, pcap",
    "short, one processor": "**model**, the same, on one processor",
    "together, 1": "**model**, four pairs of hosts with that each, in one capture, one process",
    "together, 2": "**model**, the same by two processes, the same bytes",
    "dpkt": "dpkt, as many full frames, no protocol",
    "scapy": "scapy, 10,000 full frames, no protocol",
}


def _command() -> list[str]:
    """How this was called, without the place of anything on this machine."""
    words = ["tests/bench/generate.py", *sys.argv[1:]]
    if "--scapy" in words:
        words[words.index("--scapy") + 1] = "PYTHON"
    return words


def section(
    found: dict[str, list[Cost]], megabytes: int, connections: int, before: tuple[float, float, float]
) -> str:
    """The figures as Markdown."""
    load, after = (" ".join(f"{value:.1f}" for value in values) for values in (before, os.getloadavg()))
    machine = f"Python {platform.python_version()}, {os.cpu_count()} processors"
    lines = [
        f"`python {shlex.join(_command())}`: wire frames a second of processor time,",
        f"start-up included; median of {len(found['dpkt'])} runs, {machine}, load {load} before and {after} at the end",
        "(others used the machine).\n",
        "| what | frames | cpu s | frames/s | clock s | model's bulk / this |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    ours = found["bulk, pcap"]
    for name, title in TITLES.items():
        if name not in found:
            continue
        costs = found[name]
        ratio = statistics.median(a.rate / b.rate for a, b in zip(ours, costs, strict=True))
        rate = statistics.median(c.rate for c in costs)
        what = title.format(megabytes=megabytes, connections=connections)
        lines.append(
            f"| {what} | {costs[0].frames:,} | {statistics.median(c.cpu for c in costs):.2f} | {rate:,.0f} |"
            f" {statistics.median(c.seconds for c in costs):.2f} | {ratio:.1f} |"
        )
    lines.append(
        "\nWanted: 100,000 frames/s of bulk traffic, 4 times dpkt, 5 times ns-3 (which does not install here)."
    )
    return "\n".join(lines)


def main() -> None:
    """Measure and say, or write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--megabytes", type=int, default=300)
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--scapy", help="a Python that has scapy")
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    before = os.getloadavg()
    found = measure(chosen.megabytes, chosen.connections, chosen.runs, chosen.scapy)
    body = section(found, chosen.megabytes, chosen.connections, before)
    print(body)
    if chosen.write:
        write_sections(PAGE, {"generate": body})


if __name__ == "__main__":
    main()
