"""noqueue: virtual devices have no queue (sch_generic.c, noqueue_qdisc_ops)."""

from __future__ import annotations

from pcaptool.stack.skbuff import SkBuff

__all__ = ["NoQueue"]


class NoQueue:
    """Everything goes straight to the driver."""

    bypass = True

    def enqueue(self, skb: SkBuff) -> bool:  # noqa: ARG002 - the interface
        """Never asked; says that the buffer was not taken."""
        return False

    def dequeue(self) -> SkBuff | None:
        """Never holds anything."""
        return None
