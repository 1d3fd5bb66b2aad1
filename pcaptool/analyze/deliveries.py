"""Responses that are over but not acknowledged yet: when the client's acknowledgement comes, and what it waited for.

Knows: acknowledgement numbers, modulo 2**32. Must not know: HTTP, where a record's other values come from.
Results do not depend on how packets are cut into batches: each is given out with the packet that made it whole.
Memory: a record (some 1.1 KiB) for each response that is not acknowledged, of MOST_WAITING.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np

from pcaptool.analyze import timing_kernel as tk
from pcaptool.analyze import timing_rows as tr
from pcaptool.analyze.take import Ints

__all__ = ["Acknowledgements", "Deliveries"]

_MASK32, _HALF = 0xFFFFFFFF, 0x80000000
MOST_WAITING = 1 << 15
_NEAR = 64  # segments in which an acknowledgement mostly stands


class Acknowledgements(NamedTuple):
    """Segments of a batch in the order of their packets; arrays of one length."""

    n: Ints
    rows: Ints  # `timing_kernel`'s input
    clocks: Ints  # its output
    ack: Ints  # relative, -1 where the segment has none


@dataclass(slots=True)
class _Waiting:
    record: Ints
    end: int  # relative sequence number behind the response
    last_n: int


class Deliveries:
    """Records that wait for their acknowledgement."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[int, list[_Waiting]] = (
            OrderedDict()
        )  # that began to wait first stand first
        self._count = 0
        self._flows: list[int] | None = None  # at the end of the capture, a heap of those that still wait
        self._overdue = 0

    @property
    def notices(self) -> list[str]:
        """That some were given out before their time."""
        if not self._overdue:
            return []
        return [
            f"timings: {self._overdue} responses waited too long for their acknowledgement, among very many"
        ]

    def wait(self, record: Ints, end: int, last_n: int) -> None:
        """A response that ended with a packet and before a sequence number."""
        self._count += 1
        if self._flows is not None:
            heappush(self._flows, int(record[tr.FLOW]))
        self._waiting.setdefault(int(record[tr.FLOW]), []).append(_Waiting(record.copy(), end, last_n))

    def waits(self, flow: int) -> bool:
        """Whether any of a flow does."""
        return flow in self._waiting

    def acknowledged(self, seen: Acknowledgements) -> list[tuple[int, Ints]]:
        """Records that are complete now, each with the packet that completed it."""
        if not self._waiting or not len(seen.n):
            return []
        flows = seen.rows[tk.IN_FLOW]
        order = np.argsort(flows, kind="stable")
        flows = flows[order]
        starts = np.flatnonzero(np.append(True, flows[1:] != flows[:-1]))
        ends = np.append(starts[1:], len(flows))
        out: list[tuple[int, Ints]] = []
        for flow, start, end in zip(flows[starts].tolist(), starts.tolist(), ends.tolist(), strict=True):
            if flow in self._waiting:
                out += self._of_flow(flow, order[start:end], seen)
        return out

    def _of_flow(self, flow: int, mine: Ints, seen: Acknowledgements) -> list[tuple[int, Ints]]:
        """Those of a conversation, whose segments stand at these places.

        Responses wait in the order of their bytes: where one is not acknowledged, those behind it are not either. So a
        capture of one direction, in which nothing ever is, costs no more than one look a batch.
        """
        waiting, out = self._waiting[flow], []
        client = waiting[0].record[tr.CLIENT]
        mine = mine[(seen.rows[tk.IN_SIDE, mine] == client) & (seen.ack[mine] >= 0)]
        n, ack = seen.n[mine], seen.ack[mine]
        first = np.searchsorted(n, [each.last_n for each in waiting], side="right").tolist()
        for each, begin in zip(waiting, first, strict=True):
            at = _covering(ack, begin, each.end)
            if at is None:
                break
            place = mine[at]
            _deliver(each.record, int(seen.rows[tk.IN_TS, place]), seen.clocks[:, place])
            out.append((int(n[at]), each.record))
        self._forget(flow, len(out))
        return out

    def overdue(self) -> list[Ints]:
        """Records that have waited for longest, of those beyond MOST_WAITING: they are given out as they are."""
        out: list[Ints] = []
        while self._count > MOST_WAITING:
            flow, waiting = next(iter(self._waiting.items()))
            out += [each.record for each in waiting]
            self._forget(flow, len(waiting))
        self._overdue += len(out)
        return out

    def rest(self, until: int | None = None) -> list[Ints]:
        """Records that were never acknowledged; only of flows up to that one, if it is given."""
        if self._flows is None:
            self._flows = sorted(self._waiting)  # which is a heap
        out: list[Ints] = []
        while self._flows and (until is None or self._flows[0] <= until):
            flow = heappop(self._flows)
            out += [each.record for each in self._waiting.get(flow, [])]
            self._forget(flow, len(self._waiting.get(flow, [])))
        return out

    def _forget(self, flow: int, count: int) -> None:
        """The first of a flow have been given out."""
        self._count -= count
        waiting = self._waiting.get(flow, [])
        del waiting[:count]
        if not waiting:
            self._waiting.pop(flow, None)


def _covering(ack: Ints, begin: int, end: int) -> int | None:
    """The first segment from a place on that acknowledges all before `end`."""
    for first, some in ((begin, ack[begin : begin + _NEAR]), (begin + _NEAR, ack[begin + _NEAR :])):
        covers = (some - end) & _MASK32 < _HALF
        if covers.any():
            return first + int(covers.argmax())
    return None


def _deliver(record: Ints, now: int, clock: Ints) -> None:
    client, last_ts = int(record[tr.CLIENT]), int(record[tr.RESPONSE + tr.LAST_TS])
    whole = now - last_ts
    again = int(clock[(1 - client) * tk.OUT_SIDE_WIDTH + tk.OUT_REPEATED_TS])
    repeated = again - last_ts if last_ts < again <= now else 0
    rtt = int(clock[client * tk.OUT_SIDE_WIDTH + tk.OUT_RTT])
    record[tr.DELIVERED : tr.FRAMES] = 1, whole, repeated, min(rtt, max(whole - repeated, 0))
