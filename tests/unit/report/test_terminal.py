"""Terminal renderings: what stands in them, and that nothing captured reaches a terminal raw."""

from __future__ import annotations

import io
import re

import polars as pl
import pytest
from rich.console import Console

from pcaptool.analyze.pipeline import analyze
from pcaptool.report.conversations import flow_table, http_table
from pcaptool.report.info import CaptureInfo
from pcaptool.report.packets import packet_list, packet_summaries
from pcaptool.report.rows import batches_of, plain
from pcaptool.report.summary import summary
from pcaptool.report.timings import GROUPS, timing_table
from pcaptool.tables import TABLES
from pcaptool.tables.timings import PARTS

EVIL = "\x1b[2J[red]x[/red]\u202e\n"


def shown(renderable):
    out = io.StringIO()
    Console(file=out, width=200, force_terminal=False).print(renderable)
    return out.getvalue()


class Made:
    """A report in memory."""

    def __init__(self, frames):
        self._frames = frames
        self.counts = {name: f.height for name, f in frames.items()}

    def batches(self, name, columns=None):
        frame = self._frames[name]
        return batches_of(frame if columns is None else frame.select(list(columns)))


def rows_of(frame):
    return [row for batch in batches_of(frame) for row in plain(batch)]


def frame(name, rows):
    """A table's frame from rows that give some columns; the others are null or zero."""
    table = TABLES[name]
    zero = {"text": "", "string": "", "bool": False, "text_list": [], "u8_list": [], "u32_list": []}
    full = [
        {c.name: row.get(c.name, None if c.nullable else zero.get(c.kind, 0)) for c in table.columns}
        for row in rows
    ]
    empty = pl.DataFrame(table.arrow_schema.empty_table())
    return pl.DataFrame(
        full, schema={k: v if v != pl.Categorical else pl.String for k, v in empty.schema.items()}
    )


@pytest.fixture
def frames():
    tcp = {"flow": 0, "srcport": 4000, "dstport": 80, "window_size_value": 100, "hdr_len": 20}
    return {
        "packets": frame(
            "packets",
            [
                {"n": 1, "ts": 10**18, "src": "10.0.0.1", "dst": "10.0.0.2", "protocol": "tcp", "len": 74},
                {"n": 2, "ts": 10**18 + 1500, "src": "10.0.0.1", "dst": EVIL, "protocol": "tcp", "len": 90},
                {"n": 3, "ts": 10**18 + 2500, "protocol": "arp", "len": 42},
                {"n": 4, "ts": 10**18 + 2500, "protocol": "ip", "err_layer": "ip", "err_kind": "truncated"},
            ],
        ),
        "tcp": frame(
            "tcp",
            [
                tcp
                | {"n": 1, "seq_raw": 7, "seq": 0, "ack": 0, "flags": 2, "len": 0, "options_mss_val": 1460}
                | {"options_wscale_shift": 7, "options_sack_perm": True},
                tcp
                | {"n": 2, "seq_raw": 8, "seq": 1, "ack_raw": 101, "ack": 1, "flags": 24, "len": 36}
                | {"options_sack_le": [111], "options_sack_re": [121]},
            ],
        ),
        "arp": frame(
            "arp", [{"n": 3, "opcode": 1, "dst_proto_ipv4": "10.0.0.9", "src_proto_ipv4": "10.0.0.1"}]
        ),
        "http": frame(
            "http",
            [
                {"method": "GET", "target": EVIL, "host": EVIL, "request_first_n": 2, "request_last_n": 2}
                | {"status": 404, "response_first_n": 3, "server_time_ns": 1_500_000, "trouble": EVIL}
            ],
        ),
        "flows": frame(
            "flows",
            [
                {
                    "src": EVIL,
                    "srcport": 1,
                    "dst": "2001:db8::1",
                    "dstport": 80,
                    "protocol": "tcp",
                    "end": "rst",
                }
            ],
        ),
    }


def test_packet_lines(frames):
    lines = packet_summaries(frames)
    assert lines[1] == "4000 → 80 [SYN] Seq=0 Win=100 Len=0 MSS=1460 WS=128 SACK_PERM"
    assert lines[2].startswith(
        "4000 → 80 [PSH, ACK] Seq=1 Ack=1 Win=100 Len=36 SACK=11-21  GET \\x1b[2J[red]x"
    )
    assert lines[3] == "Who has 10.0.0.9? Tell 10.0.0.1"
    assert lines[4].endswith("[ip: truncated]")


def parts(frames):
    """Packets a row at a time, then flows: as a pass over a capture gives them."""
    for k in range(frames["packets"].height):
        yield from (("packets", batch) for batch in batches_of(frames["packets"][k : k + 1]))
    yield from (("flows", batch) for batch in batches_of(frames["flows"]))


def test_info_sums_up_what_passes_by(frames):
    found = CaptureInfo(parts(frames), rows=1)
    packets = frames["packets"]
    times = packets["ts"].cast(int)
    assert found.as_dict([("a", 1)]) == {
        "about": [{"name": "a", "value": 1}],
        "packets": packets.height,
        "flows": frames["flows"].height,
        "captured_bytes": packets["cap_len"].sum(),
        "original_bytes": packets["len"].sum(),
        "first_ns": times.min(),
        "last_ns": times.max(),
        "undecoded": packets["err_layer"].count(),
    }
    assert CaptureInfo([]).as_dict([])["first_ns"] is None
    assert "no packets" in shown(CaptureInfo([]).shown([]))


def test_nothing_captured_is_printed_raw(frames):
    for renderable in (
        packet_list(frames),
        flow_table(rows_of(frames["flows"])),
        http_table(rows_of(frames["http"])),
        summary(Made(frames)),
        CaptureInfo(parts(frames)).shown([("file", EVIL)]),
    ):
        text = shown(renderable)
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "\\x1b[2J[red]x[/red]" in text


def test_summary_names_what_was_seen(frames):
    text = shown(summary(Made(frames)))
    assert "arp 1" in text
    assert "tcp 2" in text
    assert "HTTP exchanges: 1" in text
    assert "1.500 ms" in text
    assert "1 packets; see err_layer" in text


def test_an_empty_capture_has_a_summary():
    empty = {name: pl.DataFrame(TABLES[name].arrow_schema.empty_table()) for name in TABLES}
    assert "no packets" in shown(summary(Made(empty)))


def test_tables_of_no_rows_render():
    assert "originator" in shown(flow_table([]))
    assert "request" in shown(http_table([]))


def test_a_line_of_timings_adds_up_to_its_total():
    parts = [c.name for c in TABLES["timings"].columns if c.name in PARTS]
    assert sorted(part for group in GROUPS.values() for part in group) == sorted(parts)
    row = {"flow": 3, "exchange": 7, "total_time_ns": sum(range(1, 16)) * 1000}
    row |= {part: 1000 * k for k, part in enumerate(parts, 1)} | {"delivery_time_ns": None}
    text = shown(timing_table([row], "Where the time went"))
    assert "120.000 µs" in text
    told = [float(word) for word in re.findall(r"([\d.]+) µs", text)]
    assert told[0] == sum(told[1:]) == 120


def test_the_summary_says_where_the_time_went(lab_captures, tmp_path):
    report = analyze(lab_captures / "loss-tail.server.pcap", tmp_path / "r")
    assert "Where the time went: 1" in shown(summary(report))
