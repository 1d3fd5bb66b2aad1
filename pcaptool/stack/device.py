"""The network device: its queue, software segmentation, taps, driver, and what comes in (net/core/dev.c).

Knows: when a buffer passes the queueing discipline, when the driver takes it, who sees it on the way; polls and GRO.
Must not know: why a frame is sent, or how a discipline or a driver works.
Facts 31-36, 84-86. A buffer goes through the queue in the call that sends it as far as the queue lets it; what waits
is taken out later, by the discipline's watchdog or by the driver when it has room again, in softirq.
Leaves out: more than one queue, hardware VLANs, interrupts' own cost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pcaptool.scenario import Host as HostSettings
from pcaptool.sim.events import Event, Step
from pcaptool.sim.link import Direction
from pcaptool.stack import gro, router
from pcaptool.stack.driver import DRIVERS, Driver
from pcaptool.stack.fragment import fragment
from pcaptool.stack.hooks import Verdict
from pcaptool.stack.loss import ARRIVES, FrameRules
from pcaptool.stack.qdisc import NetXmit, Qdisc, Surroundings, make_qdisc
from pcaptool.stack.segment import segment
from pcaptool.stack.skbuff import SkBuff

if TYPE_CHECKING:
    from pcaptool.stack.host import Host

__all__ = ["Device", "FrameSink"]

# Called for each frame that passes: (time, buffer, leaving).
FrameSink = Callable[[int, SkBuff, bool], None]
POLL_BUDGET = 64  # NAPI_POLL_WEIGHT
NOTED_WAIT_US = 10  # what waits less has not really waited


class Device:
    """A host's interface.

    Parameters
    ----------
    host : Host
    settings : pcaptool.scenario.Host
    """

    def __init__(self, host: Host, settings: HostSettings) -> None:
        self.host = host
        self.name = settings.device
        self.offload = settings.offload
        self.taps: list[FrameSink] = []
        self.wire_taps: list[FrameSink] = []
        self.peer: Device | None = None
        self.link = Direction(0)
        self.link_mtu = 0  # of a router on the way; 0: none
        self.rules = FrameRules()
        self.driver: Driver = DRIVERS[settings.driver](self, settings.nic)
        around = Surroundings(
            mtu=settings.mtu,
            chance=host.chance.stream("qdisc"),
            buffers=host.buffers,
            free=self.free,
            started_ns=host.simulator.now_ns,
        )
        self.qdisc: Qdisc = make_qdisc(settings.qdisc, around)
        self._requeued: deque[SkBuff] = deque()  # dev_requeue_skb: the driver stopped in the middle
        self._watchdog: Event | None = None
        self._queue_ns = 0  # the discipline's time never goes back
        self._polled: deque[tuple[int, SkBuff, bool]] = deque()
        self._polls = settings.offload.gro or self.driver.segments or host.hooks.at("xdp")
        self._poll_raised = False

    # --- down

    def queue_xmit(self, skb: SkBuff, now_ns: int) -> int:
        """__dev_queue_xmit: past the queueing discipline to the driver. Returns when the caller goes on."""
        host = self.host
        if host.hooks.programs and host.hooks.run("tc-egress", skb, now_ns) is Verdict.DROP:
            skb.refused = skb.lost_whole = True
            skb.orphan(now_ns)
            return now_ns
        host.stages.pass_frame(skb, "net_dev_queue", now_ns)
        now = max(now_ns, self._queue_ns)
        if self.qdisc.bypass and not self._requeued and self.driver.ready:
            return self._direct_xmit(skb, now)
        now += host.costs.qdisc_enqueue_ns
        skb.enqueued_ns = now
        verdict = self.qdisc.enqueue(skb, now)
        skb.refused = verdict is not NetXmit.SUCCESS
        if verdict is NetXmit.DROP:
            skb.lost_whole = True
            self.free(skb, "QDISC_DROP", now)
        else:
            host.stages.pass_frame(skb, "qdisc_enqueue", now)
        return self._qdisc_run(now)

    def free(self, skb: SkBuff, reason: str, now_ns: int) -> None:
        """kfree_skb_reason: a buffer is dropped here."""
        self.host.stages.drop(skb, reason, now_ns)
        skb.orphan(now_ns)

    def _qdisc_run(self, now_ns: int) -> int:
        """__qdisc_run: everything that may leave now leaves."""
        costs, stages, now = self.host.costs, self.host.stages, now_ns
        while self.driver.ready:
            if self._requeued:
                now = self._start_xmit(self._requeued.popleft(), now + costs.net_dev_start_xmit_ns)
                continue
            skb = self.qdisc.dequeue(now)
            if skb is None:
                break
            now += costs.qdisc_dequeue_ns
            stages.pass_frame(skb, "qdisc_dequeue", now)
            now = self._direct_xmit(skb, now)
        self._queue_ns = now
        if self.driver.ready:
            self._watch(self.qdisc.watchdog_ns(now))
        return now

    def _watch(self, due_ns: int | None) -> None:
        """qdisc_watchdog_schedule_ns."""
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        if due_ns is not None:
            self._watchdog = self.host.simulator.at(due_ns, self._watchdog_fires)

    def _watchdog_fires(self) -> None:
        self._watchdog = None
        self.host.processor.raise_softirq(self.host.simulator.now_ns, self.net_tx_action)

    def net_tx_action(self) -> Step:
        """The softirq that lets a queue go on."""
        if len(self.qdisc) or self._requeued:
            now = max(self.host.now_ns, self._queue_ns)
            yield self._qdisc_run(now) - self.host.now_ns

    def _direct_xmit(self, skb: SkBuff, now_ns: int) -> int:
        """sch_direct_xmit: cut what the device cannot cut, then to the driver for as long as it takes more."""
        now, cost = now_ns, self.host.costs.net_dev_start_xmit_ns
        if skb.gso_segs == 1 or (self.offload.tso and self.offload.tx_checksum):
            return self._start_xmit(skb, now + cost)
        frames = deque(segment(skb, self.host.buffers))
        while frames and self.driver.ready:
            now = self._start_xmit(frames.popleft(), now + cost)
        self._requeued.extend(frames)
        return now

    def _start_xmit(self, skb: SkBuff, now_ns: int) -> int:
        """dev_hard_start_xmit: taps first, then the driver."""
        stages = self.host.stages
        if self.host.annotate:
            self._note_queue(skb, now_ns)
        for tap in self.taps:
            tap(now_ns, skb, True)  # noqa: FBT003 - leaving
        stages.pass_frame(skb, "net_dev_start_xmit", now_ns)
        done = now_ns + self.host.costs.net_dev_xmit_ns
        stages.pass_frame(skb, "net_dev_xmit", done)
        self.host.frames_sent += 1
        sent_ns = self.driver.start_xmit(skb, done)
        stages.pass_frame(skb, "wire", sent_ns)
        return done

    def _note_queue(self, skb: SkBuff, now_ns: int) -> None:
        """What a person wants to know of the way from TCP to the driver."""
        waited_us = (now_ns - skb.enqueued_ns) // 1000 if skb.enqueued_ns else 0
        if waited_us > NOTED_WAIT_US:
            skb.note += f"; waited {waited_us} us in the queue"
        if skb.origin != skb.number and skb.gso_segs == 1 and skb.ip is not None and skb.ip.fragment_offset:
            skb.note += f"; fragment from byte {skb.ip.fragment_offset}"

    def on_the_wire(self, skb: SkBuff, sent_ns: int) -> None:
        """A frame's last bit has left."""
        for tap in self.wire_taps:
            tap(sent_ns, skb, True)  # noqa: FBT003 - leaving

    def deliver(self, skb: SkBuff, arrived_ns: int) -> None:
        """Over the link: a delayed one loses frames on the way, two namespaces lose them behind the tap."""
        peer = self.peer
        if peer is None:
            return
        if self.link_mtu and router.is_too_big(skb, self.link_mtu):
            self._refuse(skb, arrived_ns)
            return
        fate = self.rules.judge(skb) if self.rules.counts else ARRIVES
        if self.host.annotate and (fate.lost or fate.extra_ns):
            what = "lost on the link" if fate.lost else f"late on the link by {fate.extra_ns // 1000} us"
            skb.note = f"{skb.note}; {what}" if skb.note else what
        same_machine = peer.host.processor is self.host.processor
        if fate.lost and not same_machine:
            return
        arrived = skb.received()
        arrival = arrived_ns + fate.extra_ns + peer.host.costs.netif_receive_skb_ns
        polls = peer.polls(arrived)
        if polls and same_machine:
            peer.napi_schedule(arrival, arrived, fate.lost)
        elif polls:
            self.host.simulator.call_at(arrival, peer.napi_schedule, arrival, arrived, fate.lost)
        else:
            peer.host.processor.raise_softirq(arrival, partial(peer.receive, arrived, lost=fate.lost))

    def _refuse(self, skb: SkBuff, at_ns: int) -> None:
        """A router on the way cannot pass a frame: it says so, or cuts it where it may (RFC 1191)."""
        if skb.ip is not None and not skb.ip.dont_fragment and len(skb.ip.source) == 4:
            for piece in fragment(skb, self.link_mtu, 0, self.host.buffers):
                self.deliver(piece, at_ns)
            return
        answer = router.answer(skb, self.link_mtu, self.host.buffers)
        back_ns = at_ns + self.link.delay_ns
        if answer is not None:
            self.host.processor.raise_softirq(back_ns, partial(self.receive, answer))

    # --- up

    def polls(self, skb: SkBuff) -> bool:
        """Whether this frame goes through a poll: a card's all do, on veth what GRO may join."""
        return self._polls and (self.driver.segments or skb.tcp is not None or self.host.hooks.at("xdp"))

    @staticmethod
    def _turned(skb: SkBuff) -> SkBuff:
        """A frame on its way back: the addresses of the link change places."""
        return replace(skb, destination_mac=skb.source_mac, source_mac=skb.destination_mac)

    def napi_schedule(self, arrived_ns: int, skb: SkBuff, lost: bool) -> None:
        """A frame lies in the receive ring; the poll takes all that are there when it runs.

        On one machine that is when the sender's loop over its segments has ended (local_bh_enable).
        """
        self._polled.append((arrived_ns, skb, lost))
        if not self._poll_raised:
            self._poll_raised = True
            self.host.processor.raise_softirq(arrived_ns + self.driver.moderation_ns, self._napi_poll)

    def _napi_poll(self) -> Step:
        """napi_poll: what came in, joined where offloading says so, then up."""
        frames: list[SkBuff] = []
        lost: list[SkBuff] = []
        while self._polled and len(frames) + len(lost) < POLL_BUDGET:
            arrived_ns, skb, gone = self._polled.popleft()
            yield max(0, arrived_ns - self.host.now_ns)
            if gone or not self.host.hooks.at("xdp"):
                (lost if gone else frames).append(skb)
                continue
            verdict = self.host.hooks.run("xdp", skb, self.host.now_ns)
            if verdict is Verdict.PASS:
                frames.append(skb)
            elif verdict is Verdict.REDIRECT:  # XDP_TX: from the driver to the driver, past taps and queue
                self.driver.start_xmit(self._turned(skb), self.host.now_ns)
        self._poll_raised = bool(self._polled)
        if self._polled:
            self.host.processor.raise_softirq(self.host.simulator.now_ns, self._napi_poll)
        for skb in lost:
            yield from self.receive(skb, lost=True)
        for skb in gro.join(frames) if self.offload.gro else frames:
            if self.host.annotate and skb.gso_segs > 1 and self.offload.gro and not skb.note:
                skb.note = f"GRO joined {skb.gso_segs} frames"
            yield from self.receive(skb)

    def receive(self, skb: SkBuff, *, lost: bool = False, tapped: bool = False) -> Step:
        """__netif_receive_skb: taps first, then the protocol.

        A `lost` frame is dropped between the two; a `tapped` one has passed the taps.
        """
        if self.taps and not tapped:
            now_ns = self.host.now_ns
            for tap in self.taps:
                tap(now_ns, skb, False)  # noqa: FBT003 - arriving
        if lost:
            return
        hooks = self.host.hooks
        if hooks.programs:
            now_ns = self.host.now_ns
            verdict = hooks.run("tc-ingress", skb, now_ns)
            if verdict is Verdict.REDIRECT:
                yield self.queue_xmit(self._turned(skb), now_ns) - now_ns
            if verdict is not Verdict.PASS:
                return
        if skb.ip is None:
            yield from self.host.neighbours.receive(skb)
        elif skb.destination_mac == self.host.neighbours.mac:
            yield from self.host.ip.receive(skb)
