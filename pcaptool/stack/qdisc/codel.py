"""CoDel: drop or mark the head of a queue that has been too long for too long (include/net/codel_impl.h, RFC 8289).

Knows: one queue's control law, in integer nanoseconds; the kernel counts in units of 1024 ns, which differs by less.
Must not know: which queue, or how flows are told apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt

from pcaptool.stack.skbuff import SkBuff

__all__ = ["Codel", "CodelParameters", "mark_congestion"]

_SCALE = 1 << 32
REUSE_INTERVALS = 16  # a rate that was found not long ago is taken up again (RFC 8289 section 5.3)


@dataclass(frozen=True, slots=True)
class CodelParameters:
    """What a person may set."""

    target_ns: int
    interval_ns: int
    mtu_bytes: int
    ecn: bool


def mark_congestion(skb: SkBuff) -> bool:
    """INET_ECN_set_ce: mark instead of dropping, where the sender can read it (RFC 3168 section 5).

    Examples
    --------
    >>> from pcaptool.stack.skbuff import Datagram
    >>> skb = SkBuff(1, 1, ip=Datagram(bytes(4), bytes(4), 6, tos=2))
    >>> mark_congestion(skb), skb.ip.tos
    (True, 3)
    """
    if skb.ip is None or not skb.ip.tos & 3:
        return False
    skb.ip.tos |= 3
    return True


@dataclass(slots=True)
class Codel:
    """The state of one queue (struct codel_vars)."""

    parameters: CodelParameters
    count: int = 0
    last_count: int = 0
    dropping: bool = False
    first_above_ns: int = 0
    drop_next_ns: int = 0

    def dequeue(
        self,
        now_ns: int,
        take: Callable[[], SkBuff | None],
        backlog: Callable[[], int],
        drop: Callable[[SkBuff], None],
    ) -> SkBuff | None:
        """codel_dequeue: the head, after those that had to go.

        Parameters
        ----------
        take : callable
            Gives the head of the queue.
        backlog : callable
            Bytes that the whole discipline still holds.
        drop : callable
            Gets each buffer that is dropped.
        """
        skb = take()
        if skb is None:
            self.first_above_ns, self.dropping = 0, False
            return None
        over = self._over(skb, now_ns, backlog())
        if self.dropping:
            if not over:
                self.dropping = False
            while skb is not None and self.dropping and now_ns >= self.drop_next_ns:
                self.count += 1
                if self._marked(skb):
                    self.drop_next_ns = self._control(self.drop_next_ns)
                    break
                drop(skb)
                skb = take()
                if not self._over(skb, now_ns, backlog()):
                    self.dropping = False
                else:
                    self.drop_next_ns = self._control(self.drop_next_ns)
        elif over:
            if not self._marked(skb):
                drop(skb)
                skb = take()
                self._over(skb, now_ns, backlog())
            self._begin(now_ns)
        return skb

    def _marked(self, skb: SkBuff) -> bool:
        return self.parameters.ecn and mark_congestion(skb)

    def _begin(self, now_ns: int) -> None:
        """Enter the dropping state."""
        self.dropping = True
        delta = self.count - self.last_count
        recent = now_ns - self.drop_next_ns < REUSE_INTERVALS * self.parameters.interval_ns
        self.count = delta if delta > 1 and recent else 1
        self.last_count = self.count
        self.drop_next_ns = self._control(now_ns)

    def _control(self, from_ns: int) -> int:
        """codel_control_law: interval over the square root of the drops so far."""
        return from_ns + self.parameters.interval_ns * (1 << 16) // isqrt(self.count * _SCALE)

    def _over(self, skb: SkBuff | None, now_ns: int, backlog: int) -> bool:
        """codel_should_drop: above the target for at least an interval."""
        if skb is None:
            self.first_above_ns = 0
            return False
        parameters = self.parameters
        if now_ns - skb.enqueued_ns < parameters.target_ns or backlog <= parameters.mtu_bytes:
            self.first_above_ns = 0
            return False
        if not self.first_above_ns:
            self.first_above_ns = now_ns + parameters.interval_ns
            return False
        return now_ns > self.first_above_ns
