"""A pure ACK that the farther capture lacks: lost, or only not captured; the echo of its timestamp tells."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pcaptool.diff import diff
from pcaptool.diff.start import quickly
from pcaptool.engine import Engine
from pcaptool.generate.run import generate
from tests.proof.copies import CLIENT
from tests.proof.frames import read, write

SCENARIO = """
seed = 5
[client]
requests = ["/bytes/400000"]
[link]
delay_ms = 7
rate_mbit = 3
{more}
"""
LOSS = """
[[link.drop]]
direction = "client-to-server"
match = "ack"
nth = [{nth}]
"""


def captures(folder, more=""):
    """What both ends of a run saw."""
    scenario = folder / "run.toml"
    scenario.write_text(SCENARIO.format(more=more))
    made = generate(scenario, folder / "run.pcap", taps=("client", "server"), format="pcap")
    return made.captures["client"], made.captures["server"]


def pure_acks(packets):
    """Indices of the client's pure ACKs, and their TSvals."""
    out = {}
    for i, p in enumerate(packets):
        if p.is_tcp and p.flags == 0x10 and not p.payload_bytes and p.raw[26:30] == CLIENT:
            at = p.option(8)
            out[i] = p.raw[at + 2 : at + 6]
    return out


@pytest.mark.parametrize("nth", [4, 9, 15])
def test_a_lost_ack_is_lost(tmp_path, nth):
    client, server = captures(tmp_path, LOSS.format(nth=nth))
    for found in (diff(client, server, relation="path"), diff(server, client, relation="path")):
        assert found.differences.select("field", "cause").rows() == [("frame", "lost-between")]


@pytest.mark.parametrize("nth", [4, 9, 15])
@pytest.mark.parametrize("quick", [False, True])
def test_an_ack_whose_timestamp_is_echoed_was_only_not_captured(tmp_path, nth, quick):
    client, server = captures(tmp_path)
    head, packets = read(server)
    acks = pure_acks(packets)
    missed = list(acks)[nth]
    assert list(acks.values()).count(acks[missed]) == 1
    write(server, head, [p for i, p in enumerate(packets) if i != missed])
    ways = [(client, server), (server, client)]
    for a, b in ways:
        found = (
            quickly(a, b, relation="path", engine=Engine("plain")) if quick else diff(a, b, relation="path")
        )
        assert found.differences.select("field", "cause").rows() == [("frame", "capture-loss")]


def test_a_timestamp_that_others_carry_tells_nothing(tmp_path):
    """The echo may be of the other one: the network may have lost it."""
    client, server = captures(tmp_path)
    (head, seen), (_, packets) = read(client), read(server)
    missed, twin = list(pure_acks(packets))[9:11]
    at = packets[missed].option(8)
    stamp = packets[missed].raw[at + 2 : at + 6]

    def stamped(p):
        same = p.raw[:18] == packets[twin].raw[:18] and p.raw[34:] == packets[twin].raw[34:]
        return replace(p, raw=p.raw[: at + 2] + stamp + p.raw[at + 6 :]) if same else p

    write(client, head, [stamped(p) for p in seen])
    write(server, head, [stamped(p) for i, p in enumerate(packets) if i != missed])
    found = diff(client, server, relation="path")
    assert found.differences.select("field", "cause").rows() == [("frame", "lost-between")]
