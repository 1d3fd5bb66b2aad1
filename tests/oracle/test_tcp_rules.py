"""TCP analysis by the rules of Wireshark 4.0 and 4.4, over conversations in which everything goes wrong.

Answers of tshark 4.4.19 are kept in fixtures/oracle, because few machines have it: where PCAPTOOL_TSHARK_44 names
one, it is asked as well (`python -m tests.oracle.test_tcp_rules` writes the kept answers anew).
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import tempfile
from pathlib import Path

import pytest

from pcaptool.analyze.pipeline import analyze, frames
from pcaptool.engine import Engine
from pcaptool.errors import UsageError
from pcaptool.tables import TCP
from tests.analyzed import tshark
from tests.hostile_tcp import troubled_conversations
from tests.oracle.test_tcp_analysis import ANALYSIS, compare, differences, hostile_capture

LATER = os.environ.get("PCAPTOOL_TSHARK_44")
KEPT = Path(__file__).resolve().parents[2] / "fixtures" / "oracle"
FIELDS = ["frame.number", "tcp.srcport", *(c.wireshark for c in ANALYSIS)]
# Name of the kept answers -> the capture that they are of.
CAPTURES = {
    "troubled-0": lambda path: troubled_conversations(path, 0, 1200),
    "hostile-0": lambda path: hostile_capture(path, 0, 1000),
}


def rows_44(path, mode="plain"):
    return frames(path, ["tcp"], engine=Engine(mode), tcp_rules="4.4")["tcp"]


def kept_answers(name):
    with gzip.open(KEPT / f"tshark-4.4.19-{name}.csv.gz", "rt") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", CAPTURES)
def test_rules_of_4_4_equal_the_kept_answers(tmp_path, name):
    path = tmp_path / "c.pcap"
    CAPTURES[name](path)
    answers = kept_answers(name)
    ours = rows_44(path)
    assert len(answers) == ours.height > 900
    assert differences(ours, answers, ANALYSIS)[:10] == []
    with_4_0 = differences(frames(path, ["tcp"], engine=Engine("plain"))["tcp"], answers, ANALYSIS)
    assert len({column for _, column, _, _ in with_4_0}) > 5  # the two rule sets are told apart here


@pytest.mark.oracle
@pytest.mark.parametrize("seed", range(3))
def test_rules_of_4_0(tmp_path, seed):
    path = tmp_path / "c.pcap"
    troubled_conversations(path, seed)
    assert compare(path, ANALYSIS)[:10] == []


@pytest.mark.oracle
@pytest.mark.skipif(LATER is None, reason="PCAPTOOL_TSHARK_44 names no tshark 4.4")
@pytest.mark.parametrize("seed", range(1, 5))
def test_rules_of_4_4(tmp_path, seed):
    for make in (troubled_conversations, hostile_capture):
        path = tmp_path / "c.pcap"
        make(path, seed)
        assert differences(rows_44(path), tshark(path, FIELDS, LATER), ANALYSIS)[:10] == []


@pytest.mark.oracle
@pytest.mark.slow
@pytest.mark.skipif(LATER is None, reason="PCAPTOOL_TSHARK_44 names no tshark 4.4")
def test_rules_of_4_4_over_the_lab_captures(lab_captures):
    found = []
    for path in sorted(lab_captures.glob("*.pcap")):
        if path.name.startswith("pmtu-"):
            continue  # ICMP errors quote headers: those have a stream in Wireshark, and none here
        found += [
            (path.name, *cell) for cell in differences(rows_44(path), tshark(path, FIELDS, LATER), ANALYSIS)
        ]
    assert found[:10] == []


@pytest.mark.slow
def test_compiled_as_plain(tmp_path):
    path = tmp_path / "c.pcap"
    troubled_conversations(path, 9, 800)
    columns = [c.name for c in TCP.columns]
    assert rows_44(path).select(columns).equals(rows_44(path, "compiled").select(columns))


def test_a_report_says_by_which_rules_it_was_made(tmp_path, lab_captures):
    capture = lab_captures / "size-1.server.pcap"
    assert analyze(capture, tmp_path / "r", tcp_rules="4.4").tcp_rules == "4.4"
    assert analyze(capture, tmp_path / "s").tcp_rules == "4.0"
    with pytest.raises(UsageError, match=r"no TCP rules '3\.6'"):
        analyze(capture, tmp_path / "t", tcp_rules="3.6")


def keep_answers():
    """Write the kept answers by the tshark that PCAPTOOL_TSHARK_44 names."""
    KEPT.mkdir(exist_ok=True)
    for name, make in CAPTURES.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "c.pcap"
            make(path)
            text = io.StringIO()
            writer = csv.DictWriter(text, FIELDS)
            writer.writeheader()
            writer.writerows(tshark(path, FIELDS, LATER or "tshark"))
        data = gzip.compress(text.getvalue().encode(), mtime=0)
        (KEPT / f"tshark-4.4.19-{name}.csv.gz").write_bytes(data)


if __name__ == "__main__":
    keep_answers()
