"""Sending: which bytes leave now, in buffers of which size, under which header (net/ipv4/tcp_output.c).

Knows: the write queue, Nagle with Minshall's change, congestion and receive window tests, TSO size and deferral,
header options; and the clone that goes to the network layer.
Must not know: what an arriving ACK means (`input`), or what lies below TCP.
Sources: RFC 9293 sections 3.7 and 3.8, RFC 7323; functions carry the kernel's names.
Leaves out: MTU probing, urgent data.

Functions that send are generators of spent nanoseconds: a system call lets that time pass, softirq work adds it up.
"""

from __future__ import annotations

from pcaptool.sim.events import Step
from pcaptool.stack.skbuff import TRUESIZE_OVERHEAD, SkBuff, TcpHeader
from pcaptool.stack.tcp import pacing, rate
from pcaptool.stack.tcp.cwnd import cwnd_validate
from pcaptool.stack.tcp.ecn import mark_segment
from pcaptool.stack.tcp.options import established_options, sack_blocks
from pcaptool.stack.tcp.sock import CaState, Nagle, State, TcpSock, wire_seq
from pcaptool.stack.tcp.window import select_window
from pcaptool.wire.tcp import SEQ_MASK, TcpFlag

__all__ = [
    "current_mss",
    "packet_count",
    "push_pending_frames",
    "size_goal",
    "tcp_push",
    "tcp_send_ack",
    "tcp_transmit_skb",
    "tcp_write_xmit",
]

GSO_MAX_BYTES = 65536 - 256 - 1  # GSO_LEGACY_MAX_SIZE less room for headers (sk_dst_gso_max_size)
TSO_WIN_DIVISOR = 3  # sysctl tcp_tso_win_divisor
PACING_SHIFT = 10  # sk_pacing_shift: about a millisecond of the pacing rate
SETTLE_NS = 1_000  # until an answer that was captured has reached the socket's backlog
NSEC_PER_MSEC = 1_000_000


def current_mss(sk: TcpSock) -> int:
    """tcp_current_mss: payload of a full segment, by the options that go out now."""
    if not sk.sack or (not sk.out_of_order and sk.out_of_order.dsack is None):
        return sk.mss_cache
    blocks = sack_blocks(sk)
    return sk.mss_cache - (4 + 8 * len(blocks) if blocks else 0)


def bound_to_half_window(sk: TcpSock, size: int) -> int:
    """tcp_bound_to_half_wnd: never more than half the largest window that the peer ever offered."""
    cutoff = sk.max_window >> 1 if sk.max_window > 536 else sk.max_window
    return max(cutoff, 68 - sk.header_bytes) if cutoff and size > cutoff else size


def size_goal(sk: TcpSock, mss: int, *, more_than_one: bool = True) -> int:
    """tcp_xmit_size_goal: bytes that sendmsg gathers in one buffer (fact 37)."""
    if not more_than_one:
        return mss
    return max(1, bound_to_half_window(sk, GSO_MAX_BYTES) // mss) * mss


def packet_count(skb: SkBuff, mss: int) -> int:
    """tcp_set_skb_tso_segs: wire segments of a buffer."""
    if skb.length <= mss:
        skb.gso_segs, skb.gso_size = 1, 0
    else:
        skb.gso_segs, skb.gso_size = -(-skb.length // mss), mss
    return skb.gso_segs


def tso_segs(sk: TcpSock, mss: int) -> int:
    """tcp_tso_segs: most segments of a buffer that leaves now (fact 36 c, d)."""
    settings = sk.host.settings
    size = sk.pacing_rate >> PACING_SHIFT
    shift = sk.min_rtt_us >> settings.tcp_tso_rtt_log
    if shift < 32:
        size += GSO_MAX_BYTES >> shift
    return min(max(min(size, GSO_MAX_BYTES) // mss, sk.congestion.min_tso_segs(sk)), 65535)


def cwnd_test(sk: TcpSock) -> int:
    """tcp_cwnd_test: segments that may leave, at most half the window at a time (fact 36 b)."""
    flying = sk.packets_in_flight
    if flying >= sk.snd_cwnd:
        return 0
    return min(max(sk.snd_cwnd >> 1, 1), sk.snd_cwnd - flying)


def nagle_check(sk: TcpSock, partial: bool, nonagle: int) -> bool:
    """tcp_nagle_check: whether a segment has to wait for more bytes or for an ACK."""
    if not partial:
        return False
    small_is_out = sk.snd_una < sk.snd_sml <= sk.snd_nxt
    return bool(nonagle & Nagle.CORK) or (not nonagle and sk.packets_out > 0 and small_is_out)


def nagle_test(sk: TcpSock, skb: SkBuff, mss: int, nonagle: int) -> bool:
    """tcp_nagle_test: whether a single segment may leave."""
    if nonagle & Nagle.PUSH or skb.flags & TcpFlag.FIN:
        return True
    return not nagle_check(sk, skb.length < mss, nonagle)


def window_test(sk: TcpSock, skb: SkBuff, mss: int) -> bool:
    """tcp_snd_wnd_test: whether its first segment fits into the peer's window."""
    end = skb.seq + mss if skb.length > mss else skb.end_seq
    return end <= sk.snd_una + sk.snd_wnd


def split_point(sk: TcpSock, skb: SkBuff, mss: int, most: int, nonagle: int) -> int:
    """tcp_mss_split_point: bytes of this buffer that leave in one piece."""
    window = sk.window_end - skb.seq
    largest = mss * most
    is_tail = skb is sk.write_queue[-1]
    if largest <= window and not is_tail:
        return largest
    needed = min(skb.length, window)
    if largest <= needed:
        return largest
    partial = needed % mss
    return needed - partial if nagle_check(sk, partial != 0, nonagle) else needed


def tso_should_defer(sk: TcpSock, skb: SkBuff, most: int) -> bool:
    """tcp_tso_should_defer: whether to wait for an ACK that would make this super-packet larger."""
    now = sk.clock_ns
    if sk.ca_state in {CaState.RECOVERY, CaState.LOSS} or now - sk.write_stamp_ns > NSEC_PER_MSEC:
        return False
    send_window = sk.window_end - skb.seq
    congestion_window = (sk.snd_cwnd - sk.packets_in_flight) * sk.mss_cache
    limit = min(send_window, congestion_window)
    if limit >= most * sk.mss_cache or (skb is not sk.write_queue[-1] and limit >= skb.length):
        return False
    if limit >= min(sk.snd_wnd, sk.snd_cwnd * sk.mss_cache) // TSO_WIN_DIVISOR:
        return False
    if not sk.rtx_queue:
        return False
    srtt_ns = sk.srtt8_us * 1000 // 8
    early_ns = sk.rtx_queue[0].sent_ns + srtt_ns - now - min(srtt_ns >> 1, NSEC_PER_MSEC)
    known = sk.host.known.get(sk.key) if sk.host.known else None
    if known is not None and known.recording is not None:
        if not known.recording.defers(wire_seq(skb.seq), early_ns, now):
            return False
    elif early_ns > 0:
        return False
    if congestion_window < send_window:
        if congestion_window <= skb.length:
            sk.is_cwnd_limited = True
            return True
    elif send_window <= skb.length:
        return True
    # A PSH or FIN at its end says that the program has nothing to add.
    return not skb.flags & (TcpFlag.PSH | TcpFlag.FIN)


def fragment(sk: TcpSock, skb: SkBuff, size: int, mss: int) -> SkBuff:
    """tso_fragment: cut a buffer; PSH and FIN go with the second part. Returns that."""
    host = sk.host
    rest = SkBuff(
        host.buffers.take(),
        skb.origin,
        length=skb.length - size,
        seq=skb.seq + size,
        flags=skb.flags,
        written_ns=skb.written_ns,
        copied_ns=skb.copied_ns,
        sent_ns=skb.sent_ns,
        retransmitted=skb.retransmitted,
        sacked=skb.sacked,
        lost=skb.lost,
        retransmission_out=skb.retransmission_out,
        delivery_note=skb.delivery_note,
    )
    skb.length = size
    skb.flags &= ~(TcpFlag.PSH | TcpFlag.FIN)
    sk.wmem_queued += TRUESIZE_OVERHEAD
    packet_count(skb, mss)
    packet_count(rest, mss)
    return rest


def grow(sk: TcpSock, skb: SkBuff, missing: int) -> None:
    """tcp_grow_skb: fill a buffer that is too short for what may leave from the one behind it."""
    queue = sk.write_queue
    if missing <= 0 or len(queue) < 2:
        return
    following = queue[1]
    taken = min(missing, following.length)
    if not taken:
        return  # a FIN of its own stays one
    skb.length += taken
    following.length -= taken
    following.seq += taken
    if following.length == 0:
        skb.flags |= following.flags
        del queue[1]
        sk.wmem_queued -= TRUESIZE_OVERHEAD


def tcp_write_xmit(sk: TcpSock, mss: int, nonagle: int, push_one: int = 0) -> Step:
    """Send what the windows, Nagle and the size rules allow; returns the number of wire segments sent.

    `push_one` 1 sends at most one buffer, 2 sends one even if the congestion window is full (a loss probe).
    """
    host = sk.host
    sent = 0
    limited_by_cwnd = False
    # tcp_mstamp_refresh: all that leaves in this call carries the time at which it began.
    sk.mstamp_ns = host.now_ns
    most = tso_segs(sk, mss)
    while sk.write_queue:
        if pacing.must_wait(sk):
            break
        skb = sk.write_queue[0]
        quota = cwnd_test(sk)
        if not quota:
            if push_one != 2:
                limited_by_cwnd = True
                break
            quota = 1
        quota = min(quota, most)
        grow(sk, skb, quota * mss - skb.length)
        segments = packet_count(skb, mss)
        if not window_test(sk, skb, mss):
            break
        if segments == 1:
            last = len(sk.write_queue) == 1
            if not nagle_test(sk, skb, mss, nonagle if last else Nagle.PUSH):
                break
        elif not push_one and tso_should_defer(sk, skb, most):
            break
        limit = split_point(sk, skb, mss, quota, nonagle) if segments > 1 else mss
        if skb.length > limit:
            sk.write_queue.insert(1, fragment(sk, skb, limit, mss))
        if host.tcp.small_queue_check(sk, skb) or skb.end_seq == skb.seq:
            break
        if host.known:
            yield from recorded_delay(sk, skb)
            if not sent:
                sk.mstamp_ns = host.now_ns
        yield from send_head(sk, skb)
        if sk.write_queue and sk.write_queue[0] is skb:
            break  # the queue of the device did not take it
        if skb.length < skb.gso_segs * mss:
            sk.snd_sml = skb.end_seq
        sent += skb.gso_segs
        if push_one:
            break
    sk.mstamp_ns = 0
    limited_by_cwnd |= sk.packets_in_flight >= sk.snd_cwnd
    if sent or limited_by_cwnd:
        cwnd_validate(sk, limited_by_cwnd)
    if sent and sk.ca_state in {CaState.CWR, CaState.RECOVERY}:
        sk.recovery.prr_out += sent
    if sent and push_one != 2:
        host.tcp.schedule_loss_probe(sk)
    return sent


def send_head(sk: TcpSock, skb: SkBuff) -> Step:
    """Transmit the first buffer of the write queue; it moves to the retransmission queue (tcp_event_new_data_sent)."""
    sk.host.stages.pass_buffer(sk, skb, "tcp_write_xmit", sk.host.now_ns)
    first_flight = sk.packets_out == 0
    if not (yield from tcp_transmit_skb(sk, skb)):
        return
    sk.write_queue.popleft()
    sk.rtx_queue.append(skb)
    sk.snd_nxt = skb.end_seq
    sk.packets_out += skb.gso_segs
    if first_flight or sk.pending_timer == "tlp":
        sk.host.tcp.rearm_rto(sk)


def push_pending_frames(sk: TcpSock, mss: int, nonagle: int) -> Step:
    """__tcp_push_pending_frames."""
    if sk.write_queue and sk.state is not State.CLOSE:
        sent = yield from tcp_write_xmit(sk, mss, nonagle)
        if not sent and not sk.packets_out and sk.write_queue:
            sk.host.tcp.check_probe_timer(sk)


def forced_push(sk: TcpSock) -> bool:
    """forced_push: half the peer's largest window has been written since the last PSH."""
    return sk.write_seq > sk.pushed_seq + (sk.max_window >> 1)


def mark_push(sk: TcpSock, skb: SkBuff) -> None:
    """tcp_mark_push."""
    skb.flags |= TcpFlag.PSH
    sk.pushed_seq = sk.write_seq


def tcp_push(sk: TcpSock, *, more: bool, mss: int, nonagle: int, goal: int) -> Step:
    """tcp_push: the end of a write; the last buffer gets PSH, and what may leave does."""
    if not sk.write_queue:
        return
    tail = sk.write_queue[-1]
    if not more or forced_push(sk):
        mark_push(sk, tail)
    if sk.host.tcp.should_autocork(sk, tail, goal):
        return
    yield from push_pending_frames(sk, mss, Nagle.CORK if more else nonagle)


def tcp_transmit_skb(sk: TcpSock, skb: SkBuff) -> Step:
    """__tcp_transmit_skb for a buffer of the write queue: a clone gets its header and goes to the network layer.

    Returns whether it was taken: not where the device's queue dropped it (net_xmit_eval).
    """
    host = sk.host
    prior_ns = sk.write_stamp_ns
    skb.sent_ns = sk.write_stamp_ns = max(sk.write_stamp_ns, sk.clock_ns)
    flags = skb.flags | TcpFlag.ACK
    if skb.gso_segs > 1:
        flags |= TcpFlag.PSH  # forced for offload (fact 38)
    clone = SkBuff(
        host.buffers.take(),
        skb.number,
        length=skb.length,
        payload=sk.send_bytes.view(skb.seq, skb.length),
        seq=skb.seq,
        flags=skb.flags,
        gso_size=skb.gso_size,
        gso_segs=skb.gso_segs,
        written_ns=skb.written_ns,
        copied_ns=skb.copied_ns,
        clone_of=skb,
    )
    if skb.length:
        event_data_sent(sk)
        sk.data_segs_out += skb.gso_segs
        sk.bytes_sent += skb.length
    yield from send_with_header(sk, clone, flags)
    if clone.refused:
        host.tcp.enter_cwr(sk)
    if not clone.lost_whole:
        pacing.update_after_send(sk, skb, prior_ns)
        rate.sent(sk, skb)
    return not clone.lost_whole


def event_data_sent(sk: TcpSock) -> None:
    """tcp_event_data_sent: a reply within the delayed-ACK time makes this an interactive session."""
    if not sk.packets_in_flight:
        sk.congestion.transmission_starts(sk)
    jiffies = sk.host.jiffies.at(sk.host.now_ns)
    sk.last_send_jiffies = jiffies
    if jiffies - sk.ack.last_receive_jiffies < sk.ack.ato_jiffies:
        sk.ack.pingpong = min(sk.ack.pingpong + 1, 255)


def send_with_header(sk: TcpSock, clone: SkBuff, flags: int) -> Step:
    """The header of a segment of an established connection, and the way down."""
    host = sk.host
    sk.segs_out += clone.gso_segs
    options, raw = established_options(sk)
    sk.out_of_order.dsack = None
    if sk.ecn.ok:
        flags = mark_segment(sk, clone, flags)
    clone.tcp = TcpHeader(
        sk.local[1],
        sk.remote[1],
        clone.seq & SEQ_MASK,
        sk.rcv_nxt & SEQ_MASK if flags & TcpFlag.ACK else 0,
        flags,
        select_window(sk),
        options,
        raw,
    )
    if flags & TcpFlag.ACK:
        event_ack_sent(sk)
    clone.confirms_neighbour, sk.neighbour_confirmed = sk.neighbour_confirmed, False
    clock_ns = sk.stale_clock_ns or sk.mstamp_ns or host.now_ns
    clone.departure_ns = max(clock_ns, sk.write_stamp_ns)
    yield host.ip.queue_xmit(sk, clone) - host.now_ns
    if sk.owned:
        if host.softirq_follows:
            yield from host.processor.drain()
        else:
            yield from softirq(sk, clone)


def recorded_delay(sk: TcpSock, skb: SkBuff) -> Step:
    """In a driven run: what the recorded processor took until it sent this byte, where it took longer than ours."""
    known = sk.host.known.get(sk.key)
    if known is not None and known.recording is not None:
        now_ns = sk.host.now_ns
        yield max(0, known.recording.left_ns(wire_seq(skb.seq), now_ns) - now_ns)


def softirq(sk: TcpSock, sent: SkBuff) -> Step:
    """A system call that sent over veth goes on when the softirqs that it raised have run.

    In a driven run the recorded answer says when that was.
    """
    host = sk.host
    if host.softirq_follows:
        yield from host.processor.drain()
        return
    known = host.known.get(sk.key)
    if known is not None and known.recording is not None and sent.length:
        begin, end = wire_seq(sent.seq), wire_seq(sent.seq + sent.length)
        until_ns = known.recording.answered_ns(begin, end, host.now_ns)
        if until_ns > host.now_ns:
            yield until_ns - host.now_ns + SETTLE_NS
            yield from host.processor.drain()


def event_ack_sent(sk: TcpSock) -> None:
    """tcp_event_ack_sent: this segment carries the ACK that was due."""
    ack = sk.ack
    if ack.quick:
        ack.quick -= 1
        if not ack.quick:
            ack.ato_jiffies = delack_min(sk)
    ack.scheduled = ack.now = ack.pushed = ack.pushed2 = False
    if sk.delack_timer.expires is not None:
        sk.delack_timer.cancel()


def delack_min(sk: TcpSock) -> int:
    """TCP_ATO_MIN and TCP_DELACK_MIN: 40 ms."""
    return sk.host.jiffies.hz // 25


def tcp_send_ack(sk: TcpSock) -> Step:
    """A pure ACK with the sequence number that comes next."""
    if sk.state is State.CLOSE:
        return
    number = sk.host.buffers.take()
    skb = SkBuff(number, number, seq=sk.snd_nxt)
    yield from send_with_header(sk, skb, int(TcpFlag.ACK))
