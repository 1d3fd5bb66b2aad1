"""A full-duplex cable: delay, rate, spacing and a bounded queue, for each direction.

Knows: when the last bit of a frame has left and when it arrives, and that a full queue takes no more.
Must not know: what a frame holds, or which frames are lost on the way (`stack.loss`).
The lab's relay does the same to frames between two TAP devices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["ETHERNET_OVERHEAD_BYTES", "Direction", "LinkTimes"]

# Preamble, start delimiter, frame check sequence and inter-frame gap, which a real Ethernet spends on every frame
# (IEEE 802.3 clauses 3.2 and 4.4.2).
ETHERNET_OVERHEAD_BYTES = 8 + 4 + 12


class LinkTimes(NamedTuple):
    """When a frame left and arrived.

    Parameters
    ----------
    sent_ns : int
        Its last bit has left.
    arrived_ns : int
        Its last bit has arrived.
    """

    sent_ns: int
    arrived_ns: int


@dataclass(slots=True)
class Direction:
    """One direction of a link.

    Parameters
    ----------
    delay_ns : int
        Propagation.
    rate_bps : int
        Bits a second, 0 for no limit.
    spacing_ns : int
        Frames leave at least this far apart.
    queue_packets : int
        Frames that may wait, 0 for no limit.
    overhead_bytes : int
        What each frame takes beside its own bytes.
    """

    delay_ns: int
    rate_bps: int = 0
    spacing_ns: int = 0
    queue_packets: int = 0
    overhead_bytes: int = 0
    free_ns: int = 0

    def send(self, now_ns: int, size_bytes: int) -> LinkTimes | None:
        """Put a frame on the wire, behind those that wait; None where the queue is full.

        Examples
        --------
        >>> Direction(delay_ns=1000, rate_bps=8_000_000_000).send(0, 1500)
        LinkTimes(sent_ns=1500, arrived_ns=2500)
        >>> short = Direction(delay_ns=0, spacing_ns=10, queue_packets=1)
        >>> [short.send(0, 60) is None for _ in range(3)]
        [False, False, True]
        """
        taken_ns = self.spacing_ns
        if self.rate_bps:
            bits = 8 * (size_bytes + self.overhead_bytes)
            taken_ns = max(taken_ns, (bits * 1_000_000_000 + self.rate_bps - 1) // self.rate_bps)
        if self.queue_packets and self.free_ns - now_ns > self.queue_packets * taken_ns:
            return None
        begin_ns = max(now_ns, self.free_ns)
        self.free_ns = sent_ns = begin_ns + taken_ns
        return LinkTimes(sent_ns, sent_ns + self.delay_ns)
