"""RACK: a buffer is lost when one that was sent later has long been delivered (net/ipv4/tcp_recovery.c).

Knows: the reordering window and which buffers are overdue.
Must not know: what recovery does with them.
Source: RFC 8985 section 6.2. sysctl tcp_recovery: bit 0 RACK, 1 static reordering window, 2 no DupThresh.
"""

from __future__ import annotations

from pcaptool.stack.skbuff import SkBuff
from pcaptool.stack.tcp.rate import RateSample
from pcaptool.stack.tcp.scoreboard import mark_lost
from pcaptool.stack.tcp.sock import CaState, TcpSock

__all__ = ["detect", "mark_lost_by_time", "overdue_us", "update_reordering_window"]

TIMEOUT_MIN_US = 2000  # TCP_TIMEOUT_MIN_US
STATIC_WINDOW, NO_DUP_THRESH = 2, 4  # bits of tcp_recovery
PERSIST_RECOVERIES = 16  # TCP_RACK_RECOVERY_THRESH


def overdue_us(sk: TcpSock, skb: SkBuff, window_us: int) -> int:
    """tcp_rack_skb_timeout: microseconds until a buffer counts as lost; at most 0 if it does."""
    return sk.recovery.rack_rtt_us + window_us - (sk.host.now_ns - skb.sent_ns) // 1000


def update_reordering_window(sk: TcpSock, sample: RateSample) -> None:
    """tcp_rack_update_reo_wnd: each round trip with a D-SACK widens the window, for sixteen recoveries."""
    recovery = sk.recovery
    if sk.host.settings.tcp_recovery & STATIC_WINDOW or not sample.prior_delivered:
        return
    if sample.prior_delivered < recovery.rack_last_delivered:
        recovery.rack_dsack_seen = False
    if recovery.rack_dsack_seen:
        recovery.rack_steps = min(0xFF, recovery.rack_steps + 1)
        recovery.rack_dsack_seen = False
        recovery.rack_last_delivered = sk.delivered
        recovery.rack_persist = PERSIST_RECOVERIES
    elif not recovery.rack_persist:
        recovery.rack_steps = 1


def reordering_window_us(sk: TcpSock) -> int:
    """tcp_rack_reo_wnd."""
    recovery = sk.recovery
    if not recovery.reordering_seen:
        if sk.ca_state in {CaState.RECOVERY, CaState.LOSS}:
            return 0
        if sk.sacked_out >= recovery.reordering and not sk.host.settings.tcp_recovery & NO_DUP_THRESH:
            return 0
    return min((sk.min_rtt_us >> 2) * recovery.rack_steps, sk.srtt8_us >> 3)


def detect(sk: TcpSock) -> int:
    """tcp_rack_detect_loss: mark what was sent long enough before something delivered. Returns us to wait."""
    recovery = sk.recovery
    window_us, wait_us = reordering_window_us(sk), 0
    last = (recovery.rack_sent_ns, recovery.rack_end_seq)
    for skb in sorted(sk.rtx_queue, key=lambda b: (b.sent_ns, b.end_seq)):
        if skb.sacked or (skb.lost and not skb.retransmission_out):
            continue
        if (skb.sent_ns, skb.end_seq) >= last:
            break
        left_us = overdue_us(sk, skb, window_us)
        if left_us <= 0:
            mark_lost(sk, skb)
        else:
            wait_us = max(wait_us, left_us)
    return wait_us


def mark_lost_by_time(sk: TcpSock) -> bool:
    """tcp_rack_mark_lost: after each ACK; true if the reordering timer was set."""
    if not sk.recovery.rack_advanced:
        return False
    sk.recovery.rack_advanced = False
    wait_us = detect(sk)
    if wait_us:
        sk.host.tcp.set_reordering_timer(sk, sk.host.jiffies.from_us(wait_us + TIMEOUT_MIN_US))
    return wait_us > 0
