"""First in, first out: pfifo, bfifo (sch_fifo.c) and pfifo_fast with its three bands (sch_generic.c).

An empty one is bypassed (TCQ_F_CAN_BYPASS): then there is neither an enqueue nor a dequeue event (fact 86).
"""

from __future__ import annotations

from collections import deque

from pcaptool.scenario.queueing import QdiscPlan
from pcaptool.stack.qdisc.base import NetXmit, Surroundings, band_of, packet_bytes
from pcaptool.stack.skbuff import SkBuff

__all__ = ["Bfifo", "Pfifo", "PfifoFast"]

TX_QUEUE_LENGTH = 1000


class Pfifo:
    """A bounded number of buffers; a super-packet counts as one.

    Parameters
    ----------
    plan : QdiscPlan
        With `limit`.
    around : Surroundings
    """

    def __init__(self, plan: QdiscPlan, around: Surroundings) -> None:  # noqa: ARG002 - the interface
        self.limit = plan["limit"]
        self._queue: deque[SkBuff] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def bypass(self) -> bool:
        """Empty, and at least one buffer would fit."""
        return not self._queue and self.limit > 0

    def enqueue(self, skb: SkBuff, now_ns: int) -> NetXmit:  # noqa: ARG002 - the interface
        """At the end, if there is room."""
        if len(self._queue) >= self.limit:
            return NetXmit.DROP
        self._queue.append(skb)
        return NetXmit.SUCCESS

    def dequeue(self, now_ns: int) -> SkBuff | None:  # noqa: ARG002 - the interface
        """The oldest."""
        return self._queue.popleft() if self._queue else None

    def watchdog_ns(self, now_ns: int) -> int | None:  # noqa: ARG002 - the interface
        """It holds nothing back."""
        return None


class Bfifo(Pfifo):
    """A bounded number of bytes."""

    def __init__(self, plan: QdiscPlan, around: Surroundings) -> None:
        super().__init__(plan, around)
        self.backlog_bytes = 0

    @property
    def bypass(self) -> bool:
        """Empty, and a full frame would fit (fifo_init)."""
        return not self._queue and self.limit >= 1514

    def enqueue(self, skb: SkBuff, now_ns: int) -> NetXmit:  # noqa: ARG002 - the interface
        """At the end, if its bytes have room."""
        size = packet_bytes(skb)
        if self.backlog_bytes + size > self.limit:
            return NetXmit.DROP
        self.backlog_bytes += size
        self._queue.append(skb)
        return NetXmit.SUCCESS

    def dequeue(self, now_ns: int) -> SkBuff | None:
        """The oldest."""
        skb = super().dequeue(now_ns)
        if skb is not None:
            self.backlog_bytes -= packet_bytes(skb)
        return skb


class PfifoFast:
    """Three bands by priority, the lower first."""

    def __init__(self, plan: QdiscPlan, around: Surroundings) -> None:  # noqa: ARG002 - the interface
        self.bands: tuple[deque[SkBuff], ...] = (deque(), deque(), deque())

    def __len__(self) -> int:
        return sum(map(len, self.bands))

    @property
    def bypass(self) -> bool:
        """Empty."""
        return not any(self.bands)

    def enqueue(self, skb: SkBuff, now_ns: int) -> NetXmit:  # noqa: ARG002 - the interface
        """Into the band of its priority, if that has room."""
        band = self.bands[band_of(skb)]
        if len(band) >= TX_QUEUE_LENGTH:
            return NetXmit.DROP
        band.append(skb)
        return NetXmit.SUCCESS

    def dequeue(self, now_ns: int) -> SkBuff | None:  # noqa: ARG002 - the interface
        """The oldest of the lowest band that holds something."""
        return next((band.popleft() for band in self.bands if band), None)

    def watchdog_ns(self, now_ns: int) -> int | None:  # noqa: ARG002 - the interface
        """It holds nothing back."""
        return None
