"""Receiving: what an arriving segment changes for the receiver (net/ipv4/tcp_input.c).

Knows: the receive queue, window growth, that an ACK is due, FIN.
Must not know: which segments count (`validate`), when an ACK leaves (`acknowledge`), which bytes leave (`output`), what
an ACK means (`ack`), handshakes (`handshake`), or programs.
Source: RFC 9293 section 3.10.7; functions carry the kernel's names.
Leaves out: urgent data (its bytes are read as any others, the pointer is ignored), pruning of a receive buffer that
is over its limit.
"""

from __future__ import annotations

from pcaptool.sim.events import Step
from pcaptool.stack.skbuff import TRUESIZE_OVERHEAD, SkBuff
from pcaptool.stack.tcp import output, rtt
from pcaptool.stack.tcp.ack import check_space, tcp_ack
from pcaptool.stack.tcp.acknowledge import ack_send_check, enter_quickack, increase_quickack
from pcaptool.stack.tcp.challenge import send_challenge_ack
from pcaptool.stack.tcp.ecn import check_ce
from pcaptool.stack.tcp.sock import State, TcpSock, near
from pcaptool.stack.tcp.validate import report_repeat, validate_incoming
from pcaptool.wire.tcp import TcpFlag

__all__ = ["data_send_check", "rcv_state_process"]

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
    old_state = sk.state
    opening = old_state is State.SYN_RECV or sk.fastopen is not None
    if opening and not (yield from sk.host.tcp.check_request(sk, skb)):
        return
    if not (yield from validate_incoming(sk, skb, seq)):
        return
    if not header.flags & TcpFlag.ACK:
        return
    if not (yield from tcp_ack(sk, skb, seq)):
        if old_state is State.SYN_RECV:
            yield from sk.host.tcp.send_reset(skb)
        elif old_state is not State.ESTABLISHED and sk.state is not State.CLOSE:
            yield from send_challenge_ack(sk)
        return
    if opening:
        sk.host.tcp.third_ack(sk, skb, seq)
        if header.flags & TcpFlag.SYN:
            # The SYN of a SYN-ACK was taken already: to the receiver it is a repeat (tcp_data_queue).
            report_repeat(sk, seq, seq + 1)
            enter_quickack(sk)
            sk.ack.scheduled = True
    if sk.state is State.CLOSE:
        return
    sk.segs_in += 1
    fin = bool(header.flags & TcpFlag.FIN)
    if sk.orphan and sk.state is not State.ESTABLISHED and skb.length and seq + skb.length > sk.rcv_nxt:
        # Nobody will ever read it (RFC 1122 section 4.2.2.13).
        sk.host.tcp.reset(sk)
        yield from sk.host.tcp.send_reset(skb)
        return
    if old_state is not sk.state and sk.state is State.FIN_WAIT2 and sk.orphan and not fin:
        sk.host.tcp.time_wait(sk, State.FIN_WAIT2)
        return
    if skb.length or header.flags & TcpFlag.FIN:
        yield from data_queue(sk, skb, seq)
    if sk.state in {State.CLOSE, State.TIME_WAIT}:
        return
    yield from data_send_check(sk)
    if sk.ack.scheduled:
        yield from ack_send_check(sk)


def data_queue(sk: TcpSock, skb: SkBuff, seq: int) -> Step:
    """tcp_data_queue: bytes in sequence go to the reader, early ones wait, old ones are acknowledged again."""
    header = skb.tcp
    if header is None:
        return
    skb.flags = header.flags & TcpFlag.FIN
    end = skb.end_seq
    if end <= sk.rcv_nxt:
        # A repeat: the peer missed our ACK (tcp_dsack_set, quick ACKs).
        report_repeat(sk, seq, end)
        enter_quickack(sk)
        sk.ack.scheduled = True
        return
    if seq > sk.rcv_nxt:
        _queue_early(sk, skb)
        return
    if seq < sk.rcv_nxt:
        report_repeat(sk, seq, sk.rcv_nxt)
        skb.payload = skb.payload[sk.rcv_nxt - seq :]
        skb.length -= sk.rcv_nxt - seq
        skb.seq = sk.rcv_nxt
    yield from _queue_in_sequence(sk, skb)
    if sk.out_of_order:
        for held in sk.out_of_order.take(sk.rcv_nxt):
            _cut_front(held, sk.rcv_nxt)
            yield from _queue_in_sequence(sk, held, again=True)
        if not sk.out_of_order:
            sk.ack.now = True  # RFC 5681 section 4.2: acknowledge at once when a gap is filled
    sk.readable.wake(sk.host.costs.wakeup_ns)


def _cut_front(skb: SkBuff, expected: int) -> None:
    """Bytes that arrived by another segment are not taken twice."""
    over = expected - skb.seq
    if over > 0:
        skb.payload = skb.payload[over:]
        skb.length -= over
        skb.seq = expected


def _queue_early(sk: TcpSock, skb: SkBuff) -> None:
    """tcp_data_queue_ofo: there is a hole before this segment."""
    if skb.end_seq > sk.rcv_nxt + sk.receive_window + TRUESIZE_OVERHEAD:
        return
    _note_mark(sk, skb)
    sk.ack.scheduled = True
    sk.out_of_order.add(skb)
    if sk.sack:
        grow_window(sk, skb)


def _queue_in_sequence(sk: TcpSock, skb: SkBuff, *, again: bool = False) -> Step:
    """tcp_queue_rcv, tcp_event_data_recv, tcp_fin."""
    sk.rcv_nxt = skb.end_seq
    if skb.length:
        sk.receive_queue.add(skb)
        sk.bytes_received += skb.length
        sk.data_segs_in += 1
        if not again:
            event_data_received(sk, skb)
    if skb.flags & TcpFlag.FIN:
        yield from tcp_fin(sk)


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
    _note_mark(sk, skb)
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


def _note_mark(sk: TcpSock, skb: SkBuff) -> None:
    """tcp_ecn_check_ce: congestion on the way is echoed soon."""
    if check_ce(sk, skb):
        enter_quickack(sk, most=2)


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
    """tcp_data_snd_check: an ACK may have opened a window.

    The send buffer grows before what waits is sent, by the window that this ACK left open: a send() of 46336 bytes to
    a reader that sleeps leaves a buffer of 92160 on Linux 6.18, which the order of 6.12 does not give.
    """
    check_space(sk)
    if sk.write_queue:
        yield from output.push_pending_frames(sk, output.current_mss(sk), sk.nonagle)
