"""Costs out of trace events: made-up events whose gaps are known."""

from __future__ import annotations

import pytest

from pcaptool.errors import ScenarioError
from pcaptool.generate import generate
from pcaptool.lab.calibrate import Calibration, HeldOut, costs_of, held_out, page
from pcaptool.lab.gaps import Gaps, measure
from pcaptool.lab.ring_buffer import Event
from pcaptool.scenario import Costs, Scenario, load_costs

SOFTIRQ = 0x10
SERVER, CLIENT, WORKER = 10, 20, 11


class Log:
    """Events one after the other; each says how long after the one before it comes."""

    def __init__(self):
        self.events, self.now = [], 1_000_000

    def add(self, after_ns, event, thread, **values):
        self.now += after_ns
        values = {"common_pid": thread, "common_flags": 0} | values
        self.events.append(Event(self.now, event, values))

    def sent(self, pid, skb, own, peer, reader, flags=0):
        """A frame from its device to the program that waits at the peer."""
        self.add(100, "net_dev_queue", pid, skbaddr=skb, name=own, common_flags=flags)
        self.add(410, "net_dev_start_xmit", pid, skbaddr=skb, name=own, common_flags=flags)
        self.add(690, "net_dev_xmit", pid, skbaddr=skb, name=own, common_flags=flags)
        self.add(700, "netif_receive_skb", pid, skbaddr=skb, name=peer, common_flags=SOFTIRQ)
        self.add(2000, "sched_waking", pid, pid=reader, common_flags=SOFTIRQ)


def exchange(log, size):
    """A request, and its answer in one call of `size` bytes."""
    log.add(9999, "sys_enter_sendto", CLIENT)
    log.add(1, "tcp_sendmsg_locked", CLIENT, msg_left=60)
    log.sent(CLIENT, 1, "cli", "srv", WORKER)
    log.add(15000, "sys_exit_recvfrom", WORKER)
    log.add(30000, "sys_enter_sendto", WORKER)
    log.add(770, "tcp_sendmsg_locked", WORKER, msg_left=size)
    log.add(1500 + size // 8, "net_dev_queue", WORKER, skbaddr=2, name="other")  # another device
    log.sent(WORKER, 3, "srv", "cli", CLIENT)
    log.sent(WORKER, 4, "srv", "cli", CLIENT, flags=SOFTIRQ)  # on an ACK: not that call's doing
    log.add(5, "sys_exit_sendto", WORKER)
    log.add(15000, "sys_exit_recvfrom", CLIENT)


def test_gaps_between_tracepoints():
    log = Log()
    log.add(0, "sys_exit_accept4", SERVER)
    log.add(40_000, "sys_enter_recvfrom", WORKER)
    for size in (80, 8000) * 20:
        exchange(log, size)
    gaps = measure(log.events, "srv", "cli", {SERVER})
    assert set(gaps.steps["accept"]) == {40_000}
    assert set(gaps.steps["application"]) == {30_000}
    assert set(gaps.steps["tcp_sendmsg_locked"]) == {770}
    assert set(gaps.steps["net_dev_start_xmit"]) == {410}
    assert set(gaps.steps["net_dev_xmit"]) == {690}
    assert set(gaps.steps["netif_receive_skb"]) == {700}
    assert set(gaps.steps["tcp_v4_rcv"]) == {2000}
    assert 15_000 in gaps.steps["wakeup"]
    assert set(gaps.down) == {(80, 1610), (8000, 2600)}
    costs, notes = costs_of(gaps)
    assert (costs.tcp_sendmsg_locked_ns, costs.net_dev_xmit_ns, costs.copy_per_kib_ns) == (770, 690, 128)
    shared = costs.tcp_write_xmit_ns + costs.tcp_transmit_skb_ns + costs.ip_queue_xmit_ns
    shared += costs.ip_output_ns + costs.neigh_output_ns + costs.net_dev_queue_ns
    assert abs(shared - 1600) <= 3
    assert costs.qdisc_enqueue_ns == Costs().qdisc_enqueue_ns  # nothing was queued
    assert any("qdisc_enqueue" in note for note in notes)


def test_sendfile_costs_what_its_calls_show():
    """The first buffer of the call counts; one that a softirq sent, and a call that handed over nothing, do not."""
    log = Log()
    for size in (4000, 8000) * 12:
        log.add(500, "sys_enter_sendfile64", WORKER)
        log.add(300, "net_dev_queue", WORKER, skbaddr=7, name="srv", common_flags=SOFTIRQ)
        log.add(1000 + size // 64, "net_dev_queue", WORKER, skbaddr=8, name="srv")
        log.add(900, "net_dev_queue", WORKER, skbaddr=9, name="srv")
        log.add(10, "sys_exit_sendfile64", WORKER, ret=size)
        log.add(10, "sys_enter_sendfile64", WORKER)
        log.add(10, "sys_exit_sendfile64", WORKER, ret=-11)
    gaps = measure(log.events, "srv", "cli", {WORKER})
    assert set(gaps.spliced) == {(4000, 1362), (8000, 1425)}
    assert costs_of(gaps)[0].splice_per_kib_ns == round(63 / 4000 * 1024)


def test_a_further_run_says_how_far_off_costs_are():
    log = Log()
    for size in (80, 8000) * 20:
        exchange(log, size)
    gaps = measure(log.events, "srv", "cli", {WORKER})
    costs, _ = costs_of(gaps)
    found = Calibration(costs, costs, gaps, gaps, (), tuple(held_out(gaps, costs)))
    assert found.off_by() < 1.01 < found.off_by(default=True)
    assert {"to device, 80 B", "to device, 8000 B", "tcp_v4_rcv"} <= {check.step for check in found.checks}
    twice = Calibration(costs, costs, gaps, gaps, (), (HeldOut("x", 20, 100, 200, 25),))
    assert (twice.off_by(), twice.off_by(default=True)) == (pytest.approx(2), pytest.approx(4))
    assert "off by a factor of 2.00; by the defaults of 4.00" in page(twice, costs)


def test_the_file_is_what_generate_takes(tmp_path):
    log = Log()
    for size in (80, 8000) * 20:
        exchange(log, size)
    gaps = measure(log.events, "srv", "cli", {WORKER})
    costs, _ = costs_of(gaps)
    path = tmp_path / "costs.toml"
    path.write_text(page(Calibration(costs, costs, gaps, Gaps(), ()), costs))
    assert load_costs(path) == costs
    assert generate(Scenario(), tmp_path / "a.pcapng", costs=path).scenario.costs == costs


def test_a_costs_file_holds_costs_alone(tmp_path):
    path = tmp_path / "costs.toml"
    path.write_text("seed = 2\n[costs]\nwakeup = 1\n")
    with pytest.raises(ScenarioError, match=r"costs.toml: a costs file holds \[costs\] alone"):
        load_costs(path)
