"""What tshark says of two runs, packet by packet, agrees with the diff's verdict and alignment."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pcaptool.diff import diff

pytestmark = pytest.mark.oracle

LAB = Path(__file__).resolve().parents[2] / "fixtures" / "captures" / "lab"
# Fields whose values tshark makes comparable itself: relative numbers, nothing random.

STABLE = ("tcp.seq", "tcp.ack", "tcp.len", "tcp.flags", "tcp.window_size_value", "ip.ttl", "ip.dsfield")


def tshark(path, fields, display="tcp.srcport == 80"):
    command = ["tshark", "-n", "-r", str(path), "-Y", display, "-T", "fields"]
    command += [x for f in fields for x in ("-e", f)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [tuple(line.split("\t")) for line in done.stdout.splitlines()]


def pairs():
    repeat = LAB / "repeat"
    for name in ("fixed-port", "nginx-1k", "python-1k", "loss-tail"):
        yield repeat / f"{name}.1.server.pcap", repeat / f"{name}.2.server.pcap"
    yield repeat / "python-1k.1.server.pcap", repeat / "nginx-1k.1.server.pcap"
    yield LAB / "size-1.server.pcap", LAB / "size-1354.server.pcap"
    yield LAB / "size-0.server.pcap", LAB / "nows.server.pcap"
    yield LAB / "write-two.server.pcap", LAB / "write-two-nodelay.server.pcap"


@pytest.mark.parametrize(("a", "b"), list(pairs()), ids=lambda p: p.name)
def test_the_verdict_on_the_servers_packets_is_tsharks(a, b):
    left, right = tshark(a, STABLE), tshark(b, STABLE)
    found = diff(a, b, side="server", rules={"http-date": True})
    header = {"tcp.seq", "tcp.ack", "tcp.len", "tcp.flags", "tcp.window_size_value", "ip.ttl", "ip.dsfield"}
    structure = {"frame", "order", "tcp.segmentation", "tcp.bytes", "flow"}
    ours = set(found.differences["field"]) & (header | structure)
    assert (left == right) == (not ours)


@pytest.mark.parametrize("name", ["fixed-port", "nginx-1k", "python-1k", "loss-tail"])
def test_aligned_packets_have_the_same_relative_numbers_in_tshark(name):
    a, b = (LAB / "repeat" / f"{name}.{i}.server.pcap" for i in (1, 2))
    columns = ("frame.number", "tcp.seq", "tcp.len", "tcp.flags")
    left, right = ({int(n): rest for n, *rest in tshark(p, columns, "tcp")} for p in (a, b))
    aligned = diff(a, b).alignment.drop_nulls(["n_a", "n_b"]).filter(flow=0)
    assert aligned.height > 8
    for n_a, n_b in aligned.select("n_a", "n_b").rows():
        assert left[n_a] == right[n_b]


@pytest.mark.parametrize("name", ["loss-mid-cubic", "loss-tail.1"])
def test_a_loss_between_two_points_is_what_tshark_calls_a_retransmission(name):
    client, server = (LAB / "repeat" / f"{name}.{end}.pcap" for end in ("client", "server"))
    found = diff(client, server).differences
    assert set(found["cause"]) == {"lost-between"}
    rows = tshark(server, ("frame.number", "tcp.seq", "tcp.analysis.retransmission"))
    lost = {int(n): seq for n, seq, _ in rows if int(n) in set(found["n_b"])}
    again = {seq for _, seq, mark in rows if mark}
    assert lost
    assert set(lost.values()) <= again
