"""Scenarios on this machine's kernel: what a run leaves, what it takes away again, what it refuses. Needs root."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import dpkt
import pytest

from pcaptool.errors import SystemRefusedError
from pcaptool.generate import generate
from pcaptool.lab import trace
from pcaptool.lab.matrix import compare, dropped_behind_tap, lacking_queues, matrix
from pcaptool.lab.owner import is_leftover
from pcaptool.lab.run import lab_run
from pcaptool.lab.sample import Sample
from pcaptool.predict import predict
from pcaptool.predict.observe import observe
from pcaptool.scenario import body, load_scenario, parse_scenario

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root and network namespaces"),
    pytest.mark.xdist_group("lab"),
]


def frames(path):
    with path.open("rb") as file:
        return [dpkt.ethernet.Ethernet(data) for _, data in dpkt.pcap.Reader(file)]


def payload(path, sport, proto=dpkt.ip.IP):
    """TCP payload of one direction in sequence order."""
    parts = {}
    for eth in frames(path):
        if isinstance(eth.data, proto) and isinstance(eth.data.data, dpkt.tcp.TCP):
            tcp = eth.data.data
            if tcp.sport == sport and tcp.data:
                parts[tcp.seq] = bytes(tcp.data)
    return b"".join(parts[seq] for seq in sorted(parts))


def namespaces():
    folder = Path("/run/netns")
    return {p.name for p in folder.iterdir()} if folder.is_dir() else set()


def instances(pid):
    """Tracing instances of a process."""
    handle = trace._tracefs()
    try:
        folder = Path(f"/proc/self/fd/{handle}/instances")
        return [p.name for p in folder.iterdir() if p.name.startswith(f"pcaptool-{pid}-")]
    finally:
        os.close(handle)


def network():
    """The host's own network: devices, addresses, routes, and sysctls that the laboratory sets elsewhere."""
    words = (
        ["ip", "-d", "addr"],
        ["ip", "route"],
        ["sysctl", "net.ipv4.tcp_sack", "net.ipv4.ip_default_ttl"],
    )
    return [subprocess.run(w, capture_output=True, text=True, check=True).stdout for w in words]


def test_a_run_leaves_captures_and_facts_and_nothing_else(tmp_path):
    before, own = network(), namespaces()
    plan = parse_scenario(
        'client.requests = ["/bytes/0", "/bytes/20000"]\n'
        "[host.server]\nmtu = 1400\nttl = 33\ntcp_sack = false\n[host.server.offload]\ntx_checksum = false"
    )
    made = lab_run(plan, tmp_path / "out", trace=False)
    assert network() == before
    assert namespaces() == own
    assert {p.name for p in made.folder.iterdir()} == {
        "server.pcap",
        "client.pcap",
        "run.json",
        "scenario.toml",
    }
    assert made.notes == ()
    assert payload(made.server, 80).endswith(body(20000))
    assert payload(made.server, 80) == payload(made.client, 80)
    ips = [eth.data for eth in frames(made.server) if isinstance(eth.data, dpkt.ip.IP)]
    assert {ip.ttl for ip in ips if ip.data.sport == 80} == {33}
    assert max(ip.len for ip in ips if ip.data.sport == 80) == 1400
    about = json.loads((made.folder / "run.json").read_text())
    assert about["server"]["sysctl"]["net.ipv4.tcp_sack"] == "0"
    assert about["client_host"]["sysctl"]["net.ipv4.tcp_sack"] == "1"
    assert load_scenario(made.folder / "scenario.toml") == plan
    assert [e["event"] for e in about["client"]] == ["connect", "connected", "response", "response", "closed"]


def test_a_delayed_link_loses_and_delays_what_it_shall(tmp_path):
    plan = parse_scenario(
        'family = 6\nclient.requests = ["/bytes/9000"]\n[link]\ndelay_ms = 15\n'
        '[[link.drop]]\nmatch = "data"\nnth = [2]\n[host.server.offload]\ntso = false'
    )
    made = lab_run(plan, tmp_path, trace=False)
    server, client = (
        sum(isinstance(eth.data, dpkt.ip6.IP6) and eth.data.nxt == 6 for eth in frames(path))
        for path in (made.server, made.client)
    )
    assert server == client + 1  # one is lost on the way
    about = json.loads((tmp_path / "run.json").read_text())
    assert about["link"] in ("relay", "netem")
    times = {e["event"]: e["time_ns"] for e in about["client"]}
    assert times["connected"] - times["connect"] >= 30_000_000
    assert payload(made.server, 80, dpkt.ip6.IP6) == payload(made.client, 80, dpkt.ip6.IP6)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(
    ("kind", "way", "lost"), [("data", "server-to-client", 1), ("ack", "client-to-server", 2)]
)
def test_exact_losses_between_namespaces(tmp_path, family, kind, way, lost):
    nth = list(range(1, lost + 1))
    plan = parse_scenario(
        f'family = {family}\nclient.requests = ["/bytes/1", "/bytes/4000"]\n'
        f'[[link.drop]]\nmatch = "{kind}"\ndirection = "{way}"\nnth = {nth}'
    )
    made = lab_run(plan, tmp_path, trace=False)
    counted = json.loads((made.folder / "run.json").read_text())["lost_by_nft"]
    assert sum(sum(counts) for counts in counted.values()) == lost


def test_what_was_killed_in_the_middle_is_removed_by_the_next_run(tmp_path):
    scenario = tmp_path / "s.toml"
    scenario.write_text("[client]\nstall_ms = 60000\n[link]\ndelay_ms = 1\n")
    others = namespaces()
    command = [
        sys.executable,
        "-m",
        "pcaptool.cli.main",
        "lab",
        "run",
        str(scenario),
        "-o",
        str(tmp_path / "out"),
    ]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        mine = {f"pcaptool-{process.pid}-"}
        until = time.monotonic() + 20
        while time.monotonic() < until:
            ran = subprocess.run(
                ["pgrep", "-f", "pcaptool.lab.client " + str(tmp_path)], capture_output=True, check=False
            )
            if ran.returncode == 0:
                break
            time.sleep(0.05)
        else:
            pytest.fail("the client did not start")
        left = {n for n in namespaces() if any(n.startswith(m) for m in mine)}
        assert len(left) == 2
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    assert left <= namespaces()
    time.sleep(0.3)
    ran = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, check=False)
    assert ran.returncode == 1, "children outlived their parent"
    assert instances(process.pid)  # it was being traced
    lab_run(parse_scenario(""), tmp_path / "out")
    assert not instances(process.pid)
    assert not left & namespaces()
    assert others <= namespaces() | {n for n in others if is_leftover(n)}
    assert not [p for p in (tmp_path / "out").iterdir() if p.name.startswith(".")]


def test_an_interrupt_removes_everything(tmp_path):
    scenario = tmp_path / "s.toml"
    scenario.write_text("[client]\nstall_ms = 60000\n")
    command = [
        sys.executable,
        "-m",
        "pcaptool.cli.main",
        "lab",
        "run",
        str(scenario),
        "-o",
        str(tmp_path / "out"),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 20
        while len({n for n in namespaces() if n.startswith(f"pcaptool-{process.pid}-")}) < 2:
            assert time.monotonic() < until
            time.sleep(0.02)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert not [n for n in namespaces() if n.startswith(f"pcaptool-{process.pid}-")]
    assert list((tmp_path / "out").iterdir()) == []


def test_an_mtu_below_that_of_ipv6(tmp_path):
    made = lab_run(parse_scenario("host.server.mtu = 576\nhost.client.mtu = 576"), tmp_path, trace=False)
    assert max(eth.data.len for eth in frames(made.client) if isinstance(eth.data, dpkt.ip.IP)) > 576  # TSO
    assert made.notes == ()


def test_what_this_kernel_was_built_without_is_found():
    before = network()
    assert set(lacking_queues()) <= {"tbf", "fq", "fq_codel"}
    assert network() == before


def test_random_scenarios_are_run_and_compared(tmp_path):
    rows = matrix(2, 1, keep=tmp_path)
    assert [row.number for row in rows] == [1, 2]
    assert all(row.frames > 3 and 2 * row.equal > row.frames for row in rows)
    assert {p.name for p in (tmp_path / "001").iterdir()} >= {"server.pcap", "model.pcapng", "scenario.toml"}


@pytest.mark.parametrize("kind", ["syn", "data", "ack"])
def test_a_driven_run_is_told_what_was_dropped_behind_the_tap(tmp_path, kind):
    """tcpdump sees the frame arrive, nftables drops it: the modelled server must not get it."""
    plan = parse_scenario(
        f'[[link.drop]]\ndirection = "client-to-server"\nmatch = "{kind}"\nnth = [1]\n'
        '[client]\nrequests = ["/bytes/100"]\n'
    )
    found = compare(1, Sample((), plan), tmp_path)
    lost = dropped_behind_tap(plan, tmp_path / "server.pcap")
    assert len(lost) == 1
    assert found.driven == found.frames > 0
    blind = predict(tmp_path / "server.pcap", tmp_path / "blind.pcapng")
    told = predict(tmp_path / "server.pcap", tmp_path / "told.pcapng", unseen=lost)
    assert told.packets == len(frames(tmp_path / "server.pcap"))
    if kind != "ack":
        # What had to be repeated was not taken, be it by a rule or by a full queue: the capture alone says so much.
        assert blind.packets == told.packets


def test_random_losses_are_the_links(tmp_path):
    plan = parse_scenario('link.loss_percent = 20\n[client]\nrequests = ["/bytes/40000"]\n')
    made = lab_run(plan, tmp_path, trace=False)
    assert made.notes == ("frames are lost at random here: others than in the model",)
    assert json.loads((tmp_path / "run.json").read_text())["link"] in ("relay", "netem")
    assert payload(made.client, 80).endswith(body(40000))
    assert len(frames(made.client)) != len(frames(made.server))


def test_a_client_that_does_not_end_is_ended(tmp_path):
    made = lab_run(parse_scenario("client.stall_ms = 60000"), tmp_path, trace=False, timeout_s=0.5)
    assert made.notes == ("the client was ended after 0.5 s",)


def test_a_missing_program_is_named_with_its_package(tmp_path, monkeypatch):
    whole = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name in ("tcpdump", "ethtool") else whole(name))
    with pytest.raises(SystemRefusedError) as raised:
        lab_run(parse_scenario(""), tmp_path)
    assert str(raised.value) == "the laboratory needs ethtool, tcpdump (apt-get install ethtool tcpdump)"


FAST_OPEN = """
[server]
fastopen = 5
[client]
requests = ["/bytes/2000"]
connections = 2
stagger_ms = 200
fastopen = true
[host.server]
tcp_fastopen = 3
"""
SIMULTANEOUS = """
[server]
connects = true
[client]
requests = ["/bytes/2000"]
port = 4000
[link]
delay_ms = 10
"""


def flags_of(path):
    """(server's, TCP flags, bytes) of each TCP frame."""
    tcp = [eth.data.data for eth in frames(path) if isinstance(eth.data, dpkt.ip.IP)]
    return [(segment.sport == 80, segment.flags, len(segment.data)) for segment in tcp]


def modelled(made, folder):
    """The model's capture of what was run."""
    return generate(made.folder / "scenario.toml", folder / "model.pcapng").capture


def test_fast_open_on_the_kernel_has_data_in_the_second_syn(tmp_path):
    made = lab_run(parse_scenario(FAST_OPEN), tmp_path, trace=False)
    syns = [size for leaving, flags, size in flags_of(made.server) if not leaving and flags == 2]
    assert [size > 0 for size in syns] == [False, True]
    real, model = (observe(path).connections for path in (made.server, modelled(made, tmp_path)))
    for connections in (real, model):
        assert [c.took_syn_data for c in connections] == [False, True]
        assert [len(c.cookie or b"") for c in connections] == [8, 8]
        assert connections[1].from_server[0].tcp.options.fast_open is None


def test_syns_cross_on_the_kernel(tmp_path):
    made = lab_run(parse_scenario(SIMULTANEOUS), tmp_path, trace=False)
    opening = [(leaving, flags) for leaving, flags, _ in flags_of(made.server)][:4]
    assert opening == [(True, 2), (False, 2), (True, 18), (False, 18)]
    assert len(payload(made.server, 80)) > 2000
