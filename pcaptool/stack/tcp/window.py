"""The window to advertise (tcp_select_window, __tcp_select_window).

Knows: how much of the receive buffer is offered, in which steps, and that an offer is never taken back.
Must not know: when a segment leaves.
Sources: RFC 9293 section 3.8.6.2.2 (silly window avoidance), RFC 7323 section 2.3; facts 17-21.
"""

from __future__ import annotations

from pcaptool.stack.tcp.sock import TcpSock

__all__ = ["select_window", "window_to_offer"]


def select_window(sk: TcpSock) -> int:
    """tcp_select_window: the window field of a segment that leaves now."""
    rcv_nxt, chosen = sk.rcv_nxt, window_to_offer(sk)
    current = max(0, sk.rcv_wup + sk.rcv_wnd - rcv_nxt)
    if chosen < current:
        # Never take back what was offered.
        unit = 1 << sk.receive_wscale
        chosen = (current + unit - 1) // unit * unit
    sk.rcv_wnd = chosen
    sk.rcv_wup = rcv_nxt
    return min(chosen, 65535 << sk.receive_wscale) >> sk.receive_wscale


def window_to_offer(sk: TcpSock) -> int:
    """__tcp_select_window: what the receive buffer allows."""
    mss = sk.ack.receive_mss
    free = sk.space
    allowed = sk.full_space
    full = min(sk.window_clamp, allowed)
    if mss > full:
        mss = full
        if mss <= 0:
            return 0
    if free < full >> 1:
        sk.ack.quick = 0
        free = free >> sk.receive_wscale << sk.receive_wscale
        if free < allowed >> 4 or free < mss:
            return 0
    free = min(free, sk.rcv_ssthresh)
    if sk.receive_wscale:
        unit = 1 << sk.receive_wscale
        return (free + unit - 1) // unit * unit
    window = sk.rcv_wnd
    if window <= free - mss or window > free:
        return free // mss * mss
    if mss == full and free > window + (full >> 1):
        return free
    return window
