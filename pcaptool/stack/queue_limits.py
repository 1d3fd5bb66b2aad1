"""Byte queue limits: how many bytes a card's ring may hold (lib/dynamic_queue_limits.c).

Knows: what was given to the card, what has left, and a limit that finds the least at which the card does not starve.
Must not know: rings, frames.
A limit grows when the ring ran empty while more could have been queued, and shrinks by the slack seen over a while.
Leaves out: stall detection; a limit set by hand.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["QueueLimits"]

_MOST = 0xFFFFFFFF
LARGEST_LIMIT = (
    1879048192  # DQL_MAX_LIMIT: (UINT_MAX / 2) - DQL_MAX_OBJECT, rounded by use: never reached here
)


@dataclass(slots=True)
class QueueLimits:
    """The limit of one ring; all counts are bytes.

    Parameters
    ----------
    hold_jiffies : int
        How long slack is watched before the limit shrinks (one second).

    Examples
    --------
    >>> limits = QueueLimits(250)
    >>> limits.available
    True
    >>> limits.queued(3000); limits.available
    False
    >>> limits.completed(3000, 1); limits.available, limits.limit
    (True, 3000)
    """

    hold_jiffies: int
    limit: int = 0
    num_queued: int = 0
    num_completed: int = 0
    adjusted: int = 0  # adj_limit: limit + num_completed
    last_object: int = 0
    prev_queued: int = 0
    prev_last_object: int = 0
    prev_over: int = 0
    lowest_slack: int = _MOST
    slack_since: int = 0

    @property
    def available(self) -> bool:
        """dql_avail: whether another buffer may be queued; one may always go over the limit."""
        return self.adjusted - self.num_queued >= 0

    def queued(self, size: int) -> None:
        """dql_queued."""
        self.last_object = size
        self.num_queued += size

    def completed(self, size: int, jiffies: int) -> None:
        """dql_completed: so many bytes have left."""
        completed = self.num_completed + size
        limit = self.limit
        over = max(0, self.num_queued - self.num_completed - limit)
        in_progress = self.num_queued - completed
        prev_in_progress = self.prev_queued - self.num_completed
        all_previous = completed >= self.prev_queued
        if (over and not in_progress) or (self.prev_over and all_previous):
            # The card ran out of work although the limit held bytes back.
            limit += max(0, completed - self.prev_queued) + self.prev_over
            self.slack_since, self.lowest_slack = jiffies, _MOST
        elif in_progress and prev_in_progress and not all_previous:
            slack = max(0, limit + self.prev_over - 2 * size)
            rest = max(0, self.prev_last_object - self.prev_over) if self.prev_over else 0
            self.lowest_slack = min(self.lowest_slack, max(slack, rest))
            if jiffies > self.slack_since + self.hold_jiffies:
                limit = max(0, limit - self.lowest_slack)
                self.slack_since, self.lowest_slack = jiffies, _MOST
        limit = min(limit, LARGEST_LIMIT)
        if limit != self.limit:
            self.limit, over = limit, 0
        self.adjusted = limit + completed
        self.prev_over = over
        self.prev_last_object = self.last_object
        self.num_completed = completed
        self.prev_queued = self.num_queued
