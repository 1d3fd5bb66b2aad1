"""When TCP stops to try (tcp_write_timeout, tcp_orphan_retries, retransmits_timed_out in tcp_timer.c).

Knows: how long a connection without progress lives, and that one whose program is gone lives shorter.
Must not know: what is sent again (`timers`).
Sources: RFC 1122 section 4.2.3.5, RFC 9293 section 3.8.3. A count of repetitions stands for the time that so many
repetitions would take from the least timeout on, so that a long round trip does not stretch it.
Leaves out: TCP_USER_TIMEOUT, negative advice to routing (tcp_retries1), memory pressure.
"""

from __future__ import annotations

from pcaptool.stack.tcp.sock import TcpSock

__all__ = ["orphan_retries", "retries_allowed", "timed_out"]

RETRIES = 15  # sysctl tcp_retries2
ORPHAN_RETRIES = 8  # sysctl tcp_orphan_retries 0 means this, while the peer may be alive
RTO_MIN_MS = 200
RTO_MAX_MS = 120_000


def patience_ms(retries: int) -> int:
    """tcp_model_timeout: what so many doublings from the least timeout take.

    Examples
    --------
    >>> patience_ms(15), patience_ms(8)
    (924600, 102200)
    """
    doublings = (RTO_MAX_MS // RTO_MIN_MS).bit_length() - 1
    if retries <= doublings:
        return ((2 << retries) - 1) * RTO_MIN_MS
    return ((2 << doublings) - 1) * RTO_MIN_MS + (retries - doublings) * RTO_MAX_MS


def orphan_retries(*, alive: bool) -> int:
    """tcp_orphan_retries: with the sysctl at its default of 0."""
    return ORPHAN_RETRIES if alive else 0


def retries_allowed(sk: TcpSock, rto_jiffies: int) -> int:
    """How often a segment or a window probe may be repeated."""
    if not sk.orphan:
        return RETRIES
    return orphan_retries(alive=rto_jiffies < RTO_MAX_MS // 1000 * sk.host.jiffies.hz)


def timed_out(sk: TcpSock) -> bool:
    """retransmits_timed_out: the first repetition of this episode is too long ago."""
    if not sk.retransmits:
        return False
    elapsed_ms = (sk.ts_clock() - sk.recovery.retrans_stamp_ms) & 0xFFFFFFFF
    return elapsed_ms >= patience_ms(retries_allowed(sk, sk.rto_jiffies))
