"""What an acknowledgement changes for the sender (tcp_ack and tcp_clean_rtx_queue in net/ipv4/tcp_input.c).

Knows: snd_una, the peer's window, round-trip samples, which part of loss recovery an ACK reaches.
Must not know: the receiving side (`input`).
Sources: RFC 9293 section 3.10.7.4, RFC 7323 section 4, RFC 6298.
"""

from __future__ import annotations

from pcaptool.sim.events import Step
from pcaptool.stack.skbuff import SkBuff
from pcaptool.stack.tcp import challenge, rack, rate, recovery, rtt
from pcaptool.stack.tcp.cwnd import idle_check
from pcaptool.stack.tcp.ecn import echoed
from pcaptool.stack.tcp.scoreboard import AckEvent, clear_marks, tag_sack_blocks
from pcaptool.stack.tcp.sock import CaState, State, TcpSock, near
from pcaptool.wire.tcp import TcpFlag

__all__ = ["expand_send_buffer", "tcp_ack"]


def tcp_ack(sk: TcpSock, skb: SkBuff, seq: int) -> Step:
    """tcp_ack: the acknowledgement, the window and the SACK blocks that a segment carries.

    Returns whether the segment is acceptable: not one that acknowledges what was never sent, or what is far too old.
    """
    header = skb.tcp
    if header is None or not header.flags & TcpFlag.ACK:
        return False
    ack = near(header.ack, sk.snd_una)
    if ack > sk.snd_nxt:
        return False
    if ack < sk.snd_una - min(sk.max_window, sk.snd_una - sk.iss):
        yield from challenge.send_challenge_ack(sk)  # RFC 5961 section 5.2
        return False
    store_ts_recent(sk, skb, seq)
    event = AckEvent()
    delivered, lost, reneged = sk.delivered, sk.lost, sk.recovery.reneged
    event.rate.prior_in_flight = sk.packets_in_flight
    blocks = header.options.sack_blocks if sk.sack else ()
    if ack < sk.snd_una:
        # Old: only its SACK blocks are news.
        if blocks:
            tag_sack_blocks(sk, blocks, sk.snd_una, event)
            resend = recovery.alert(sk, event, 0, _echoed(skb))
            if resend:
                yield from recovery.xmit_retransmit_queue(sk)
        return True
    had_packets = sk.packets_out > 0
    event.advanced = ack > sk.snd_una
    event.not_dup = update_window(sk, skb, seq, ack) or skb.length > 0
    event.echo = echoed(sk, header.flags)
    sk.bytes_acked += ack - sk.snd_una
    sk.snd_una = ack
    if event.advanced:
        sk.retransmits = 0
    sk.probes_out = 0
    sk.last_ack_jiffies = sk.host.jiffies.at(sk.host.now_ns)
    if header.flags & TcpFlag.CWR:
        sk.ecn.demand_cwr = False
        sk.ack.now |= skb.length > 0
    if blocks:
        tag_sack_blocks(sk, blocks, ack, event)
    if not had_packets:
        if event.dsack:
            recovery.alert(sk, event, 0, _echoed(skb))
        sk.host.tcp.stop_probe_timer(sk)
        _loss_probe_ack(sk, ack, event)
        state_after_ack(sk)
        return True
    clean_rtx_queue(sk, skb, ack, event)
    rack.update_reordering_window(sk, event.rate)
    _loss_probe_ack(sk, ack, event)
    resend = False
    if _is_dubious(sk, event):
        duplicate = not (event.advanced or event.not_dup or event.data_acked or event.dsack)
        # Pure ACKs that were merged in the backlog count each.
        count = skb.gso_segs if duplicate and not skb.length else int(duplicate)
        if event.reneging and event.advanced:
            sk.host.tcp.await_reneging(sk)
            event.rearm = False
        else:
            resend = recovery.alert(sk, event, count, _echoed(skb))
    if event.rearm:
        sk.host.tcp.set_transmit_timer(sk)
    # sk_dst_confirm: whoever makes progress, or sends duplicates, is there.
    sk.neighbour_confirmed |= event.data_acked or event.data_sacked or not event.not_dup
    rate.finish(sk, event.rate, sk.delivered - delivered, sk.lost - lost, reneged=reneged)
    recovery.cong_control(sk, event)
    if resend:
        yield from recovery.xmit_retransmit_queue(sk)
    state_after_ack(sk)
    return True


def _is_dubious(sk: TcpSock, event: AckEvent) -> bool:
    """tcp_ack_is_dubious: not plain progress of a connection without trouble."""
    return (
        event.data_sacked
        or event.dsack
        or event.echo
        or not (event.not_dup or event.data_acked or event.advanced)
        or sk.ca_state is not CaState.OPEN
    )


def _echoed(skb: SkBuff) -> int | None:
    stamps = skb.tcp.options.timestamps if skb.tcp else None
    return stamps[1] if stamps else None


def store_ts_recent(sk: TcpSock, skb: SkBuff, seq: int) -> None:
    """tcp_replace_ts_recent: only a segment at or before the last ACK sent sets what is echoed (fact 30)."""
    if sk.timestamps and skb.tcp and skb.tcp.options.timestamps and seq <= sk.rcv_wup:
        sk.ts_recent = skb.tcp.options.timestamps[0]


def update_window(sk: TcpSock, skb: SkBuff, seq: int, ack: int) -> bool:
    """tcp_ack_update_window: returns whether this segment's window counts (FLAG_WIN_UPDATE)."""
    if skb.tcp is None:
        return False
    window = skb.tcp.window << (0 if skb.tcp.flags & TcpFlag.SYN else sk.send_wscale)
    newer = ack > sk.snd_una or seq > sk.snd_wl1
    if not (newer or (seq == sk.snd_wl1 and (window > sk.snd_wnd or not window))):
        return False
    sk.snd_wl1 = seq
    if window != sk.snd_wnd and sk.write_queue:
        idle_check(sk)
    sk.snd_wnd = window
    sk.max_window = max(sk.max_window, window)
    return True


def state_after_ack(sk: TcpSock) -> None:
    """What an ACK of our FIN changes (tcp_rcv_state_process, step 5)."""
    if sk.snd_una != sk.write_seq or not sk.send_shutdown:
        return
    match sk.state:
        case State.FIN_WAIT1:
            sk.state = State.FIN_WAIT2
        case State.CLOSING:
            sk.host.tcp.time_wait(sk, State.TIME_WAIT)
        case State.LAST_ACK:
            sk.host.tcp.done(sk)


def clean_rtx_queue(sk: TcpSock, skb: SkBuff, ack: int, event: AckEvent) -> None:
    """tcp_clean_rtx_queue: forget what is acknowledged, and measure the round trip."""
    first_ns = last_ns = segments = 0
    retransmitted = whole = prior_sacked = False
    while sk.rtx_queue:
        head = sk.rtx_queue[0]
        whole = head.end_seq <= ack
        if not whole and not (head.seq < ack and head.gso_segs > 1):
            break
        acked = head.gso_segs if whole else trim_head(sk, head, ack)
        if not acked:
            break
        segments += acked
        prior_sacked |= head.sacked
        if head.retransmitted:
            retransmitted = True
        elif not head.sacked:
            first_ns, last_ns = first_ns or head.sent_ns, head.sent_ns
            if head.end_seq <= sk.recovery.high_seq:
                event.original_sacked = True
        if sk.sack and not head.sacked:
            rate.count_delivered(sk, acked, marked=event.echo)
            if whole:
                sk.recovery.rack_advance(sk, head)
        rate.delivered(sk, head, event.rate)
        event.data_acked = True
        if not whole:
            break
        clear_marks(sk, head)
        sk.packets_out -= head.gso_segs
        sk.wmem_queued -= head.truesize
        sk.rtx_queue.popleft()
        head.freed = True
    if not sk.sack and segments:
        # One filled the hole; duplicate ACKs had told of the others (tcp_remove_reno_sacks).
        rate.count_delivered(sk, max(segments - sk.sacked_out, 1), marked=event.echo)
        sk.sacked_out = max(0, sk.sacked_out - (segments - 1))
    event.reneging = bool(sk.rtx_queue) and sk.rtx_queue[0].sacked
    sk.send_bytes.release(ack)
    if first_ns and not retransmitted:
        alone = segments == 1 and whole and not prior_sacked
        event.rate.ack_delayed = (
            alone and event.rate.prior_delivered + 1 == sk.delivered and not _alarming(event)
        )
    else:
        first_ns = last_ns = 0
    _sample_round_trip(sk, skb, first_ns, last_ns, event)
    event.rearm = event.data_acked
    sk.congestion.pkts_acked(sk, event.rate)


def _alarming(event: AckEvent) -> bool:
    """FLAG_CA_ALERT."""
    return event.data_sacked or event.echo or event.dsack


def _sample_round_trip(sk: TcpSock, skb: SkBuff, first_ns: int, last_ns: int, event: AckEvent) -> None:
    """tcp_ack_update_rtt: from what was acknowledged first, else SACKed, else from the echoed stamp (RFC 7323).

    Congestion controls and the shortest round trip take the last one instead.
    """
    now_us = sk.host.now_ns // 1000
    sample_us = now_us - first_ns // 1000 if first_ns else -1
    last_us = now_us - last_ns // 1000 if last_ns else -1
    if event.sack_sent_ns:
        last_us = now_us - event.sack_last_ns // 1000
        if sample_us < 0:
            sample_us = now_us - event.sack_sent_ns // 1000
    if sample_us < 0 and event.data_acked and sk.timestamps and (echo := _echoed(skb)):
        delta_ms = (sk.ts_clock() - echo) & 0xFFFFFFFF
        sample_us = last_us = max(delta_ms, 1) * 1000 if delta_ms < 1 << 20 else -1
    event.rate.rtt_us = last_us
    if sample_us < 0:
        return
    if not (event.rate.ack_delayed and last_us > sk.min_rtt_us):
        rtt.update_min(sk, last_us)
    rtt.estimate(sk, max(sample_us, 1))


def trim_head(sk: TcpSock, head: SkBuff, ack: int) -> int:
    """tcp_tso_acked: part of a super-packet is acknowledged. Returns its segments."""
    before = head.gso_segs
    gone = ack - head.seq
    if before - -(-(head.length - gone) // (head.gso_size or sk.mss_cache)) <= 0:
        return 0
    head.seq += gone
    head.length -= gone
    sk.wmem_queued -= gone
    size = head.gso_size or sk.mss_cache
    segments = before - max(1, -(-head.length // size))
    head.gso_segs -= segments
    head.gso_size = size if head.gso_segs > 1 else 0
    sk.packets_out -= segments
    if head.lost:
        sk.lost_out -= segments
    if head.retransmission_out:
        sk.retrans_out -= segments
    return segments


def _loss_probe_ack(sk: TcpSock, ack: int, event: AckEvent) -> None:
    """tcp_process_tlp_ack: what the ACK of a loss probe tells (RFC 8985 section 7.4)."""
    if not sk.tlp_high_seq or ack < sk.tlp_high_seq:
        return
    if not sk.recovery.tlp_retransmitted or event.probe_repeated:
        sk.tlp_high_seq = 0
    elif ack > sk.tlp_high_seq:
        # The probe repaired a loss that nobody else noticed.
        recovery.probe_repaired(sk)
    elif not (event.advanced or event.not_dup or event.data_sacked):
        sk.tlp_high_seq = 0


def check_space(sk: TcpSock) -> None:
    """tcp_check_space: a writer waits, and there may be room in the send buffer again."""
    if not sk.nospace:
        return
    if sk.packets_in_flight < sk.snd_cwnd:
        expand_send_buffer(sk)
    if sk.stream_writeable:
        sk.nospace = False
        sk.writable.wake(sk.host.costs.wakeup_ns)


def expand_send_buffer(sk: TcpSock) -> None:
    """tcp_sndbuf_expand: twice the congestion window, in worst-case memory of single frames."""
    if sk.sndbuf_locked:
        return
    per_mss = max(sk.mss_clamp, sk.mss_cache) + 256 + 320
    per_mss = (1 << (per_mss - 1).bit_length()) + 256
    segments = max(10, sk.snd_cwnd, sk.recovery.reordering + 1)
    memory = sk.congestion.sndbuf_factor * segments * per_mss
    if sk.sndbuf < memory:
        sk.sndbuf = min(memory, sk.host.settings.tcp_wmem[2])
