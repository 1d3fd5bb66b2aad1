"""Loss recovery: when a connection is in disorder, recovery or loss, and what is sent again (tcp_fastretrans_alert).

Knows: the states and their exits, NewReno without SACK, F-RTO, the order of retransmissions.
Must not know: how marks are set (`scoreboard`, `rack`), how the window follows (`reduction`, `congestion`), how a
mistake is proved (`undo`), or how an ACK is parsed (`ack`).
Sources: RFC 6582, RFC 6675, RFC 8985, RFC 5682 (F-RTO); facts 61-70.
Leaves out: MTU probing.
"""

from __future__ import annotations

from pcaptool.sim.events import Step
from pcaptool.stack.skbuff import SkBuff
from pcaptool.stack.tcp import output, pacing, rack
from pcaptool.stack.tcp.cwnd import is_cwnd_limited
from pcaptool.stack.tcp.rate import count_delivered
from pcaptool.stack.tcp.recovery_state import REORDERING
from pcaptool.stack.tcp.reduction import (
    current_ssthresh,
    cwnd_reduction,
    end_reduction,
    enter_cwr,
    init_reduction,
    set_ca_state,
)
from pcaptool.stack.tcp.rtt import update_pacing_rate
from pcaptool.stack.tcp.scoreboard import AckEvent, collapse, mark_lost, split
from pcaptool.stack.tcp.sock import CaState, TcpSock
from pcaptool.stack.tcp.undo import (
    any_retransmitted,
    init_undo,
    may_undo,
    packet_delayed,
    try_undo_dsack,
    try_undo_recovery,
    undo,
)

__all__ = [
    "alert",
    "cong_control",
    "enter_cwr",
    "enter_loss",
    "probe_repaired",
    "send_more",
    "xmit_retransmit_queue",
]

DRIVEN_SLACK_MS = 2
TIMEOUT_MIN_US = 2000  # TCP_TIMEOUT_MIN_US


def reordering_timeout(sk: TcpSock) -> Step:
    """tcp_rack_reo_timeout: enough waiting, what is late is lost."""
    before = sk.packets_in_flight
    wait_us = rack.detect(sk)
    if sk.packets_in_flight != before:
        if sk.ca_state not in {CaState.RECOVERY, CaState.LOSS}:
            _enter_recovery(sk)
            cwnd_reduction(sk, 1, 0, advanced=False)
        yield from xmit_retransmit_queue(sk)
    if wait_us:
        sk.host.tcp.set_reordering_timer(sk, sk.host.jiffies.from_us(wait_us + TIMEOUT_MIN_US))
    elif sk.pending_timer != "rto":
        sk.host.tcp.rearm_rto(sk)


def _enter_recovery(sk: TcpSock, *, echo: bool = False) -> None:
    """tcp_enter_recovery."""
    recovery = sk.recovery
    recovery.prior_ssthresh = 0
    init_undo(sk)
    if sk.ca_state is not CaState.CWR:
        recovery.prior_ssthresh = 0 if echo else current_ssthresh(sk)
        init_reduction(sk)
    set_ca_state(sk, CaState.RECOVERY)


def _try_to_open(sk: TcpSock, *, echo: bool = False) -> None:
    """tcp_try_to_open, tcp_try_keep_open."""
    if not any_retransmitted(sk):
        sk.recovery.retrans_stamp_ms = 0
    if echo:
        enter_cwr(sk)
    if sk.ca_state is not CaState.CWR:
        _try_keep_open(sk)


def _try_keep_open(sk: TcpSock) -> None:
    left_out = sk.sacked_out or sk.lost_out or any_retransmitted(sk)
    state = CaState.DISORDER if left_out else CaState.OPEN
    if sk.ca_state is not state:
        set_ca_state(sk, state)
        sk.recovery.high_seq = sk.snd_nxt


def probe_repaired(sk: TcpSock) -> None:
    """What tcp_process_tlp_ack does where a loss probe repaired a loss that nobody else noticed."""
    init_reduction(sk)
    set_ca_state(sk, CaState.CWR)
    end_reduction(sk)
    _try_keep_open(sk)


def _newreno_mark_lost(sk: TcpSock, *, advanced: bool) -> None:
    """tcp_newreno_mark_lost: without SACK the first buffer is lost, after three duplicates or a partial ACK."""
    in_recovery = sk.ca_state is CaState.RECOVERY
    if not sk.rtx_queue or not (
        (sk.sacked_out >= sk.recovery.reordering and not in_recovery and sk.ca_state is not CaState.LOSS)
        or (in_recovery and advanced)
    ):
        return
    head = sk.rtx_queue[0]
    if head.lost:
        return
    mss = head.gso_size or sk.mss_cache
    if head.gso_segs > 1 and head.length > mss:
        sk.rtx_queue.insert(1, split(sk, head, mss))
    mark_lost(sk, head)


def _identify_loss(sk: TcpSock, event: AckEvent) -> None:
    """tcp_identify_packet_loss."""
    if not sk.rtx_queue:
        return
    if not sk.sack:
        _newreno_mark_lost(sk, advanced=event.advanced)
        return
    before = sk.retrans_out
    if rack.mark_lost_by_time(sk):
        event.rearm = False
    if before > sk.retrans_out:
        event.lost_retransmission = True


def _add_reno_sack(sk: TcpSock, event: AckEvent, duplicates: int) -> None:
    """tcp_add_reno_sack: a duplicate ACK says that one segment left the network (RFC 6582)."""
    if duplicates and sk.packets_out:
        before = sk.sacked_out
        sk.sacked_out = min(sk.sacked_out + duplicates, max(0, sk.packets_out - 1 - sk.lost_out))
        count_delivered(sk, max(0, sk.sacked_out - before), marked=event.echo)


def alert(sk: TcpSock, event: AckEvent, duplicates: int, echoed: int | None) -> bool:
    """tcp_fastretrans_alert: an ACK that is not plain progress. Returns whether lost buffers may leave."""
    recovery = sk.recovery
    if not sk.packets_out:
        sk.sacked_out = 0
    if event.echo:
        recovery.prior_ssthresh = 0
    if sk.ca_state is CaState.OPEN:
        recovery.retrans_stamp_ms = 0
    elif sk.snd_una >= recovery.high_seq:
        if sk.ca_state is CaState.CWR and sk.snd_una != recovery.high_seq:
            end_reduction(sk)
            set_ca_state(sk, CaState.OPEN)
        elif sk.ca_state is CaState.RECOVERY:
            if not sk.sack:
                sk.sacked_out = 0
            if try_undo_recovery(sk, echoed):
                return False
            end_reduction(sk)
    if sk.ca_state is CaState.RECOVERY:
        return _in_recovery(sk, event, duplicates, echoed)
    if sk.ca_state is CaState.LOSS:
        more = _in_loss(sk, event, duplicates, echoed)
        _identify_loss(sk, event)
        if not (_is_open(sk) or event.lost_retransmission):
            return more
    elif not sk.sack:
        if event.advanced:
            sk.sacked_out = 0
        _add_reno_sack(sk, event, duplicates)
    if sk.ca_state in {CaState.OPEN, CaState.DISORDER}:
        try_undo_dsack(sk)
    _identify_loss(sk, event)
    if not sk.lost_out:
        _try_to_open(sk, echo=event.echo)
        return False
    _enter_recovery(sk, echo=event.echo)
    return True


def _is_open(sk: TcpSock) -> bool:
    return sk.ca_state is CaState.OPEN


def _in_recovery(sk: TcpSock, event: AckEvent, duplicates: int, echoed: int | None) -> bool:
    if not event.advanced:
        if not sk.sack:
            _add_reno_sack(sk, event, duplicates)
    elif sk.recovery.undo_marker and packet_delayed(sk, echoed):
        # tcp_try_undo_partial: the late original filled the hole, not what was sent again.
        sk.recovery.reordering_seen += 1
        if sk.retrans_out:
            return False
        if not any_retransmitted(sk):
            sk.recovery.retrans_stamp_ms = 0
        undo(sk, unmark=True)
        _try_keep_open(sk)
    if try_undo_dsack(sk):
        _try_to_open(sk, echo=event.echo)
    _identify_loss(sk, event)
    if sk.ca_state is not CaState.RECOVERY:
        if not sk.lost_out:
            return False
        _enter_recovery(sk, echo=event.echo)
    return True


def _try_undo_loss(sk: TcpSock, echoed: int | None, *, spurious: bool = False) -> bool:
    """tcp_try_undo_loss: the timeout was a mistake."""
    if not spurious and not may_undo(sk, echoed):
        return False
    undo(sk, unmark=True)
    sk.retransmits = 0
    if not sk.sack and sk.snd_una == sk.recovery.high_seq:
        if not any_retransmitted(sk):
            sk.recovery.retrans_stamp_ms = 0
    elif spurious or sk.sack:
        set_ca_state(sk, CaState.OPEN)
        sk.recovery.reneged = False
    return True


def _in_loss(sk: TcpSock, event: AckEvent, duplicates: int, echoed: int | None) -> bool:
    """tcp_process_loss: after a timeout; F-RTO finds out whether it was spurious (RFC 5682)."""
    recovery = sk.recovery
    recovered = sk.snd_una >= recovery.high_seq
    if event.advanced and _try_undo_loss(sk, echoed):
        return False
    if recovery.frto:
        if event.original_sacked and _try_undo_loss(sk, echoed, spurious=True):
            return False
        if sk.snd_nxt > recovery.high_seq:
            if event.data_sacked or duplicates:
                recovery.frto = False
        elif event.advanced and not recovered:
            recovery.high_seq = sk.snd_nxt
            if sk.write_queue and sk.window_end > sk.snd_nxt:
                return False  # new data first; what it does tells whether the timeout was right
            recovery.frto = False
    if recovered:
        try_undo_recovery(sk, echoed)
        return False
    if not sk.sack:
        if sk.snd_nxt > recovery.high_seq and duplicates:
            _add_reno_sack(sk, event, duplicates)
        elif event.advanced:
            sk.sacked_out = 0
    return True


def enter_loss(sk: TcpSock) -> None:
    """tcp_enter_loss: the retransmission timer fired."""
    recovery = sk.recovery
    fresh = sk.ca_state not in {CaState.RECOVERY, CaState.LOSS}
    reneging = sk.rtx_queue[0].sacked  # an honest receiver would have acknowledged it (RFC 2018 section 8)
    if reneging:
        recovery.reneged = True
        for skb in sk.rtx_queue:
            skb.sacked = False
    if reneging or not sk.sack:
        sk.sacked_out = 0
    for index, skb in enumerate(sk.rtx_queue):
        # What was sent a moment ago may still arrive.
        if reneging or not index or rack.overdue_us(sk, skb, 0) <= 0:
            mark_lost(sk, skb)
    if (
        sk.ca_state in {CaState.OPEN, CaState.DISORDER}
        or recovery.high_seq <= sk.snd_una
        or (sk.ca_state is CaState.LOSS and not sk.retransmits)
    ):
        recovery.prior_ssthresh = current_ssthresh(sk)
        recovery.prior_cwnd = sk.snd_cwnd
        sk.ssthresh = sk.congestion.ssthresh(sk)
        init_undo(sk)
    sk.snd_cwnd = sk.packets_in_flight + 1
    sk.snd_cwnd_cnt = 0
    sk.snd_cwnd_stamp_jiffies = sk.host.jiffies.at(sk.host.now_ns)
    if sk.ca_state in {CaState.OPEN, CaState.DISORDER} and sk.sacked_out >= REORDERING:
        recovery.reordering = min(recovery.reordering, REORDERING)
    set_ca_state(sk, CaState.LOSS)
    recovery.high_seq = sk.snd_nxt
    sk.tlp_high_seq = 0
    sk.ecn.cut()
    recovery.frto = fresh or bool(sk.retransmits)


def cong_control(sk: TcpSock, event: AckEvent) -> None:
    """tcp_cong_control: the control's own law, or: shrink in recovery, grow otherwise."""
    sample = event.rate
    if sk.congestion.takes_control:
        sk.congestion.main(sk, sample)
        return
    if sk.ca_state in {CaState.CWR, CaState.RECOVERY}:
        cwnd_reduction(sk, sample.acked, sample.losses, advanced=event.advanced)
    else:
        reordered = sk.recovery.reordering > REORDERING
        progress = event.data_acked or event.data_sacked or event.advanced if reordered else event.data_acked
        if progress and is_cwnd_limited(sk):
            sk.congestion.cong_avoid(sk, sample.acked)
            sk.snd_cwnd_stamp_jiffies = sk.host.jiffies.at(sk.host.now_ns)
    update_pacing_rate(sk)


def xmit_retransmit_queue(sk: TcpSock) -> Step:
    """tcp_xmit_retransmit_queue: send again what is lost, as far as the window goes."""
    most = output.tso_segs(sk, output.current_mss(sk))
    index, rearm = 0, False
    while index < len(sk.rtx_queue):
        if pacing.must_wait(sk):
            break
        room = sk.snd_cwnd - sk.packets_in_flight
        if room <= 0 or sk.retrans_out >= sk.lost_out:
            break
        skb = sk.rtx_queue[index]
        index += 1
        if not skb.lost or skb.sacked or skb.retransmission_out:
            continue
        rearm |= index == 1 and sk.pending_timer != "reo"
        yield from retransmit(sk, skb, min(room, most))
        if sk.ca_state in {CaState.CWR, CaState.RECOVERY}:
            sk.recovery.prr_out += skb.gso_segs
    if rearm:
        sk.host.tcp.restart_rto(sk)


def retransmit(sk: TcpSock, skb: SkBuff, segments: int) -> Step:
    """tcp_retransmit_skb: at most so many segments of a buffer; the rest of it stays lost."""
    mss = output.current_mss(sk)
    if skb.length > segments * mss:
        index = list(sk.rtx_queue).index(skb)
        sk.rtx_queue.insert(index + 1, output.fragment(sk, skb, segments * mss, mss))
    else:
        collapse(sk, skb, min(mss, sk.window_end - skb.seq))
    if not sk.recovery.retrans_stamp_ms:
        # In a driven run the peer echoes the real server's stamps, whose ticks may lie a little earlier.
        slack_ms = DRIVEN_SLACK_MS if sk.key in sk.host.known else 0
        sk.recovery.retrans_stamp_ms = (sk.ts_clock() - slack_ms) & 0xFFFFFFFF
    skb.retransmission_out = True
    skb.retransmitted = True
    sk.total_retrans += skb.gso_segs
    sk.bytes_retrans += skb.length
    sk.retrans_out += skb.gso_segs
    sk.recovery.undo_retrans = max(sk.recovery.undo_retrans, 0)
    sk.recovery.undo_retrans += skb.gso_segs
    yield from output.tcp_transmit_skb(sk, skb)


def send_more(sk: TcpSock) -> Step:
    """What tcp_tsq_write does: lost buffers first, then new ones."""
    if sk.lost_out > sk.retrans_out and sk.snd_cwnd > sk.packets_in_flight:
        yield from xmit_retransmit_queue(sk)
    yield from output.tcp_write_xmit(sk, output.current_mss(sk), sk.nonagle)
