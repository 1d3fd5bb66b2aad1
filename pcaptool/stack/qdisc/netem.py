"""netem: delay, jitter, loss, duplication, reordering, rate (sch_netem.c).

Knows: when a buffer that came in leaves, and which ones do not.
Must not know: what they hold.
Randomness comes from the run's seed, so that the same scenario loses the same frames.
Leaves out: correlations, distributions other than the uniform one, slots, corruption, loss models with states.
"""

from __future__ import annotations

from collections import deque
from copy import copy
from heapq import heappop, heappush

from pcaptool.scenario.queueing import SHARE, QdiscPlan
from pcaptool.stack.qdisc.base import NetXmit, Surroundings, packet_bytes
from pcaptool.stack.skbuff import SkBuff

__all__ = ["Netem"]

SECOND_NS = 1_000_000_000


class Netem:
    """A network emulator.

    Parameters
    ----------
    plan : QdiscPlan
    around : Surroundings
    """

    bypass = False

    def __init__(self, plan: QdiscPlan, around: Surroundings) -> None:
        self.around = around
        self.limit = plan["limit"]
        self.delay_ns, self.jitter_ns = plan["delay"], plan["jitter"]
        self.loss, self.duplicate, self.reorder = plan["loss"], plan["duplicate"], plan["reorder"]
        self.gap = plan["gap"] or (1 if self.reorder else 0)
        self.rate_bps = plan["rate"]
        self._since_reordered = 0
        self._front: deque[SkBuff] = deque()
        self._waiting: list[tuple[int, int, SkBuff]] = []  # time to send, order, buffer
        self._last_ns = 0
        self._order = 0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._front)

    def _happens(self, share: int) -> bool:
        return share > 0 and self.around.chance.randrange(SHARE) < share

    def enqueue(self, skb: SkBuff, now_ns: int) -> NetXmit:
        """netem_enqueue."""
        copies = 1 + self._happens(self.duplicate) - self._happens(self.loss)
        if not copies:
            self.around.free(skb, "NETEM_LOSS", now_ns)
            return NetXmit.SUCCESS  # TCP is not told: it was lost in the network
        if self.delay_ns or self.jitter_ns or self.rate_bps:
            skb.orphan(now_ns)  # skb_orphan_partial: the sender may go on, as if it had left
        if len(self) >= self.limit:
            return NetXmit.DROP
        if copies > 1 and len(self) + 1 < self.limit:
            twin = copy(skb)
            twin.number, twin.owner = self.around.buffers.take(), None  # a clone has no socket
            self._insert(twin, now_ns)
        self._insert(skb, now_ns)
        return NetXmit.SUCCESS

    def _insert(self, skb: SkBuff, now_ns: int) -> None:
        """Into the queue by time to send; one that overtakes goes to the front."""
        ordinary = not self.gap or self._since_reordered < self.gap - 1
        if not ordinary and self._happens(self.reorder):
            self._since_reordered = 0
            self._front.append(skb)
            return
        delay = self.delay_ns
        if self.jitter_ns:
            delay = max(0, delay + self.around.chance.randrange(-self.jitter_ns, self.jitter_ns))
        start = now_ns
        if self.rate_bps:
            if self._waiting:
                # Behind the last one: the time that it waits anyway counts as delay.
                delay = max(0, delay - (self._last_ns - now_ns))
                start = self._last_ns
            delay += packet_bytes(skb) * 8 * SECOND_NS // self.rate_bps
        self._since_reordered += 1
        self._order += 1
        send_ns = start + delay
        self._last_ns = max(self._last_ns, send_ns) if self._waiting else send_ns
        heappush(self._waiting, (send_ns, self._order, skb))

    def dequeue(self, now_ns: int) -> SkBuff | None:
        """netem_dequeue: who overtook, then who is due."""
        if self._front:
            return self._front.popleft()
        if self._waiting and self._waiting[0][0] <= now_ns:
            return heappop(self._waiting)[2]
        return None

    def watchdog_ns(self, now_ns: int) -> int | None:  # noqa: ARG002 - the interface
        """When the first one is due."""
        return self._waiting[0][0] if self._waiting else None
