"""Receiving: what an arriving segment changes (net/ipv4/tcp_input.c).

Knows: validation, ACK processing, round-trip time, the receive queue, window growth, when an ACK is due, FIN.
Must not know: which bytes leave (`output`), handshakes (`handshake`), or programs.
Sources: RFC 9293 section 3.10.7, RFC 7323, RFC 5681, RFC 6298; functions carry the kernel's names.
Leaves out: the out-of-order queue, SACK scoreboard and fast recovery (the link loses and reorders nothing yet: the
scenario refuses it), urgent data, PAWS.
"""

from __future__ import annotations

from pcaptool.sim.events import Step
from pcaptool.stack.skbuff import SkBuff
from pcaptool.stack.tcp import output, rtt
from pcaptool.stack.tcp.sock import State, TcpSock, near
from pcaptool.wire.tcp import TcpFlag

__all__ = ["data_send_check", "rcv_state_process"]

MAX_QUICKACKS = 16
SMALL_DATA = 536 + 20  # TCP_MSS_DEFAULT and a header
MIN_DATA = 88 + 20  # TCP_MIN_MSS and a header
GROW_FROM_BYTES = 128


def rcv_state_process(sk: TcpSock, skb: SkBuff) -> Step:
    """tcp_rcv_established and tcp_rcv_state_process: a segment for a synchronised connection."""
    if skb.tcp is None:
        raise ValueError("a segment without TCP header reached a socket")
    header = skb.tcp
    seq = near(header.seq, sk.rcv_nxt)
    skb.seq = seq
    if not (yield from validate_incoming(sk, skb, seq)):
        return
    old_state = sk.state
    yield from tcp_ack(sk, skb, seq)
    if sk.state is State.CLOSE:
        return
    if (
        old_state is not sk.state
        and sk.state is State.FIN_WAIT2
        and sk.orphan
        and not header.flags & TcpFlag.FIN
    ):
        sk.host.tcp.time_wait(sk, State.FIN_WAIT2)
        return
    if skb.length or header.flags & TcpFlag.FIN:
        yield from data_queue(sk, skb, seq)
    if sk.state in {State.CLOSE, State.TIME_WAIT}:
        return
    yield from data_send_check(sk)
    yield from ack_send_check(sk)


def validate_incoming(sk: TcpSock, skb: SkBuff, seq: int) -> Step:
    """tcp_validate_incoming: sequence number in the window, no RST, no SYN. Returns whether to go on."""
    header = skb.tcp
    if header is None:
        return False
    end = seq + skb.length + (header.flags & TcpFlag.FIN > 0)
    if header.flags & TcpFlag.RST:
        if seq == sk.rcv_nxt:
            sk.host.tcp.reset(sk)
        return False
    if end < sk.rcv_wup or seq > sk.rcv_nxt + sk.receive_window:
        # Out of the window: say what we expect (tcp_send_dupack).
        if sk.sack and end <= sk.rcv_nxt and skb.length:
            sk.dsack = (seq & 0xFFFFFFFF, end & 0xFFFFFFFF)
        yield from output.tcp_send_ack(sk)
        return False
    return True


def store_ts_recent(sk: TcpSock, skb: SkBuff, seq: int) -> None:
    """tcp_replace_ts_recent: only a segment at or before the last ACK sent sets what is echoed (fact 30)."""
    if sk.timestamps and skb.tcp and skb.tcp.options.timestamps and seq <= sk.rcv_wup:
        sk.ts_recent = skb.tcp.options.timestamps[0]


def tcp_ack(sk: TcpSock, skb: SkBuff, seq: int) -> Step:
    """tcp_ack: the acknowledgement and the window that a segment carries."""
    header = skb.tcp
    if header is None or not header.flags & TcpFlag.ACK:
        return
    ack = near(header.ack, sk.snd_una)
    if ack > sk.snd_nxt:
        return  # acknowledges what was never sent
    store_ts_recent(sk, skb, seq)
    if ack < sk.snd_una:
        return
    prior_una, prior_in_flight = sk.snd_una, sk.packets_in_flight
    window = header.window << (0 if header.flags & TcpFlag.SYN else sk.send_wscale)
    if ack > sk.snd_una or seq > sk.snd_wl1 or (seq == sk.snd_wl1 and (window > sk.snd_wnd or window == 0)):
        sk.snd_wl1 = seq
        sk.snd_wnd = window
        sk.max_window = max(sk.max_window, window)
    sk.snd_una = ack
    sk.send_bytes.release(ack)
    if ack > prior_una:
        acked = clean_rtx_queue(sk, skb, ack)
        sk.retransmits = 0
        sk.neighbour_confirmed = True
        if sk.tlp_high_seq and ack >= sk.tlp_high_seq:
            sk.tlp_high_seq = 0
        if acked and output.is_cwnd_limited(sk):
            sk.congestion.cong_avoid(sk, acked)
        rtt.update_pacing_rate(sk)
        if sk.rtx_queue:
            sk.host.tcp.rearm_rto(sk)
        else:
            sk.retransmit_timer.cancel()
        sk.host.tcp.schedule_loss_probe(sk)
    elif prior_in_flight == 0 and sk.write_queue and window:
        sk.host.tcp.stop_probe_timer(sk)
    state_after_ack(sk)
    yield 0


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


def clean_rtx_queue(sk: TcpSock, skb: SkBuff, ack: int) -> int:
    """tcp_clean_rtx_queue: forget what is acknowledged, measure the round trip. Returns wire segments acked."""
    segments = 0
    first_sent_ns = last_sent_ns = 0
    retransmitted = False
    while sk.rtx_queue:
        head = sk.rtx_queue[0]
        if head.end_seq > ack:
            if head.seq < ack and head.gso_segs > 1:
                segments += trim_head(sk, head, ack)
            break
        segments += head.gso_segs
        if head.retransmitted:
            retransmitted = True
            sk.retrans_out = max(0, sk.retrans_out - head.gso_segs)
        elif not first_sent_ns:
            first_sent_ns = head.sent_ns
        last_sent_ns = head.sent_ns
        sk.packets_out -= head.gso_segs
        sk.wmem_queued -= head.truesize
        sk.rtx_queue.popleft()
        head.freed = True
    now_us = sk.host.now_ns // 1000
    sample_us = -1
    if first_sent_ns and not retransmitted:
        sample_us = now_us - first_sent_ns // 1000
        rtt.update_min(sk, now_us - last_sent_ns // 1000)
    elif sk.timestamps and skb.tcp and skb.tcp.options.timestamps and skb.tcp.options.timestamps[1]:
        sample_us = ((sk.ts_clock() - skb.tcp.options.timestamps[1]) & 0xFFFFFFFF) * 1000
    if sample_us >= 0:
        rtt.estimate(sk, max(sample_us, 1))
    return segments


def trim_head(sk: TcpSock, head: SkBuff, ack: int) -> int:
    """tcp_tso_acked: part of a super-packet is acknowledged."""
    before = head.gso_segs
    gone = ack - head.seq
    head.seq += gone
    head.length -= gone
    sk.wmem_queued -= gone
    output.packet_count(head, head.gso_size or sk.mss_cache)
    sk.packets_out -= before - head.gso_segs
    return before - head.gso_segs


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
    segments = max(10, sk.snd_cwnd, 4)
    memory = 2 * segments * per_mss
    if sk.sndbuf < memory:
        sk.sndbuf = min(memory, sk.host.settings.tcp_wmem[2])


def data_queue(sk: TcpSock, skb: SkBuff, seq: int) -> Step:
    """tcp_data_queue: bytes in sequence go to the reader; old ones are acknowledged again."""
    header = skb.tcp
    if header is None:
        return
    fin = bool(header.flags & TcpFlag.FIN)
    end = seq + skb.length + fin
    if end <= sk.rcv_nxt:
        # A repeat: the peer missed our ACK (tcp_dsack_set, quick ACKs).
        if sk.sack and sk.host.settings.tcp_dsack:
            sk.dsack = (seq & 0xFFFFFFFF, end & 0xFFFFFFFF)
        enter_quickack(sk)
        sk.ack.scheduled = True
        return
    if seq > sk.rcv_nxt:
        # There is no out-of-order queue: the segment is dropped and what is missing asked for at once,
        # which RFC 9293 section 3.10.7.4 allows. The links of the model keep the order.
        sk.ack.scheduled = sk.ack.now = True
        return
    if seq < sk.rcv_nxt:
        skb.payload = skb.payload[sk.rcv_nxt - seq :]
        skb.length -= sk.rcv_nxt - seq
        skb.seq = sk.rcv_nxt
    sk.rcv_nxt = end
    if skb.length:
        sk.receive_queue.add(skb)
        event_data_received(sk, skb)
    if fin:
        yield from tcp_fin(sk)
    sk.readable.wake(sk.host.costs.wakeup_ns)


def tcp_fin(sk: TcpSock) -> Step:
    """tcp_fin: the peer has nothing more to send."""
    sk.ack.scheduled = True
    sk.receive_shutdown = True
    match sk.state:
        case State.ESTABLISHED:
            sk.state = State.CLOSE_WAIT
            sk.ack.pingpong = max(sk.ack.pingpong, 1)
        case State.FIN_WAIT1:
            yield from output.tcp_send_ack(sk)
            sk.state = State.CLOSING
        case State.FIN_WAIT2:
            yield from output.tcp_send_ack(sk)
            sk.host.tcp.time_wait(sk, State.TIME_WAIT)


def event_data_received(sk: TcpSock, skb: SkBuff) -> None:
    """tcp_event_data_recv: learn the peer's segment size and rhythm, grow the window."""
    ack = sk.ack
    ack.scheduled = True
    measure_receive_mss(sk, skb)
    rtt.receiver_measure(sk, skb)
    host = sk.host
    jiffies = host.jiffies.at(host.now_ns)
    least = output.delack_min(sk)
    if not ack.ato_jiffies:
        increase_quickack(sk)
        ack.ato_jiffies = least
    else:
        gap = jiffies - ack.last_receive_jiffies
        if gap <= least // 2:
            ack.ato_jiffies = (ack.ato_jiffies >> 1) + least // 2
        elif gap < ack.ato_jiffies:
            ack.ato_jiffies = min((ack.ato_jiffies >> 1) + gap, sk.rto_jiffies)
        elif gap > sk.rto_jiffies:
            increase_quickack(sk)
    ack.last_receive_jiffies = jiffies
    if skb.length >= GROW_FROM_BYTES:
        grow_window(sk, skb)


def measure_receive_mss(sk: TcpSock, skb: SkBuff) -> None:
    """tcp_measure_rcv_mss: what a full segment of the peer is, and how much memory payload takes."""
    ack = sk.ack
    last, ack.last_segment_bytes = ack.last_segment_bytes, 0
    size = skb.gso_size or skb.length
    pushed = bool(skb.tcp and skb.tcp.flags & TcpFlag.PSH)
    if size >= ack.receive_mss:
        if size != ack.receive_mss:
            ratio = max(1, min(255, (skb.length << 8) // skb.truesize))
            if ratio != sk.scaling_ratio:
                sk.scaling_ratio = ratio
                sk.window_clamp = sk.win_from_space(sk.rcvbuf)
        ack.receive_mss = min(size, sk.advmss)
        ack.pushed |= pushed
        return
    with_header = size + sk.header_bytes
    if with_header >= SMALL_DATA or (with_header >= MIN_DATA and not pushed):
        ack.last_segment_bytes = size
        if size == last:
            ack.receive_mss = size
            return
    ack.pushed2 |= ack.pushed
    ack.pushed = True


def increase_quickack(sk: TcpSock) -> None:
    """tcp_incr_quickack: acknowledge the next segments at once."""
    count = sk.rcv_wnd // (2 * sk.ack.receive_mss) or 2
    sk.ack.quick = max(sk.ack.quick, min(count, MAX_QUICKACKS))


def enter_quickack(sk: TcpSock) -> None:
    """tcp_enter_quickack_mode."""
    increase_quickack(sk)
    sk.ack.pingpong = 0
    sk.ack.ato_jiffies = output.delack_min(sk)


def grow_window(sk: TcpSock, skb: SkBuff) -> None:
    """tcp_grow_window: offer more while data comes in buffers that are well filled (fact 21)."""
    room = min(sk.window_clamp, sk.space) - sk.rcv_ssthresh
    if room <= 0:
        return
    well_filled = sk.win_from_space(skb.truesize) <= skb.length
    increment = 2 * sk.advmss if well_filled else slow_increment(sk, skb)
    if increment:
        # The header counts too, as captures show (fixtures/demo:16).
        sk.rcv_ssthresh += min(room, max(increment, 2 * (skb.length + sk.header_bytes)))
        sk.ack.quick |= 1


def slow_increment(sk: TcpSock, skb: SkBuff) -> int:
    """__tcp_grow_window: for buffers that hold little for their size."""
    truesize = sk.win_from_space(skb.truesize) >> 1
    window = sk.win_from_space(sk.host.settings.tcp_rmem[2]) >> 1
    while sk.rcv_ssthresh <= window:
        if truesize <= skb.length:
            return 2 * sk.ack.receive_mss
        truesize >>= 1
        window >>= 1
    return 0


def data_send_check(sk: TcpSock) -> Step:
    """tcp_data_snd_check: an ACK may have opened a window."""
    if sk.write_queue:
        yield from output.push_pending_frames(sk, output.current_mss(sk), sk.nonagle)
    check_space(sk)


def ack_send_check(sk: TcpSock) -> Step:
    """tcp_ack_snd_check: acknowledge now, or within the delayed-ACK time (RFC 9293 section 3.8.6.3)."""
    ack = sk.ack
    if not ack.scheduled:
        return
    unacked = sk.rcv_nxt - sk.rcv_wup
    # A reader that has all bytes of a full segment advances the window itself, in recv().
    window_moves = unacked > ack.receive_mss and (
        sk.rcv_nxt - sk.copied_seq < 1 or output.window_to_offer(sk) >= sk.rcv_wnd
    )
    if window_moves or (ack.quick and not sk.pingpong) or ack.now:
        if sk.owned:
            sk.ack_deferred = True  # sysctl tcp_backlog_ack_defer: once, when the lock is released
            return
        yield from output.tcp_send_ack(sk)
        return
    send_delayed_ack(sk)


def send_delayed_ack(sk: TcpSock) -> None:
    """tcp_send_delayed_ack."""
    host = sk.host
    least, jiffies = output.delack_min(sk), host.jiffies.at(host.now_ns)
    ato = sk.ack.ato_jiffies
    if ato > least:
        longest = host.jiffies.hz // 5 if sk.pingpong or sk.ack.pushed else host.jiffies.hz // 2
        if sk.srtt8_us:
            longest = min(longest, max(host.jiffies.from_us(sk.srtt8_us >> 3), least))
        ato = min(ato, longest)
    due = jiffies + ato
    timer = sk.delack_timer
    if timer.expires is not None:
        due = min(due, timer.expires)
    timer.mod(due)
