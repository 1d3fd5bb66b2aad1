"""Congestion control: how the window grows and shrinks (tcp_cong.c, tcp_cubic.c).

Knows: Reno (RFC 5681) and CUBIC (RFC 9438) as the kernel computes them, in segments and integers.
Must not know: anything else of the connection than its window variables.
A control is an object of the small interface `CongestionControl`; `CONTROLS` is the registry.
Leaves out: HyStart (it needs an ACK train or a queue that grows: issue of the full stack), ECN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pcaptool.stack.tcp.sock import TcpSock

__all__ = ["CONTROLS", "CongestionControl", "Cubic", "Reno"]


class CongestionControl(Protocol):
    """What a congestion control is asked (struct tcp_congestion_ops)."""

    def cong_avoid(self, sk: TcpSock, acked: int) -> None:
        """`acked` wire segments are acknowledged, and the window was in use."""
        ...

    def ssthresh(self, sk: TcpSock) -> int:
        """The slow start threshold after a loss."""
        ...


def slow_start(sk: TcpSock, acked: int) -> int:
    """tcp_slow_start: one segment more for each acknowledged one. Returns what is left for avoidance."""
    window = min(sk.snd_cwnd + acked, sk.ssthresh)
    left = acked - (window - sk.snd_cwnd)
    sk.snd_cwnd = window
    return left


def avoid(sk: TcpSock, per_segment: int, acked: int) -> None:
    """tcp_cong_avoid_ai: one segment more for each `per_segment` acknowledged ones."""
    if sk.snd_cwnd_cnt >= per_segment:
        sk.snd_cwnd_cnt = 0
        sk.snd_cwnd += 1
    sk.snd_cwnd_cnt += acked
    if sk.snd_cwnd_cnt >= per_segment:
        more, sk.snd_cwnd_cnt = divmod(sk.snd_cwnd_cnt, per_segment)
        sk.snd_cwnd += more


class Reno:
    """RFC 5681."""

    def cong_avoid(self, sk: TcpSock, acked: int) -> None:
        """tcp_reno_cong_avoid."""
        if sk.in_slow_start:
            acked = slow_start(sk, acked)
            if not acked:
                return
        avoid(sk, sk.snd_cwnd, acked)

    def ssthresh(self, sk: TcpSock) -> int:
        """tcp_reno_ssthresh: half the window."""
        return max(sk.snd_cwnd >> 1, 2)


class Cubic:
    """RFC 9438: the window as a cubic function of the time since the last loss."""

    BETA = 717  # of 1024
    SCALE = 410  # cube_rtt_scale: C = 0.4 segments per second cubed, times 1024
    CLOCK_SHIFT = 10  # BICTCP_HZ: time in 1/1024 s

    def __init__(self) -> None:
        self.last_max = 0
        self.epoch_ns = 0
        self.origin = 0
        self.time_to_origin = 0
        self.acked = 0
        self.reno_window = 0
        self.count = 0

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
        self.epoch_ns = 0
        shrunk = sk.snd_cwnd < self.last_max
        self.last_max = sk.snd_cwnd * (1024 + self.BETA) // 2048 if shrunk else sk.snd_cwnd
        return max(sk.snd_cwnd * self.BETA // 1024, 2)

    def _update(self, sk: TcpSock, acked: int) -> None:
        """bictcp_update: segments to acknowledge before the window grows by one."""
        self.acked += acked
        now_ns = sk.host.now_ns
        if not self.epoch_ns:
            self.epoch_ns = now_ns
            self.acked = acked
            self.reno_window = sk.snd_cwnd
            ahead = self.last_max - sk.snd_cwnd
            self.origin = max(self.last_max, sk.snd_cwnd)
            self.time_to_origin = _cube_root((ahead << 40) // self.SCALE) if ahead > 0 else 0
        elapsed = (now_ns - self.epoch_ns) // 1000 + sk.min_rtt_us
        at = (elapsed << self.CLOCK_SHIFT) // 1_000_000
        distance = abs(at - self.time_to_origin)
        delta = self.SCALE * distance**3 >> 40
        target = self.origin - delta if at < self.time_to_origin else self.origin + delta
        window = sk.snd_cwnd
        self.count = window // (target - window) if target > window else 100 * window
        if self.last_max == 0:
            self.count = min(self.count, 20)
        # The Reno-friendly region (RFC 9438 section 4.3).
        per_segment = (window * (8 * (1024 + self.BETA) // 3 // (1024 - self.BETA))) >> 3
        while per_segment and self.acked > per_segment:
            self.acked -= per_segment
            self.reno_window += 1
        if self.reno_window > window:
            self.count = min(self.count, window // (self.reno_window - window))
        self.count = max(self.count, 2)


def _cube_root(value: int) -> int:
    """Integer cube root, rounded down."""
    root = 1 << ((value.bit_length() + 2) // 3)
    while root**3 > value:
        root = (2 * root + value // root**2) // 3
    return root


CONTROLS: dict[str, type[CongestionControl]] = {"reno": Reno, "cubic": Cubic}
