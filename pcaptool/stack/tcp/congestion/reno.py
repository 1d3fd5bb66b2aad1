"""Reno: slow start, then one segment a round trip; half the window after a loss (RFC 5681; tcp_reno in tcp_cong.c).

Knows: the window arithmetic of RFC 5681 in whole segments.
Must not know: how a loss was found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcaptool.stack.tcp.congestion.base import CongestionControl, avoid, slow_start

if TYPE_CHECKING:
    from pcaptool.stack.tcp.sock import TcpSock

__all__ = ["Reno"]


class Reno(CongestionControl):
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
