"""pfifo_fast: three bands by priority, the lower first (sch_generic.c, pfifo_fast_ops).

An empty one is bypassed (TCQ_F_CAN_BYPASS): then there is neither an enqueue nor a dequeue event (fact 86).
"""

from __future__ import annotations

from collections import deque

from pcaptool.stack.skbuff import SkBuff

__all__ = ["PfifoFast"]

# sch_default_prio2band, by the priority that the IPv4 TOS field gives (rt_tos2priority).
_PRIORITY_TO_BAND = (1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1)
_TOS_TO_PRIORITY = (0, 1, 0, 0, 2, 2, 2, 2, 6, 6, 6, 6, 4, 4, 4, 4)
TX_QUEUE_LENGTH = 1000


class PfifoFast:
    """Three first-in-first-out bands."""

    def __init__(self) -> None:
        self.bands: tuple[deque[SkBuff], ...] = (deque(), deque(), deque())

    @property
    def bypass(self) -> bool:
        """Empty."""
        return not any(self.bands)

    def enqueue(self, skb: SkBuff) -> bool:
        """Into the band of its priority, if that has room."""
        tos = skb.ip.tos if skb.ip is not None else 0
        band = self.bands[_PRIORITY_TO_BAND[_TOS_TO_PRIORITY[tos >> 1 & 15]]]
        if len(band) >= TX_QUEUE_LENGTH:
            return False
        band.append(skb)
        return True

    def dequeue(self) -> SkBuff | None:
        """The oldest of the lowest band that holds something."""
        return next((band.popleft() for band in self.bands if band), None)
