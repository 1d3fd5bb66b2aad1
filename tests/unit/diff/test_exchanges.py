"""Exchanges are requests and their responses, also where several requests are on their way at once."""

from __future__ import annotations

import pytest

from pcaptool.analyze.pipeline import analyze
from pcaptool.diff import diff
from pcaptool.generate.run import generate
from pcaptool.tables.report import open_report

SCENARIO = """
[client]
requests = ["/bytes/100", "/bytes/30000", "/bytes/5"]
pipeline = {pipeline}
"""


def run(folder, *, pipeline):
    scenario = folder / "run.toml"
    scenario.write_text(SCENARIO.format(pipeline=str(pipeline).lower()))
    return [generate(scenario, folder / f"{seed}.pcap", seed=seed).capture for seed in (1, 2)]


@pytest.mark.parametrize("pipeline", [True, False])
@pytest.mark.parametrize("reported", [False, True])
def test_each_request_has_its_exchange(tmp_path, pipeline, reported):
    a, b = run(tmp_path, pipeline=pipeline)
    analyze(a, tmp_path / "report")
    known = open_report(tmp_path / "report")["http"].collect()["server_time_ns"].sort().to_list()
    found = diff(tmp_path / "report", b, relation="model") if reported else diff(a, b, relation="model")
    times = {t.what: t for t in found.timing}
    assert times["server_time"].count == times["transfer_time"].count == 3
    one = next(d for d in found.distributions if d.what == "server_time")
    assert (one.count_a, one.count_b, list(one.curve_a)) == (3, 3, known)


def test_where_a_side_knows_no_messages_turns_count(tmp_path):
    a, b = run(tmp_path, pipeline=True)
    analyze(a, tmp_path / "report", tables=["packets", "link", "arp", "ip", "tcp", "udp", "flows"])
    found = diff(tmp_path / "report", b, relation="model")
    assert {t.what: t.count for t in found.timing}["server_time"] == 1
