"""Whether the congestion window is in use, and what becomes of one that is not (tcp_cwnd_validate and its kin).

Knows: RFC 7661 as the kernel does it: a window grows only while it is the limit, shrinks towards what was used, and
begins anew after an idle timeout.
Must not know: how a control grows it (`congestion`), or losses (`recovery`).
"""

from __future__ import annotations

from pcaptool.stack.tcp.reduction import current_ssthresh
from pcaptool.stack.tcp.sock import CaState, TcpSock

__all__ = ["cwnd_validate", "idle_check", "is_cwnd_limited"]


def cwnd_validate(sk: TcpSock, limited: bool) -> None:
    """tcp_cwnd_validate: remember whether the congestion window was what held us back (RFC 7661)."""
    if (
        limited
        or sk.snd_una >= sk.cwnd_usage_seq
        or (not sk.is_cwnd_limited and sk.packets_out > sk.max_packets_out)
    ):
        sk.is_cwnd_limited = limited
        sk.max_packets_out = sk.packets_out
        sk.cwnd_usage_seq = sk.snd_nxt
    jiffies = sk.host.jiffies.at(sk.host.now_ns)
    if is_cwnd_limited(sk):
        sk.snd_cwnd_used = 0
        sk.snd_cwnd_stamp_jiffies = jiffies
        return
    sk.snd_cwnd_used = max(sk.snd_cwnd_used, sk.packets_out)
    idle = jiffies - sk.snd_cwnd_stamp_jiffies >= sk.rto_jiffies
    if sk.host.settings.tcp_slow_start_after_idle and idle and not sk.congestion.takes_control:
        application_limited(sk, jiffies)


def application_limited(sk: TcpSock, jiffies: int) -> None:
    """tcp_cwnd_application_limited: halve the way to the window that was really used.

    Not where the send buffer was too small for it, nor during recovery.
    """
    if sk.ca_state is CaState.OPEN and not sk.orphan and not sk.nospace:
        used = max(sk.snd_cwnd_used, sk.host.settings.initial_cwnd)
        if used < sk.snd_cwnd:
            sk.ssthresh = current_ssthresh(sk)
            sk.snd_cwnd = (sk.snd_cwnd + used) >> 1
        sk.snd_cwnd_used = 0
    sk.snd_cwnd_stamp_jiffies = jiffies


def idle_check(sk: TcpSock) -> None:
    """tcp_slow_start_after_idle_check, tcp_cwnd_restart: halve for each timeout without data (fact 44).

    Not below the initial window.
    """
    settings = sk.host.settings
    if not settings.tcp_slow_start_after_idle or sk.packets_out or sk.congestion.takes_control:
        return
    if not sk.last_send_jiffies:
        return
    jiffies = sk.host.jiffies.at(sk.host.now_ns)
    left = jiffies - sk.last_send_jiffies - sk.rto_jiffies
    if left <= 0:
        return
    sk.ssthresh = current_ssthresh(sk)
    restart, window = min(settings.initial_cwnd, sk.snd_cwnd), sk.snd_cwnd
    while left > 0 and window > restart:
        window >>= 1
        left -= sk.rto_jiffies
    sk.snd_cwnd = max(window, restart)
    sk.snd_cwnd_used = 0
    sk.snd_cwnd_stamp_jiffies = jiffies


def is_cwnd_limited(sk: TcpSock) -> bool:
    """tcp_is_cwnd_limited: whether the window may grow."""
    if sk.is_cwnd_limited:
        return True
    return sk.in_slow_start and sk.snd_cwnd < 2 * sk.max_packets_out
