"""When an ACK leaves: at once, delayed, or held back (tcp_ack_snd_check, tcp_send_delayed_ack, quick ACKs).

Knows: quick and ping-pong mode, the delayed-ACK time, SACK compression.
Must not know: why data is acknowledged (`input`), or which segment carries the ACK (`output`).
Sources: RFC 9293 section 3.8.6.3, RFC 5681 section 4.2; facts 53 and 73.
"""

from __future__ import annotations

from pcaptool.sim.events import Step
from pcaptool.stack.tcp import output
from pcaptool.stack.tcp.sock import TcpSock
from pcaptool.stack.tcp.window import window_to_offer

__all__ = ["ack_send_check", "enter_quickack", "increase_quickack", "send_delayed_ack"]

MAX_QUICKACKS = 16
DUPLICATE_THRESHOLD = 3  # TCP_FASTRETRANS_THRESH
MAX_COMPRESSED = 44  # sysctl tcp_comp_sack_nr
COMPRESSED_DELAY_NS = 1_000_000  # sysctl tcp_comp_sack_delay_ns


def increase_quickack(sk: TcpSock, *, most: int = MAX_QUICKACKS) -> None:
    """tcp_incr_quickack: acknowledge the next segments at once."""
    count = sk.rcv_wnd // (2 * sk.ack.receive_mss) or 2
    sk.ack.quick = max(sk.ack.quick, min(count, most))


def enter_quickack(sk: TcpSock, *, most: int = MAX_QUICKACKS) -> None:
    """tcp_enter_quickack_mode."""
    increase_quickack(sk, most=most)
    sk.ack.pingpong = 0
    sk.ack.ato_jiffies = output.delack_min(sk)


def ack_send_check(sk: TcpSock) -> Step:
    """tcp_ack_snd_check: acknowledge now, or within the delayed-ACK time (RFC 9293 section 3.8.6.3)."""
    ack = sk.ack
    if not ack.scheduled:
        return
    unacked = sk.rcv_nxt - sk.rcv_wup
    # A reader that has all bytes of a full segment advances the window itself, in recv().
    window_moves = unacked > ack.receive_mss and (
        sk.rcv_nxt - sk.copied_seq < 1 or window_to_offer(sk) >= sk.rcv_wnd
    )
    if window_moves or (ack.quick and not sk.pingpong) or ack.now:
        if sk.owned:
            sk.ack_deferred = True  # sysctl tcp_backlog_ack_defer: once, when the lock is released
            return
        yield from output.tcp_send_ack(sk)
    elif not sk.out_of_order:
        send_delayed_ack(sk)
    elif not _compress(sk):
        yield from output.tcp_send_ack(sk)


def _compress(sk: TcpSock) -> bool:
    """Whether this duplicate ACK may wait for the next ones (SACK compression, after three have left)."""
    if not sk.sack or sk.compressed_acks >= MAX_COMPRESSED:
        return False
    if sk.duplicate_acks_for != sk.rcv_nxt:
        sk.duplicate_acks_for = sk.rcv_nxt
        sk.duplicate_acks_sent = 0
    if sk.duplicate_acks_sent < DUPLICATE_THRESHOLD:
        sk.duplicate_acks_sent += 1
        return False
    sk.compressed_acks += 1
    if sk.compressed_ack_event is None or not sk.compressed_ack_event.pending:
        rtt_us = min(sk.rcv_rtt8_us or sk.srtt8_us, sk.srtt8_us or sk.rcv_rtt8_us) >> 3
        delay_ns = min(COMPRESSED_DELAY_NS, rtt_us * 1000 // 20)
        sk.compressed_ack_event = sk.host.simulator.at(
            sk.host.now_ns + delay_ns, sk.host.tcp.compressed_ack, sk
        )
    return True


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
