"""TCP's timers (net/ipv4/tcp_timer.c): retransmission, tail loss probe, zero-window probe, delayed ACK.

Knows: when each is due and what it does when it fires.
Must not know: system calls.
Sources: RFC 6298, RFC 8985 section 7 (TLP), RFC 9293 section 3.8.6.1 (probes); facts 24, 60-62 and 71.
One timer serves retransmission, loss probe, reordering and window probe, as in the kernel: `pending_timer` says which.
"""

from __future__ import annotations

from collections.abc import Callable

from pcaptool.sim.events import Step
from pcaptool.stack.skbuff import SkBuff
from pcaptool.stack.tcp import give_up, output, recovery
from pcaptool.stack.tcp.sock import CaState, Nagle, State, TcpSock
from pcaptool.stack.timers import KernelTimer
from pcaptool.wire.tcp import TcpFlag

__all__ = [
    "check_probe_timer",
    "delack_timer",
    "fire",
    "rearm_rto",
    "restart_rto",
    "schedule_loss_probe",
    "send_probe",
    "set_reordering_timer",
    "set_synack_timer",
    "set_transmit_timer",
    "stop_probe_timer",
    "write_timer",
]

SYN_RETRIES = 6  # sysctl tcp_syn_retries
RTO_MAX_S = 120
TIMEOUT_MIN_US = 2000


def write_timer(sk: TcpSock) -> KernelTimer:
    """icsk_retransmit_timer: one timer for retransmission, loss probe and zero-window probe."""
    return KernelTimer(sk.host.simulator, sk.host.jiffies, lambda: fire(sk, _write_timer_handler))


def delack_timer(sk: TcpSock) -> KernelTimer:
    """icsk_delack_timer."""
    return KernelTimer(sk.host.simulator, sk.host.jiffies, lambda: fire(sk, _delack_handler))


def fire(sk: TcpSock, handler: Callable[[TcpSock], Step]) -> None:
    """Run a handler as softirq work; a socket that a system call owns gets it when the lock is released."""

    def work() -> Step:
        if sk.owned:
            sk.deferred.append(handler)
        else:
            yield from handler(sk)

    sk.host.processor.raise_softirq(sk.host.simulator.now_ns, work)


def _rto_max(sk: TcpSock) -> int:
    return RTO_MAX_S * sk.host.jiffies.hz


def _set(sk: TcpSock, what: str, delay_jiffies: int) -> None:
    """tcp_reset_xmit_timer."""
    sk.pending_timer = what
    jiffies = sk.host.jiffies
    sk.retransmit_timer.mod(jiffies.at(sk.host.now_ns) + min(delay_jiffies, RTO_MAX_S * jiffies.hz))


def _rto_left_us(sk: TcpSock) -> int:
    """tcp_rto_delta_us: until the oldest buffer's timeout."""
    oldest_us = sk.rtx_queue[0].sent_ns // 1000
    return oldest_us + sk.rto_jiffies * sk.host.jiffies.tick_ns // 1000 - sk.host.now_ns // 1000


def rearm_rto(sk: TcpSock) -> None:
    """tcp_rearm_rto: a full timeout from now, or what is left of it when a probe took the timer meanwhile."""
    if sk.fastopen is not None:
        return  # the timer is the SYN-ACK's
    if not sk.packets_out:
        sk.pending_timer = ""
        sk.retransmit_timer.cancel()
        return
    delay = sk.rto_jiffies
    if sk.pending_timer in {"tlp", "reo"}:
        delay = sk.host.jiffies.from_us(max(1, _rto_left_us(sk)))
    _set(sk, "rto", delay)


def restart_rto(sk: TcpSock) -> None:
    """The timer after the oldest buffer was sent again."""
    _set(sk, "rto", sk.rto_jiffies)


def await_reneging(sk: TcpSock) -> None:
    """tcp_check_sack_reneging: half a round trip for an ACK that shows that the SACKed bytes are still there."""
    jiffies = sk.host.jiffies
    _set(sk, "rto", max(jiffies.from_us(sk.srtt8_us >> 4), jiffies.from_ms(10)))


def set_reordering_timer(sk: TcpSock, delay_jiffies: int) -> None:
    """ICSK_TIME_REO_TIMEOUT."""
    _set(sk, "reo", delay_jiffies)


def set_synack_timer(sk: TcpSock, delay_jiffies: int) -> None:
    """The timer of a Fast Open socket until its third ACK."""
    _set(sk, "synack", delay_jiffies)


def set_transmit_timer(sk: TcpSock) -> None:
    """tcp_set_xmit_timer: after progress."""
    if not schedule_loss_probe(sk, after_ack=True):
        rearm_rto(sk)


def schedule_loss_probe(sk: TcpSock, *, after_ack: bool = False) -> bool:
    """tcp_schedule_loss_probe: two round trips without ACK are enough to suspect that the tail is lost."""
    host = sk.host
    if (
        not sk.packets_out
        or not sk.sack
        or sk.fastopen is not None
        or sk.ca_state not in {CaState.OPEN, CaState.CWR}
    ):
        return False
    if host.settings.tcp_early_retrans not in {3, 4}:
        return False
    if sk.srtt8_us:
        timeout_us = sk.srtt8_us >> 2
        # With one segment out the peer may delay its ACK.
        alone = sk.packets_out == 1
        timeout_us += host.settings.tcp_rto_min_us if alone else TIMEOUT_MIN_US
        timeout = host.jiffies.from_us(timeout_us)
    else:
        timeout = host.jiffies.hz
    left_us = sk.rto_jiffies * host.jiffies.tick_ns // 1000 if after_ack else _rto_left_us(sk)
    if left_us > 0:
        timeout = min(timeout, host.jiffies.from_us(left_us))
    _set(sk, "tlp", timeout)
    return True


def check_probe_timer(sk: TcpSock) -> None:
    """tcp_check_probe_timer: nothing is out, and the peer's window lets nothing out."""
    if not sk.packets_out and not sk.retransmit_timer.pending:
        _set(sk, "probe", sk.rto_jiffies << sk.backoff)


def stop_probe_timer(sk: TcpSock) -> None:
    """tcp_ack_probe: the window is open again."""
    if sk.write_queue and sk.write_queue[0].end_seq <= sk.window_end:
        sk.backoff = 0
        sk.pending_timer = ""
        sk.retransmit_timer.cancel()


def _write_timer_handler(sk: TcpSock) -> Step:
    if sk.state in {State.CLOSE, State.TIME_WAIT}:
        return
    if sk.fastopen is not None:
        yield from sk.host.tcp.repeat_fastopen(sk)
        return
    if sk.state in {State.SYN_SENT, State.SYN_RECV}:
        yield from _repeat_syn(sk)
        return
    what, sk.pending_timer = sk.pending_timer, ""
    match what:
        case "tlp":
            yield from _send_loss_probe(sk)
        case "reo":
            yield from recovery.reordering_timeout(sk)
        case "rto" if sk.packets_out:
            yield from _retransmit_timeout(sk)
        case "probe" if sk.write_queue:
            yield from _probe_window(sk)


def _repeat_syn(sk: TcpSock) -> Step:
    """tcp_retransmit_timer in SYN_SENT: linear at first, then doubling (fact 24); in SYN_RECV doubling."""
    sk.retransmits += 1
    if sk.retransmits > SYN_RETRIES:
        sk.error = "ETIMEDOUT"
        sk.host.tcp.done(sk)
        return
    crossed = sk.state is State.SYN_RECV
    yield from (sk.host.tcp.repeat_crossed if crossed else sk.host.tcp.send_syn)(sk)
    linear = 0 if crossed else sk.host.settings.tcp_syn_linear_timeouts
    delay = sk.host.jiffies.hz << max(0, sk.retransmits - linear)
    _set(sk, "rto", delay)


def _send_loss_probe(sk: TcpSock) -> Step:
    """tcp_send_loss_probe: new data if there is some, else the last segment again (fact 62)."""
    mss = output.current_mss(sk)
    if sk.tlp_high_seq:
        rearm_rto(sk)
        return
    sk.recovery.tlp_retransmitted = False
    if sk.write_queue and output.window_test(sk, sk.write_queue[0], mss):
        before = sk.packets_out
        yield from output.tcp_write_xmit(sk, mss, Nagle.OFF, 2)
        if sk.packets_out > before:
            sk.tlp_high_seq = sk.snd_nxt
    elif sk.rtx_queue:
        last = sk.rtx_queue[-1]
        if last.gso_segs > 1:
            rest = output.fragment(sk, last, (last.gso_segs - 1) * mss, mss)
            sk.rtx_queue.append(rest)
            last = rest
        last.retransmitted = True
        sk.total_retrans += last.gso_segs
        sk.bytes_retrans += last.length
        sk.recovery.tlp_retransmitted = True
        sk.tlp_high_seq = sk.snd_nxt
        yield from output.tcp_transmit_skb(sk, last)
    sk.pending_timer = ""
    rearm_rto(sk)


def _retransmit_timeout(sk: TcpSock) -> Step:
    """tcp_retransmit_timer: what is in flight counts as lost, the oldest buffer is sent again (fact 61)."""
    if give_up.timed_out(sk):
        sk.error = "ETIMEDOUT"
        sk.host.tcp.done(sk)
        return
    recovery.enter_loss(sk)
    sk.retransmits += 1
    # sk_rethink_txhash: IPv6 tries another path, so it takes another flow label (fact 12).
    sk.flow_label = sk.host.chance.stream("flow label").getrandbits(20)
    yield from recovery.retransmit(sk, sk.rtx_queue[0], 1)
    sk.backoff += 1
    sk.rto_jiffies = min(sk.rto_jiffies << 1, _rto_max(sk))
    _set(sk, "rto", sk.rto_jiffies)


def _probe_window(sk: TcpSock) -> Step:
    """tcp_send_probe0, tcp_write_wakeup: what a window too small for a segment lets out, or an old sequence number.

    The latter makes the peer say its window (fact 71).
    """
    if sk.probes_out >= give_up.retries_allowed(sk, sk.rto_jiffies << sk.backoff):
        sk.error = "ETIMEDOUT"
        sk.host.tcp.done(sk)
        return
    head = sk.write_queue[0]
    room = sk.window_end - head.seq
    if room > 0:
        mss = output.current_mss(sk)
        sk.pushed_seq = max(sk.pushed_seq, head.end_seq)
        if room < head.length or head.length > mss:
            head.flags |= TcpFlag.PSH
            sk.write_queue.insert(1, output.fragment(sk, head, min(room, mss), mss))
        head.flags |= TcpFlag.PSH
        output.packet_count(head, mss)
        yield from output.send_head(sk, head)
        return
    yield from send_probe(sk)
    sk.probes_out += 1
    sk.backoff = min(sk.backoff + 1, give_up.RETRIES)
    _set(sk, "probe", sk.rto_jiffies << sk.backoff)


def send_probe(sk: TcpSock) -> Step:
    """tcp_xmit_probe_skb: an old sequence number, which the peer has to answer."""
    number = sk.host.buffers.take()
    probe = SkBuff(number, number, seq=sk.snd_una - 1)
    yield from output.send_with_header(sk, probe, int(TcpFlag.ACK))


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
