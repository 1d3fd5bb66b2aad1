"""Responses that are over but not acknowledged yet: when the client's acknowledgement comes, and what it waited for.

Knows: acknowledgement numbers, modulo 2**32. Must not know: HTTP, where a row's other values come from.
Results do not depend on how packets are cut into batches: each is given out with the packet that made it whole.
Memory: a row (about 1 kB) for each response that was never acknowledged, until the capture ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pcaptool.analyze import timing_kernel as tk
from pcaptool.analyze.take import Ints
from pcaptool.tables.timings import DELIVERY_PARTS

__all__ = ["Acknowledgements", "Deliveries"]

_MASK32, _HALF = 0xFFFFFFFF, 0x80000000
_NEAR = 64  # segments in which an acknowledgement mostly stands

Row = dict[str, Any]


class Acknowledgements(NamedTuple):
    """Segments of a batch in the order of their packets; arrays of one length."""

    n: Ints
    rows: Ints  # `timing_kernel`'s input
    clocks: Ints  # its output
    ack: Ints  # relative, -1 where the segment has none


@dataclass(slots=True)
class _Waiting:
    row: Row
    client: int
    end: int  # relative sequence number behind the response
    last_n: int
    last_ts: int


class Deliveries:
    """Rows that wait for their acknowledgement."""

    def __init__(self) -> None:
        self._waiting: dict[int, list[_Waiting]] = {}

    def wait(self, row: Row, client: int, end: int, last_n: int, last_ts: int) -> None:
        """A response that ended with a packet and before a sequence number."""
        self._waiting.setdefault(row["flow"], []).append(_Waiting(row, client, end, last_n, last_ts))

    def acknowledged(self, seen: Acknowledgements) -> list[tuple[int, Row]]:
        """Rows that are complete now, each with the packet that completed it."""
        if not self._waiting or not len(seen.n):
            return []
        flows = seen.rows[tk.IN_FLOW]
        order = np.argsort(flows, kind="stable")
        flows = flows[order]
        waiting = sorted(self._waiting)
        starts = np.searchsorted(flows, waiting)
        ends = np.searchsorted(flows, waiting, side="right")
        out: list[tuple[int, Row]] = []
        for flow, start, end in zip(waiting, starts.tolist(), ends.tolist(), strict=True):
            if start < end:
                out += self._of_flow(flow, order[start:end], seen)
        return out

    def _of_flow(self, flow: int, mine: Ints, seen: Acknowledgements) -> list[tuple[int, Row]]:
        """Those of a conversation, whose segments stand at these places.

        Responses wait in the order of their bytes: where one is not acknowledged, those behind it are not either. So a
        capture of one direction, in which nothing ever is, costs no more than one look a batch.
        """
        waiting, out = self._waiting[flow], []
        mine = mine[(seen.rows[tk.IN_SIDE, mine] == waiting[0].client) & (seen.ack[mine] >= 0)]
        for each in waiting:
            at = _covering(each, mine, seen)
            if at is None:
                break
            out.append((int(seen.n[at]), _delivered(each, int(seen.rows[tk.IN_TS, at]), seen.clocks[:, at])))
        del waiting[: len(out)]
        if not waiting:
            del self._waiting[flow]
        return out

    def rest(self) -> list[Row]:
        """Rows that were never acknowledged."""
        out = [each.row for flow in sorted(self._waiting) for each in self._waiting[flow]]
        self._waiting.clear()
        return out


def _covering(each: _Waiting, mine: Ints, seen: Acknowledgements) -> int | None:
    """The first of the client's segments behind the response that acknowledges all of it."""
    later = mine[np.searchsorted(seen.n[mine], each.last_n, side="right") :]
    for some in (later[:_NEAR], later[_NEAR:]):
        covers = (seen.ack[some] - each.end) & _MASK32 < _HALF
        if covers.any():
            return int(some[covers.argmax()])
    return None


def _delivered(each: _Waiting, now: int, clock: Ints) -> Row:
    whole = now - each.last_ts
    again = int(clock[(1 - each.client) * tk.OUT_SIDE_WIDTH + tk.OUT_REPEATED_TS])
    repeated = again - each.last_ts if each.last_ts < again <= now else 0
    rtt = int(clock[each.client * tk.OUT_SIDE_WIDTH + tk.OUT_RTT])
    network = min(rtt, max(whole - repeated, 0))
    each.row["delivery_time_ns"] = whole
    each.row |= zip(DELIVERY_PARTS, (repeated, network, whole - repeated - network), strict=True)
    return each.row
