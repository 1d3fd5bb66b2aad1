"""How far from the least: our kernels against a C program (`floor.c`), an analysis against C and pyarrow in series.

    python tests/bench/floor.py [--packets N] [--runs N] [--write]

The C program fills the same arrays as our kernels, of the commonest layers only, and that they are the same is checked
first. Of our side the processor time of the kernels is counted, warm, in this process; the rest of decoding is reading,
and Python. The floor of a report is the C program's time and that of one thread which encodes the
same columns by pyarrow with the report's own settings. Needs a C compiler (cc). With --write the section "floor" of
reports/benchmarks.md is written anew.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402 - a script finds the package by itself
import pyarrow.parquet as pq  # noqa: E402 - a script finds the package by itself

from pcaptool.analyze.pipeline import analyze  # noqa: E402
from pcaptool.decode.decoder import Decoder, decoded_columns  # noqa: E402
from pcaptool.engine import Engine  # noqa: E402
from pcaptool.file.reader import open_capture  # noqa: E402
from pcaptool.tables import TABLES  # noqa: E402
from pcaptool.tables.columns import Lists, Masked, Texts  # noqa: E402
from pcaptool.tables.parquet import writer  # noqa: E402
from tests.bench.analyze import LAYERS, REPORT, make_capture, write_sections  # noqa: E402

# All that headers say, without sums over payload.
SUMS = {"checksum_status", "checksum_partial"}
DECODED_HERE = {
    table: set(decoded_columns(table)) - (SUMS if table in ("tcp", "udp") else set())
    for table in ("packets", "link", "ip", "tcp", "udp")
}
# Column of a table to the array of the C program. Of texts it is the codes that are compared, of lists the values.
SAME = {
    "packets": {
        **{name: name for name in ("ts", "cap_len", "len", "src", "dst", "srcport", "dstport")},
        "protocols": "path",
        "payload_offset": "payload_offset",
        "payload_bytes": "payload_bytes",
    },
    "link": {
        "src": "link_src",
        "dst": "link_dst",
        "type": "link_type",
        "hdr_bytes": "link_hdr_bytes",
        "padding_bytes": "padding",
    },
    "ip": {
        "n": "ip_n",
        "version": "version",
        "src": "ip_src",
        "dst": "ip_dst",
        "hdr_len": "ip_hdr_len",
        "dsfield": "dsfield",
        "len": "ip_len",
        "id": "ip_id",
        "flags": "ip_flags",
        "ttl": "ttl",
        "proto": "proto",
        "frag_offset": "frag_offset",
        "checksum": "ip_checksum",
        "checksum_status": "ip_status",
        "flow_label": "flow_label",
        "payload_bytes": "ip_payload",
    },
    "tcp": {
        "n": "tcp_n",
        "srcport": "tcp_srcport",
        "dstport": "tcp_dstport",
        "seq_raw": "seq",
        "ack_raw": "ack",
        "hdr_len": "hdr_len",
        "flags": "flags",
        "window_size_value": "window",
        "checksum": "checksum",
        "urgent_pointer": "urgent",
        "len": "tcp_len",
        "payload_offset": "tcp_payload_offset",
        "options_mss_val": "mss",
        "options_wscale_shift": "wscale",
        "option_kinds": "kind_values",
        "options_timestamp_tsval": "tsval",
        "options_timestamp_tsecr": "tsecr",
        "options_sack_le": "left",
        "options_sack_re": "right",
    },
    "udp": {"n": "udp_n", "srcport": "udp_srcport", "length": "udp_length", "payload_bytes": "udp_payload"},
}
# Arrays of these C types; see floor.c.
C_TYPE = re.compile(r"X\(u?int(\d+)_t, (\w+)\)")


def c_program(folder: Path, capture: Path) -> tuple[float, float]:
    """Seconds of the C program's best round of five: without reading, and with."""
    done = subprocess.run(
        [str(folder / "floor"), str(capture), "5"], check=True, capture_output=True, text=True
    )
    rounds = [tuple(map(float, line.split())) for line in done.stdout.splitlines()]
    return min(bare for bare, _ in rounds), min(whole for _, whole in rounds)


def compile_c(folder: Path) -> None:
    """The program, into a folder."""
    source = Path(__file__).with_suffix(".c")
    subprocess.run(["cc", "-O3", "-march=native", "-o", str(folder / "floor"), str(source)], check=True)


def compare(folder: Path) -> int:
    """See that the C program fills the same arrays; how many were compared.

    Raises
    ------
    AssertionError
        It does not.
    """
    capture, arrays = folder / "short.pcap", folder / "arrays"
    arrays.mkdir()
    make_capture(capture, 40_000, 128)  # within one window of the file: batches begin at the same packets
    subprocess.run([str(folder / "floor"), str(capture), "1", str(arrays)], check=True, capture_output=True)
    bits = {name: int(size) for size, name in C_TYPE.findall(Path(__file__).with_suffix(".c").read_text())}
    bits |= {"kind_values": 8, "left": 32, "right": 32}
    ours: dict[str, list[np.ndarray]] = defaultdict(list)
    with open_capture(capture, Engine("compiled")) as opened:
        for batch in Decoder(Engine("compiled"), DECODED_HERE).batches(opened):
            for table, columns in SAME.items():
                for column, name in columns.items():
                    ours[name].append(_numbers(batch.tables[table][column]))
    for name, parts in ours.items():
        kind = f"u{bits[name] // 8}"
        theirs = np.fromfile(arrays / name, kind) if (arrays / name).exists() else np.empty(0, kind)
        if not np.array_equal(np.concatenate(parts).astype(kind), theirs):  # -1 becomes the greatest number
            raise AssertionError(f"the C program's {name} is another array")
    return len(ours)


def _numbers(data: Any) -> np.ndarray:
    match data:
        case Masked():
            return np.where(data.valid, data.values, 0)
        case Texts():
            return data.codes
        case Lists():
            return data.values
        case _:
            return data


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
    decoder = Decoder(engine, DECODED_HERE)
    best = (float("inf"), float("inf"))
    for _ in range(3):
        engine.spent_ns.clear()
        begin = time.process_time()
        with open_capture(capture, engine) as opened:
            for _batch in decoder.batches(opened):
                pass
        best = min(best, (engine.spent_ns.total() / 1e9, time.process_time() - begin))
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
            " C: the same arrays, nothing but Ethernet, IP, TCP and UDP (`tests/bench/floor.c`;"
            " COMPARED arrays were compared). C and kernels without reading, all else with it."
        ),
        "",
        (
            "| capture | C | our kernels | C / kernels | our decoding | encoding | C and encoding"
            " | our analysis, warm | of the floor |"
        ),
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    with tempfile.TemporaryDirectory(prefix="pcaptool-floor-") as name:
        compile_c(Path(name))
        lines[0] = lines[0].replace("COMPARED", str(compare(Path(name))))
    for title, snaplen in (("full-size", 262_144), ("128 bytes a packet", 128)):
        with tempfile.TemporaryDirectory(prefix="pcaptool-floor-") as name:
            folder = Path(name)
            capture = folder / "bench.pcap"
            compile_c(folder)
            make_capture(capture, chosen.packets, snaplen)
            rows = []
            analyze(capture, folder / "report", tables=LAYERS.split(","), engine=Engine("compiled"))
            for _ in range(chosen.runs):
                (c, c_whole), (kernels, decoded) = c_program(folder, capture), decoding(capture)
                begin = time.perf_counter()
                analyze(capture, folder / "report", tables=LAYERS.split(","), engine=Engine("compiled"))
                ours = time.perf_counter() - begin
                encoded = encoding(folder / "report", folder)
                rows.append(
                    (
                        *(c, kernels, c / kernels, decoded, encoded),
                        *(c_whole + encoded, ours, ours / (c_whole + encoded)),
                    )
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
