"""Taking a reduction back: what was sent again had not been lost (tcp_try_undo_*, RFC 3522, RFC 4015, RFC 3708).

Knows: the proofs (an echoed stamp from before the repetition, a D-SACK for each repetition), and what is restored.
Must not know: when a reduction begins (`recovery`).
"""

from __future__ import annotations

from pcaptool.stack.tcp.reduction import set_ca_state
from pcaptool.stack.tcp.sock import CaState, TcpSock

__all__ = [
    "any_retransmitted",
    "init_undo",
    "may_undo",
    "packet_delayed",
    "try_undo_dsack",
    "try_undo_recovery",
    "undo",
]


def any_retransmitted(sk: TcpSock) -> bool:
    """tcp_any_retrans_done: whether the oldest buffer, or anything that is out, was sent again."""
    return bool(sk.retrans_out or (sk.rtx_queue and sk.rtx_queue[0].retransmitted))


def init_undo(sk: TcpSock) -> None:
    """tcp_init_undo: from here on repetitions are counted."""
    sk.recovery.undo_marker = sk.snd_una
    sk.recovery.undo_retrans = sk.retrans_out or -1


def packet_delayed(sk: TcpSock, echoed: int | None) -> bool:
    """tcp_packet_delayed: the ACK echoes a stamp from before the retransmission (Eifel, RFC 3522)."""
    stamp = sk.recovery.retrans_stamp_ms
    if not stamp:
        # Nothing was sent again yet: the ACK is for an original that was merely late.
        return sk.sack or sk.snd_una < sk.recovery.high_seq
    return bool(echoed) and ((int(echoed or 0) - stamp) & 0xFFFFFFFF) > 0x7FFFFFFF


def may_undo(sk: TcpSock, echoed: int | None) -> bool:
    """tcp_may_undo."""
    recovery = sk.recovery
    return bool(recovery.undo_marker) and (recovery.undo_retrans == 0 or packet_delayed(sk, echoed))


def undo(sk: TcpSock, *, unmark: bool) -> None:
    """tcp_undo_cwnd_reduction: the reduction was a mistake."""
    recovery = sk.recovery
    if unmark:
        for skb in sk.rtx_queue:
            if skb.lost:
                skb.lost = False
                sk.lost_out -= skb.gso_segs
    if recovery.prior_ssthresh:
        sk.snd_cwnd = sk.congestion.undo_cwnd(sk)
        if recovery.prior_ssthresh > sk.ssthresh:
            sk.ssthresh = recovery.prior_ssthresh
            sk.ecn.queue_cwr = False
    sk.snd_cwnd_stamp_jiffies = sk.host.jiffies.at(sk.host.now_ns)
    recovery.undo_marker = 0
    recovery.rack_advanced = True  # the reordering window may have changed


def try_undo_recovery(sk: TcpSock, echoed: int | None) -> bool:
    """tcp_try_undo_recovery: all that was out when recovery began is acknowledged. Returns whether to stay in it."""
    recovery = sk.recovery
    if may_undo(sk, echoed):
        undo(sk, unmark=False)
    elif recovery.rack_persist:
        recovery.rack_persist -= 1
    if not sk.sack and sk.snd_una == recovery.high_seq:
        # Without SACK a late duplicate could start another recovery: wait for an ACK beyond.
        if not any_retransmitted(sk):
            recovery.retrans_stamp_ms = 0
        return True
    set_ca_state(sk, CaState.OPEN)
    recovery.reneged = False
    return False


def try_undo_dsack(sk: TcpSock) -> bool:
    """tcp_try_undo_dsack: everything that was sent again had arrived before (fact 69)."""
    if sk.recovery.undo_marker and sk.recovery.undo_retrans == 0:
        undo(sk, unmark=False)
        return True
    return False
