"""How fast `pcaptool analyze` is against tshark, dpkt and tcpdump, as whole processes on the same captures.

    python tests/bench/analyze.py [--runs N] [--packets-full N] [--packets-headers N] [--synthetic] [--report FILE]

The captures are made here: full-size packets, packets cut to 128 bytes, and a short one. As root, with nginx and wrk
installed, they hold real traffic (`traffic`); else, or with --synthetic, downloads of 1 MiB, one a connection, without
loss.
Every run takes all programs one after the other; a ratio is the median over the runs of (their time / ours) of one
run. Before each run the capture is read once, so that it is in memory for all; one run of ours warms the cache of
kernels. tshark prints 25 fields that our tables hold as well; peak memory is the kernel's ru_maxrss, the highest of
all runs. Writes the sections `decode`, `analyze` and `selection` of
reports/benchmarks.md; other sections stay.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import re
import shlex
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from pcaptool.decode.decoder import decoded_columns
from pcaptool.wire.checksum import sum16
from tests.bench.traffic import capture_traffic, real_traffic

REPORT = Path(__file__).resolve().parents[2] / "reports" / "benchmarks.md"
LAYERS = "packets,link,arp,ip,tcp,udp"
FIELDS = (
    "frame.number frame.time_epoch frame.cap_len frame.len eth.src eth.dst eth.type ip.src ip.dst ip.id ip.ttl "
    "ip.len ip.flags.df ip.proto tcp.srcport tcp.dstport tcp.seq_raw tcp.ack_raw tcp.flags tcp.len "
    "tcp.window_size_value tcp.checksum tcp.options.timestamp.tsval tcp.options.timestamp.tsecr tcp.stream"
)
# The same 25, as our tables call them.
COLUMNS = ",".join(
    (
        *(f"packets.{name}" for name in ("n", "ts", "cap_len", "len")),
        *(f"link.{name}" for name in ("src", "dst", "type")),
        *(f"ip.{name}" for name in ("src", "dst", "id", "ttl", "len", "flags", "proto")),
        *(f"tcp.{name}" for name in ("srcport", "dstport", "seq_raw", "ack_raw", "flags", "len")),
        *(f"tcp.{name}" for name in ("window_size_value", "checksum", "stream")),
        *(f"tcp.options_timestamp_{name}" for name in ("tsval", "tsecr")),
    )
)
# All that the headers say.
DECODED = ",".join(f"{table}.{name}" for table in LAYERS.split(",") for name in decoded_columns(table))
DPKT_LOOP = """
import sys, dpkt
for ts, raw in dpkt.pcap.Reader(open(sys.argv[1], "rb")):
    ip = dpkt.ethernet.Ethernet(raw).data
    if not isinstance(ip, dpkt.ip.IP) or not isinstance(ip.data, dpkt.tcp.TCP):
        continue
    tcp = ip.data
    row = (ts, ip.src, ip.dst, ip.ttl, tcp.sport, tcp.dport, tcp.seq, tcp.ack, tcp.flags, tcp.win)
"""
ROW_COUNT = """
import sys, polars as pl, pcaptool
print(pcaptool.scan_pcap(sys.argv[1]).select(pl.len()).collect(engine="streaming").item())
"""
TWO_COLUMNS = """
import sys, polars as pl, pcaptool
tcp = pcaptool.scan_pcap(sys.argv[1], "tcp").group_by("srcport").agg(pl.col("len").sum())
print(tcp.collect(engine="streaming").height)
"""
MSS, BODY_BYTES = 1448, 1 << 20
SHORT_PACKETS = 10_000  # of so many most of the time is start-up
REQUEST = b"GET /object HTTP/1.1\r\nHost: server.example\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: %d\r\n\r\n" % BODY_BYTES
SYN, FIN, PSH, ACK = 2, 1, 8, 16


class Result(NamedTuple):
    """Of one program on one capture: seconds of each counted run, highest ru_maxrss."""

    seconds: list[float]
    peak_mib: float


def conversation(number: int) -> Iterator[bytes]:
    """Frames of one download."""
    client = (bytes((10, 0, number >> 8 & 255, number & 255)), 1024 + number % 60000)
    server = (bytes((192, 0, 2, 2)), 80)
    seq = {client: number * 7919 & 0xFFFFFFFF, server: number * 104729 & 0xFFFFFFFF}

    def frame(src: tuple[bytes, int], dst: tuple[bytes, int], flags: int, data: bytes = b"") -> bytes:
        ack = seq[dst] if flags & ACK else 0
        options = struct.pack("!BBBBII", 1, 1, 8, 10, number, number)
        tcp = (
            struct.pack("!HHIIBBHHH", src[1], dst[1], seq[src], ack, 0x80, flags, 501, 0, 0) + options + data
        )
        total = sum16(src[0] + dst[0] + struct.pack("!HH", 6, len(tcp)) + tcp, 0)
        tcp = tcp[:16] + struct.pack("!H", ~total & 0xFFFF) + tcp[18:]
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0x4000, 64, 6, 0, src[0], dst[0])
        ip = ip[:10] + struct.pack("!H", ~sum16(ip, 0) & 0xFFFF) + ip[12:]
        seq[src] = (seq[src] + len(data) + (flags & (SYN | FIN) != 0)) & 0xFFFFFFFF
        return bytes.fromhex("0200000000020200000000010800") + ip + tcp

    yield frame(client, server, SYN)
    yield frame(server, client, SYN | ACK)
    yield frame(client, server, ACK)
    yield frame(client, server, PSH | ACK, REQUEST)
    stream = RESPONSE + bytes(range(256)) * (BODY_BYTES // 256)
    for i, at in enumerate(range(0, len(stream), MSS)):
        yield frame(server, client, ACK, stream[at : at + MSS])
        if i % 2:
            yield frame(client, server, ACK)
    yield frame(server, client, FIN | ACK)
    yield frame(client, server, FIN | ACK)
    yield frame(server, client, ACK)


def make_capture(path: Path, packets: int, snaplen: int) -> None:
    """Write so many packets, 10 us apart."""
    done = number = 0
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, snaplen, 1))
        while done < packets:
            for frame in conversation(number):
                ns, kept = 1_700_000_000_000_000_000 + done * 10_000, frame[:snaplen]
                file.write(struct.pack("<IIII", ns // 10**9, ns % 10**9, len(kept), len(frame)) + kept)
                done += 1
                if done == packets:
                    break
            number += 1


def run(command: list[str]) -> tuple[float, float]:
    """Seconds and peak MiB of a process."""
    # Installed modules have bytecode; a checkout's may be told to have none.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile() as errors:
        begin = time.perf_counter()
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, env=environment)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            errors.seek(0)
            raise SystemExit(f"{shlex.join(command)}: {errors.read().decode(errors='replace')}")
    return seconds, usage.ru_maxrss / 1024


def warm(capture: Path) -> None:
    """The whole file is in memory: half a minute of another program may have pushed it out."""
    block = bytearray(8 << 20)
    with capture.open("rb", buffering=0) as file:
        while file.readinto(block):
            pass


def measure(capture: Path, runs: int) -> dict[str, Result]:
    """All programs on one capture, in turn."""
    out = capture.with_suffix(".report")
    ours = [sys.executable, "-m", "pcaptool.cli.main", "analyze", str(capture), "-o", str(out)]
    commands = {
        "layers": [*ours, "--tables", LAYERS],
        "columns": [*ours, "--columns", COLUMNS],
        "decoded": [*ours, "--columns", DECODED],
        "all": ours,
        "tshark": [
            "tshark",
            "-n",
            "-r",
            str(capture),
            "-T",
            "fields",
            *(w for f in FIELDS.split() for w in ("-e", f)),
        ],
        "dpkt": [sys.executable, "-c", DPKT_LOOP, str(capture)],
        "tcpdump": ["tcpdump", "-nn", "-r", str(capture)],
        "flows": [*ours, "--tables", "flows"],
        "row count": [sys.executable, "-c", ROW_COUNT, str(capture)],
        "two columns": [sys.executable, "-c", TWO_COLUMNS, str(capture)],
    }
    if shutil.which("tcptrace"):
        commands["tcptrace"] = ["tcptrace", "-n", "-l", str(capture)]
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    peak = dict.fromkeys(commands, 0.0)
    run(ours)
    for _ in range(runs):
        for name, command in commands.items():
            shutil.rmtree(out, ignore_errors=True)
            warm(capture)
            took, memory = run(command)
            seconds[name].append(took)
            peak[name] = max(peak[name], memory)
    shutil.rmtree(out, ignore_errors=True)
    return {name: Result(seconds[name], peak[name]) for name in commands}


class Case(NamedTuple):
    """A capture and the goals for it (times faster than tshark; the layers also than dpkt's loop)."""

    title: str
    packets: int
    snaplen: int
    goals: dict[str, str]


def section(which: str, cases: list[tuple[Case, float, dict[str, Result]]]) -> list[str]:
    """Lines of one of the tables: ours, and the others on the same captures."""
    lines = ["| capture | MB | program | seconds | k packets/s | peak MiB | theirs / ours | goal |"]
    lines += ["| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |"]
    for case, megabytes, results in cases:
        ours = results[which].seconds
        for name in (which, "tshark", "dpkt", "tcpdump"):
            result = results[name]
            median = statistics.median(result.seconds)
            ratios = [theirs / mine for theirs, mine in zip(result.seconds, ours, strict=True)]
            ratio = "" if name == which else f"{statistics.median(ratios):.2f}"
            goal = case.goals.get(f"{which} {name}", "")
            lines.append(
                f"| {case.title} | {megabytes:.0f} | {'**ours**' if name == which else name} | {median:.2f} | "
                f"{case.packets / median / 1e3:,.0f} | {result.peak_mib:.0f} | {ratio} | {goal} |"
            )
    return lines


def selection(cases: list[tuple[Case, float, dict[str, Result]]]) -> list[str]:
    """Lines of the table of what takes less than a whole report."""
    lines = ["| capture | what | seconds | peak MiB | against | theirs / ours | goal | less start-up |"]
    lines += ["| --- | --- | ---: | ---: | --- | ---: | ---: | ---: |"]
    wanted = (
        ("flows", "`analyze --tables flows`", "tcptrace", "`tcptrace -n -l`", "1.5 at 1 M"),
        ("row count", "`scan_pcap(F).select(pl.len())`", "all", "`analyze`", "4"),
        ("two columns", '`scan_pcap(F, "tcp")`, sum of one column by another', "all", "`analyze`", "4"),
    )
    short = next((results for case, _, results in cases if case.packets <= SHORT_PACKETS), None)
    for case, _, results in cases:
        for name, what, other, theirs, goal in wanted:
            if other not in results:
                continue
            mine, against = results[name], results[other]
            ratio = statistics.median(t / m for t, m in zip(against.seconds, mine.seconds, strict=True))
            median = statistics.median(mine.seconds)
            bare = ""
            if short is not None and short is not results:
                begin, other_begin = (statistics.median(short[key].seconds) for key in (name, other))
                bare = f"{(statistics.median(against.seconds) - other_begin) / max(median - begin, 0.01):.2f}"
            lines.append(
                f"| {case.title} | {what} | {median:.2f} | {mine.peak_mib:.0f} | {theirs} | {ratio:.2f} | {goal} |"
                f" {bare} |"
            )
    return [*lines, "", "Less start-up: both without what they take for the short capture."]


def write_sections(path: Path, sections: dict[str, str]) -> None:
    """Put sections into the report, in place of those of the same name."""
    text = path.read_text() if path.exists() else "# Benchmarks\n"
    for name, body in sections.items():
        text = re.sub(rf"(?ms)^## {name}\n.*?(?=^## |\Z)", "", text)
        text = f"{text.rstrip()}\n\n## {name}\n\n{body.rstrip()}\n"
    path.write_text(text)


def about(runs: int, *, real: bool) -> str:
    """Machine, versions, date, command."""
    captures = (
        "nginx and wrk on this machine, offloads off"
        if real
        else "synthetic: 1 MiB HTTP downloads without loss"
    )
    tshark, tcpdump = (
        subprocess.run([tool, "--version"], check=True, capture_output=True, text=True).stdout.split("\n")[0]
        for tool in ("tshark", "tcpdump")
    )
    today = dt.datetime.now(dt.UTC).date()
    cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    return (
        f"`python {shlex.join(['tests/bench/analyze.py', *sys.argv[1:]])}`, {today}; "
        f"{cpu.group(1) if cpu else platform.machine()}, {os.cpu_count()} processors (shared with others); "
        f"Python {platform.python_version()}, numba {version('numba')}, pyarrow {version('pyarrow')}, "
        f"dpkt {version('dpkt')}; {tshark}; {tcpdump}. Whole processes, page cache and kernel cache warm; "
        f"medians of {runs} paired runs. Captures: {captures}."
    )


def main() -> None:
    """Make the captures, time all programs, write the report."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--packets-full", type=int, default=1_000_000)
    options.add_argument("--packets-headers", type=int, default=5_000_000)
    options.add_argument("--synthetic", action="store_true", help="no real traffic")
    options.add_argument("--report", type=Path, default=REPORT)
    chosen = options.parse_args()
    real = real_traffic() and not chosen.synthetic
    make = capture_traffic if real else make_capture
    full = {
        "layers tshark": "25",
        "layers dpkt": "10",
        "all tshark": "20",
        "columns tshark": "25",
        "columns dpkt": "10",
        "decoded tshark": "25",
        "decoded dpkt": "10",
    }
    cases = [
        Case("full-size", chosen.packets_full, 262_144, full),
        Case(
            "128 bytes a packet",
            chosen.packets_headers,
            128,
            full | {f"{which} tshark": "45 at 5 M" for which in ("layers", "columns", "decoded")},
        ),
        Case("short", 1_000, 262_144, {"all tshark": "0.67; at most 0.4 s"}),
    ]
    done = []
    for case in cases:
        with tempfile.TemporaryDirectory(prefix="pcaptool-bench-") as folder:
            capture = Path(folder) / "bench.pcap"
            make(capture, case.packets, case.snaplen)
            done.append(
                (
                    case._replace(title=f"{case.packets:,} {case.title}"),
                    capture.stat().st_size / 1e6,
                    measure(capture, chosen.runs),
                )
            )
    decode = [
        about(chosen.runs, real=real),
        "",
        f"`pcaptool analyze --tables {LAYERS}`: headers and TCP analysis.",
        "",
        *section("layers", done),
        "",
        "Every column of these tables that decoding fills, as `--columns`: all headers, without TCP analysis:",
        "",
        *section("decoded", done),
        "",
        f"The same 25 values that tshark prints, `pcaptool analyze --columns {COLUMNS.replace(',', ', ')}`:",
        "",
        *section("columns", done),
    ]
    analyze = ["The same runs; `pcaptool analyze`, all tables.", "", *section("all", done)]
    less = ["The same runs.", "", *selection(done)]
    sections = {"decode": decode, "analyze": analyze, "selection": less}
    write_sections(chosen.report, {name: "\n".join(lines) for name, lines in sections.items()})
    print("\n\n".join("\n".join(lines) for lines in sections.values()))


if __name__ == "__main__":
    main()
