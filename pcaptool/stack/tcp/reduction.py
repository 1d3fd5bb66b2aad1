"""How the congestion window shrinks: proportional rate reduction, and the state that is reached (tcp_input.c).

Knows: PRR (RFC 6937), congestion window reduced (CWR), and that a control is told of each change of state.
Must not know: why the window shrinks (`recovery`, `ecn`, a local queue that dropped).
"""

from __future__ import annotations

from pcaptool.stack.tcp.sock import CaState, TcpSock

__all__ = [
    "INFINITE_SSTHRESH",
    "current_ssthresh",
    "cwnd_reduction",
    "end_reduction",
    "enter_cwr",
    "init_reduction",
    "set_ca_state",
]

INFINITE_SSTHRESH = 0x7FFFFFFF


def set_ca_state(sk: TcpSock, state: CaState) -> None:
    """tcp_set_ca_state."""
    sk.congestion.set_state(sk, state)
    sk.ca_state = state


def current_ssthresh(sk: TcpSock) -> int:
    """tcpcurrent_ssthresh: three quarters of a window that is still growing."""
    if sk.ca_state in {CaState.CWR, CaState.RECOVERY}:
        return sk.ssthresh
    return max(sk.ssthresh, (sk.snd_cwnd >> 1) + (sk.snd_cwnd >> 2))


def init_reduction(sk: TcpSock) -> None:
    """tcp_init_cwnd_reduction."""
    recovery = sk.recovery
    recovery.high_seq = sk.snd_nxt
    sk.tlp_high_seq = 0
    sk.snd_cwnd_cnt = 0
    recovery.prior_cwnd = sk.snd_cwnd
    recovery.prr_delivered = recovery.prr_out = 0
    sk.ssthresh = sk.congestion.ssthresh(sk)
    sk.ecn.cut()


def cwnd_reduction(sk: TcpSock, delivered: int, newly_lost: int, *, advanced: bool) -> None:
    """tcp_cwnd_reduction: proportional rate reduction (RFC 6937)."""
    recovery = sk.recovery
    if delivered <= 0 or not recovery.prior_cwnd:
        return
    recovery.prr_delivered += delivered
    delta = sk.ssthresh - sk.packets_in_flight
    if delta < 0:
        allowed = (sk.ssthresh * recovery.prr_delivered + recovery.prior_cwnd - 1) // recovery.prior_cwnd
        count = allowed - recovery.prr_out
    else:
        count = max(recovery.prr_delivered - recovery.prr_out, delivered)
        if advanced and not newly_lost:
            count += 1
        count = min(delta, count)
    # The first retransmission leaves at once.
    count = max(count, 0 if recovery.prr_out else 1)
    sk.snd_cwnd = sk.packets_in_flight + count


def end_reduction(sk: TcpSock) -> None:
    """tcp_end_cwnd_reduction: the window is the threshold now, unless the reduction was undone."""
    if sk.congestion.takes_control:
        return
    if sk.ssthresh < INFINITE_SSTHRESH and (sk.ca_state is CaState.CWR or sk.recovery.undo_marker):
        sk.snd_cwnd = sk.ssthresh
        sk.snd_cwnd_stamp_jiffies = sk.host.jiffies.at(sk.host.now_ns)


def enter_cwr(sk: TcpSock) -> None:
    """tcp_enter_cwr: reduce without a loss (a tail loss probe told of one, or a local queue dropped)."""
    sk.recovery.prior_ssthresh = 0
    if sk.ca_state in {CaState.OPEN, CaState.DISORDER}:
        sk.recovery.undo_marker = 0
        init_reduction(sk)
        set_ca_state(sk, CaState.CWR)
