"""What the model wrote, read by tshark: it must find nothing to complain about."""

from __future__ import annotations

import subprocess

import pytest

from pcaptool.generate import generate
from pcaptool.scenario import parse_scenario

pytestmark = pytest.mark.oracle

SCENARIO = """
[client]
requests = ["/bytes/0", "/bytes/1000", "/bytes/100000"]
connections = 2
[link]
delay_ms = {delay_ms}
"""

FIELDS = [
    "tcp.checksum.status",
    "ip.checksum.status",
    "tcp.analysis.flags",
    "_ws.expert.message",
    "http.response.code",
    "frame.packet_flags",
    "frame.interface_name",
    "tcp.stream",
]


def tshark(path):
    """One row of FIELDS for each packet."""
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", "-E", "separator=|", "-E", "occurrence=a"]
    command += ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
    command += [word for name in FIELDS for word in ("-e", name)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [dict(zip(FIELDS, line.split("|"), strict=True)) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("delay_ms", [0, 5])
def test_the_wire_is_flawless(tmp_path, delay_ms):
    plan = parse_scenario(SCENARIO.format(delay_ms=delay_ms))
    run = generate(plan, tmp_path / "x.pcapng", taps=["wire"])
    rows = tshark(run.captures["wire"])
    assert len(rows) == run.packets["wire"]
    tcp = [row for row in rows if row["tcp.stream"]]
    assert {row["tcp.checksum.status"] for row in tcp} == {"1"}
    assert {row["ip.checksum.status"] for row in tcp} == {"1"}
    bad = [
        row for row in rows if row["tcp.analysis.flags"] and "Window update" not in row["_ws.expert.message"]
    ]
    assert bad == []
    assert sum(row["http.response.code"] == "200" for row in rows) == 6


def test_the_senders_tap_says_which_checksums_are_not_ready(tmp_path):
    run = generate(parse_scenario(SCENARIO.format(delay_ms=0)), tmp_path / "x.pcapng")
    rows = tshark(run.capture)
    tcp = [row for row in rows if row["tcp.stream"]]
    assert {row["tcp.checksum.status"] for row in tcp} == {"0"}  # to tshark a partial sum is a bad one
    assert {row["ip.checksum.status"] for row in tcp} == {"1"}
    flags = [int(row["frame.packet_flags"], 16) for row in tcp]
    assert all(word & 0x200 for word in flags)
    assert any(word & 0x800 for word in flags)
    assert {row["frame.interface_name"] for row in rows} == {"eth0"}


def test_plain_pcap_has_the_same_packets(tmp_path):
    plan = parse_scenario(SCENARIO.format(delay_ms=0))
    one = generate(plan, tmp_path / "x.pcap")
    other = generate(plan, tmp_path / "y.pcapng")
    texts = []
    for path in (one.capture, other.capture):
        command = ["tcpdump", "-nn", "-tt", "--nano", "-r", str(path)]
        texts.append(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert texts[0] == texts[1]
    assert texts[0].count("\n") == one.packets["server"]


def test_each_tap_gets_a_file_of_its_own(tmp_path):
    run = generate(parse_scenario(""), tmp_path / "x.pcapng", taps=["server", "client", "wire"])
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "x.client.pcapng",
        "x.scenario.toml",
        "x.server.pcapng",
        "x.stages.parquet",
        "x.wire.pcapng",
    ]
    assert run.packets["client"] == run.packets["server"]
