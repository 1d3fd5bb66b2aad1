"""What an acknowledgement changes for the sender (tcp_ack and tcp_clean_rtx_queue in net/ipv4/tcp_input.c).

Knows: snd_una, the peer's window, round-trip samples, which part of loss recovery an ACK reaches.
Must not know: the receiving side (`input`).
Sources: RFC 9293 section 3.10.7.4, RFC 7323 section 4, RFC 6298.
"""

from __future__ import annotations

from pcaptool.sim.events import Step
from pcaptool.stack.skbuff import SkBuff
from pcaptool.stack.tcp import output, recovery, rtt
from pcaptool.stack.tcp.scoreboard import AckEvent, clear_marks, tag_sack_blocks
from pcaptool.stack.tcp.sock import CaState, State, TcpSock, near
from pcaptool.wire.tcp import TcpFlag

__all__ = ["expand_send_buffer", "tcp_ack"]


def tcp_ack(sk: TcpSock, skb: SkBuff, seq: int) -> Step:
    """tcp_ack: the acknowledgement, the window and the SACK blocks that a segment carries."""
    header = skb.tcp
    if header is None or not header.flags & TcpFlag.ACK:
        return
    ack = near(header.ack, sk.snd_una)
    if ack > sk.snd_nxt:
        return  # acknowledges what was never sent
    store_ts_recent(sk, skb, seq)
    event = AckEvent()
    if ack < sk.snd_una:
        # Old: only its SACK blocks are news.
        if sk.sack and header.options.sack_blocks:
            tag_sack_blocks(sk, header.options.sack_blocks, sk.snd_una, event)
            recovery.alert(sk, event, 0, _echoed(skb))
            yield from recovery.xmit_retransmit_queue(sk)
        return
    prior_una, prior_lost, had_packets = sk.snd_una, sk.lost_out, sk.packets_out > 0
    event.advanced = ack > prior_una
    event.not_dup = update_window(sk, skb, seq, ack) or skb.length > 0
    sk.snd_una = ack
    if event.advanced:
        sk.retransmits = 0
        sk.neighbour_confirmed = True
    if not had_packets:
        sk.host.tcp.stop_probe_timer(sk)
        state_after_ack(sk)
        return
    if sk.sack and header.options.sack_blocks:
        tag_sack_blocks(sk, header.options.sack_blocks, ack, event)
    clean_rtx_queue(sk, skb, ack, event)
    _loss_probe_ack(sk, ack, event)
    dubious = (
        event.data_sacked
        or event.dsack
        or not (event.not_dup or event.data_acked or event.advanced)
        or sk.ca_state is not CaState.OPEN
    )
    resend = False
    if dubious:
        duplicate = not (event.advanced or event.not_dup or event.data_acked)
        resend = recovery.alert(sk, event, int(duplicate), _echoed(skb))
    if event.rearm:
        sk.host.tcp.set_transmit_timer(sk)
    recovery.cong_control(sk, event, prior_lost)
    rtt.update_pacing_rate(sk)
    if resend:
        yield from recovery.xmit_retransmit_queue(sk)
    state_after_ack(sk)


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
        output.idle_check(sk)
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
    first_ns = last_ns = 0
    retransmitted = False
    while sk.rtx_queue:
        head = sk.rtx_queue[0]
        if head.end_seq > ack:
            if head.seq < ack and head.gso_segs > 1:
                event.delivered += trim_head(sk, head, ack)
                event.data_acked = True
            break
        if not head.sacked:
            event.delivered += head.gso_segs
            if head.retransmitted:
                retransmitted = True
            else:
                first_ns, last_ns = first_ns or head.sent_ns, head.sent_ns
                if head.end_seq <= sk.recovery.high_seq:
                    event.original_sacked = True
            sk.recovery.rack_advance(sk, head)
        event.data_acked = True
        clear_marks(sk, head)
        sk.packets_out -= head.gso_segs
        sk.wmem_queued -= head.truesize
        sk.rtx_queue.popleft()
        head.freed = True
    if not sk.sack and event.data_acked:
        _remove_reno_sacks(sk, event)
    sk.send_bytes.release(ack)
    _sample_round_trip(sk, skb, first_ns, last_ns, event, retransmitted=retransmitted)
    event.rearm = event.data_acked


def _remove_reno_sacks(sk: TcpSock, event: AckEvent) -> None:
    """tcp_remove_reno_sacks: of what is acknowledged, one filled the hole; the rest had been counted before."""
    acked = event.delivered
    event.delivered = max(acked - sk.sacked_out, 1)
    sk.sacked_out = max(0, sk.sacked_out - (acked - 1))


def _sample_round_trip(
    sk: TcpSock, skb: SkBuff, first_ns: int, last_ns: int, event: AckEvent, *, retransmitted: bool
) -> None:
    """tcp_ack_update_rtt: from what was acknowledged first, else SACKed, else from the echoed stamp (RFC 7323)."""
    now_us = sk.host.now_ns // 1000
    sample_us = -1
    if first_ns and not retransmitted:
        sample_us = now_us - first_ns // 1000
        rtt.update_min(sk, now_us - last_ns // 1000)
    elif event.sack_sent_ns:
        sample_us = now_us - event.sack_sent_ns // 1000
        rtt.update_min(sk, sample_us)
    elif event.data_acked and sk.timestamps and (echoed := _echoed(skb)):
        delta_ms = (sk.ts_clock() - echoed) & 0xFFFFFFFF
        sample_us = delta_ms * 1000 if delta_ms < 1 << 20 else -1
    if sample_us >= 0:
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
    if not sk.recovery.tlp_retransmitted or event.dsack:
        sk.tlp_high_seq = 0
    elif ack > sk.tlp_high_seq:
        # The probe repaired a loss that nobody else noticed.
        recovery.enter_cwr(sk)
        recovery.end_cwr(sk)
        sk.tlp_high_seq = 0
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
    memory = 2 * segments * per_mss
    if sk.sndbuf < memory:
        sk.sndbuf = min(memory, sk.host.settings.tcp_wmem[2])
