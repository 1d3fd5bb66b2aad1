"""BBR's long-term bandwidth: whether a token bucket polices this path (bbr_lt_bw_sampling in tcp_bbr.c).

Knows: intervals between losses, of 4 to 16 rounds; two alike with much loss mean a policer, whose rate is then used
for 48 rounds.
Must not know: modes and gains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcaptool.stack.tcp.congestion.units import BW_UNIT, UNIT, bytes_per_second

if TYPE_CHECKING:
    from pcaptool.stack.tcp.sock import TcpSock

__all__ = ["Policer"]

MIN_ROUNDS = 4
LOSS_RATIO = 50  # of 256: a fifth
LIKE_RATIO = UNIT // 8
LIKE_BYTES_PER_S = 4000 // 8
USE_ROUNDS = 48
LONGEST_MS = 0xFFFFFFFF // 1000


class Policer:
    """Long-term bandwidth sampling of one connection."""

    def __init__(self) -> None:
        self.in_use = False
        self.bandwidth = 0
        self.sampling = False
        self.rounds = 0
        self.since_ms = 0
        self.since_delivered = 0
        self.since_lost = 0

    def reset(self, sk: TcpSock) -> None:
        """bbr_reset_lt_bw_sampling."""
        self.bandwidth = 0
        self.in_use = self.sampling = False
        self._new_interval(sk)

    def _new_interval(self, sk: TcpSock) -> None:
        self.since_ms = sk.delivered_us // 1000
        self.since_delivered, self.since_lost = sk.delivered, sk.lost
        self.rounds = 0

    def sample(
        self, sk: TcpSock, *, losses: int, app_limited: bool, round_start: bool, in_probe_bw: bool
    ) -> str:
        """An ACK came. Returns "begins" or "ends" where the policer's rate starts or stops to be used, else ""."""
        if self.in_use:
            if in_probe_bw and round_start:
                self.rounds += 1
                if self.rounds >= USE_ROUNDS:
                    self.reset(sk)
                    return "ends"
            return ""
        if not self.sampling:
            if not losses:
                return ""
            self._new_interval(sk)
            self.sampling = True
        if app_limited:
            self.reset(sk)
            return ""
        self.rounds += round_start
        if self.rounds < MIN_ROUNDS:
            return ""
        if self.rounds > 4 * MIN_ROUNDS:
            self.reset(sk)
            return ""
        return self._measure(sk) if losses else ""

    def _measure(self, sk: TcpSock) -> str:
        """The interval ends with a loss: bbr_lt_bw_interval_done."""
        lost, delivered = sk.lost - self.since_lost, sk.delivered - self.since_delivered
        if not delivered or lost << 8 < LOSS_RATIO * delivered:
            return ""
        elapsed_ms = sk.delivered_us // 1000 - self.since_ms
        if elapsed_ms < 1:
            return ""
        if elapsed_ms >= LONGEST_MS:
            self.reset(sk)
            return ""
        rate = delivered * BW_UNIT // (elapsed_ms * 1000)
        if self.bandwidth:
            apart = abs(rate - self.bandwidth)
            alike = apart * UNIT <= LIKE_RATIO * self.bandwidth
            if alike or bytes_per_second(sk.mss_cache, apart, UNIT) <= LIKE_BYTES_PER_S:
                self.bandwidth = (rate + self.bandwidth) >> 1
                self.in_use = True
                self.rounds = 0
                return "begins"
        self.bandwidth = rate
        self._new_interval(sk)
        return ""
