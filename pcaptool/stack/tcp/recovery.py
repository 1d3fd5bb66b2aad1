"""Loss recovery: states, window reduction, retransmission, undo (tcp_fastretrans_alert and its kin).

Knows: when a connection is in disorder, recovery or loss, how the window follows, which buffer is sent again.
Must not know: how marks are set by SACK (`scoreboard`), or how an ACK is parsed (`ack`).
Sources: RFC 6582, RFC 6675, RFC 6937 (PRR), RFC 8985 (RACK-TLP), RFC 5682 (F-RTO), RFC 3708 and 4015 (undo);
facts 61-70.
Leaves out: MTU probing, SACK reneging, collapsing of small buffers before they are sent again.
"""

from __future__ import annotations

from dataclasses import dataclass

from pcaptool.sim.events import Step
from pcaptool.stack.skbuff import SkBuff
from pcaptool.stack.tcp import output
from pcaptool.stack.tcp.scoreboard import AckEvent, mark_lost, split
from pcaptool.stack.tcp.sock import CaState, TcpSock

__all__ = ["Recovery", "alert", "cong_control", "enter_loss", "rack_mark_lost", "xmit_retransmit_queue"]

REORDERING = 3  # sysctl tcp_reordering
INFINITE_SSTHRESH = 0x7FFFFFFF
DRIVEN_SLACK_MS = 2
TIMEOUT_MIN_US = 2000  # TCP_TIMEOUT_MIN_US


@dataclass(slots=True)
class Recovery:
    """What loss detection and recovery remember."""

    high_seq: int = 0  # snd_nxt when recovery began
    prior_cwnd: int = 0
    prior_ssthresh: int = 0
    prr_delivered: int = 0
    prr_out: int = 0
    undo_marker: int = 0
    undo_retrans: int = 0
    retrans_stamp_ms: int = 0  # TSval clock of the first retransmission of this episode
    reordering: int = REORDERING
    reordering_seen: int = 0
    frto: bool = False
    highest_sack_seq: int = 0
    rack_sent_ns: int = 0
    rack_end_seq: int = 0
    rack_rtt_us: int = 0
    rack_advanced: bool = False
    rack_steps: int = 1
    tlp_retransmitted: bool = False

    def saw_reordering(self, skb: SkBuff, sk: TcpSock) -> None:
        """tcp_check_sack_reordering: something sent earlier arrived later, without having been sent again."""
        distance = (self.highest_sack_seq - skb.seq) // max(1, sk.mss_cache)
        self.reordering = min(max(self.reordering, distance), 300)
        self.reordering_seen += 1

    def rack_advance(self, sk: TcpSock, skb: SkBuff) -> None:
        """tcp_rack_advance: the latest send time among the delivered (RFC 8985 section 6.2 step 2)."""
        rtt_us = (sk.host.now_ns - skb.sent_ns) // 1000
        if skb.retransmitted and rtt_us < sk.min_rtt_us:
            return
        self.rack_advanced = True
        self.rack_rtt_us = rtt_us
        self.rack_sent_ns, self.rack_end_seq = max(
            (self.rack_sent_ns, self.rack_end_seq), (skb.sent_ns, skb.end_seq)
        )


# --- RACK (net/ipv4/tcp_recovery.c)


def _reordering_window_us(sk: TcpSock) -> int:
    """tcp_rack_reo_wnd."""
    recovery = sk.recovery
    if not recovery.reordering_seen:
        if sk.ca_state in {CaState.RECOVERY, CaState.LOSS}:
            return 0
        if sk.sacked_out >= recovery.reordering:
            return 0
    return min((sk.min_rtt_us >> 2) * recovery.rack_steps, sk.srtt8_us >> 3)


def _rack_detect(sk: TcpSock) -> int:
    """tcp_rack_detect_loss: mark what was sent long enough before something delivered. Returns us to wait."""
    recovery, now_ns = sk.recovery, sk.host.now_ns
    window_us, wait_us = _reordering_window_us(sk), 0
    last = (recovery.rack_sent_ns, recovery.rack_end_seq)
    for skb in sorted(sk.rtx_queue, key=lambda b: (b.sent_ns, b.end_seq)):
        if skb.sacked or (skb.lost and not skb.retransmission_out):
            continue
        if (skb.sent_ns, skb.end_seq) >= last:
            break
        left_us = recovery.rack_rtt_us + window_us - (now_ns - skb.sent_ns) // 1000
        if left_us <= 0:
            mark_lost(sk, skb)
        else:
            wait_us = max(wait_us, left_us)
    return wait_us


def rack_mark_lost(sk: TcpSock) -> bool:
    """tcp_rack_mark_lost: after each ACK; true if the reordering timer was set."""
    if not sk.recovery.rack_advanced:
        return False
    sk.recovery.rack_advanced = False
    wait_us = _rack_detect(sk)
    if wait_us:
        sk.host.tcp.set_reordering_timer(sk, sk.host.jiffies.from_us(wait_us + TIMEOUT_MIN_US))
    return wait_us > 0


def reordering_timeout(sk: TcpSock) -> Step:
    """tcp_rack_reo_timeout: enough waiting, what is late is lost."""
    before = sk.packets_in_flight
    wait_us = _rack_detect(sk)
    if sk.packets_in_flight != before:
        if sk.ca_state not in {CaState.RECOVERY, CaState.LOSS}:
            _enter_recovery(sk)
            _cwnd_reduction(sk, 1, 0, advanced=False)
        yield from xmit_retransmit_queue(sk)
    if wait_us:
        sk.host.tcp.set_reordering_timer(sk, sk.host.jiffies.from_us(wait_us + TIMEOUT_MIN_US))
    elif sk.pending_timer != "rto":
        sk.host.tcp.rearm_rto(sk)


# --- window reduction


def _init_reduction(sk: TcpSock) -> None:
    """tcp_init_cwnd_reduction."""
    recovery = sk.recovery
    recovery.high_seq = sk.snd_nxt
    sk.tlp_high_seq = 0
    sk.snd_cwnd_cnt = 0
    recovery.prior_cwnd = sk.snd_cwnd
    recovery.prr_delivered = recovery.prr_out = 0
    sk.ssthresh = sk.congestion.ssthresh(sk)


def _cwnd_reduction(sk: TcpSock, delivered: int, newly_lost: int, *, advanced: bool) -> None:
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


def _end_reduction(sk: TcpSock) -> None:
    """tcp_end_cwnd_reduction."""
    if sk.ssthresh < INFINITE_SSTHRESH and (sk.ca_state is CaState.CWR or sk.recovery.undo_marker):
        sk.snd_cwnd = sk.ssthresh
        sk.snd_cwnd_stamp_jiffies = sk.host.jiffies.at(sk.host.now_ns)


def enter_cwr(sk: TcpSock) -> None:
    """tcp_enter_cwr: reduce without a loss (a tail loss probe told of one, or a local queue dropped)."""
    sk.recovery.prior_ssthresh = 0
    if sk.ca_state in {CaState.OPEN, CaState.DISORDER}:
        sk.recovery.undo_marker = 0
        _init_reduction(sk)
        sk.ca_state = CaState.CWR


def end_cwr(sk: TcpSock) -> None:
    """What ends a reduction that needs no retransmission."""
    _end_reduction(sk)
    sk.ca_state = CaState.DISORDER if sk.sacked_out else CaState.OPEN


# --- undo


def _init_undo(sk: TcpSock) -> None:
    sk.recovery.undo_marker = sk.snd_una
    sk.recovery.undo_retrans = sk.retrans_out or -1


def _packet_delayed(sk: TcpSock, echoed: int | None) -> bool:
    """tcp_packet_delayed: the ACK echoes a stamp from before the retransmission (Eifel, RFC 3522)."""
    stamp = sk.recovery.retrans_stamp_ms
    return bool(stamp and echoed) and ((int(echoed or 0) - stamp) & 0xFFFFFFFF) > 0x7FFFFFFF


def _may_undo(sk: TcpSock, echoed: int | None) -> bool:
    recovery = sk.recovery
    return bool(recovery.undo_marker) and (recovery.undo_retrans == 0 or _packet_delayed(sk, echoed))


def _undo(sk: TcpSock, *, unmark: bool) -> None:
    """tcp_undo_cwnd_reduction: the reduction was a mistake."""
    recovery = sk.recovery
    if unmark:
        for skb in sk.rtx_queue:
            if skb.lost:
                skb.lost = False
                sk.lost_out -= skb.gso_segs
    if recovery.prior_ssthresh:
        sk.snd_cwnd = max(sk.snd_cwnd, recovery.prior_cwnd)
        sk.ssthresh = max(sk.ssthresh, recovery.prior_ssthresh)
    sk.snd_cwnd_stamp_jiffies = sk.host.jiffies.at(sk.host.now_ns)
    recovery.undo_marker = 0


def _try_undo_recovery(sk: TcpSock, echoed: int | None) -> None:
    """tcp_try_undo_recovery: all that was out when recovery began is acknowledged."""
    if _may_undo(sk, echoed):
        _undo(sk, unmark=False)
    if sk.sack or sk.snd_una > sk.recovery.high_seq:
        sk.ca_state = CaState.OPEN


def _try_undo_dsack(sk: TcpSock) -> bool:
    """tcp_try_undo_dsack: everything that was sent again had arrived before (fact 69)."""
    if sk.recovery.undo_marker and sk.recovery.undo_retrans == 0:
        sk.recovery.rack_steps = min(0xFF, sk.recovery.rack_steps + 1)
        _undo(sk, unmark=False)
        return True
    return False


# --- the state machine


def _enter_recovery(sk: TcpSock) -> None:
    """tcp_enter_recovery."""
    recovery = sk.recovery
    recovery.prior_ssthresh = 0
    _init_undo(sk)
    if sk.ca_state is not CaState.CWR:
        recovery.prior_ssthresh = max(sk.ssthresh, (sk.snd_cwnd >> 1) + (sk.snd_cwnd >> 2))
        if sk.ssthresh < INFINITE_SSTHRESH:
            recovery.prior_ssthresh = sk.ssthresh
        _init_reduction(sk)
    sk.ca_state = CaState.RECOVERY


def _try_to_open(sk: TcpSock) -> None:
    """tcp_try_to_open, tcp_try_keep_open."""
    if sk.ca_state is CaState.CWR:
        return
    if sk.sacked_out or sk.lost_out:
        state = CaState.DISORDER
    else:
        state = CaState.OPEN
        sk.recovery.retrans_stamp_ms = 0
    if sk.ca_state is not state:
        sk.ca_state = state
        sk.recovery.high_seq = sk.snd_nxt


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
    if rack_mark_lost(sk):
        event.rearm = False
    if before > sk.retrans_out:
        event.lost_retransmission = True


def _add_reno_sack(sk: TcpSock, event: AckEvent, duplicates: int) -> None:
    """tcp_add_reno_sack: a duplicate ACK says that one segment left the network (RFC 6582)."""
    if duplicates and sk.packets_out:
        before = sk.sacked_out
        sk.sacked_out = min(sk.sacked_out + duplicates, max(0, sk.packets_out - 1 - sk.lost_out))
        event.delivered += max(0, sk.sacked_out - before)


def alert(sk: TcpSock, event: AckEvent, duplicates: int, echoed: int | None) -> bool:
    """tcp_fastretrans_alert: an ACK that is not plain progress. Returns whether lost buffers may leave."""
    recovery = sk.recovery
    if not sk.packets_out:
        sk.sacked_out = 0
    if sk.ca_state is CaState.OPEN:
        recovery.retrans_stamp_ms = 0
    elif sk.snd_una >= recovery.high_seq:
        if sk.ca_state is CaState.CWR and sk.snd_una != recovery.high_seq:
            _end_reduction(sk)
            sk.ca_state = CaState.OPEN
        elif sk.ca_state is CaState.RECOVERY:
            if not sk.sack:
                sk.sacked_out = 0
            _end_reduction(sk)
            _try_undo_recovery(sk, echoed)
            if sk.ca_state is CaState.RECOVERY:
                return False
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
        _try_undo_dsack(sk)
    _identify_loss(sk, event)
    if not sk.lost_out:
        _try_to_open(sk)
        return False
    _enter_recovery(sk)
    return True


def _is_open(sk: TcpSock) -> bool:
    return sk.ca_state is CaState.OPEN


def _in_recovery(sk: TcpSock, event: AckEvent, duplicates: int, echoed: int | None) -> bool:
    if not event.advanced:
        if not sk.sack:
            _add_reno_sack(sk, event, duplicates)
    elif sk.recovery.undo_marker and _packet_delayed(sk, echoed):
        # tcp_try_undo_partial: the late original filled the hole, not what was sent again.
        sk.recovery.reordering_seen += 1
        if sk.retrans_out:
            return False
        if not any(skb.retransmitted for skb in sk.rtx_queue):
            sk.recovery.retrans_stamp_ms = 0
        _undo(sk, unmark=True)
        _try_to_open(sk)
    if _try_undo_dsack(sk):
        sk.ca_state = CaState.OPEN
        _try_to_open(sk)
    _identify_loss(sk, event)
    if sk.ca_state is not CaState.RECOVERY:
        if not sk.lost_out:
            return False
        _enter_recovery(sk)
    return True


def _in_loss(sk: TcpSock, event: AckEvent, duplicates: int, echoed: int | None) -> bool:
    """tcp_process_loss: after a timeout; F-RTO finds out whether it was spurious (RFC 5682)."""
    recovery = sk.recovery
    recovered = sk.snd_una >= recovery.high_seq
    if event.advanced and _may_undo(sk, echoed):
        _undo(sk, unmark=True)
        sk.retransmits = 0
        sk.ca_state = CaState.OPEN
        return False
    if recovery.frto:
        if event.original_sacked:
            _undo(sk, unmark=True)
            sk.retransmits = 0
            sk.ca_state = CaState.OPEN
            recovery.frto = False
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
        _try_undo_recovery(sk, echoed)
        return False
    if not sk.sack:
        if sk.snd_nxt > recovery.high_seq and duplicates:
            _add_reno_sack(sk, event, duplicates)
        elif event.advanced:
            sk.sacked_out = 0
    return True


def current_ssthresh(sk: TcpSock) -> int:
    """tcp_current_ssthresh: what is known of the path, were slow start to begin anew."""
    if sk.ca_state in {CaState.CWR, CaState.RECOVERY}:
        return sk.ssthresh
    return max(sk.ssthresh, (sk.snd_cwnd >> 1) + (sk.snd_cwnd >> 2))


def enter_loss(sk: TcpSock) -> None:
    """tcp_enter_loss: the retransmission timer fired."""
    recovery = sk.recovery
    fresh = sk.ca_state not in {CaState.RECOVERY, CaState.LOSS}
    for skb in sk.rtx_queue:
        mark_lost(sk, skb)
    if (
        sk.ca_state in {CaState.OPEN, CaState.DISORDER}
        or recovery.high_seq <= sk.snd_una
        or (sk.ca_state is CaState.LOSS and not sk.retransmits)
    ):
        recovery.prior_ssthresh = max(sk.ssthresh, (sk.snd_cwnd >> 1) + (sk.snd_cwnd >> 2))
        if sk.ssthresh < INFINITE_SSTHRESH:
            recovery.prior_ssthresh = sk.ssthresh
        recovery.prior_cwnd = sk.snd_cwnd
        sk.ssthresh = sk.congestion.ssthresh(sk)
        _init_undo(sk)
    sk.snd_cwnd = sk.packets_in_flight + 1
    sk.snd_cwnd_cnt = 0
    sk.snd_cwnd_stamp_jiffies = sk.host.jiffies.at(sk.host.now_ns)
    sk.ca_state = CaState.LOSS
    recovery.high_seq = sk.snd_nxt
    sk.tlp_high_seq = 0
    recovery.frto = fresh or bool(sk.retransmits)


def cong_control(sk: TcpSock, event: AckEvent, lost_before: int) -> None:
    """tcp_cong_control: shrink in recovery, grow otherwise."""
    if sk.ca_state in {CaState.CWR, CaState.RECOVERY}:
        newly_lost = max(0, sk.lost_out - lost_before)
        _cwnd_reduction(sk, event.delivered, newly_lost, advanced=event.advanced)
        return
    progress = (
        event.data_acked or event.data_sacked if sk.recovery.reordering > REORDERING else event.data_acked
    )
    if progress and event.delivered and output.is_cwnd_limited(sk):
        sk.congestion.cong_avoid(sk, event.delivered)


def xmit_retransmit_queue(sk: TcpSock) -> Step:
    """tcp_xmit_retransmit_queue: send again what is lost, as far as the window goes."""
    most = output.tso_segs(sk, output.current_mss(sk))
    index, rearm = 0, False
    while index < len(sk.rtx_queue):
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
    if not sk.recovery.retrans_stamp_ms:
        # In a driven run the peer echoes the real server's stamps, whose ticks may lie a little earlier.
        slack_ms = DRIVEN_SLACK_MS if sk.key in sk.host.known else 0
        sk.recovery.retrans_stamp_ms = (sk.ts_clock() - slack_ms) & 0xFFFFFFFF
    skb.retransmission_out = True
    skb.retransmitted = True
    sk.retrans_out += skb.gso_segs
    sk.recovery.undo_retrans = max(sk.recovery.undo_retrans, 0)
    sk.recovery.undo_retrans += skb.gso_segs
    yield from output.tcp_transmit_skb(sk, skb)
