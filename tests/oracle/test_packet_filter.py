"""`analyze --filter` against tcpdump: both use libpcap, but we read the files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pcaptool.analyze.pipeline import analyze
from pcaptool.errors import UsageError

pytestmark = pytest.mark.oracle
CAPTURES = Path(__file__).resolve().parents[2] / "fixtures" / "captures" / "lab"


@pytest.mark.parametrize("expression", ["tcp src port 80", "tcp[13] & 2 != 0", "arp", "greater 1000", "udp"])
@pytest.mark.parametrize("name", ["concurrent-4.server.pcap", "size-10240.server.pcap"])
def test_the_packets_that_tcpdump_would_keep(tmp_path, name, expression):
    kept = tmp_path / "kept.pcap"
    command = ["tcpdump", "-r", str(CAPTURES / name), "-w", str(kept), "--nano", expression]
    subprocess.run(command, capture_output=True, check=True)
    ours = analyze(CAPTURES / name, tmp_path / "ours", packet_filter=expression)
    theirs = analyze(kept, tmp_path / "theirs")
    assert ours.counts == theirs.counts
    for table in ours.tables:
        assert ours.arrow(table).equals(theirs.arrow(table)), table


def test_a_filter_that_is_none(tmp_path):
    with pytest.raises(UsageError, match="nonsense"):
        analyze(CAPTURES / "size-1.server.pcap", tmp_path / "out", packet_filter="nonsense")
    assert not (tmp_path / "out").exists()
