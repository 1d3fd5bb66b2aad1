"""Congestion controls by themselves: windows on made-up sockets; HyStart, BBR's filter and its policer."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcaptool.sim.chance import Chance
from pcaptool.stack.tcp.congestion import CONTROLS, Cubic, Reno
from pcaptool.stack.tcp.congestion.base import avoid
from pcaptool.stack.tcp.congestion.bbr_policer import Policer
from pcaptool.stack.tcp.congestion.filters import WindowedMax
from pcaptool.stack.tcp.congestion.units import BW_UNIT
from pcaptool.stack.tcp.rate import RateSample
from pcaptool.stack.tcp.sock import CaState
from pcaptool.stack.timers import Jiffies


@dataclass
class window:  # noqa: N801 - used like a function
    """A socket as far as congestion control sees it."""

    snd_cwnd: int = 10
    snd_cwnd_cnt: int = 0
    ssthresh: int = 1 << 30
    min_rtt_us: int = 20_000
    snd_una: int = 0
    snd_nxt: int = 0
    pacing_rate: int = 10**9
    paced: bool = False
    host: SimpleNamespace = field(
        default_factory=lambda: SimpleNamespace(now_ns=10**9, jiffies=Jiffies(250), chance=Chance(1))
    )

    @property
    def in_slow_start(self):
        return self.snd_cwnd < self.ssthresh


@pytest.mark.parametrize("name", ["cubic", "reno"])
def test_slow_start_doubles_the_window(name):
    sk = window()
    CONTROLS[name]().cong_avoid(sk, 10)
    assert sk.snd_cwnd == 20


def test_reno_grows_by_one_segment_a_window_in_avoidance():
    sk = window(ssthresh=10)
    for _ in range(10):
        Reno().cong_avoid(sk, 1)
    assert sk.snd_cwnd == 11


def test_cubic_returns_to_the_old_maximum_on_its_curve():
    control, sk = Cubic(), window(snd_cwnd=100)
    control.delay_min_us = 200_000  # long: above the Reno-friendly region
    sk.ssthresh = control.ssthresh(sk)
    assert sk.ssthresh == 70
    sk.snd_cwnd = sk.ssthresh
    # RFC 9438 section 4.2: K = cbrt(30 / 0.4) = 4.22 s; one segment short of the maximum it is there
    # cbrt(1 / 0.4) = 1.36 s earlier, and the kernel computes one round trip ahead: 2.66 s.
    start, reached = sk.host.now_ns, None
    while reached is None and sk.host.now_ns - start < 20 * 10**9:
        sk.host.now_ns += 200_000_000
        control.cong_avoid(sk, sk.snd_cwnd)
        if sk.snd_cwnd >= 99:
            reached = (sk.host.now_ns - start) / 1e9
    assert reached == pytest.approx(2.66, abs=0.25)


def test_avoidance_keeps_what_is_left_over():
    sk = window(snd_cwnd=4)
    avoid(sk, 4, 6)
    assert (sk.snd_cwnd, sk.snd_cwnd_cnt) == (5, 2)


def acknowledged(control, sk, *, rtt_us, gap_us, acks):
    """A round of ACKs, one segment each, so far apart."""
    for _ in range(acks):
        sk.host.now_ns += gap_us * 1000
        sk.snd_una += 1
        control.pkts_acked(sk, RateSample(rtt_us=rtt_us))
        if control.hystart.found:
            return


def test_hystart_ends_slow_start_when_an_ack_train_is_half_a_round_trip_long():
    sk, control = window(snd_cwnd=40), Cubic()
    control.init(sk)
    acknowledged(control, sk, rtt_us=40_000, gap_us=1000, acks=1)
    sk.snd_nxt = sk.snd_una + 60
    control.hystart.new_round(sk)
    acknowledged(control, sk, rtt_us=40_000, gap_us=1000, acks=30)
    assert control.hystart.reason == "train"
    assert sk.ssthresh == sk.snd_cwnd == 40
    # Half of the shortest round trip and of what four super-packets take at this rate (1 GB/s: 261 us).
    assert control.hystart.last_ack_us - control.hystart.round_start_us == 21_000


def test_hystart_ends_slow_start_when_round_trips_grow():
    sk, control = window(snd_cwnd=40), Cubic()
    control.init(sk)
    acknowledged(control, sk, rtt_us=40_000, gap_us=3000, acks=1)  # too far apart for a train
    sk.snd_nxt = sk.snd_una + 60
    control.hystart.new_round(sk)
    acknowledged(control, sk, rtt_us=45_000, gap_us=3000, acks=20)
    assert not control.hystart.found  # an eighth of 40 ms is allowed
    sk.snd_una, sk.snd_nxt = sk.snd_nxt + 1, sk.snd_nxt + 100
    acknowledged(control, sk, rtt_us=45_001, gap_us=3000, acks=8)
    assert not control.hystart.found  # eight samples first
    acknowledged(control, sk, rtt_us=45_001, gap_us=3000, acks=1)
    assert control.hystart.reason == "delay"


@pytest.mark.parametrize(("cwnd", "ends"), [(15, False), (16, True)])
def test_hystart_leaves_small_windows_alone(cwnd, ends):
    sk, control = window(snd_cwnd=cwnd), Cubic()
    control.init(sk)
    sk.snd_nxt = 1000
    control.hystart.new_round(sk)
    acknowledged(control, sk, rtt_us=10_000, gap_us=1000, acks=30)
    assert control.hystart.found == ends


def test_a_timeout_makes_cubic_forget():
    sk, control = window(snd_cwnd=100), Cubic()
    control.ssthresh(sk)
    control.hystart.found = True
    control.set_state(sk, CaState.LOSS)
    assert (control.last_max, control.hystart.found) == (0, False)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1000)), min_size=1, max_size=80), st.integers(1, 20)
)
def test_the_windowed_maximum_lies_between_the_newest_and_the_largest_of_the_window(samples, width):
    best, time, seen = WindowedMax(width), 0, []
    for step, value in samples:
        time += step
        seen.append((time, value))
        found = best.update(time, value)
        recent = [v for t, v in seen if time - t <= width]
        assert value <= found <= max(recent)
        assert found in recent


def test_two_alike_lossy_intervals_mean_a_policer_for_48_rounds():
    policer = Policer()
    sk = SimpleNamespace(delivered_us=0, delivered=0, lost=0, mss_cache=1448)

    def round_trip(losses):
        sk.delivered_us += 10_000
        sk.delivered += 20
        sk.lost += losses
        verdict = policer.sample(sk, losses=losses, app_limited=False, round_start=True, in_probe_bw=True)
        return verdict or ""

    verdicts = [round_trip(losses) for losses in [6] * 8]
    assert verdicts.count("begins") == 1
    assert policer.bandwidth == pytest.approx(20 * BW_UNIT / 10_000, rel=0.01)
    after = [round_trip(0) for _ in range(48)]
    assert after.index("ends") == 47
    assert not policer.in_use
