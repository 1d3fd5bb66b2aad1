"""Drivers: what happens to a buffer below the device's queue (drivers/net/veth.c; a network card in general).

Knows: when a driver takes a buffer, what lies in its ring, when it says that a buffer has left.
Must not know: queueing disciplines (`device` asks `ready` before it hands a buffer down), or what a frame means.
`Veth` takes each frame at once and hands it to its peer whole, super-packet or not. `Nic` has a ring of descriptors
and a byte limit (`queue_limits`), cuts super-packets itself, sends at the link's rate, and reports what has left
after an interrupt that it may hold back (tx-usecs).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from pcaptool.sim.link import ETHERNET_OVERHEAD_BYTES
from pcaptool.stack.qdisc import packet_bytes
from pcaptool.stack.queue_limits import QueueLimits
from pcaptool.stack.segment import segment
from pcaptool.stack.skbuff import SkBuff

if TYPE_CHECKING:
    from pcaptool.scenario import Nic as NicSettings
    from pcaptool.sim.events import Step
    from pcaptool.stack.device import Device

__all__ = ["DRIVERS", "Driver", "NicDriver", "VethDriver"]

LEAST_FRAME_BYTES = 60
DESCRIPTOR_BYTES = 16384  # what one descriptor can point to; the headers take one of their own


class Driver(Protocol):
    """What a device asks of its driver."""

    segments: bool  # it cuts super-packets itself
    moderation_ns: int  # how long it holds back the interrupt for a frame that came in

    @property
    def ready(self) -> bool:
        """Whether it takes another buffer (the queue is not stopped)."""
        ...

    def start_xmit(self, skb: SkBuff, now_ns: int) -> int:
        """ndo_start_xmit: take a buffer. Returns when its last bit has left, now if nobody can say."""
        ...


class VethDriver:
    """A virtual cable's end."""

    segments = False
    moderation_ns = 0
    ready = True

    def __init__(self, device: Device, settings: NicSettings) -> None:  # noqa: ARG002 - the interface
        self.device = device

    def start_xmit(self, skb: SkBuff, now_ns: int) -> int:
        """To the peer, whole."""
        device = self.device
        times = device.link.send(now_ns, max(LEAST_FRAME_BYTES, skb.header_bytes + skb.length))
        skb.orphan(now_ns)
        if times is None:
            device.free(skb, "LINK_QUEUE_FULL", now_ns)
            return now_ns
        device.on_the_wire(skb, times.sent_ns)
        device.deliver(skb, times.arrived_ns)
        return times.sent_ns


class NicDriver:
    """A network card with one transmit ring.

    Parameters
    ----------
    device : Device
    settings : Nic
    """

    segments = True

    def __init__(self, device: Device, settings: NicSettings) -> None:
        self.device = device
        self.ring = settings.tx_ring
        self.moderation_ns = settings.rx_usecs * 1000
        self.tx_moderation_ns = settings.tx_usecs * 1000
        self.limits = QueueLimits(device.host.jiffies.hz) if settings.bql else None
        self.used = 0
        self._leaving: deque[tuple[int, SkBuff, int, int]] = deque()  # sent, buffer, bytes, descriptors
        device.link.overhead_bytes = ETHERNET_OVERHEAD_BYTES

    @property
    def ready(self) -> bool:
        """Room in the ring for any buffer, and the byte limit not reached."""
        room = self.ring - self.used >= 1 + -(-65536 // DESCRIPTOR_BYTES)
        return room and (self.limits is None or self.limits.available)

    def start_xmit(self, skb: SkBuff, now_ns: int) -> int:
        """Descriptors into the ring; the card fetches, cuts and sends."""
        device, size = self.device, packet_bytes(skb)
        descriptors = 1 + -(-skb.length // DESCRIPTOR_BYTES)
        self.used += descriptors
        if self.limits is not None:
            self.limits.queued(size)
        sent_ns = now_ns
        for piece in segment(skb):
            times = device.link.send(now_ns, max(LEAST_FRAME_BYTES, piece.header_bytes + piece.length))
            if times is None:
                device.free(piece, "LINK_QUEUE_FULL", now_ns)
                continue
            sent_ns = times.sent_ns
            device.on_the_wire(piece, times.sent_ns)
            device.deliver(piece, times.arrived_ns)
        if not self._leaving:
            device.host.simulator.call_at(sent_ns + self.tx_moderation_ns, self._interrupt)
        self._leaving.append((sent_ns, skb, size, descriptors))
        return sent_ns

    def _interrupt(self) -> None:
        host = self.device.host
        host.processor.raise_softirq(host.simulator.now_ns, self._clean)

    def _clean(self) -> Step:
        """The poll after the interrupt: free what has left, and let the queue go on."""
        device, now_ns = self.device, self.device.host.now_ns
        done_bytes = 0
        while self._leaving and self._leaving[0][0] <= now_ns:
            _sent, skb, size, descriptors = self._leaving.popleft()
            done_bytes += size
            self.used -= descriptors
            skb.orphan(now_ns)
        if self.limits is not None and done_bytes:
            self.limits.completed(done_bytes, device.host.jiffies.at(now_ns))
        if self._leaving:
            next_ns = self._leaving[0][0] + self.tx_moderation_ns
            device.host.simulator.call_at(max(next_ns, now_ns), self._interrupt)
        yield from device.net_tx_action()


DRIVERS: dict[str, Callable[[Device, NicSettings], Driver]] = {"veth": VethDriver, "nic": NicDriver}
