"""Any choice of columns holds what the whole report holds, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcaptool.analyze.pipeline import analyze, frames
from pcaptool.analyze.selection import select
from pcaptool.diff.load import load_side
from pcaptool.errors import ReportError, UsageError

LAB = Path(__file__).resolve().parents[2] / "fixtures" / "captures" / "lab"
CAPTURES = [LAB / f"{name}.server.pcap" for name in ("concurrent-4", "loss-acks", "udp-v4")]
WHOLE = {path: frames(path) for path in CAPTURES}
NAMES = [f"{table}.{column}" for table, frame in WHOLE[CAPTURES[0]].items() for column in frame.columns]


@given(st.sampled_from(CAPTURES), st.sets(st.sampled_from(NAMES), min_size=1, max_size=20))
@settings(max_examples=150, deadline=None)
def test_chosen_columns_are_those_of_the_whole(path, names):
    chosen = frames(path, columns=sorted(names))
    assert {f"{table}.{column}" for table, frame in chosen.items() for column in frame.columns} == names
    for table, frame in chosen.items():
        assert frame.equals(WHOLE[path][table].select(frame.columns))


def test_whole_tables_and_columns_of_others(tmp_path):
    report = analyze(CAPTURES[0], tmp_path / "r", tables=["udp"], columns=["tcp.len", "tcp.n", "udp.n"])
    assert report["tcp"].collect_schema().names() == ["n", "len"]
    assert (report.whole("udp"), report.whole("tcp"), report.whole("packets")) == (True, False, False)
    assert report.whole_tables().tables == ("udp",)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tcp", "no column 'tcp'"),
        ("nothing.n", "no column 'nothing.n'"),
        ("tcp.lenn", "table tcp has no column 'lenn'"),
    ],
)
def test_unknown_columns(name, words):
    with pytest.raises(UsageError, match=words):
        select(columns=[name])


def test_a_report_of_some_columns_is_not_compared(tmp_path):
    analyze(CAPTURES[0], tmp_path / "r", tables=["packets"], columns=["tcp.n"])
    with pytest.raises(ReportError, match="tcp has some of its columns only"):
        load_side(tmp_path / "r")
