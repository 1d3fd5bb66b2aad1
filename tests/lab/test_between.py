"""The kernel's own link: the commands that build it, and runs over it. netem itself only where this kernel has it."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from pcaptool.diff import diff
from pcaptool.errors import SystemRefusedError
from pcaptool.file import open_capture
from pcaptool.generate import generate
from pcaptool.lab import session
from pcaptool.lab.between import build_between, can_be_netem, has_netem, netem_words
from pcaptool.lab.namespaces import Namespace, namespaces
from pcaptool.lab.run import lab_run
from pcaptool.scenario import Late, Link, load_scenario, parse_scenario

TBF = ["tbf", "rate", "20mbit", "burst", "70kb", "latency", "900ms"]  # which this kernel surely has
SERVER_MAC = bytes.fromhex("020000000001")


class Recorder(Namespace):
    """Keeps what it is told to run."""

    def __init__(self, role, log):
        super().__init__(role)
        self.log = log

    def add(self):
        self.log.append(["add", self.role])

    def ip(self, *words):
        self.log.append(["ip", *words])
        return ""

    def run(self, *argv, check=True, given=None):  # noqa: ARG002 - as the real one
        self.log.append([*argv, *([given] if given else [])])
        return "qdisc netem 8001: root refcnt 2 limit 1" if "show" in argv else ""


def test_the_commands_of_a_link():
    plan = parse_scenario(
        "[link]\ndelay_ms = 5\nrate_mbit = 8\n[[link.drop]]\ndirection = 'client-to-server'\nmatch = 'syn'\n"
        "[host.server]\ndevice = 'srv9'"
    )
    log = []
    server, client = Recorder("server", log), Recorder("client", log)
    build_between(plan, Recorder("link", log), server, client, netem_words(plan.link))
    lines = [" ".join(words) for words in log]
    assert lines[0] == "add link"
    assert f"ip link add to-server mtu 65535 type veth peer name srv9 netns {server.name}" in lines
    assert f"ip link add to-client mtu 65535 type veth peer name eth0 netns {client.name}" in lines
    for port in ("to-server", "to-client"):
        assert f"tc qdisc add dev {port} root netem limit 100000 delay 5000us rate 8000000bit" in lines
    [rules] = [line for line in lines if line.startswith("nft")]
    assert 'hook ingress device "to-client"' in rules  # what the client sent comes in there


def test_what_netem_is_not_the_relay_is():
    assert not can_be_netem(Link(delay_ns=1, late=(Late(),)))
    assert not can_be_netem(Link(rate_bps=1, spacing_ns=5))
    assert can_be_netem(Link(loss_ppm=10))
    assert has_netem(Recorder("client", []))


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root and network namespaces")
@pytest.mark.xdist_group("lab")
def test_a_run_over_a_bridge_keeps_super_packets_and_loses_what_it_shall(tmp_path, monkeypatch):
    """With tbf in netem's place: all but the discipline's name is as it would be with netem."""
    monkeypatch.setattr(session, "has_netem", lambda _namespace: True)
    monkeypatch.setattr(session, "netem_words", lambda _link: TBF)
    plan = parse_scenario(
        'client.requests = ["/bytes/100000"]\n[link]\nrate_mbit = 20\n[[link.drop]]\nmatch = "data"\nnth = [3]'
    )
    made = lab_run(plan, tmp_path, trace=False)
    about = json.loads((tmp_path / "run.json").read_text())
    assert about["link"] == "netem"
    sizes = {}
    for role, path in (("server", made.server), ("client", made.client)):
        with open_capture(path) as capture:
            sizes[role] = [
                r.orig_len for r in capture if r.data[6:12] == SERVER_MAC and r.data[12:14] == b"\x08\0"
            ]
    assert len(sizes["server"]) == len(sizes["client"]) + 1  # one is lost on the way
    assert max(sizes["client"]) > 1514
    times = {e["event"]: e["time_ns"] for e in about["client"]}
    assert times["closed"] - times["connected"] > 10_000_000  # 100 kB at 20 Mbit/s, 70 of them in a burst
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert f"pcaptool-{os.getpid()}-" not in left


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root and network namespaces")
@pytest.mark.xdist_group("lab")
def test_a_delay_by_netem_is_the_models(tmp_path):
    with namespaces() as (_, client):
        if not has_netem(client):
            pytest.skip("this kernel has no netem (CONFIG_NET_SCH_NETEM)")
    plan = parse_scenario('client.requests = ["/bytes/3000"]\n[link]\ndelay_ms = 20\n')
    real = lab_run(plan, tmp_path, trace=False)
    assert json.loads((tmp_path / "run.json").read_text())["link"] == "netem"
    model = generate(load_scenario(tmp_path / "scenario.toml"), tmp_path / "m.pcapng").capture
    assert diff(model, real.server, relation="model", side="server").same


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root and network namespaces")
@pytest.mark.xdist_group("lab")
def test_a_link_that_cannot_be_built_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "has_netem", lambda _namespace: True)
    monkeypatch.setattr(session, "netem_words", lambda _link: ["no-such-discipline"])
    with pytest.raises(SystemRefusedError, match="no-such-discipline"):
        lab_run(parse_scenario("link.delay_ms = 1"), tmp_path, trace=False)
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert f"pcaptool-{os.getpid()}-" not in left
    assert list(tmp_path.iterdir()) == []
