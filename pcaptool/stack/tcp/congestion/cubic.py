"""CUBIC with HyStart (RFC 9438; Ha and Rhee, "Taming the elephants", 2011; tcp_cubic.c).

Knows: the window as a cubic function of the time since the last reduction, and the two signs that end slow start
early: a train of ACKs as long as half the shortest round trip, and round trips that grow.
Must not know: how a loss was found.
Times of the cubic function are jiffies, as in the kernel, which updates it at most once in each; HyStart's are
microseconds. Fact 41: HyStart depends on microseconds between ACKs, so real runs differ here.
Leaves out: the kernel's table for cube roots (this one is exact; the kernel's is off by up to 0.2 %).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcaptool.stack.tcp.congestion.base import CongestionControl, avoid, slow_start
from pcaptool.stack.tcp.sock import CaState

if TYPE_CHECKING:
    from pcaptool.stack.tcp.rate import RateSample
    from pcaptool.stack.tcp.sock import TcpSock

__all__ = ["Cubic", "HyStart"]

BETA = 717  # of 1024
SCALE = 410  # C = 0.4 segments per second cubed, times 1024 (cube_rtt_scale)
CLOCK_SHIFT = 10  # BICTCP_HZ: the cubic function's time in 1/1024 s
FRIENDLY = 8 * (1024 + BETA) // 3 // (1024 - BETA)  # beta_scale

LOW_WINDOW = 16  # hystart_low_window
ACK_DELTA_US = 2000  # hystart_ack_delta_us: ACKs closer than this belong to one train
MIN_SAMPLES = 8
DELAY_MIN_US, DELAY_MAX_US = 4000, 16000  # bounds of an eighth of the round trip
GSO_MAX_BYTES = 65536 - 256 - 1


class HyStart:
    """When slow start has filled the pipe.

    Attributes
    ----------
    found : bool
        It has ended.
    reason : str
        "train" or "delay", for the kernel's counters TCPHystartTrainDetect and TCPHystartDelayDetect.
    """

    def __init__(self) -> None:
        self.found = False
        self.reason = ""
        self.round_start_us = 0
        self.last_ack_us = 0
        self.end_seq = 0
        self.round_rtt_us = 0xFFFFFFFF
        self.samples = 0

    def new_round(self, sk: TcpSock) -> None:
        """bictcp_hystart_reset: what is sent now marks the round."""
        self.round_start_us = self.last_ack_us = sk.host.now_ns // 1000
        self.end_seq = sk.snd_nxt
        self.round_rtt_us = 0xFFFFFFFF
        self.samples = 0

    def update(self, sk: TcpSock, delay_us: int, delay_min_us: int) -> None:
        """hystart_update: a round-trip sample of slow start."""
        if sk.snd_una > self.end_seq:
            self.new_round(sk)
        if sk.snd_cwnd < LOW_WINDOW:
            return
        now_us = sk.host.now_ns // 1000
        if now_us - self.last_ack_us <= ACK_DELTA_US:
            self.last_ack_us = now_us
            threshold_us = delay_min_us + _burst_us(sk)
            if not sk.paced:
                threshold_us >>= 1
            if now_us - self.round_start_us > threshold_us:
                self._end(sk, "train")
        self.round_rtt_us = min(self.round_rtt_us, delay_us)
        if self.samples < MIN_SAMPLES:
            self.samples += 1
        elif self.round_rtt_us > delay_min_us + min(max(delay_min_us >> 3, DELAY_MIN_US), DELAY_MAX_US):
            self._end(sk, "delay")

    def _end(self, sk: TcpSock, reason: str) -> None:
        self.found = True
        self.reason = self.reason or reason
        sk.ssthresh = sk.snd_cwnd


def _burst_us(sk: TcpSock) -> int:
    """hystart_ack_delay: what four super-packets of the largest size take, at most a millisecond."""
    return min(1000, GSO_MAX_BYTES * 4 * 1_000_000 // sk.pacing_rate) if sk.pacing_rate else 0


class Cubic(CongestionControl):
    """RFC 9438: the window as a cubic function of the time since the last loss."""

    def __init__(self) -> None:
        self.hystart = HyStart()
        self.reset()

    def reset(self) -> None:
        """bictcp_reset."""
        self.count = 0
        self.last_max = 0
        self.last_window = 0
        self.last_jiffies = 0
        self.origin = 0
        self.time_to_origin = 0
        self.delay_min_us = 0
        self.epoch_jiffies = 0
        self.acked = 0
        self.reno_window = 0
        self.hystart.found = False

    def init(self, sk: TcpSock) -> None:
        """cubictcp_init."""
        self.hystart.new_round(sk)

    def cong_avoid(self, sk: TcpSock, acked: int) -> None:
        """cubictcp_cong_avoid."""
        if sk.in_slow_start:
            acked = slow_start(sk, acked)
            if not acked:
                return
        self._update(sk, acked)
        avoid(sk, self.count, acked)

    def ssthresh(self, sk: TcpSock) -> int:
        """cubictcp_recalc_ssthresh: 0.7 of the window, with fast convergence."""
        self.epoch_jiffies = 0
        shrunk = sk.snd_cwnd < self.last_max
        self.last_max = sk.snd_cwnd * (1024 + BETA) // 2048 if shrunk else sk.snd_cwnd
        return max(sk.snd_cwnd * BETA // 1024, 2)

    def set_state(self, sk: TcpSock, state: CaState) -> None:
        """cubictcp_state: a timeout forgets everything."""
        if state is CaState.LOSS:
            self.reset()
            self.hystart.new_round(sk)

    def transmission_starts(self, sk: TcpSock) -> None:
        """cubictcp_cwnd_event: idle time does not count for the cubic function."""
        now = sk.host.jiffies.at(sk.host.now_ns)
        idle = now - sk.last_send_jiffies
        if self.epoch_jiffies and idle > 0:
            self.epoch_jiffies = min(self.epoch_jiffies + idle, now)

    def pkts_acked(self, sk: TcpSock, sample: RateSample) -> None:
        """cubictcp_acked: the shortest round trip, and HyStart; not in the second after a recovery."""
        if sample.rtt_us < 0:
            return
        jiffies = sk.host.jiffies
        if self.epoch_jiffies and jiffies.at(sk.host.now_ns) - self.epoch_jiffies < jiffies.hz:
            return
        delay_us = max(sample.rtt_us, 1)
        self.delay_min_us = min(self.delay_min_us or delay_us, delay_us)
        if not self.hystart.found and sk.in_slow_start:
            self.hystart.update(sk, delay_us, self.delay_min_us)

    def _update(self, sk: TcpSock, acked: int) -> None:
        """bictcp_update: segments to acknowledge before the window grows by one."""
        self.acked += acked
        jiffies, window = sk.host.jiffies, sk.snd_cwnd
        now = jiffies.at(sk.host.now_ns)
        if self.last_window == window and now - self.last_jiffies <= jiffies.hz // 32:
            return
        if not (self.epoch_jiffies and now == self.last_jiffies):
            self._cubic(sk, acked, now)
        # The Reno-friendly region (RFC 9438 section 4.3).
        per_segment = (window * FRIENDLY) >> 3
        while per_segment and self.acked > per_segment:
            self.acked -= per_segment
            self.reno_window += 1
        if self.reno_window > window:
            self.count = min(self.count, window // (self.reno_window - window))
        self.count = max(self.count, 2)

    def _cubic(self, sk: TcpSock, acked: int, now: int) -> None:
        """RFC 9438 section 4.2."""
        window, jiffies = sk.snd_cwnd, sk.host.jiffies
        self.last_window, self.last_jiffies = window, now
        if not self.epoch_jiffies:
            self.epoch_jiffies = now
            self.acked = acked
            self.reno_window = window
            ahead = self.last_max - window
            self.origin = max(self.last_max, window)
            self.time_to_origin = _cube_root((ahead << 40) // SCALE) if ahead > 0 else 0
        elapsed = now - self.epoch_jiffies + jiffies.from_us(self.delay_min_us)
        at = (elapsed << CLOCK_SHIFT) // jiffies.hz
        delta = SCALE * abs(at - self.time_to_origin) ** 3 >> 40
        target = self.origin - delta if at < self.time_to_origin else self.origin + delta
        self.count = window // (target - window) if target > window else 100 * window
        if self.last_max == 0:
            self.count = min(self.count, 20)


def _cube_root(value: int) -> int:
    """Integer cube root, rounded down."""
    root = 1 << ((value.bit_length() + 2) // 3)
    while root**3 > value:
        root = (2 * root + value // root**2) // 3
    return root
