"""The network device: offloads, software segmentation, the driver, the taps (net/core/dev.c, drivers/net/veth.c).

Knows: what a device can do for the stack (TSO, checksums), how a super-packet is cut when it cannot, when a frame is
handed to the driver and leaves; the order of tap and driver.
Must not know: why a frame is sent.
Facts 31-36, 84-86. The driver takes a frame at once; the link says when its last bit has left.
Leaves out: GRO (refused by the scenario), driver rings and byte queue limits, interrupts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pcaptool.scenario import Offload
from pcaptool.sim.events import Step
from pcaptool.sim.link import Direction
from pcaptool.stack.loss import FrameRules
from pcaptool.stack.neighbour import frame_header_bytes
from pcaptool.stack.qdisc import Qdisc
from pcaptool.stack.skbuff import SkBuff, SkBuffIds
from pcaptool.wire.ethernet import EtherType
from pcaptool.wire.tcp import TcpFlag

if TYPE_CHECKING:
    from pcaptool.stack.host import Host
    from pcaptool.stack.tcp.sock import TcpSock

__all__ = ["Device", "FrameSink", "segment"]

# Called for each frame that passes: (time, buffer, leaving).
FrameSink = Callable[[int, SkBuff, bool], None]


class Device:
    """A host's interface.

    Parameters
    ----------
    host : Host
    name : str
    offload : Offload
    qdisc : Qdisc
    """

    def __init__(self, host: Host, name: str, offload: Offload, qdisc: Qdisc) -> None:
        self.host = host
        self.name = name
        self.offload = offload
        self.qdisc = qdisc
        self.taps: list[FrameSink] = []
        self.wire_taps: list[FrameSink] = []
        self.peer: Device | None = None
        self.link = Direction(0)
        self.rules = FrameRules()

    def holds(self, sk: TcpSock) -> bool:  # noqa: ARG002 - queues that hold come with their disciplines
        """Whether a buffer of this socket still waits below TCP (sk_wmem_alloc)."""
        return False

    # --- down

    def queue_xmit(self, skb: SkBuff, now_ns: int) -> int:
        """__dev_queue_xmit: past the queueing discipline to the driver. Returns when the caller goes on."""
        costs, stages = self.host.costs, self.host.stages
        headers, size = _headers(skb), frame_header_bytes(skb)
        stages.pass_frame(skb, "net_dev_queue", now_ns, headers, size)
        now = now_ns
        if not self.qdisc.bypass:
            now += costs.qdisc_enqueue_ns
            stages.pass_frame(skb, "qdisc_enqueue", now, headers, size)
            self.qdisc.enqueue(skb)
            now += costs.qdisc_dequeue_ns
            queued = self.qdisc.dequeue()
            if queued is None:
                return now
            skb = queued
            stages.pass_frame(skb, "qdisc_dequeue", now, headers, size)
        frames = [skb]
        if skb.gso_segs > 1 and not (self.offload.tso and self.offload.tx_checksum):
            frames = segment(skb, self.host.buffers)
        for frame in frames:
            now = self._start_xmit(frame, now + costs.net_dev_start_xmit_ns, headers)
        return now

    def _start_xmit(self, skb: SkBuff, now_ns: int, headers: str) -> int:
        """dev_hard_start_xmit: taps first, then the driver."""
        costs, stages, size = self.host.costs, self.host.stages, frame_header_bytes(skb)
        for tap in self.taps:
            tap(now_ns, skb, True)  # noqa: FBT003 - leaving
        stages.pass_frame(skb, "net_dev_start_xmit", now_ns, headers, size)
        done = now_ns + costs.net_dev_xmit_ns
        times = self.link.send(done, wire_sizes(skb))
        stages.pass_frame(skb, "net_dev_xmit", done, headers, size)
        stages.pass_frame(skb, "wire", times.sent_ns, headers, size)
        for tap in self.wire_taps:
            tap(times.sent_ns, skb, True)  # noqa: FBT003 - leaving
        self.host.frames_sent += 1
        if self.peer is not None:
            self._deliver(skb, self.peer, times.arrived_ns)
        return done

    def _deliver(self, skb: SkBuff, peer: Device, arrived_ns: int) -> None:
        """Over the link: a delayed one loses frames on the way, two namespaces lose them behind the tap."""
        fate = self.rules.judge(skb)
        same_machine = peer.host.processor is self.host.processor
        if fate.lost and not same_machine:
            return
        arrival = arrived_ns + fate.extra_ns + peer.host.costs.netif_receive_skb_ns
        peer.host.processor.raise_softirq(arrival, partial(peer.receive, skb, lost=fate.lost))

    # --- up

    def receive(self, skb: SkBuff, *, lost: bool = False, tapped: bool = False) -> Step:
        """__netif_receive_skb: taps first, then the protocol; a copy, since both ends live in one process.

        A `lost` frame is dropped between the two; a `tapped` one has passed the taps.
        """
        arrived = replace(skb)
        if arrived.tcp is not None:
            arrived.tcp = replace(arrived.tcp)
        for tap in () if tapped else self.taps:
            tap(self.host.now_ns, arrived, False)  # noqa: FBT003 - arriving
        if lost:
            return
        if arrived.ip is None:
            yield from self.host.neighbours.receive(arrived)
        elif arrived.destination_mac == self.host.neighbours.mac:
            yield from self.host.ip.receive(arrived)


def _headers(skb: SkBuff) -> str:
    if skb.ip is None:
        return "eth:arp" if skb.ethertype == EtherType.ARP else "eth:ipv6:icmpv6"
    return "eth:ip:tcp" if skb.ethertype == EtherType.IPV4 else "eth:ipv6:tcp"


def wire_sizes(skb: SkBuff) -> list[int]:
    """Bytes of each frame on the wire, without preamble and check sequence, at least 60 (padding)."""
    headers = frame_header_bytes(skb)
    if skb.gso_segs <= 1:
        return [max(60, headers + skb.length)]
    full, rest = divmod(skb.length, skb.gso_size)
    return [headers + skb.gso_size] * full + ([headers + rest] if rest else [])


def segment(skb: SkBuff, buffers: SkBuffIds | None = None) -> list[SkBuff]:
    """tcp_gso_segment: a super-packet as the frames it stands for.

    Sequence numbers and IPv4 IDs count up; FIN and PSH stand only on the last one, CWR only on the first (fact 35).

    Parameters
    ----------
    skb : SkBuff
        With headers.
    buffers : SkBuffIds, optional
        Gives the segments numbers of their own; without it they keep the super-packet's (a device that
        segments makes no buffers).
    """
    if skb.gso_segs <= 1 or skb.tcp is None or skb.ip is None:
        return [skb]
    out = []
    for index, at in enumerate(range(0, skb.length, skb.gso_size)):
        payload = skb.payload[at : at + skb.gso_size]
        last = at + len(payload) == skb.length
        flags = skb.tcp.flags
        if not last:
            flags &= ~(TcpFlag.FIN | TcpFlag.PSH)
        if index:
            flags &= ~TcpFlag.CWR
        piece = replace(
            skb,
            number=buffers.take() if buffers else skb.number,
            origin=skb.number,
            length=len(payload),
            payload=payload,
            seq=skb.seq + at,
            flags=skb.flags if last else skb.flags & ~(TcpFlag.FIN | TcpFlag.PSH),
            gso_size=0,
            gso_segs=1,
            tcp=replace(skb.tcp, seq=(skb.tcp.seq + at) & 0xFFFFFFFF, flags=int(flags)),
            ip=replace(skb.ip, identification=(skb.ip.identification + index) & 0xFFFF),
        )
        out.append(piece)
    return out
