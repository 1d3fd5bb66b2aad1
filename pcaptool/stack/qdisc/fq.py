"""fq: a queue for each flow, served in turn, and pacing (sch_fq.c).

Knows: flows with their credit, the earliest departure time that a sender gave (EDT, skb->tstamp), a rate of its own.
Must not know: why a sender wants that time.
TCP learns from `Owner.paced_below` that a discipline paces for it (SK_PACING_FQ), and spreads its stamps from then
on; buffers without stamp are held to their socket's pacing rate here.
Leaves out: the three priority bands of 6.7 and later (all is one band), the horizon, the ECN threshold, garbage
collection of flows; flows are told apart by their sender's socket, others by addresses and ports.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush

from pcaptool.scenario.queueing import QdiscPlan
from pcaptool.stack.qdisc.base import NetXmit, Surroundings, packet_bytes
from pcaptool.stack.skbuff import Owner, SkBuff

__all__ = ["Fq"]

SECOND_NS = 1_000_000_000
LOW_RATE_BYTES = 550_000 // 8  # low_rate_threshold: below, each packet is paced on its own
ETHERNET_BYTES = 14


@dataclass(slots=True, eq=False)
class _Flow:
    """One flow: buffers in the order of their departure times."""

    owner: Owner | None
    credit: int
    waiting: list[tuple[int, int, SkBuff]] = field(default_factory=list)  # departure, order, buffer
    next_ns: int = 0  # time_next_packet
    active: bool = False  # on one of the lists of flows
    throttled: bool = False


class Fq:
    """Fair queueing with pacing.

    Parameters
    ----------
    plan : QdiscPlan
    around : Surroundings
    """

    bypass = False

    def __init__(self, plan: QdiscPlan, around: Surroundings) -> None:
        frame = around.mtu + ETHERNET_BYTES
        self.limit = plan["limit"]
        self.flow_limit = plan["flow_limit"]
        self.quantum = plan.get("quantum") or 2 * frame
        self.initial_quantum = plan.get("initial_quantum") or 10 * frame
        rate = plan.get("maxrate")
        self.max_rate = rate // 8 if rate else None  # bytes a second
        self.pacing = not plan.get("nopacing")
        self._flows: dict[object, _Flow] = {}
        self._new: deque[_Flow] = deque()
        self._old: deque[_Flow] = deque()
        self._throttled: list[tuple[int, int, _Flow]] = []
        self._count = 0
        self._order = 0

    def __len__(self) -> int:
        return self._count

    def enqueue(self, skb: SkBuff, now_ns: int) -> NetXmit:
        """fq_enqueue: into its flow's queue, by departure time."""
        if self._count >= self.limit:
            return NetXmit.DROP
        flow = self._classify(skb)
        if len(flow.waiting) >= self.flow_limit:
            return NetXmit.DROP
        if not flow.active and not flow.throttled:
            flow.active = True
            self._new.append(flow)
        self._order += 1
        heappush(flow.waiting, (skb.departure_ns or now_ns, self._order, skb))
        self._count += 1
        return NetXmit.SUCCESS

    def _classify(self, skb: SkBuff) -> _Flow:
        key: object = id(skb.owner) if skb.owner is not None else skb.flow_key
        if key not in self._flows:
            self._flows[key] = _Flow(skb.owner, self.initial_quantum)
            if skb.owner is not None and self.pacing:
                skb.owner.paced_below = True  # sk_pacing_status becomes SK_PACING_FQ
        return self._flows[key]

    def dequeue(self, now_ns: int) -> SkBuff | None:
        """fq_dequeue: the next flow that has credit and whose buffer is due."""
        while self._throttled and self._throttled[0][0] <= now_ns:
            flow = heappop(self._throttled)[2]
            flow.throttled = False
            flow.active = True
            self._old.append(flow)
        while self._new or self._old:
            flows = self._new or self._old
            flow = flows[0]
            if flow.credit <= 0:
                flow.credit += self.quantum
                flows.popleft()
                self._old.append(flow)
                continue
            if not flow.waiting:
                flows.popleft()
                if flows is self._new and self._old:
                    self._old.append(flow)  # pass through the old ones, so that they do not starve
                else:
                    flow.active = False
                continue
            due_ns = max(flow.waiting[0][0], flow.next_ns)
            if now_ns < due_ns:
                flows.popleft()
                self._throttle(flow, due_ns)
                continue
            skb = heappop(flow.waiting)[2]
            self._count -= 1
            self._charge(flow, skb, now_ns)
            return skb
        return None

    def _throttle(self, flow: _Flow, due_ns: int) -> None:
        flow.next_ns = due_ns
        flow.throttled, flow.active = True, False
        self._order += 1
        heappush(self._throttled, (due_ns, self._order, flow))

    def _charge(self, flow: _Flow, skb: SkBuff, now_ns: int) -> None:
        """Credit, and the time before which the flow's next buffer may not leave."""
        size = packet_bytes(skb)
        flow.credit -= size
        if not self.pacing:
            return
        rate = self.max_rate
        if not skb.departure_ns:
            if flow.owner is not None:
                rate = min(flow.owner.pacing_rate, rate or flow.owner.pacing_rate)
            if rate is not None and rate <= LOW_RATE_BYTES:
                flow.credit = 0
            else:
                size = max(size, self.quantum)
                if flow.credit > 0:
                    return
        if rate:
            length_ns = min(size * SECOND_NS // rate, SECOND_NS)
            if flow.next_ns:
                length_ns -= min(length_ns // 2, now_ns - flow.next_ns)
            flow.next_ns = now_ns + length_ns

    def watchdog_ns(self, now_ns: int) -> int | None:  # noqa: ARG002 - the interface
        """When the first throttled flow is due."""
        return self._throttled[0][0] if self._throttled else None
