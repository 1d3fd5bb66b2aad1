"""Pacing: when the next buffer may leave (tcp_update_skb_after_send, tcp_pacing_check, tcp_pace_kick).

Knows: the earliest departure time that follows from the pacing rate, and the timer that TCP sets for it itself where
no queueing discipline paces.
Must not know: how the rate is chosen (`congestion`).
Fact 42: the first ten segments leave unpaced. The timer is of high resolution, not on the wheel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcaptool.sim.events import Step
from pcaptool.stack.tcp.sock import State, wire_seq

if TYPE_CHECKING:
    from pcaptool.stack.skbuff import SkBuff
    from pcaptool.stack.tcp.sock import TcpSock

__all__ = ["must_wait", "tsq_write", "update_after_send"]

NSEC_PER_SEC = 1_000_000_000
UNLIMITED_RATE = 1 << 62
UNPACED_SEGMENTS = 10
_SENDING = frozenset({State.ESTABLISHED, State.FIN_WAIT1, State.CLOSING, State.CLOSE_WAIT, State.LAST_ACK})


def update_after_send(sk: TcpSock, skb: SkBuff, prior_ns: int) -> None:
    """tcp_update_skb_after_send: the next departure is this buffer's time at the pacing rate later.

    Time that passed unused since the departure before (`prior_ns`) is given back, up to half.
    """
    if sk.paced and 0 < sk.pacing_rate < UNLIMITED_RATE and sk.data_segs_out >= UNPACED_SEGMENTS:
        length_ns = skb.length * NSEC_PER_SEC // sk.pacing_rate
        credit_ns = sk.write_stamp_ns - prior_ns
        sk.write_stamp_ns += length_ns - min(length_ns // 2, credit_ns)


def must_wait(sk: TcpSock) -> bool:
    """tcp_pacing_check: it is too early; sets the timer."""
    if not sk.paced or sk.paced_below or sk.write_stamp_ns <= sk.clock_ns:
        return False
    if sk.pacing_event is None or not sk.pacing_event.pending:
        sk.pacing_event = sk.host.simulator.at(_fires_ns(sk), _kick, sk)
    return True


def _fires_ns(sk: TcpSock) -> int:
    """When the timer fires; in a driven run as late as the recorded one."""
    known = sk.host.known.get(sk.key)
    if known is None or known.recording is None or not sk.write_queue:
        return sk.write_stamp_ns
    return known.recording.fired_ns(wire_seq(sk.write_queue[0].seq), sk.write_stamp_ns)


def _kick(sk: TcpSock) -> None:
    """tcp_pace_kick: softirq work, or what is deferred until the lock is released."""

    def work() -> Step:
        if sk.owned:
            sk.deferred.append(tsq_write)
        else:
            yield from tsq_write(sk)

    sk.host.processor.raise_softirq(sk.host.simulator.now_ns, work)


def tsq_write(sk: TcpSock) -> Step:
    """tcp_tsq_write: what was held back, repeated buffers first."""
    if sk.state in _SENDING:
        yield from sk.host.tcp.send_more(sk)
