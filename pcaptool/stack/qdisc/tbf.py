"""tbf: a token bucket in front of a bounded queue (sch_tbf.c).

Knows: rate, bucket, the time at which the head may leave; super-packets larger than the bucket are cut first.
Must not know: who sends.
Fact 45: super-packets up to the burst size pass whole and are charged whole; larger ones become MTU frames.
Tokens are nanoseconds of the rate, as in the kernel: a bucket of `burst` bytes holds the time that they take.
Leaves out: peak rate, link layer overhead.
"""

from __future__ import annotations

from collections import deque

from pcaptool.scenario.queueing import QdiscPlan
from pcaptool.stack.qdisc.base import NetXmit, Surroundings, packet_bytes
from pcaptool.stack.segment import segment
from pcaptool.stack.skbuff import SkBuff

__all__ = ["Tbf"]

SECOND_NS = 1_000_000_000


class Tbf:
    """A token bucket filter.

    Parameters
    ----------
    plan : QdiscPlan
        With `rate`, `burst`, and `latency` or `limit`.
    around : Surroundings

    Examples
    --------
    >>> from random import Random
    >>> from pcaptool.scenario.queueing import parse_qdisc
    >>> from pcaptool.stack.skbuff import SkBuffIds
    >>> around = Surroundings(1500, Random(1), SkBuffIds(), lambda *_: None)
    >>> bucket = Tbf(parse_qdisc("tbf rate 8mbit burst 1000b limit 5000b"), around)
    >>> [bucket.enqueue(SkBuff(n, n, length=986), 0).name for n in (1, 2)]
    ['SUCCESS', 'SUCCESS']
    >>> bucket.dequeue(0).number, bucket.dequeue(0), bucket.watchdog_ns(0)
    (1, None, 1000000)
    """

    bypass = False

    def __init__(self, plan: QdiscPlan, around: Surroundings) -> None:
        self.around = around
        self.rate_bps = plan["rate"]
        self.burst_bytes = plan["burst"]
        latency = plan.get("latency")
        # tc: what arrives in the time of the latency, and the bucket.
        waiting = plan.get("limit") if latency is None else self._bytes_in(latency) + self.burst_bytes
        self.limit_bytes = waiting or 0
        self.bucket_ns = self._time(self.burst_bytes)
        self.tokens_ns = self.bucket_ns
        self.checked_ns = around.started_ns
        self.backlog_bytes = 0
        self._queue: deque[SkBuff] = deque()

    def _time(self, size: int) -> int:
        return size * 8 * SECOND_NS // self.rate_bps

    def _bytes_in(self, time_ns: int) -> int:
        return time_ns * self.rate_bps // (8 * SECOND_NS)

    def __len__(self) -> int:
        return len(self._queue)

    def enqueue(self, skb: SkBuff, now_ns: int) -> NetXmit:  # noqa: ARG002 - the interface
        """tbf_enqueue: whole if the bucket could ever hold it, else as its segments."""
        if packet_bytes(skb) <= self.burst_bytes:
            return NetXmit.SUCCESS if self._append(skb) else NetXmit.DROP
        pieces = segment(skb, self.around.buffers)
        if len(pieces) == 1 or packet_bytes(pieces[0]) > self.burst_bytes:
            return NetXmit.DROP
        taken = [piece for piece in pieces if self._append(piece)]
        return NetXmit.SUCCESS if taken else NetXmit.DROP

    def _append(self, skb: SkBuff) -> bool:
        size = packet_bytes(skb)
        if self.backlog_bytes + size > self.limit_bytes:
            return False
        self.backlog_bytes += size
        self._queue.append(skb)
        return True

    def _tokens(self, now_ns: int) -> int:
        """Tokens that are left when the head has left now; negative while it must wait."""
        have = min(self.tokens_ns + min(now_ns - self.checked_ns, self.bucket_ns), self.bucket_ns)
        return have - self._time(packet_bytes(self._queue[0]))

    def dequeue(self, now_ns: int) -> SkBuff | None:
        """tbf_dequeue: the head, if there are tokens for it."""
        if not self._queue or (left := self._tokens(now_ns)) < 0:
            return None
        skb = self._queue.popleft()
        self.tokens_ns, self.checked_ns = left, now_ns
        self.backlog_bytes -= packet_bytes(skb)
        return skb

    def watchdog_ns(self, now_ns: int) -> int | None:
        """When there will be tokens for the head."""
        return now_ns + max(0, -self._tokens(now_ns)) if self._queue else None
