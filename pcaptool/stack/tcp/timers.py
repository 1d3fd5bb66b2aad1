"""TCP's timers (net/ipv4/tcp_timer.c): retransmission, tail loss probe, zero-window probe, delayed ACK.

Knows: when each is due and what it does when it fires.
Must not know: system calls.
Sources: RFC 6298, RFC 8985 section 7 (TLP), RFC 9293 section 3.8.6.1 (probes); facts 60-62 and 71.
Leaves out: what only losses bring (RACK's reordering timer, F-RTO, undo): after a timeout the oldest buffer is sent
again with a window of one segment, and the window grows again by slow start.
"""

from __future__ import annotations

from collections.abc import Callable

from pcaptool.sim.events import Step
from pcaptool.stack.skbuff import SkBuff
from pcaptool.stack.tcp import output
from pcaptool.stack.tcp.rtt import rto_us
from pcaptool.stack.tcp.sock import CaState, Nagle, State, TcpSock
from pcaptool.stack.timers import KernelTimer
from pcaptool.wire.tcp import TcpFlag

__all__ = [
    "check_probe_timer",
    "delack_timer",
    "rearm_rto",
    "schedule_loss_probe",
    "stop_probe_timer",
    "write_timer",
]

RTO_MAX_S = 120
TIMEOUT_MIN_US = 2000
MAX_RETRANSMITS = 15  # sysctl tcp_retries2


def write_timer(sk: TcpSock) -> KernelTimer:
    """icsk_retransmit_timer: one timer for retransmission, loss probe and zero-window probe."""
    return KernelTimer(sk.host.simulator, sk.host.jiffies, lambda: _fire(sk, _write_timer_handler))


def delack_timer(sk: TcpSock) -> KernelTimer:
    """icsk_delack_timer."""
    return KernelTimer(sk.host.simulator, sk.host.jiffies, lambda: _fire(sk, _delack_handler))


def _fire(sk: TcpSock, handler: Callable[[TcpSock], Step]) -> None:
    """Run a handler as softirq work; a socket that a system call owns gets it when the lock is released."""

    def work() -> Step:
        if sk.owned:
            sk.deferred.append(handler)
        else:
            yield from handler(sk)

    sk.host.processor.raise_softirq(sk.host.simulator.now_ns, work)


def _jiffies(sk: TcpSock) -> int:
    return sk.host.jiffies.at(sk.host.now_ns)


def _rto_max(sk: TcpSock) -> int:
    return RTO_MAX_S * sk.host.jiffies.hz


def rearm_rto(sk: TcpSock) -> None:
    """tcp_rearm_rto: the retransmission timer, a full timeout from now."""
    sk.loss_probe_pending = False
    if sk.packets_out:
        sk.retransmit_timer.mod(_jiffies(sk) + min(sk.rto_jiffies << sk.backoff, _rto_max(sk)))
    else:
        sk.retransmit_timer.cancel()


def schedule_loss_probe(sk: TcpSock) -> None:
    """tcp_schedule_loss_probe: two round trips without ACK are enough to suspect that the tail is lost."""
    host = sk.host
    if not sk.packets_out or not sk.sack or sk.ca_state is not CaState.OPEN or sk.tlp_high_seq:
        return
    if host.settings.tcp_early_retrans not in {3, 4}:
        return
    if sk.srtt8_us:
        timeout_us = sk.srtt8_us >> 2
        # With one segment out the peer may delay its ACK.
        alone = sk.packets_out == 1
        timeout_us += host.settings.tcp_rto_min_us if alone else TIMEOUT_MIN_US
        timeout = host.jiffies.from_us(timeout_us)
    else:
        timeout = host.jiffies.hz
    oldest = sk.rtx_queue[0]
    left_us = oldest.sent_ns // 1000 + rto_us(sk) - host.now_ns // 1000
    if left_us > 0:
        timeout = min(timeout, host.jiffies.from_us(left_us))
    sk.loss_probe_pending = True
    sk.retransmit_timer.mod(_jiffies(sk) + timeout)


def check_probe_timer(sk: TcpSock) -> None:
    """tcp_check_probe_timer: nothing is out, and the peer's window lets nothing out."""
    if not sk.packets_out and not sk.retransmit_timer.pending:
        sk.retransmit_timer.mod(_jiffies(sk) + min(sk.rto_jiffies << sk.backoff, _rto_max(sk)))


def stop_probe_timer(sk: TcpSock) -> None:
    """tcp_ack_probe: the window is open again."""
    if sk.write_queue and sk.write_queue[0].end_seq <= sk.window_end:
        sk.backoff = 0
        sk.retransmit_timer.cancel()


def _write_timer_handler(sk: TcpSock) -> Step:
    if sk.state in {State.CLOSE, State.TIME_WAIT}:
        return
    if sk.loss_probe_pending:
        sk.loss_probe_pending = False
        yield from _send_loss_probe(sk)
    elif sk.packets_out:
        yield from _retransmit_timeout(sk)
    elif sk.write_queue:
        yield from _probe_window(sk)


def _send_loss_probe(sk: TcpSock) -> Step:
    """tcp_send_loss_probe: new data if there is some, else the last segment again (fact 62)."""
    mss = output.current_mss(sk)
    if sk.write_queue and output.window_test(sk, sk.write_queue[0], mss):
        sent = yield from output.tcp_write_xmit(sk, mss, Nagle.OFF, 2)
        if sent:
            sk.tlp_high_seq = sk.snd_nxt
    elif sk.rtx_queue:
        last = sk.rtx_queue[-1]
        if last.gso_segs > 1:
            rest = output.fragment(sk, last, (last.gso_segs - 1) * mss, mss)
            sk.rtx_queue.append(rest)
            last = rest
        last.retransmitted = True
        sk.tlp_high_seq = sk.snd_nxt
        yield from output.tcp_transmit_skb(sk, last)
    rearm_rto(sk)


def _retransmit_timeout(sk: TcpSock) -> Step:
    """tcp_retransmit_timer: everything in flight counts as lost, the oldest buffer is sent again."""
    sk.retransmits += 1
    if sk.retransmits > MAX_RETRANSMITS:
        sk.host.tcp.reset(sk)
        return
    if sk.retransmits == 1:
        sk.ssthresh = sk.congestion.ssthresh(sk)
        sk.snd_cwnd = 1
        sk.snd_cwnd_cnt = 0
    oldest = sk.rtx_queue[0]
    mss = output.current_mss(sk)
    if oldest.length > mss:
        sk.rtx_queue.insert(1, output.fragment(sk, oldest, mss, mss))
    oldest.retransmitted = True
    yield from output.tcp_transmit_skb(sk, oldest)
    sk.backoff += 1
    rearm_rto(sk)


def _probe_window(sk: TcpSock) -> Step:
    """tcp_send_probe0, tcp_write_wakeup: what a window too small for a segment lets out, or an old sequence number.

    The latter makes the peer say its window (fact 71).
    """
    head = sk.write_queue[0]
    room = sk.window_end - head.seq
    if room > 0:
        mss = output.current_mss(sk)
        size = min(room, mss)
        if size < head.length:
            head.flags |= TcpFlag.PSH
            sk.pushed_seq = max(sk.pushed_seq, head.end_seq)
            sk.write_queue.insert(1, output.fragment(sk, head, size, mss))
            head.flags |= TcpFlag.PSH
        output.packet_count(head, mss)
        yield from output.send_head(sk, head)
        return
    number = sk.host.buffers.take()
    probe = SkBuff(number, number, seq=sk.snd_una - 1)
    yield from output.send_with_header(sk, probe, int(TcpFlag.ACK))
    sk.backoff += 1
    sk.retransmit_timer.mod(_jiffies(sk) + min(sk.rto_jiffies << sk.backoff, _rto_max(sk)))


def _delack_handler(sk: TcpSock) -> Step:
    """tcp_delack_timer_handler."""
    if sk.state in {State.CLOSE, State.TIME_WAIT} or not sk.ack.scheduled:
        return
    if sk.pingpong:
        # The reply that this ACK waited for did not come.
        sk.ack.pingpong = 0
        sk.ack.ato_jiffies = output.delack_min(sk)
    else:
        sk.ack.ato_jiffies = min(sk.ack.ato_jiffies << 1, sk.rto_jiffies)
    yield from output.tcp_send_ack(sk)
