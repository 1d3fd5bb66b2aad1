"""fq_codel: flows by hash, served by deficit round robin, each held short by CoDel (sch_fq_codel.c, RFC 8290).

Knows: flows and their deficits, what goes when the whole is full.
Must not know: when one flow's queue is too long (`codel`).
Leaves out: the CE threshold; the hash is a plain checksum of addresses and ports with the run's seed, where the
kernel's is keyed by the boot.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import partial
from zlib import crc32

from pcaptool.scenario.queueing import QdiscPlan
from pcaptool.stack.qdisc.base import NetXmit, Surroundings, packet_bytes
from pcaptool.stack.qdisc.codel import Codel, CodelParameters
from pcaptool.stack.skbuff import SkBuff

__all__ = ["FqCodel"]

ETHERNET_BYTES = 14
DROP_BATCH = 64


@dataclass(slots=True, eq=False)
class _Flow:
    """One bucket of the hash."""

    codel: Codel
    deficit: int = 0
    backlog_bytes: int = 0
    queue: deque[SkBuff] = field(default_factory=deque)
    listed: bool = False


class FqCodel:
    """Fair queueing with controlled delay.

    Parameters
    ----------
    plan : QdiscPlan
    around : Surroundings
    """

    def __init__(self, plan: QdiscPlan, around: Surroundings) -> None:
        frame = around.mtu + ETHERNET_BYTES
        self.around = around
        self.limit = plan["limit"]
        self.buckets = plan["flows"]
        self.memory_limit = plan["memory_limit"]
        self.quantum = plan.get("quantum") or frame
        self.parameters = CodelParameters(plan["target"], plan["interval"], frame, not plan.get("noecn"))
        self.salt = around.chance.getrandbits(32).to_bytes(4, "big")
        self._flows: dict[int, _Flow] = {}
        self._new: deque[_Flow] = deque()
        self._old: deque[_Flow] = deque()
        self._count = 0
        self._backlog_bytes = 0
        self._memory_bytes = 0

    def __len__(self) -> int:
        return self._count

    @property
    def bypass(self) -> bool:
        """Empty."""
        return not self._count and self.limit > 0

    def enqueue(self, skb: SkBuff, now_ns: int) -> NetXmit:
        """fq_codel_enqueue."""
        key = repr(skb.flow_key).encode() + self.salt
        bucket = crc32(key) * self.buckets >> 32
        if bucket not in self._flows:
            self._flows[bucket] = _Flow(Codel(self.parameters))
        flow = self._flows[bucket]
        skb.enqueued_ns = now_ns
        flow.queue.append(skb)
        size = packet_bytes(skb)
        flow.backlog_bytes += size
        self._backlog_bytes += size
        self._memory_bytes += skb.truesize
        self._count += 1
        if not flow.listed:
            flow.listed = True
            flow.deficit = self.quantum
            self._new.append(flow)
        if self._count <= self.limit and self._memory_bytes <= self.memory_limit:
            return NetXmit.SUCCESS
        return NetXmit.CN if self._drop_from_fattest(now_ns) is flow else NetXmit.SUCCESS

    def _drop_from_fattest(self, now_ns: int) -> _Flow:
        """fq_codel_drop: half the backlog of the fattest flow, at most 64 buffers, from its head."""
        fattest = max(self._flows.values(), key=lambda f: f.backlog_bytes)
        threshold, gone, count = fattest.backlog_bytes >> 1, 0, 0
        while fattest.queue and count < DROP_BATCH and (not count or gone < threshold):
            skb = self._take(fattest)
            if skb is None:
                break
            gone += packet_bytes(skb)
            count += 1
            self.around.free(skb, "QDISC_OVERLIMIT", now_ns)
        fattest.codel.count += count
        return fattest

    def _take(self, flow: _Flow) -> SkBuff | None:
        if not flow.queue:
            return None
        skb = flow.queue.popleft()
        size = packet_bytes(skb)
        flow.backlog_bytes -= size
        self._backlog_bytes -= size
        self._memory_bytes -= skb.truesize
        self._count -= 1
        return skb

    def dequeue(self, now_ns: int) -> SkBuff | None:
        """fq_codel_dequeue: new flows first, then the old ones in turn."""
        while self._new or self._old:
            flows = self._new or self._old
            flow = flows[0]
            if flow.deficit <= 0:
                flow.deficit += self.quantum
                flows.popleft()
                self._old.append(flow)
                continue
            skb = flow.codel.dequeue(
                now_ns,
                partial(self._take, flow),
                lambda: self._backlog_bytes,
                lambda gone: self.around.free(gone, "QDISC_CONGESTED", now_ns),
            )
            if skb is None:
                flows.popleft()
                if flows is self._new and self._old:
                    self._old.append(flow)
                else:
                    flow.listed = False
                continue
            flow.deficit -= packet_bytes(skb)
            return skb
        return None

    def watchdog_ns(self, now_ns: int) -> int | None:  # noqa: ARG002 - the interface
        """It holds nothing back."""
        return None
