"""Earliest departure times: where a queueing discipline paces for TCP (tcp_update_skb_after_send).

Knows: how far apart a connection's buffers are stamped.
Must not know: who holds them back until then (`stack.qdisc.fq`).
Leaves out: TCP's own pacing timer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pcaptool.stack.skbuff import SkBuff
    from pcaptool.stack.tcp.sock import TcpSock

__all__ = ["update_after_send"]

NSEC_PER_SEC = 1_000_000_000
UNLIMITED_RATE = 1 << 62
UNPACED_SEGMENTS = 10  # the first ones leave as they come


def update_after_send(sk: TcpSock, skb: SkBuff, prior_ns: int) -> None:
    """tcp_update_skb_after_send: the next buffer departs the time of this one at the pacing rate later.

    Parameters
    ----------
    skb : SkBuff
        The buffer of the write queue that has just been sent.
    prior_ns : int
        The departure time of the one before it.
    """
    sk.data_segs_out += skb.gso_segs if skb.length else 0
    if sk.paced_below and sk.pacing_rate < UNLIMITED_RATE and sk.data_segs_out >= UNPACED_SEGMENTS:
        length_ns = skb.length * NSEC_PER_SEC // max(1, sk.pacing_rate)
        credit_ns = sk.write_stamp_ns - prior_ns
        sk.write_stamp_ns += length_ns - min(length_ns // 2, credit_ns)
