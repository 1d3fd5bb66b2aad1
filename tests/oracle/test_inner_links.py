"""The link header inside a tunnel is where Wireshark sees it: the second Ethernet header of a packet."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pcaptool.diff import load_side
from tests.unit.diff.test_tunnels import BRIDGES, bridge

CORPUS = os.environ.get("PCAPTOOL_CORPUS")
FIELDS = ("frame.number", "eth.src", "eth.dst")


def tsharks(path):
    """Number and inner addresses of the packets that have an Ethernet header inside VXLAN, GENEVE or plain GRE."""
    command = [
        "tshark",
        "-n",
        "-r",
        str(path),
        "-Y",
        "(vxlan || geneve || gre.proto == 0x6558) && !icmp.code",
    ]
    command += ["-T", "fields", *(word for name in FIELDS for word in ("-e", name))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    found = [(int(n), src.split(","), dst.split(",")) for n, src, dst in rows]
    return [(n, src[1], dst[1]) for n, src, dst in found if len(src) > 1]


def ours(path):
    return load_side(path).inner.select("n", "src", "dst").rows()


@pytest.mark.parametrize("tunnel", BRIDGES)
def test_made_tunnels(tmp_path, tunnel):
    path = bridge(tmp_path / "a.pcap", tunnel)
    found = ours(path)
    assert len(found) == 9
    assert found == tsharks(path)


@pytest.mark.skipif(CORPUS is None, reason="PCAPTOOL_CORPUS names no folder of captures")
def test_a_tunnel_of_the_corpus():
    path = Path(CORPUS) / "vxlan-encapsulated-http.pcap"
    assert len(ours(path)) == 12
    assert ours(path) == tsharks(path)
