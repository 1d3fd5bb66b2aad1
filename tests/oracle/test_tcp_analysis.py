"""Each analysis column of each segment against tshark 4.0."""

from __future__ import annotations

import os
import random
from pathlib import Path

import dpkt
import polars as pl
import pytest

from pcaptool.errors import CaptureError
from pcaptool.tables import TCP
from pcaptool.tables.definition import Column
from tests.analyzed import SEPARATOR, analyzed, nanoseconds, tshark

pytestmark = pytest.mark.oracle

CORPUS = os.environ.get("PCAPTOOL_CORPUS")
NUMBERS = ("stream", "completeness", "window_size", "window_size_scalefactor")
ANALYSIS = [c for c in TCP.columns if c.name.startswith("analysis_") or c.name in NUMBERS]
RELATIVE = [TCP["seq"], TCP["ack"]]

# Time stamps there lie beyond what 64 bits of nanoseconds hold, or have a fraction above one second, which
# tshark takes as it stands; the columns that are differences of times differ.
ABSURD_TIMES = {"pcapng-example.pcapng", "timestamp_invalid_nano.pcap"}


def differences(ours: pl.DataFrame, theirs: list[dict[str, str]], columns: list[Column]) -> list[tuple]:
    """Cells that differ: frame, column, ours, theirs. Frames with several TCP headers are left out."""
    rows = {row["n"]: row for row in ours.sort("n", "depth").iter_rows(named=True)}
    out = []
    for frame in theirs:
        if not frame["tcp.srcport"] or SEPARATOR in frame["tcp.srcport"]:
            continue
        row = rows.get(int(frame["frame.number"]))
        if row is None:
            continue  # a layer below TCP that is not decoded: tests of decoding say so
        for column in columns:
            text = frame[column.wireshark].split(SEPARATOR)[0]
            wanted: object
            if column.kind == "bool":
                wanted = bool(text)
            elif column.name.endswith("_ns"):
                wanted = (nanoseconds(text) or None) if text else None
            else:
                wanted = int(text, 0) if text else None
            if row[column.name] != wanted:
                out.append((row["n"], column.name, row[column.name], wanted))
    return out


def compare(path: Path, columns: list[Column]) -> list[tuple]:
    fields = ["frame.number", "tcp.srcport", *(c.wireshark for c in columns)]
    return differences(analyzed(path)["tcp"], tshark(path, fields), columns)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "busy-8s.server",
            "rmem-6m.client",
            "half-close.server",
            "fixed-port.client",
            "concurrent-4.server",
        ),
        *(
            "nosack.server",
            "nows.client",
            "mtu-576-100k.server",
            "write-chunks.client",
            "close-client.server",
        ),
    ],
)
def test_lab_captures(lab_captures, name):
    assert compare(lab_captures / f"{name}.pcap", ANALYSIS + RELATIVE) == []


def hostile_capture(path: Path, seed: int, count: int = 2500) -> None:
    """Segments around where each side stands, with all that makes the rules differ, near the wrap-around."""
    choose = random.Random(seed)
    following: dict[tuple[int, int], int] = {}
    now = 1_700_000_000_000
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for _ in range(count):
            port, side = 1000 + choose.randrange(4), choose.randrange(2)
            mine, other = (port, side), (port, 1 - side)
            start = 2**32 - 3000 + 4000 * side
            seq = following.get(mine, start) + choose.choice([0] * 8 + [-1, -1, -2, -100, 1, 100, -1400])
            ack = following.get(other, start) + choose.choice([0] * 8 + [-1, -100, 100, 1400])
            flags = choose.choice([16] * 60 + [24] * 20 + [2, 18, 17, 4, 20, 16 | 32, 8, 0])
            data = bytes(choose.choice([0, 0, 0, 0, 1, 100, 1400])) if flags != 18 else b""
            following[mine] = max(following.get(mine, 0), seq + len(data) + (flags & 3 > 0))
            options = b""
            if flags & 2:
                options += choose.choice([b"", b"\x03\x03\x02\x01", b"\x03\x03\x00\x01", b"\x03\x03\x0f\x01"])
            elif choose.randrange(4) == 0:
                edge = (ack + 50) % 2**32
                blocks = b"".join(
                    ((edge + 100 * k) % 2**32).to_bytes(4, "big")
                    + ((edge + 100 * k + 40) % 2**32).to_bytes(4, "big")
                    for k in range(choose.randrange(1, 5))
                )
                options += bytes((1, 1, 5, 2 + len(blocks))) + blocks
            ends = (b"\x0a\0\0\1", b"\x0a\0\0\2") if side == 0 else (b"\x0a\0\0\2", b"\x0a\0\0\1")
            tcp = dpkt.tcp.TCP(
                sport=port if side == 0 else 9999,
                dport=9999 if side == 0 else port,
                seq=seq % 2**32,
                ack=ack % 2**32 if flags & 16 else 0,
                flags=flags,
                win=choose.choice([0, 0, 0, 100, 500, 500]),
                opts=options,
                data=data,
            )
            tcp.off = 5 + len(options) // 4
            ip = dpkt.ip.IP(src=ends[0], dst=ends[1], p=6, data=tcp)
            ip.len = len(ip)
            frame = dpkt.ethernet.Ethernet(dst=b"\2" * 6, src=b"\4" * 6, type=0x800, data=ip)
            now += choose.choice([100, 100, 100, 1000, 5000, 30_000])
            writer.writepkt_time(bytes(frame), now / 1_000_000)


@pytest.mark.parametrize("seed", range(4))
def test_hostile_segments(tmp_path, seed):
    path = tmp_path / "hostile.pcap"
    hostile_capture(path, seed)
    assert compare(path, ANALYSIS)[:10] == []


def test_the_hostile_capture_has_every_flag(tmp_path):
    path = tmp_path / "hostile.pcap"
    hostile_capture(path, 0)
    tcp = analyzed(path)["tcp"]
    assert [c.name for c in ANALYSIS if c.kind == "bool" and not tcp[c.name].any()] == []


@pytest.mark.corpus
@pytest.mark.skipif(CORPUS is None, reason="PCAPTOOL_CORPUS is not set")
def test_corpus():
    """Against tshark's answers with application dissectors switched off, kept beside the corpus."""
    compared, found = 0, []
    for answers in sorted(Path(CORPUS or "").glob("oracle/*.l4.parquet")):
        name = answers.name.removesuffix(".l4.parquet")
        frame = pl.read_parquet(answers)
        if "frame.encap_type" in frame.columns:  # frames of pcapng blocks that are no packets
            frame = frame.filter(pl.col("frame.encap_type").is_not_null())
        try:
            ours = analyzed(Path(CORPUS or "") / name)["tcp"]
        except CaptureError as error:  # tshark has no rows of these
            found += [(name, str(error))] if frame.height else []
            continue
        number = {int(old): new for new, old in enumerate(frame["frame.number"], 1)}
        theirs = []
        for row in frame.fill_null("").iter_rows(named=True):
            row["frame.number"] = str(number[int(row["frame.number"])])
            for column in ("acks_frame", "rto_frame", "duplicate_ack_frame"):
                text = row[f"tcp.analysis.{column}"]
                row[f"tcp.analysis.{column}"] = str(number[int(text)]) if text else ""
            theirs.append(row)
        columns = [c for c in ANALYSIS if name not in ABSURD_TIMES or not c.name.endswith("_ns")]
        found += [(name, *cell) for cell in differences(ours, theirs, columns)]
        compared += len(theirs)
    assert found[:10] == []
    assert compared > 5000
