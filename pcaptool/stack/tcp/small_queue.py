"""TCP small queues and autocorking: how much of a connection may lie below TCP (tcp_output.c, tcp.c).

Knows: the limit, and that a buffer which leaves lets a held-back connection send again (tcp_wfree, the TSQ tasklet).
Must not know: what holds buffers below (queueing disciplines, rings).
Fact 52: with a busy queue, small writes merge until the buffer before them has left (autocork-tbf:14-40).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pcaptool.stack.skbuff import SkBuff
from pcaptool.stack.tcp.pacing import tsq_write

if TYPE_CHECKING:
    from pcaptool.sim.events import Step
    from pcaptool.stack.tcp.sock import TcpSock

__all__ = ["should_autocork", "small_queue_check", "wfree"]

DRIVEN_TASKLET_NS = 100_000  # driven run on one machine: until the recorded ACK is there
PACING_SHIFT = 10  # sk_pacing_shift: about a millisecond of the pacing rate


def small_queue_check(sk: TcpSock, skb: SkBuff) -> bool:
    """tcp_small_queue_check: whether so much is below that the next buffer must wait."""
    limit = max(2 * skb.truesize, sk.pacing_rate >> PACING_SHIFT)
    if not sk.paced_below:
        limit = min(limit, sk.host.settings.tcp_limit_output_bytes)
    if sk.wmem_alloc < limit or len(sk.rtx_queue) <= 1:
        return False
    sk.tsq_throttled = True
    return True


def should_autocork(sk: TcpSock, tail: SkBuff, goal: int) -> bool:
    """tcp_should_autocork: a small write waits while a buffer of this socket still lies below."""
    if tail.length >= goal or not sk.host.settings.tcp_autocorking or not sk.rtx_queue:
        return False
    if sk.wmem_alloc < tail.truesize:  # the kernel counts from 1
        return False
    sk.tsq_throttled = True
    return True


def wfree(sk: TcpSock, truesize: int, now_ns: int) -> None:
    """tcp_wfree: a buffer has left; who waited for that goes on, in a softirq of its own."""
    sk.wmem_alloc -= truesize
    if not sk.tsq_throttled:
        return
    sk.tsq_throttled = False
    host, work = sk.host, partial(_tasklet, sk)
    if host.softirq_follows:
        # One machine: the peer receives the buffer, and its ACK comes, before the tasklet's turn (raw-100k-tbf:21).
        host.processor.raise_tasklet(now_ns, work)
    else:
        known = host.known.get(sk.key)
        answered = known is not None and known.recording is not None and known.recording.one_machine
        host.processor.raise_softirq(now_ns + (DRIVEN_TASKLET_NS if answered else 0), work)


def _tasklet(sk: TcpSock) -> Step:
    """tcp_tasklet_func: now, or when the lock is released."""
    if sk.owned:
        sk.deferred.append(tsq_write)
    else:
        yield from tsq_write(sk)
