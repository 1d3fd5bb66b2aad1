"""The reference programs' bytes equal what the lab's programs sent, as captured."""

from __future__ import annotations

import dpkt
import pytest

from pcaptool.scenario import Route, Server, body, find_route, load_scenario, request_bytes, response_head

# Those whose payload is one stream a direction: one connection, no losses.
NAMES = ["size-0", "size-1", "size-10240", "keepalive-5", "off-1k", "write-two", "busy-8s", "close-client"]


def streams(path, port=80):
    """(client's bytes, server's bytes) of a capture with one connection and no retransmission."""
    sides = {True: b"", False: b""}
    with path.open("rb") as file:
        for _, data in dpkt.pcap.Reader(file):
            packet = dpkt.ethernet.Ethernet(data).data
            if isinstance(packet, dpkt.ip.IP):
                sides[packet.data.dport == port] += packet.data.data
    return sides[True], sides[False]


@pytest.mark.parametrize("name", NAMES)
def test_a_scenario_says_the_bytes_of_its_real_run(name, lab_captures, lab_scenarios):
    scenario = load_scenario(lab_scenarios / f"{name}.toml")
    count = len(scenario.client.requests)
    asked = b"".join(request_bytes(scenario, i) for i in range(count))
    answered = b""
    for request in scenario.client.requests:
        route, size = find_route(scenario.server, request.path)
        close = not scenario.client.keepalive
        answered += response_head(scenario, route, size, close=close, now_ns=0) + body(size)
    assert streams(lab_captures / f"{name}.server.pcap") == (asked, answered)


def test_the_first_route_that_matches_counts():
    exact, general = Route(path="/bytes/7", body="seven"), Route()
    server = Server(routes=(exact, general))
    assert find_route(server, "/bytes/7") == (exact, 5)
    assert find_route(server, "/bytes/70") == (general, 70)
    assert find_route(server, "/bytes/") is None
    assert find_route(server, "/bytes/99999999999") is None
    assert find_route(server, "/bytes/9999999999") is None


def test_a_route_is_no_regular_expression():
    assert find_route(Server(routes=(Route(path="/a.b", body=""),)), "/axb") is None
