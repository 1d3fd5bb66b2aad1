"""Very many connections: what is said of them is the same until there is no room, and then that there is none."""

from __future__ import annotations

import io

import pytest

from pcaptool.analyze import deliveries, open_connections, pipeline
from tests.bench.open_conversations import KINDS, write_conversations

TABLES = ["http", "tls", "dns", "timings", "flows"]


def capture(kind, count):
    file = io.BytesIO()
    write_conversations(file, kind, count)
    return file.getvalue()


def tables_of(data, tmp_path, names=TABLES):
    path, notices = tmp_path / "a.pcap", []
    path.write_bytes(data)
    return pipeline.frames(path, names, notices=notices), notices


@pytest.mark.parametrize("kind", list(KINDS))
def test_connections_at_rest_say_the_same(kind, tmp_path, monkeypatch):
    data = capture(kind, 60)
    awake, _ = tables_of(data, tmp_path)
    monkeypatch.setattr(open_connections, "MOST_AWAKE", 1)
    resting, notices = tables_of(data, tmp_path)
    assert not notices
    for name, frame in awake.items():
        assert frame.equals(resting[name]), name
    assert awake["flows"].height == 60
    assert awake["http"].height == (60 if "HTTP re" in kind or "exchange" in kind else 0)
    assert awake["tls"].height == 0  # of half a hello there is nothing to say


@pytest.mark.parametrize("kind", ["an HTTP request, no answer", "half an HTTP response"])
def test_where_there_is_no_room_the_longest_idle_leave_and_that_is_said(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(open_connections, "MOST_BYTES", 40_000)
    monkeypatch.setattr(open_connections, "MOST_AWAKE", 4)
    found, notices = tables_of(capture(kind, 500), tmp_path)
    left = found["http"]["trouble"].cast(str).str.contains("too many connections were open")
    assert 300 < left.sum() < 500
    assert notices == [f"http: of {left.sum()} connections the end was not read: too many were open at once"]
    assert found["http"]["flow"].sort().to_list() == list(range(500))  # all of them have their row
    assert found["http"].filter(~left)["flow"].min() > 300
    assert found["timings"]["flow"].sort().to_list() == list(range(500))


def test_a_connection_that_holds_more_than_all_may_leaves(by_hand, monkeypatch):
    from pcaptool.analyze.flows import FlowAnalysis
    from pcaptool.analyze.http import HttpAnalysis

    monkeypatch.setattr(open_connections, "MOST_BYTES", 100_000)
    ends = ("192.0.2.1", "192.0.2.2", 5000, 80)
    parts = [by_hand.Segment(*ends, seq=1, ack=1, data=b"GET / HTTP/1.1\r\nX: ")]
    parts += [by_hand.Segment(*ends, seq=20 + 1000 * k, ack=1, data=b"a" * 1000) for k in range(300)]
    flows, http, held = FlowAnalysis(), HttpAnalysis(), []
    for batch in by_hand.split(parts, 10):
        flows.feed(batch)
        http.feed(batch)
        held += [len(each._sides[0].reader._buffer) for each in http._open._awake.values()]
    assert 50_000 < max(held) <= 100_000
    rows = http.finish()["http"]
    assert rows["trouble"] == ["request: not read to its end: too many connections were open; no response"]
    assert http.notices == ["http: of 1 connections the end was not read: too many were open at once"]


def test_responses_that_nobody_acknowledges_do_not_wait_in_any_number(by_hand, tmp_path, monkeypatch):
    kinds = {"unacknowledged": (KINDS["a whole HTTP exchange"][0][:-1], 80)}
    monkeypatch.setitem(KINDS, *kinds.popitem())
    data = capture("unacknowledged", 60)
    before, notices = tables_of(data, tmp_path)
    assert not notices
    monkeypatch.setattr(deliveries, "MOST_WAITING", 7)
    after, notices = tables_of(data, tmp_path)
    assert notices == ["timings: 53 responses waited too long for their acknowledgement, among very many"]
    assert after["timings"].sort("flow").equals(before["timings"].sort("flow"))


@pytest.mark.parametrize("kind", ["an HTTP request, no answer", "a whole HTTP exchange"])
def test_the_report_says_so(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(open_connections, "MOST_BYTES", 40_000)
    path = tmp_path / "a.pcap"
    path.write_bytes(capture(kind, 300))
    report = pipeline.analyze(path, tmp_path / "report", tables=["http"])
    (notice,) = report.notices
    assert "too many were open at once" in notice
