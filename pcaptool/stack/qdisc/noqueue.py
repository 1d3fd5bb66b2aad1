"""noqueue: virtual devices have no queue (sch_generic.c, noqueue_qdisc_ops)."""

from __future__ import annotations

from pcaptool.scenario.queueing import QdiscPlan
from pcaptool.stack.qdisc.base import NetXmit, Surroundings
from pcaptool.stack.skbuff import SkBuff

__all__ = ["NoQueue"]


class NoQueue:
    """Everything goes straight to the driver."""

    bypass = True

    def __init__(self, plan: QdiscPlan, around: Surroundings) -> None:
        pass

    def __len__(self) -> int:
        return 0

    def enqueue(self, skb: SkBuff, now_ns: int) -> NetXmit:  # noqa: ARG002 - the interface
        """Never asked; says that the buffer was not taken."""
        return NetXmit.DROP

    def dequeue(self, now_ns: int) -> SkBuff | None:  # noqa: ARG002 - the interface
        """Never holds anything."""
        return None

    def watchdog_ns(self, now_ns: int) -> int | None:  # noqa: ARG002 - the interface
        """Never waits."""
        return None
