"""What a congestion control is asked, and what window-based ones share (tcp_cong.c).

Knows: the hooks with the kernel's defaults.
Must not know: when they are called (`recovery`, `ack`, `output`).
A window-based control implements `ssthresh` and `cong_avoid`. One that sets window and pacing rate itself has
`takes_control` and implements `main` instead (the kernel's cong_control).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pcaptool.stack.tcp.rate import RateSample
    from pcaptool.stack.tcp.sock import CaState, TcpSock

__all__ = ["CongestionControl", "avoid", "slow_start"]


class CongestionControl:
    """struct tcp_congestion_ops; one object for each connection."""

    takes_control = (
        False  # `main` sets the window on each ACK; no PRR, no idle restart, no pacing rate from outside
    )
    needs_pacing = False
    sndbuf_factor = 2  # the send buffer holds so many windows (sndbuf_expand)

    def init(self, sk: TcpSock) -> None:
        """The connection is established."""

    def ssthresh(self, sk: TcpSock) -> int:
        """The slow start threshold after a loss."""
        raise NotImplementedError

    def cong_avoid(self, sk: TcpSock, acked: int) -> None:
        """`acked` wire segments are acknowledged, and the window was in use."""

    def main(self, sk: TcpSock, sample: RateSample) -> None:
        """cong_control: an ACK has been processed."""

    def pkts_acked(self, sk: TcpSock, sample: RateSample) -> None:
        """Buffers were acknowledged or SACKed; `sample.rtt_us` is -1 where there is no measurement."""

    def set_state(self, sk: TcpSock, state: CaState) -> None:
        """The connection's congestion state is about to change."""

    def transmission_starts(self, sk: TcpSock) -> None:
        """CA_EVENT_TX_START: data leaves while nothing is in flight."""

    def undo_cwnd(self, sk: TcpSock) -> int:
        """The window after a reduction that proved a mistake (tcp_reno_undo_cwnd)."""
        return max(sk.snd_cwnd, sk.recovery.prior_cwnd)

    def min_tso_segs(self, sk: TcpSock) -> int:
        """Least segments of a super-packet."""
        return sk.host.settings.tcp_min_tso_segs


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
