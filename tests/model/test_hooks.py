"""Programs at the hooks of the path: each at its true place, seen by what lies behind it and by nothing before it."""

from __future__ import annotations

import dpkt
import pytest

from pcaptool.scenario import parse_scenario
from pcaptool.stack.hooks import STAGE_OF_POINT
from pcaptool.stack.run import run_scenario

BASE = """
[client]
requests = ["/bytes/20000"]
[link]
delay_ms = 1
[host.client]
offload = { tso = false }
[host.server]
offload = { tso = false }
"""


def run(hook, base=BASE):
    return run_scenario(parse_scenario(f"{base}[[hook]]\n{hook}\n"), ("server", "client", "wire"))


def frames(result, tap, *, leaving):
    """(dpkt IP, TCP) of a tap's TCP frames in one direction."""
    found = (dpkt.ethernet.Ethernet(f.data).data for f in result.frames[tap] if f.leaving is leaving)
    return [(ip, ip.data) for ip in found if isinstance(ip, dpkt.ip.IP) and isinstance(ip.data, dpkt.tcp.TCP)]


def stages(result, host="server"):
    return [row for row in result.stages if row.host == host]


@pytest.mark.parametrize("at", ["output", "postrouting", "tc-egress"])
def test_what_is_dropped_on_the_way_down_is_seen_nowhere_and_sent_again(at):
    result = run(f'at = "{at}"\nmatch = "data"\nnth = [2]')
    assert not result.notices
    dropped = [row for row in stages(result) if row.stage == "kfree_skb"]
    assert len(dropped) == 1
    gone = dropped[0]
    after = [row.stage for row in stages(result) if row.skb == gone.skb and row.time_ns >= gone.time_ns]
    assert not {"net_dev_queue", "net_dev_start_xmit", "wire"} & set(after)
    ours = frames(result, "server", leaving=True)
    assert sum(len(tcp.data) for _, tcp in ours) >= 20_000
    assert gone.seq in {tcp.seq for _, tcp in ours if tcp.data}  # the same bytes, later
    received = frames(result, "client", leaving=False)
    assert {tcp.seq for _, tcp in received} == {tcp.seq for _, tcp in ours}


def test_tcs_drop_shrinks_the_window_as_a_full_queue_does_and_netfilters_does_not():
    """NET_XMIT_DROP makes TCP enter CWR; -EPERM does not (tcp_transmit_skb)."""
    spans = {}
    for at in ("output", "tc-egress"):
        base = BASE.replace("20000", "400000").replace("delay_ms = 1", "delay_ms = 20")
        result = run(f'at = "{at}"\nmatch = "data"\nnth = [15]', base)
        spans[at] = result.end_ns
    assert spans["tc-egress"] > spans["output"]


@pytest.mark.parametrize(
    ("at", "tapped"), [("xdp", False), ("tc-ingress", True), ("prerouting", True), ("input", True)]
)
def test_on_the_way_up_only_xdp_is_before_the_tap(at, tapped):
    result = run(f'host = "client"\nat = "{at}"\nmatch = "data"\nnth = [1]')
    ours, theirs = frames(result, "server", leaving=True), frames(result, "client", leaving=False)
    data = [tcp.seq for _, tcp in ours if tcp.data]
    assert len(data) > len(set(data))  # it had to be repeated
    seen = [tcp.seq for _, tcp in theirs if tcp.data]
    assert (seen.count(data[0]) == data.count(data[0])) is tapped
    assert {row.stage for row in stages(result, "client")} >= {STAGE_OF_POINT[at], "kfree_skb"}


@pytest.mark.parametrize(("at", "own_tap"), [("output", True), ("tc-egress", True), ("postrouting", True)])
def test_what_is_rewritten_on_the_way_down_is_what_everybody_sees(at, own_tap):
    result = run(f'at = "{at}"\naction = "rewrite"\nttl = 7\ntos = 0x28\nmatch = "data"')
    for tap, leaving in (("server", True), ("wire", True), ("client", False)):
        for ip, tcp in frames(result, tap, leaving=leaving):
            assert ((ip.ttl, ip.tos) == (7, 0x28)) is bool(tcp.data and own_tap)
            assert dpkt.in_cksum(bytes(ip)[:20]) == 0


def test_a_rewritten_mss_makes_the_peer_send_less():
    hook = 'at = "postrouting"\nmatch = "syn"\naction = "rewrite"\nmss = 1200\nhost = "client"'
    result = run(hook)
    largest = max(len(tcp.data) for _, tcp in frames(result, "server", leaving=True))
    assert largest == 1200 - 12
    assert dict(dpkt.tcp.parse_opts(frames(result, "wire", leaving=False)[0][1].opts))[2] == b"\x04\xb0"


@pytest.mark.parametrize(("at", "in_tap"), [("xdp", False), ("tc-ingress", True)])
def test_what_is_redirected_goes_back_by_the_device_it_came_in(at, in_tap):
    result = run(f'host = "client"\nat = "{at}"\nmatch = "data"\nnth = [3]\naction = "redirect"')
    came_back = [ip for ip, _ in frames(result, "server", leaving=False) if ip.src == bytes((192, 0, 2, 1))]
    assert len(came_back) == 1
    left_again = [ip for ip, _ in frames(result, "client", leaving=True) if ip.src == bytes((192, 0, 2, 1))]
    assert len(left_again) == in_tap  # XDP's way out passes no tap
    assert sum(len(tcp.data) for _, tcp in frames(result, "client", leaving=False)) >= 20_000


def test_passing_is_noted_with_the_headers_that_are_there():
    result = run('at = "postrouting"\naction = "pass"\nmatch = "data"')
    rows = [row for row in stages(result) if row.stage == "nf_inet_post_routing" and row.payload_bytes]
    assert rows
    assert {(row.headers, row.len_bytes - row.payload_bytes) for row in rows} == {("ip:tcp", 52)}
    plain = run_scenario(parse_scenario(BASE), ("server",))
    assert [f.data for f in plain.frames["server"]] == [f.data for f in result.frames["server"]]


def test_a_program_that_met_nothing_is_said():
    assert run('match = "rst"').notices == ("not met: hook output rst any: only 0 such frames passed",)
    assert run('match = "fin"\nnth = [1, 9]\naction = "pass"').notices == (
        "not met: hook output fin 9: only 1 such frames passed",
    )


def test_what_can_never_get_out_ends_by_the_limits():
    result = run('match = "data"', BASE + "[limits]\nmax_time_ms = 3000\n")
    assert any("had not ended" in notice for notice in result.notices)
    assert not [tcp for _, tcp in frames(result, "server", leaving=True) if tcp.data]
