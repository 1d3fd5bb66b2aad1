"""What a queueing discipline is asked (struct Qdisc_ops)."""

from __future__ import annotations

from typing import Protocol

from pcaptool.stack.skbuff import SkBuff

__all__ = ["Qdisc"]


class Qdisc(Protocol):
    """A queue in front of the device."""

    @property
    def bypass(self) -> bool:
        """Whether a buffer goes straight to the driver now: no queue at all, or TCQ_F_CAN_BYPASS and empty."""
        ...

    def enqueue(self, skb: SkBuff) -> bool:
        """Take a buffer; false if it is dropped."""
        ...

    def dequeue(self) -> SkBuff | None:
        """Give the buffer that leaves next."""
        ...
