"""A full-duplex cable: delay and rate for each direction.

Knows: when the last bit of a frame has left and when it arrives.
Must not know: what a frame holds.
Leaves out: loss, duplication and limited queues (the scenario refuses them until the stack can recover).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Direction", "LinkTimes"]

# Preamble, start delimiter, frame check sequence and inter-frame gap, which a rate-limited Ethernet spends on
# every frame (IEEE 802.3 clauses 3.2 and 4.4.2).
ETHERNET_OVERHEAD_BYTES = 8 + 4 + 12


@dataclass(frozen=True, slots=True)
class LinkTimes:
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
    """

    delay_ns: int
    rate_bps: int = 0
    free_ns: int = 0

    def send(self, now_ns: int, sizes: list[int]) -> LinkTimes:
        """Put frames of these sizes (bytes) on the wire, one behind the other.

        Examples
        --------
        >>> Direction(delay_ns=1000, rate_bps=8_000_000_000).send(0, [1476])
        LinkTimes(sent_ns=1500, arrived_ns=2500)
        """
        if self.rate_bps:
            begin = max(now_ns, self.free_ns)
            bits = 8 * sum(size + ETHERNET_OVERHEAD_BYTES for size in sizes)
            self.free_ns = begin + (bits * 1_000_000_000 + self.rate_bps - 1) // self.rate_bps
        else:
            self.free_ns = max(now_ns, self.free_ns)
        return LinkTimes(self.free_ns, self.free_ns + self.delay_ns)
