"""How much memory `pcaptool analyze` takes of a long capture, and of one with very many conversations.

    python tests/bench/memory.py [--gigabytes N] [--flows N] [--report FILE]

The long capture is the benchmark's full-size one, piped again and again: nothing lies on the disk. The other one
has three packets a conversation (SYN, SYN-ACK, RST), each conversation with another client port or address.
Peak memory is the kernel's ru_maxrss. Writes the section `memory` of reports/benchmarks.md.
"""

from __future__ import annotations

import argparse
import os
import shlex
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tests.bench.analyze import REPORT, make_capture, write_sections

LIMIT_MIB, LIMIT_KIB_A_FLOW = 350, 2
_FILE_HEADER = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, 1)


def repeated(pipe: BinaryIO, capture: Path, size_bytes: int) -> None:
    """Write a capture's packets until so many bytes have passed."""
    packets = capture.read_bytes()[len(_FILE_HEADER) :]
    pipe.write(_FILE_HEADER)
    pipe.writelines(packets for _ in range(-(-size_bytes // len(packets))))


def conversations(pipe: BinaryIO, count: int) -> None:
    """Write three packets a conversation: all SYNs of a block, then all SYN-ACKs, then all RSTs."""
    record = np.dtype([("head", "<u4", 4), ("eth", "u1", 14), ("ip", "u1", 20), ("tcp", "u1", 20)])

    def block(first: int, size: int, turn: int) -> bytes:
        rows = np.zeros(size, record)
        number = first + np.arange(size)
        ns = (number * 3 + turn) * 1000
        rows["head"] = np.stack(
            [1_700_000_000 + ns // 10**9, ns % 10**9, np.full(size, 54), np.full(size, 54)], axis=1
        )
        rows["eth"][:, 12] = 8
        rows["ip"][:] = np.frombuffer(
            struct.pack("!BBHHHBBHII", 0x45, 0, 40, 0, 0x4000, 64, 6, 0, 0, 0), np.uint8
        )
        client = [np.full(size, 10), number >> 32 & 255, number >> 24 & 255, number >> 16 & 255]
        client_at, server_at = (16, 12) if turn == 1 else (12, 16)
        rows["ip"][:, client_at : client_at + 4] = np.stack(client, axis=1)
        rows["ip"][:, server_at : server_at + 4] = (192, 0, 2, 2)
        client_port, server_port = (2, 0) if turn == 1 else (0, 2)
        rows["tcp"][:, client_port : client_port + 2] = np.stack([number >> 8 & 255, number & 255], axis=1)
        rows["tcp"][:, server_port + 1] = 80
        rows["tcp"][:, 12:14] = (0x50, (2, 0x12, 4)[turn])
        return rows.tobytes()

    pipe.write(_FILE_HEADER)
    for first in range(0, count, 4096):
        pipe.writelines(block(first, min(4096, count - first), turn) for turn in range(3))


def peak(*what: str) -> tuple[float, float]:
    """Seconds, and MiB at most, of analyzing what this script writes when it is called with `what`.

    A process's peak is at least what its parent held when it was born, so another process writes.
    """
    with tempfile.TemporaryDirectory(prefix="pcaptool-bench-") as folder:
        command = [sys.executable, "-m", "pcaptool.cli.main", "analyze", "-", "-o", f"{folder}/report", "-q"]
        begin = time.perf_counter()
        with subprocess.Popen([sys.executable, __file__, "--write", *what], stdout=subprocess.PIPE) as writer:
            child = subprocess.Popen(command, stdin=writer.stdout)
            _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode or writer.returncode:
            raise SystemExit(f"analyze ended with {child.returncode}, its writer with {writer.returncode}")
    return time.perf_counter() - begin, usage.ru_maxrss / 1024


def main() -> None:
    """Both captures, and the section of the report."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--gigabytes", type=float, default=10)
    options.add_argument("--flows", type=int, default=1_000_000)
    options.add_argument("--report", type=Path, default=REPORT)
    options.add_argument("--write", nargs="+", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.write:
        if len(chosen.write) == 2:
            repeated(sys.stdout.buffer, Path(chosen.write[0]), int(chosen.write[1]))
        else:
            conversations(sys.stdout.buffer, int(chosen.write[0]))
        return
    lines = ["| capture | packets | seconds | peak MiB | limit MiB |", "| --- | ---: | ---: | ---: | ---: |"]
    with tempfile.TemporaryDirectory(prefix="pcaptool-bench-") as folder:
        capture = Path(folder) / "full.pcap"
        make_capture(capture, 300_000, 262_144)
        size = capture.stat().st_size
        for gigabytes in (min(1.0, chosen.gigabytes), chosen.gigabytes):
            total = round(gigabytes * 1e9)
            seconds, mib = peak(str(capture), str(total))
            packets = -(-total // size) * 300_000
            lines.append(
                f"| {gigabytes:g} GB, full-size packets | {packets:,} | {seconds:.0f} | {mib:.0f} | {LIMIT_MIB} |"
            )
    seconds, mib = peak(str(chosen.flows))
    limit = LIMIT_MIB + chosen.flows * LIMIT_KIB_A_FLOW / 1024
    lines.append(
        f"| {chosen.flows:,} conversations | {3 * chosen.flows:,} | {seconds:.0f} | {mib:.0f} | {limit:.0f} |"
    )
    command = shlex.join(["tests/bench/memory.py", *sys.argv[1:]])
    how = f"`python {command}`: all tables of `pcaptool analyze`, read from a pipe."
    write_sections(chosen.report, {"memory": "\n".join([how, "", *lines])})
    print("\n".join(lines))


if __name__ == "__main__":
    main()
