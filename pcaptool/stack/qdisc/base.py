"""What a queueing discipline is asked, and what it is given (struct Qdisc_ops, include/net/sch_generic.h).

Knows: the interface, the length that a buffer is charged with.
Must not know: any discipline, or who drives it (`stack.device`).
A discipline never sleeps: `dequeue` gives a buffer or nothing, and `watchdog_ns` says when to ask again (the kernel's
qdisc_watchdog, a high-resolution timer). Times are handed in and never go back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Protocol

from pcaptool.stack.skbuff import SkBuff, SkBuffIds

__all__ = ["NetXmit", "Qdisc", "Surroundings", "band_of", "packet_bytes"]

# sch_default_prio2band, by the priority that the IPv4 TOS field gives (rt_tos2priority).
_PRIORITY_TO_BAND = (1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1)
_TOS_TO_PRIORITY = (0, 1, 0, 0, 2, 2, 2, 2, 6, 6, 6, 6, 4, 4, 4, 4)


class NetXmit(Enum):
    """What became of a buffer that was handed to a discipline (NET_XMIT_ codes)."""

    SUCCESS = "success"
    DROP = "drop"
    CN = "congestion"  # taken, but another buffer of the same flow was dropped


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a discipline may use of its device.

    Parameters
    ----------
    mtu : int
    chance : Random
        Randomness of its own.
    buffers : SkBuffIds
        Numbers for buffers that it makes.
    free : callable
        Told of each buffer that it throws away, and why.
    started_ns : int
        When it was set up.
    """

    mtu: int
    chance: Random
    buffers: SkBuffIds
    free: Callable[[SkBuff, str, int], None]
    started_ns: int = 0


class Qdisc(Protocol):
    """A queue in front of the device."""

    @property
    def bypass(self) -> bool:
        """Whether a buffer goes straight to the driver now: no queue at all, or TCQ_F_CAN_BYPASS and empty."""
        ...

    def __len__(self) -> int:
        """Buffers that it holds."""
        ...

    def enqueue(self, skb: SkBuff, now_ns: int) -> NetXmit:
        """Take a buffer, or drop it (the caller is told, `Surroundings.free` is not)."""
        ...

    def dequeue(self, now_ns: int) -> SkBuff | None:
        """Give the buffer that leaves now."""
        ...

    def watchdog_ns(self, now_ns: int) -> int | None:
        """When to ask again after `dequeue` gave nothing; None where only a new buffer can change that."""
        ...


def packet_bytes(skb: SkBuff) -> int:
    """qdisc_pkt_len: bytes on the wire without padding; a super-packet counts the headers of all its segments.

    Examples
    --------
    >>> packet_bytes(SkBuff(1, 1, length=28))
    42
    """
    headers = skb.header_bytes
    return headers + skb.length + (skb.gso_segs - 1) * headers


def band_of(skb: SkBuff) -> int:
    """The band of a buffer's priority: 0 leaves first."""
    tos = skb.ip.tos if skb.ip is not None else 0
    return _PRIORITY_TO_BAND[_TOS_TO_PRIORITY[tos >> 1 & 15]]
