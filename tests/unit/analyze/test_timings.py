"""Where an exchange's time went: parts that add up, and each part where it belongs."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs
import pytest

import pcaptool
from pcaptool.analyze import timing_kernel as tk
from pcaptool.analyze.flows import FlowAnalysis
from pcaptool.analyze.http import HttpAnalysis
from pcaptool.analyze.pipeline import frames
from pcaptool.analyze.timings import TimingAnalysis
from pcaptool.errors import ReportError, UsageError
from pcaptool.tables import HTTP, TIMINGS
from pcaptool.tables.columns import to_arrow
from pcaptool.tables.timings import DELIVERY_PARTS, LAYERS, REQUEST_PARTS, SERVER_PARTS, TRANSFER_PARTS

SYN, PSH, ACK = 2, 8, 16
MS = 1_000_000
GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
MSS = 1000
BODY = 5 * MSS
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"


class Talk:
    """A conversation with its times said by hand."""

    def __init__(self, tools: Any, window: int = 60_000) -> None:
        self.tools, self.segments, self.window = tools, [], window
        about = {"mss": MSS, "sack_permitted": True}
        self._add("c", 0, 0, SYN, b"", 0, **about)
        self._add("s", 0, 1, SYN | ACK, b"", 1, **about)
        self._add("c", 1, 1, ACK, b"", 21)

    def _add(self, who: str, seq: int, ack: int, flags: int, data: bytes, ms: int, **more: Any) -> None:
        ends = ("10.0.0.1", "10.0.0.2", 1000, 80) if who == "c" else ("10.0.0.2", "10.0.0.1", 80, 1000)
        window = self.window if who == "c" else 60_000
        self.segments.append(
            self.tools.Segment(
                *ends, seq=seq, ack=ack, flags=flags, data=data, ts=MS * (1 + ms), window=window, **more
            )
        )

    def client(self, ms: int, seq: int, ack: int, data: bytes = b"") -> Talk:
        self._add("c", seq, ack, ACK, data, ms)
        return self

    def server(self, ms: int, begin: int, end: int, ack: int = 1 + len(GET)) -> Talk:
        """Bytes of the response by their place in it."""
        whole = OK + bytes(BODY)
        self._add("s", 1 + begin, ack, ACK, whole[begin:end], ms)
        return self

    def timings(self, size: int = 1000) -> list[dict[str, Any]]:
        return run(self.tools, self.segments, size)[1].rows(named=True)


def run(tools: Any, segments: list[Any], size: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    flows, http, timings = FlowAnalysis(), HttpAnalysis(), TimingAnalysis()
    timings.http = http
    found: dict[str, list[Any]] = {"http": [], "timings": []}
    for batch in tools.split(segments, size):
        flows.feed(batch)
        for analysis in (http, timings):
            for name, columns in analysis.feed(batch).items():
                found[name].append(columns)
    for analysis in (http, timings):
        for name, columns in analysis.finish().items():
            found[name].append(columns)
    made = [
        pl.concat([pl.DataFrame(to_arrow(table, part, complete=True)) for part in found[table.name]])
        if found[table.name]
        else pl.DataFrame(schema=table.arrow_schema.names)
        for table in (HTTP, TIMINGS)
    ]
    return made[0], made[1]


def parts(row: dict[str, Any], names: tuple[str, ...]) -> dict[str, int]:
    """What is not zero, in milliseconds."""
    return {name.removesuffix("_ns"): row[name] / MS for name in names if row[name]}


END = len(OK) + BODY
FIRST = len(OK) + MSS


def test_a_repetition_by_the_timer_is_what_took_the_time(by_hand):
    talk = Talk(by_hand).client(22, 1, 1, GET).server(30, 0, MSS).server(30, MSS, 2 * MSS)
    talk.server(330, 0, MSS).client(350, 1 + len(GET), 1 + 2 * MSS)
    talk.server(351, 2 * MSS, END)
    (row,) = talk.timings()
    assert row["transfer_time_ns"] == 321 * MS
    assert parts(row, TRANSFER_PARTS) == {
        "transfer_retransmission": 300,
        "transfer_cwnd": 20,
        "transfer_idle": 1,
    }
    assert parts(row, SERVER_PARTS) == {"server_network": 1, "server_think": 7}
    assert row["longest_part"] == "transfer_retransmission"
    assert (row["connect_ns"], row["client_rtt_ns"], row["server_rtt_ns"]) == (21 * MS, 20 * MS, MS)


def test_a_full_receive_window_is_told(by_hand):
    talk = Talk(by_hand, window=2 * MSS).client(22, 1, 1, GET).server(30, 0, MSS).server(31, MSS, 2 * MSS)
    talk.client(81, 1 + len(GET), 1 + 2 * MSS).server(82, 2 * MSS, 4 * MSS)
    talk.client(132, 1 + len(GET), 1 + 4 * MSS).server(133, 4 * MSS, END)
    (row,) = talk.timings()
    assert parts(row, TRANSFER_PARTS) == {"transfer_rwnd": 100, "transfer_cwnd": 1, "transfer_idle": 2}


def test_a_window_that_is_closed_is_the_readers_time_though_nothing_flies(by_hand):
    talk = Talk(by_hand, window=2 * MSS).client(30, 1, 1, GET).server(51, 0, 2 * MSS)
    talk.window = 0
    talk.client(71, 1 + len(GET), 1 + 2 * MSS)  # all of it is acknowledged, and nothing more may come
    talk.window = 60_000
    talk.client(571, 1 + len(GET), 1 + 2 * MSS).server(572, 2 * MSS, len(OK) + BODY)
    (row,) = talk.timings()
    assert (row["longest_part"], row["transfer_idle_ns"]) == ("transfer_rwnd", MS)
    assert row["transfer_rwnd_ns"] == 520 * MS  # 20 of them with all of the window in flight


def test_a_program_that_pauses_is_told_from_the_network(by_hand):
    talk = Talk(by_hand).client(22, 1, 1, GET).server(30, 0, 100).client(50, 1 + len(GET), 101)
    talk.server(500, 100, END)
    (row,) = talk.timings()
    assert parts(row, TRANSFER_PARTS) == {"transfer_application": 20, "transfer_idle": 450}


def test_a_request_that_was_lost_is_not_the_servers_time(by_hand):
    talk = Talk(by_hand).client(22, 1, 1, GET).client(260, 1, 1, GET).server(300, 0, END)
    (row,) = talk.timings()
    assert parts(row, SERVER_PARTS) == {
        "server_retransmission": 238, "server_network": 1, "server_think": 39,
    }  # fmt: skip


def test_a_lost_tail_shows_in_the_delivery_where_the_capture_is_the_servers(by_hand):
    talk = Talk(by_hand).client(22, 1, 1, GET).server(30, 0, END)
    talk.server(260, END - MSS, END).client(285, 1 + len(GET), 1 + END)
    (row,) = talk.timings()
    assert row["total_time_ns"] == 8 * MS
    assert row["delivery_time_ns"] == 255 * MS
    assert parts(row, DELIVERY_PARTS) == {
        "delivery_retransmission": 230, "delivery_network": 20, "delivery_wait": 5,
    }  # fmt: skip


def test_an_upload_has_parts_of_its_own(by_hand):
    post = b"POST /a HTTP/1.1\r\nContent-Length: 1500\r\n\r\n" + bytes(1500)
    talk = Talk(by_hand).client(22, 1, 1, post[:MSS]).server(40, 0, 0, ack=1 + MSS)
    talk.client(90, 1 + MSS, 1, post[MSS:]).server(100, 0, END, ack=1 + len(post))
    (row,) = talk.timings()
    assert parts(row, REQUEST_PARTS) == {"request_cwnd": 18, "request_idle": 50}
    assert row["request_time_ns"] == 68 * MS


def test_an_exchange_that_is_not_whole_has_no_total(by_hand):
    talk = Talk(by_hand).client(22, 1, 1, GET).server(30, 0, MSS)
    (row,) = talk.timings()
    assert row["server_time_ns"] == 8 * MS
    assert row["request_time_ns"] == 0
    assert (row["transfer_time_ns"], row["total_time_ns"], row["longest_part"]) == (None, None, None)


@pytest.mark.parametrize("name", ["keepalive-5.client", "concurrent-4.server", "loss-mid-cubic.server"])
def test_rows_do_not_depend_on_batches(by_hand, lab_captures, name):
    segments = by_hand.read_lab(lab_captures / f"{name}.pcap")
    http, whole = run(by_hand, segments, 10_000)
    assert whole.height == http.height > 0
    for size in (1, 3, 17):
        assert run(by_hand, segments, size)[1].equals(whole)


def test_parts_add_up_in_every_bundled_capture(lab_captures):
    exchanges = 0
    for capture in sorted(lab_captures.glob("*.pcap")):
        tables = frames(capture, ["http", "timings"])
        http = tables["http"].with_columns(cs.datetime().cast(pl.Int64))
        both = http.join(tables["timings"], on=["flow", "exchange"], suffix="_here")
        assert both.height == tables["http"].height == tables["timings"].height
        for row in both.iter_rows(named=True):
            where = (capture.name, row["flow"], row["exchange"])
            assert row["server_time_ns"] == row["server_time_ns_here"], where
            assert row["transfer_time_ns"] == row["transfer_time_ns_here"], where
            for whole, names in (
                ("request_time_ns", REQUEST_PARTS),
                ("server_time_ns_here", SERVER_PARTS),
                ("transfer_time_ns_here", TRANSFER_PARTS),
                ("delivery_time_ns", DELIVERY_PARTS),
            ):
                if row[whole] is None:
                    assert all(row[name] is None for name in names), where
                    continue
                assert sum(row[name] for name in names) == row[whole], where
                assert all(row[name] >= 0 for name in names if name != "server_think_ns"), where
            if row["total_time_ns"] is not None:
                assert row["total_time_ns"] == row["response_last_ts"] - row["request_first_ts"], where
                exchanges += 1
    assert exchanges > 100


@pytest.fixture(scope="module")
def staged(fixtures, tmp_path_factory):
    """A modelled run: capture, stages, and the report of both."""
    folder = tmp_path_factory.mktemp("staged")
    made = pcaptool.generate(fixtures / "demo" / "scenario.toml", folder / "m.pcapng")
    report = pcaptool.analyze(folder / "m.pcapng", folder / "r", stages=folder / "m.stages.parquet")
    return folder, made, report


def test_with_stages_the_way_down_is_told_layer_by_layer(staged):
    folder, _, report = staged
    stages = pl.read_parquet(folder / "m.stages.parquet").filter(pl.col("host").cast(pl.String) == "server")
    rows = report.timings.join(report.http, on=["flow", "exchange"], suffix="_http").collect()
    assert rows.height == 5
    for row in rows.iter_rows(named=True):
        span = (pl.col("n") >= row["response_first_n"]) & (pl.col("n") <= row["response_last_n"])
        mine = stages.filter(span & (pl.col("payload_bytes") > 0)).sort("ts")
        lasted = mine.group_by("n").agg((pl.col("ts").max() - pl.col("ts").min()).cast(pl.Int64).alias("ns"))
        assert row["frames"] == lasted.height
        assert sum(row[f"frames_{layer}_ns"] for layer in LAYERS) == lasted["ns"].sum()
        first = lasted.filter(pl.col("n") == row["response_first_n"])["ns"].item()
        assert sum(row[f"first_{layer}_ns"] for layer in LAYERS) == first
        assert row["first_syscall_ns"] > 0
        before_the_tap = sum(
            row[f"first_{layer}_ns"] for layer in ("syscall", "socket", "tcp", "ip", "neighbour", "qdisc")
        )
        assert before_the_tap < row["server_think_ns"]


def test_a_report_keeps_the_stages_of_the_host_that_the_capture_is_from(staged):
    _, _, report = staged
    assert report.stages.select(pl.col("host").cast(pl.String).unique()).collect()["host"].to_list() == [
        "server"
    ]
    assert report.notices == []


def test_stages_of_another_capture_are_said_to_be_that(staged, lab_captures, tmp_path):
    folder, _, _ = staged
    report = pcaptool.analyze(
        lab_captures / "size-1.server.pcap", tmp_path / "r", stages=folder / "m.stages.parquet"
    )
    assert report.notices == ["stages: no host's frames in them are the capture's"]
    assert report.counts["stages"] == 0
    assert report.timings.select("frames", "first_tcp_ns").collect().rows() == [(None, None)]


def test_a_file_that_holds_no_stages_is_refused(staged, tmp_path):
    folder, _, _ = staged
    capture = folder / "m.pcapng"
    for wrong, says in (
        (folder / "r" / "tcp.parquet", "holds no table stages"),
        (capture, "not a readable Parquet file"),
        (tmp_path / "none", "there is no such file"),
    ):
        with pytest.raises(ReportError, match=says):
            pcaptool.analyze(capture, tmp_path / "out", stages=wrong)
    with pytest.raises(UsageError, match="stages go with the table timings"):
        pcaptool.analyze(capture, tmp_path / "out", tables=["tcp"], stages=folder / "m.stages.parquet")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_compiled_as_plain():
    from pcaptool.engine import Engine

    random = np.random.default_rng(2)
    rows = np.zeros((tk.IN_WIDTH, 4000), np.int64)
    for column, most in (
        (tk.IN_FLOW, 5), (tk.IN_SIDE, 2), (tk.IN_DATA, 2), (tk.IN_REPEATS, 3), (tk.IN_WAITS, 37), (tk.IN_RTT, 9),
    ):  # fmt: skip
        rows[column] = random.integers(most, size=4000)
    rows[tk.IN_WAITS] = random.integers(5, size=4000) | random.integers(5, size=4000) << 3
    rows[tk.IN_TS] = np.cumsum(random.integers(-2, 10, size=4000))
    found = []
    for kernel in (tk.follow, Engine("compiled").function(tk.__name__, "follow")):
        out = np.zeros((tk.OUT_WIDTH, 4000), np.int64)
        state = np.zeros((5, tk.WIDTH), np.int64)
        slots, free = np.array([0, 0, tk.DROPPED, 0, 0], np.int32), np.array([4, 3, 2, 0, 1], np.int32)
        assert kernel(rows, 0, slots, state, free, np.zeros(1, np.int64), out) == 4000
        assert sorted(slots) == [tk.DROPPED, 1, 2, 3, 4]
        assert not out[:, rows[tk.IN_FLOW] == 2].any()
        found.append(out)
    assert np.array_equal(*found)
