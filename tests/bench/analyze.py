"""How fast `pcaptool analyze` is against `tshark -T fields`, as whole processes on the same capture.

    python tests/bench/analyze.py [--packets N] [--runs N]

The capture is made here: the bundled keep-alive capture over and over, each time from another client port and
a little later, so that every copy is a conversation of its own. Both programs read it from the page cache;
the figure is the ratio of the medians. tshark prints 25 fields that our tables hold as well.
"""

from __future__ import annotations

import argparse
import platform
import shlex
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "fixtures" / "captures" / "lab" / "keepalive-5.server.pcap"
FIELDS = [
    "frame.number",
    "frame.time_epoch",
    "frame.cap_len",
    "frame.len",
    "eth.src",
    "eth.dst",
    "eth.type",
    "ip.src",
    "ip.dst",
    "ip.id",
    "ip.ttl",
    "ip.len",
    "ip.flags.df",
    "ip.proto",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.seq_raw",
    "tcp.ack_raw",
    "tcp.flags",
    "tcp.len",
    "tcp.window_size_value",
    "tcp.checksum",
    "tcp.options.timestamp.tsval",
    "tcp.options.timestamp.tsecr",
    "tcp.stream",
]


def make_capture(path: Path, packets: int) -> int:
    """Write at least so many packets; returns how many."""
    data = SOURCE.read_bytes()
    header, frames, at = data[:24], [], 24
    while at < len(data):
        sec, nsec, caplen, length = struct.unpack_from("<IIII", data, at)
        frames.append((sec * 10**9 + nsec, length, data[at + 16 : at + 16 + caplen]))
        at += 16 + caplen
    step_ns = frames[-1][0] - frames[0][0] + 1_000_000
    done = copy = 0
    with path.open("wb") as file:
        file.write(header)
        while done < packets:
            port = struct.pack("!H", 1024 + copy % 60000)
            for when, length, frame in frames:
                ns = when + copy * step_ns
                side = 34 if frame[26:30] == b"\xc0\x00\x02\x02" else 36
                moved = frame[:side] + port + frame[side + 2 :] if frame[12:14] == b"\x08\x00" else frame
                file.write(struct.pack("<IIII", ns // 10**9, ns % 10**9, len(moved), length) + moved)
            done += len(frames)
            copy += 1
    return done


def median_seconds(command: list[str], runs: int, clean: Path | None = None) -> float:
    """Median wall time of a command; one run before it warms caches."""
    times = []
    for turn in range(runs + 1):
        if clean is not None:
            shutil.rmtree(clean, ignore_errors=True)
        begin = time.perf_counter()
        done = subprocess.run(
            command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        if done.returncode:
            raise SystemExit(f"{shlex.join(command)}: {done.stderr}")
        times += [time.perf_counter() - begin] if turn else []
    return statistics.median(times)


def main() -> None:
    """Make the capture, time both, print a table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--packets", type=int, default=200_000)
    options.add_argument("--runs", type=int, default=3)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="pcaptool-bench-") as folder:
        capture, report = Path(folder) / "bench.pcap", Path(folder) / "report"
        packets = make_capture(capture, chosen.packets)
        size = capture.stat().st_size
        ours = [sys.executable, "-m", "pcaptool.cli.main", "analyze", str(capture), "-o", str(report)]
        theirs = ["tshark", "-n", "-r", str(capture), "-T", "fields", *(w for f in FIELDS for w in ("-e", f))]
        layers = [*ours, "--tables", "packets,link,arp,ip,tcp,udp"]
        rows = [
            ("pcaptool analyze, all tables", median_seconds(ours, chosen.runs, report)),
            ("pcaptool analyze, layers only", median_seconds(layers, chosen.runs, report)),
            ("tshark -T fields, 25 fields", median_seconds(theirs, chosen.runs)),
        ]
    print(
        f"{packets:,} packets, {size / 1e6:.0f} MB; Python {platform.python_version()}, {platform.machine()}"
    )
    for name, seconds in rows:
        print(f"  {name:32} {seconds:8.2f} s {packets / seconds / 1e3:10,.0f} k packets/s")
    for name, seconds in rows[:-1]:
        print(f"  {'ratio, ' + name.partition(', ')[2]:32} {rows[-1][1] / seconds:8.1f} x")


if __name__ == "__main__":
    main()
