"""Captures sent again between namespaces: received equal, refused with a reason, ended clearly. Needs root."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from pcaptool.diff import diff
from pcaptool.file import open_capture
from tests.bench.analyze import make_capture

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root and network namespaces"),
    pytest.mark.xdist_group("lab"),
]

NEAR, FAR = f"pcaptool-t{os.getpid()}-n", f"pcaptool-t{os.getpid()}-f"


def ip(*words, check=True):
    return subprocess.run(["ip", *words], check=check, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def link():
    """Two namespaces joined by two veth pairs, without addresses: nothing in them answers or asks."""
    try:
        for name in (NEAR, FAR):
            ip("netns", "add", name)
            ip("netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
            ip("netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
        for device in ("e0", "e1"):
            ip("-n", NEAR, "link", "add", device, "type", "veth", "peer", "name", device, "netns", FAR)
            for name in (NEAR, FAR):
                ip("-n", name, "link", "set", device, "up")
        yield
    finally:
        for name in (NEAR, FAR):
            ip("netns", "del", name, check=False)


def command(*arguments):
    return [
        *("ip", "netns", "exec", NEAR, sys.executable, "-m", "pcaptool.cli.main", "replay"),
        *map(str, arguments),
    ]


def replay(*arguments):
    """Exit code and report."""
    done = subprocess.run(command(*arguments, "--json"), capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


class Capture:
    """tcpdump on the far side."""

    def __init__(self, path, device="e0"):
        self.path = path
        words = [
            "tcpdump",
            "-i",
            device,
            "-n",
            "-U",
            "--immediate-mode",
            "-Z",
            "root",
            "-B",
            "32768",
            "-Q",
            "in",
        ]
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", FAR, *words, "--time-stamp-precision=nano", "-s", "0", "-w", str(path)],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        for line in self.process.stderr:
            if "listening on" in line:
                break

    def __enter__(self):
        return self

    def __exit__(self, *_):
        time.sleep(0.1)
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=20)


def received_equal(original, received):
    """diff --as path finds nothing but checksums that a device was still to complete, and that are right now."""
    found = diff(original, received, relation="path")
    rows = found.differences.select("field", "value_a", "value_b", "cause").rows()
    other = [
        row
        for row in rows
        if row[0] not in ("tcp.checksum", "udp.checksum")
        or not (row[1].endswith("(unverified, partial)") and row[2].endswith("(good)"))
        or row[3] != "checksum-offload"
    ]
    assert not other, found.verdict
    return True


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.pcap"))


LAB = names(Path(__file__).resolve().parents[2] / "fixtures" / "captures" / "lab")


_REPLAYER = """
import json, sys
from pcaptool.replay import Options, Pace, replay
for line in sys.stdin:
    options = Options(pace=Pace.of(speed="10"), verify=(sys.argv[1],))
    print(json.dumps(replay(line.strip(), ["e0"], options).as_dict()), flush=True)
"""


@pytest.fixture(scope="module")
def replayer(link):
    """One process for many captures, at ten times their speed: reports by path."""
    words = ["ip", "netns", "exec", NEAR, sys.executable, "-c", _REPLAYER, f"{FAR}/e0"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def go(path):
            process.stdin.write(f"{path}\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield go
        process.stdin.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", LAB)
def test_a_capture_sent_again_is_received_equal(name, replayer, lab_captures, tmp_path):
    """Those that a snap length cut have no whole packets to send, and say so."""
    original = lab_captures / name
    with Capture(tmp_path / "far.pcap"):
        report = replayer(original)
    with open_capture(original) as capture:
        cut = sum(len(record.data) < record.orig_len for record in capture)
    assert report["refused"] == cut
    assert report["exit_code"] == (1 if cut else 0)
    assert (report["sent"], report["seen"], report["seen_others"]) == (
        report["planned"] - cut,
        report["sent"],
        0,
    )
    if not cut:
        assert received_equal(original, tmp_path / "far.pcap")


def test_super_packets_arrive_cut_with_every_field_as_a_card_sets_it(link, lab_captures, tmp_path):
    original = lab_captures / "size-100k.server.pcap"
    with Capture(tmp_path / "far.pcap"):
        code, report = replay(original, "-i", "e0", "-o", tmp_path / "table")
    assert (code, report["planned"], report["changes"]["segmented"]) == (0, 87, 7)
    with open_capture(tmp_path / "far.pcap") as capture:
        assert max(len(record.data) for record in capture) == 1514
    assert received_equal(original, tmp_path / "far.pcap")
    table = pl.read_parquet(tmp_path / "table" / "replay.parquet")
    assert table.height == 87
    assert table["sent_ns"].null_count() == 0
    assert (table["sent_ns"] - table["planned_ns"]).min() >= 0


def test_two_interfaces_carry_the_two_sides(link, lab_captures, tmp_path):
    original = lab_captures / "keepalive-5.server.pcap"
    with Capture(tmp_path / "client.pcap", "e0"), Capture(tmp_path / "server.pcap", "e1"):
        code, report = replay(
            original, "-i", "client=e0", "-i", "server=e1",
            "--verify", f"client={FAR}/e0", "--verify", f"server={FAR}/e1",
        )  # fmt: skip
    assert (code, report["seen"]) == (0, report["planned"])
    sides = {}
    for side in ("client", "server"):
        with open_capture(tmp_path / f"{side}.pcap") as capture:
            sides[side] = {record.data[6:12].hex(":") for record in capture}
    assert sides == {"client": {"02:00:00:00:00:02"}, "server": {"02:00:00:00:00:01"}}


def test_rewritten_packets_arrive_rewritten(link, lab_captures, tmp_path):
    original = lab_captures / "keepalive-5.server.pcap"
    with Capture(tmp_path / "far.pcap"):
        code, _ = replay(
            original, "-i", "e0", "--map", "192.0.2.0/24=198.51.100.0/24", "--port", "80=8080", "--vlan", "add:42",
            "--ttl", "-1", "--mac", "dst=02:00:00:00:00:99", "--verify", f"{FAR}/e0",
        )  # fmt: skip
    assert code == 0
    said = subprocess.run(
        ["tcpdump", "-nnevv", "-r", str(tmp_path / "far.pcap"), "tcp or (vlan and tcp)"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "vlan 42" in said
    assert "198.51.100.1.8080" in said
    assert not re.search(r"192\.0\.2\.\d+\.\d", said)  # an address with its port
    assert "ttl 63" in said
    assert "> 02:00:00:00:00:99" in said
    assert "incorrect" not in said  # tcpdump recomputes the checksums
    assert "bad cksum" not in said


def test_an_interface_that_goes_down_ends_it_and_says_where(link, tmp_path):
    make_capture(tmp_path / "x.pcap", 3000, 65535)
    process = subprocess.Popen(
        command(tmp_path / "x.pcap", "-i", "e0", "--pps", "1000", "--json"), stdout=subprocess.PIPE, text=True
    )
    before = int(ip("netns", "exec", NEAR, "cat", "/sys/class/net/e0/statistics/tx_packets"))
    until = time.monotonic() + 60
    while int(ip("netns", "exec", NEAR, "cat", "/sys/class/net/e0/statistics/tx_packets")) < before + 100:
        assert time.monotonic() < until
        time.sleep(0.02)
    try:
        ip("-n", NEAR, "link", "set", "e0", "down")
        out, _ = process.communicate(timeout=20)
    finally:
        ip("-n", NEAR, "link", "set", "e0", "up")
    report = json.loads(out)
    assert process.returncode == 1
    assert "ENETDOWN" in report["ended_by"]
    assert 100 <= report["sent"] < 3000
    assert (report["failed"], report["sent"] + report["failed"] + report["untried"]) == (1, report["planned"])
    assert report["failures"][0]["n"] == report["sent"] + 1


def test_a_full_queue_is_told_apart_from_success(link, tmp_path):
    """A link that takes 64 kbit/s: a queue of two packets is full at once (ENOBUFS), and drains too slowly."""
    make_capture(tmp_path / "x.pcap", 400, 65535)
    words = ("root", "tbf", "rate", "8kbit", "burst", "2000", "limit", "4000")
    subprocess.run(["ip", "netns", "exec", NEAR, "tc", "qdisc", "add", "dev", "e0", *words], check=True)
    try:
        code, report = replay(tmp_path / "x.pcap", "-i", "e0", "--topspeed")
    finally:
        subprocess.run(["ip", "netns", "exec", NEAR, "tc", "qdisc", "del", "dev", "e0", "root"], check=True)
    assert code == 1
    assert "ENOBUFS" in report["ended_by"]
    assert report["failed"] == 1
    assert report["sent"] + report["failed"] + report["untried"] == report["planned"] == 400
    assert "try again" in report["notes"][0]


def test_an_mtu_too_small_is_a_refusal_for_each_packet_that_cannot_be_cut(link, lab_captures, tmp_path):
    original = lab_captures / "size-10240.server.pcap"
    for device in (NEAR, FAR):
        ip("-n", device, "link", "set", "e1", "mtu", "600")
    try:
        with Capture(tmp_path / "far.pcap", "e1"):
            code, report = replay(original, "-i", "e1")
        assert (code, report["refused"]) == (0, 0)
        assert received_equal(original, tmp_path / "far.pcap")
        code, report = replay(original, "-i", "e1", "--no-segment")
        assert (code, report["refused"]) == (1, 2)
        assert all("super-packet" in failure["reason"] for failure in report["failures"])
        ip("-n", NEAR, "link", "set", "e1", "mtu", "68")
        code, report = replay(original, "-i", "e1")
        assert code == 0  # 16 bytes of payload fit behind the headers
        assert report["planned"] > 600
    finally:
        for device in (NEAR, FAR):
            ip("-n", device, "link", "set", "e1", "mtu", "1500")


def test_without_permission_it_is_one_line(link, lab_captures):
    done = subprocess.run(
        ["setpriv", "--inh-caps=-all", "--bounding-set=-all", "--ambient-caps=-all", "--reuid=65534", "--clear-groups",
         sys.executable, "-m", "pcaptool.cli.main", "replay", str(lab_captures / "size-1.server.pcap"), "-i", "lo"],
        capture_output=True, text=True, check=False, env={**os.environ, "PCAPTOOL_CACHE_DIR": ""},
    )  # fmt: skip
    if "Permission denied" in done.stderr or "ModuleNotFoundError" in done.stderr:
        pytest.skip("this checkout cannot be read by another user")
    assert (done.returncode, done.stdout) == (2, "")
    assert "CAP_NET_RAW" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_interface_that_is_down_or_missing_is_one_line(link, lab_captures):
    code, said = replay(lab_captures / "size-1.server.pcap", "-i", "lo")
    assert (code, said) == (2, "pcaptool: the interface lo is down (ip link set lo up)\n")
    code, said = replay(lab_captures / "size-1.server.pcap", "-i", "e7")
    assert code == 2
    assert said.startswith("pcaptool: there is no interface 'e7' (there are e0, e1")


def test_ctrl_c_stops_and_still_reports(link, tmp_path):
    make_capture(tmp_path / "x.pcap", 3000, 65535)
    process = subprocess.Popen(
        command(tmp_path / "x.pcap", "-i", "e0", "--pps", "100", "--json", "-o", tmp_path / "table"),
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    before = int(ip("netns", "exec", NEAR, "cat", "/sys/class/net/e0/statistics/tx_packets"))
    until = time.monotonic() + 60
    while int(ip("netns", "exec", NEAR, "cat", "/sys/class/net/e0/statistics/tx_packets")) < before + 20:
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    report = json.loads(out)
    assert process.returncode == 130
    assert report["ended_by"] == "interrupted"
    assert 20 <= report["sent"] < 3000
    assert report["planned"] == report["sent"] + report["untried"]
    table = pl.read_parquet(tmp_path / "table" / "replay.parquet")
    assert table.filter(pl.col("error").is_null()).height == report["sent"]


def test_a_far_side_that_loses_frames_is_believed(link, tmp_path):
    """Every frame was sent, and not one arrives where it is looked for: exit code 1."""
    make_capture(tmp_path / "x.pcap", 200, 65535)
    code, report = replay(tmp_path / "x.pcap", "-i", "e0", "--verify", f"{FAR}/e1", "-o", tmp_path / "table")
    assert (code, report["sent"], report["seen"]) == (1, 200, 0)
    table = pl.read_parquet(tmp_path / "table" / "replay.parquet")
    assert (table["seen_ns"].null_count(), table["sent_ns"].null_count()) == (200, 0)


def test_the_end_does_not_drift(link, tmp_path):
    """3,000 packets over 30 ms, thrice: each round begins where the last one ended."""
    make_capture(tmp_path / "x.pcap", 3000, 65535)
    code, report = replay(tmp_path / "x.pcap", "-i", "e0", "--loop", "3", "-o", tmp_path / "table")
    assert code == 0
    assert report["packets"] == 9000
    assert report["planned_duration_ns"] == 3 * 2999 * 10_000
    table = pl.read_parquet(tmp_path / "table" / "replay.parquet")
    assert table["round"].unique().sort().to_list() == [0, 1, 2]
    early = (table["sent_ns"] - table["planned_ns"]).min()
    assert early >= 0  # never before its time, so nothing adds up
