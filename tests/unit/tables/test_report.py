"""Reports: whole or not at all, the same bytes for the same input, and what is refused."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pcaptool.analyze.pipeline import analyze, frames
from pcaptool.errors import OutputError, ReportError, UsageError
from pcaptool.tables import TABLES
from pcaptool.tables.report import open_report


@pytest.fixture
def capture(lab_captures):
    return lab_captures / "size-1.server.pcap"


def test_a_report_holds_what_frames_hold(capture, tmp_path):
    report = analyze(capture, tmp_path / "r", command="a command")
    eager = frames(capture)
    assert report.counts == {name: frame.height for name, frame in eager.items()}
    for name, frame in eager.items():
        assert report[name].collect().rows() == frame.rows()
    [source] = report.sources
    assert (source["name"], source["packets"], report.command) == (capture.name, 12, "a command")
    assert len(source["sha256"]) == 64


def test_the_same_input_makes_the_same_bytes(capture, tmp_path):
    first, second = (analyze(capture, tmp_path / name).path for name in "ab")
    for file in first.iterdir():
        assert file.read_bytes() == (second / file.name).read_bytes()


def test_schemas_are_those_of_the_definitions(capture, tmp_path):
    report = analyze(capture, tmp_path / "r")
    for name in report.tables:
        schema = pq.read_schema(report.path / f"{name}.parquet")
        assert schema.names == list(TABLES[name].names)
        assert [f.nullable for f in schema] == [c.nullable for c in TABLES[name].columns]


def test_an_earlier_report_is_replaced_and_its_tables_go(capture, tmp_path):
    analyze(capture, tmp_path / "r")
    report = analyze(capture, tmp_path / "r", tables=["arp"])
    assert [p.name for p in report.path.iterdir()] == ["arp.parquet"]
    assert [p.name for p in tmp_path.iterdir()] == ["r"]


def test_a_folder_with_something_else_is_refused_and_left(capture, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"something else.*notes\.txt"):
        analyze(capture, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_nothing_is_left_when_analysis_fails(capture, tmp_path):
    def fail(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        analyze(capture, tmp_path / "r", progress=fail)
    assert list(tmp_path.iterdir()) == []


def test_a_cut_capture_is_reported_and_its_packets_kept(capture, tmp_path):
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(capture.read_bytes()[:-5])
    report = analyze(cut, tmp_path / "r")
    assert report.counts["packets"] == 11
    assert "ends within a record" in report.notices[0]


def test_several_captures_are_one(capture, tmp_path):
    report = analyze([capture, capture], tmp_path / "r", tables=["packets"])
    assert report.packets.collect()["n"].to_list() == list(range(1, 25))


@pytest.mark.parametrize("make", ["missing", "empty", "foreign", "other version"])
def test_what_is_no_report_is_refused(tmp_path, make):
    path = tmp_path / "r"
    if make != "missing":
        path.mkdir()
    if make == "foreign":
        pq.write_table(pa.table({"a": [1]}), path / "tcp.parquet")
    if make == "other version":
        about = {"pcaptool.table": "tcp", "pcaptool.table_version": "999"}
        about |= {"pcaptool.version": "0", "pcaptool.about": "{}"}
        pq.write_table(pa.table({"a": [1]}).replace_schema_metadata(about), path / "tcp.parquet")
    with pytest.raises(ReportError):
        open_report(path)


def test_an_unknown_table_is_refused(capture, tmp_path):
    with pytest.raises(UsageError, match="no table 'x'"):
        analyze(capture, tmp_path / "r", tables=["x"])
