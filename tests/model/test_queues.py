"""The model's queues against real captures: what tbf lets out, in which pieces and when; what GRO joins."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import dpkt
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import fidelity

from pcaptool.file import open_capture
from pcaptool.generate import generate
from pcaptool.scenario import load_scenario, parse_scenario
from pcaptool.stack.run import run_scenario

SERVER = bytes((192, 0, 2, 1))


def data_frames(path):
    """(time, TCP payload bytes, PSH) of the server's frames with data."""
    out = []
    with open_capture(path) as capture:
        for record in capture:
            ip = dpkt.ethernet.Ethernet(bytes(record.data)).data
            if isinstance(ip, dpkt.ip.IP) and ip.src == SERVER and isinstance(ip.data, dpkt.tcp.TCP):
                size = ip.len - 20 - ip.data.off * 4
                if size:
                    out.append((record.ts_ns, size, bool(ip.data.flags & dpkt.tcp.TH_PUSH)))
    return out


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder, runs = tmp_path_factory.mktemp("queues"), {}

    def run(name, tap="server"):
        if (name, tap) not in runs:
            plan = load_scenario(fidelity.SCENARIOS / f"{name}.toml")
            runs[name, tap] = generate(plan, folder / f"{name}.{tap}.pcapng", taps=[tap]).capture
        return data_frames(runs[name, tap])

    return run


def test_tbf_lets_super_packets_out_when_the_real_one_does(made):
    """Two responses of 102,506 bytes: all cuts, and the gaps of those that had to wait for tokens."""
    model, real = made("raw-100k-tbf"), data_frames(fidelity.CAPTURES / "raw-100k-tbf.server.pcap")
    sizes = [size for _, size, _ in real]
    assert sizes == [7240, 7240, 14480, 14480, 2896, 28960, 27210, 28960, 28960, 43440, 1146]
    assert [size for _, size, _ in model] == sizes
    for index in (5, 6):  # those that had to wait for tokens: within 3 % of the real gap
        ours, theirs = (rows[index][0] - rows[index - 1][0] for rows in (model, real))
        assert ours == pytest.approx(theirs, rel=0.03)


def test_writes_behind_a_busy_tbf_merge_as_in_the_real_kernel(made):
    """Autocorking: all 20 writes leave in the same pieces (fact 52); the pace is the bucket's."""
    model, real = made("autocork-tbf"), data_frames(fidelity.CAPTURES / "autocork-tbf.server.pcap")
    assert [size for _, size, _ in model] == [size for _, size, _ in real]
    full = [
        (b[0] - a[0], d[0] - c[0])
        for (a, b), (c, d) in zip(pairwise(model), pairwise(real), strict=True)
        if b[1] == 1448
    ][1:]
    assert len(full) >= 8
    for ours, theirs in full:
        assert ours == pytest.approx(theirs, rel=0.01)


def test_gro_restores_the_senders_super_packets(made):
    """The sender cuts (TSO off), the receiver's veth joins: the client's tap sees what sendmsg made (fact 75)."""
    model = [size for _, size, _ in made("gro-100k", "client")]
    real = [size for _, size, _ in data_frames(fidelity.CAPTURES / "gro-100k.client.pcap")]
    assert model[:5] == real[:5] == [7240, 7240, 14480, 14480, 2896]
    assert sum(model) == sum(real)
    cut = [size for _, size, _ in made("gro-100k", "server")]
    assert max(cut) == 1448
    assert len(cut) > 3 * len(model)


def gaps_us(qdisc, congestion):
    plan = parse_scenario(
        f'[client]\nrequests = ["/bytes/300000"]\n[link]\ndelay_ms = 10\n'
        f'[host.server]\ncongestion = "{congestion}"\nqdisc = "{qdisc}"\n'
    )
    result = run_scenario(plan, ("server",), annotate=False)
    times = [f.time_ns for f in result.frames["server"] if f.leaving and f.orig_len > 100]
    return [(b - a) // 1000 for a, b in pairwise(times)]


def test_fq_spreads_what_cubic_sends_in_bursts():
    """Without fq a window leaves in bursts (fact 43); with it, at the pacing rate after the first ten segments."""
    bursts, paced = sorted(gaps_us("noqueue", "cubic")), sorted(gaps_us("fq", "cubic"))
    assert bursts[len(bursts) // 2] < 10
    assert paced[len(paced) // 2] > 300
    assert max(gaps_us("fq", "cubic")[:3]) < 10  # the first window is not paced


def test_bbr_is_paced_alike_by_its_own_timer_and_by_fq():
    own, by_fq = (sorted(gaps_us(qdisc, "bbr")) for qdisc in ("noqueue", "fq"))
    middle = len(own) // 2, len(by_fq) // 2
    assert own[middle[0]] == pytest.approx(by_fq[middle[1]], rel=0.25)
