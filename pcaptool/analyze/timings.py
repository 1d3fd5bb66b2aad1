"""Where the time of each HTTP exchange went, as an analysis over batches.

Knows: when the clocks are read off that the parts of an exchange are made of, and when a row is complete. Must not
know: HTTP, how a sender's state is found (`sender_kernel`), how clocks run (`timing_kernel`), how they make parts
(`timing_rows`).

An exchange is known to be over long after its first packet has passed. So for each message that is not over the clocks
at its first and its last packet so far are kept, and nothing else of a batch. A row is given out when the client has
acknowledged the response (`deliveries`).
Memory: 4 bytes a flow, 228 for each with data, until it is not read any more; 136 a packet with which a message begins
or ends of an exchange that is not over; what `deliveries` holds; the recorded stages.
"""

from __future__ import annotations

import numpy as np

from pcaptool.analyze import gather_kernel as gk
from pcaptool.analyze import timing_kernel as tk
from pcaptool.analyze import timing_rows as tr
from pcaptool.analyze.deliveries import Acknowledgements, Deliveries
from pcaptool.analyze.http import HttpAnalysis
from pcaptool.analyze.http_messages import Message
from pcaptool.analyze.segments import SegmentAnalysis
from pcaptool.analyze.stage_layers import StageLayers
from pcaptool.analyze.take import Ints, distinct, grown, masked
from pcaptool.analyze.tcp_analysis import Followed
from pcaptool.analyze.tcp_kernel import IN_N, IN_SEQ, IN_SIZE
from pcaptool.decode.batch import Batch
from pcaptool.engine import Engine
from pcaptool.tables.columns import Columns
from pcaptool.tables.timings import TIMINGS

__all__ = ["TimingAnalysis"]

# What is kept of a packet of a message: its number, the relative sequence number behind it, its clocks.
MARK_END, MARK_CLOCK = 1, 2
_TOGETHER = 512  # rows that become columns at once: these cost the same for one as for many
_NOTHING = Message()

Made = tuple[int, Ints]


class TimingAnalysis:
    """Fills the timings table; `http` must be set to the analysis that finds the exchanges, and run before it.

    Parameters
    ----------
    engine : Engine, optional
        How the kernel runs; plain Python without it.
    """

    needs: dict[str, tuple[str, ...]] = SegmentAnalysis.needs

    def __init__(self, engine: Engine | None = None) -> None:
        engine = engine or Engine("plain")
        self._kernel = engine.function(tk.__name__, "follow")
        self._gather = engine.flat(gk.__name__, "timed")
        self._slots = np.zeros(1024, np.int32)
        self._state = np.zeros((1024, tk.WIDTH), np.int64)
        self._free = np.arange(1024, dtype=np.int32)[::-1].copy()
        self._used = np.zeros(1, np.int64)
        self._kept: dict[int, bytes] = {}  # of each flow, marks one behind the other
        self._deliveries = Deliveries()
        self._made: list[Ints] = []  # records that are not rows yet
        self.http: HttpAnalysis | None = None
        self.stages: StageLayers | None = None

    @property
    def notices(self) -> list[str]:
        """What was given out before it was complete, for want of room."""
        return self._deliveries.notices

    def feed(self, batch: Batch) -> dict[str, Columns]:
        """Rows that are complete, some hundreds at once."""
        followed: Followed | None = batch.notes.get("followed")
        if self.http is None or followed is None:
            return {}
        seen, ends = self._segments(batch, followed)
        made = self._finished(self.http, seen, ends)
        self._keep(self.http, seen, ends)
        self._drop(self.http)
        made += self._deliveries.acknowledged(seen)
        made += ((batch.first_n + batch.count - 1, record) for record in self._deliveries.overdue())
        made.sort(key=lambda found: (found[0], found[1][tr.FLOW], found[1][tr.EXCHANGE]))
        self._made += (record for _, record in made)
        return self._take_rows() if len(self._made) >= _TOGETHER else {}

    def _take_rows(self) -> dict[str, Columns]:
        made, self._made = self._made, []
        return {TIMINGS.name: tr.columns_of(made)} if made else {}

    def follow(self) -> dict[str, Columns]:
        """Rows of what `http` gave out last because the capture ended, and of the conversations before those."""
        if self.http is None:
            return {}
        none = np.zeros(0, np.int64)
        empty = np.zeros((tk.IN_WIDTH, 0), np.int64), np.zeros((tk.OUT_WIDTH, 0), np.int64)
        made = [record for _, record in self._finished(self.http, Acknowledgements(none, *empty, none), none)]
        made += self._deliveries.rest(max((flow for flow, _ in self.http.finished), default=-1))
        self.http.finished, self.http.finished_n = [], []
        made.sort(key=lambda record: (record[tr.FLOW], record[tr.EXCHANGE]))
        self._made += made
        return self._take_rows() if len(self._made) >= _TOGETHER else {}

    def finish(self) -> dict[str, Columns]:
        """Rows that were not complete at the end of the capture."""
        rows = self.follow()
        self._made += self._deliveries.rest()
        return rows or self._take_rows()

    def _segments(self, batch: Batch, followed: Followed) -> tuple[Acknowledgements, Ints]:
        """TCP segments in the order of their packets, and the sequence number behind each."""
        at, given, found, waits = followed
        tcp = batch.tables["tcp"]
        flow, ack = (masked(tcp, name)[0] for name in ("flow", "ack"))  # of these rows they are known
        rows = np.empty((tk.IN_WIDTH, len(at)), np.int64)
        acks, ends = np.empty(len(at), np.int64), np.empty(len(at), np.int64)
        self._gather(given, found, waits, at, (flow, ack), rows, acks, ends)
        n = given[IN_N]
        if self.stages is not None:
            self.stages.match(n, given[IN_SEQ], given[IN_SIZE], rows[tk.IN_FLOW], rows[tk.IN_SIDE])
        return Acknowledgements(n, rows, self._clocks(rows), acks), ends

    def _clocks(self, rows: Ints) -> Ints:
        self._slots = grown(self._slots, int(rows[tk.IN_FLOW].max(initial=-1)))
        out = np.zeros((tk.OUT_WIDTH, rows.shape[1]), np.int64)
        done = 0
        while True:
            known = (self._slots, self._state, self._free, self._used)
            done = self._kernel(rows, done, *known, out)
            if done == rows.shape[1]:
                return out
            count = len(self._state)
            self._state = grown(self._state, count)
            self._free = np.concatenate(
                [np.arange(len(self._state) - 1, count - 1, -1, dtype=np.int32), self._free]
            )

    def _drop(self, http: HttpAnalysis) -> None:
        """Of conversations that are not read any more, and wait for nothing, no clocks are kept."""
        for flow in http.closed(dict.fromkeys(flow for flow, _ in http.finished)):
            if flow < len(self._slots) and self._slots[flow] > 0 and not self._deliveries.waits(flow):
                row = self._slots[flow] - 1
                self._slots[flow] = tk.DROPPED
                self._state[row] = 0
                self._free[len(self._free) - self._used[0]] = row
                self._used[0] -= 1

    def _finished(self, http: HttpAnalysis, seen: Acknowledgements, ends: Ints) -> list[Made]:
        """Records of exchanges that need no acknowledgement, with the packet that made them; others begin to wait."""
        if not http.finished:
            return []
        records, last_end = self._records(http, seen, ends)
        made = []
        for i, ((_, exchange), n) in enumerate(zip(http.finished, http.finished_n, strict=True)):
            answered, record = exchange.response, records[i]
            if answered is None or not answered.complete or not record[tr.KNOWN + tr.MARKS - 1]:
                made.append((n, record))
            else:
                self._deliveries.wait(record, int(last_end[i]), answered.last_n)
        return made

    def _records(self, http: HttpAnalysis, seen: Acknowledgements, ends: Ints) -> tuple[Ints, Ints]:
        """A record of each exchange that is over, and the sequence number behind its response."""
        records = np.zeros((len(http.finished), tr.WIDTH), np.int64)
        records[:, tr.FRAMES] = -1
        messages = [(x.request or _NOTHING, x.response or _NOTHING) for _, x in http.finished]
        records[:, : tr.HEAD] = [
            (flow, x.number, x.client, *_head(asked), *_head(answered))
            for (flow, x), (asked, answered) in zip(http.finished, messages, strict=True)
        ]
        numbers = np.array([(q.first_n, q.last_n, r.first_n, r.last_n) for q, r in messages], np.int64)
        last_end = np.zeros(len(records), np.int64)
        place = np.minimum(np.searchsorted(seen.n, numbers), max(len(seen.n) - 1, 0))
        here = seen.n[place] == numbers if len(seen.n) else np.zeros(numbers.shape, np.bool_)
        for mark in range(tr.MARKS):
            rows = np.flatnonzero(here[:, mark])
            records[rows, tr.KNOWN + mark] = 1
            records[rows, tr.clocks(mark)] = seen.clocks[:, place[rows, mark]].T
        rows = np.flatnonzero(here[:, -1])
        last_end[rows] = ends[place[rows, -1]]
        for i, mark in np.argwhere(~here & (numbers > 0)).tolist():  # of earlier batches
            kept = _marks(self._kept.get(http.finished[i][0], b"")).get(int(numbers[i, mark]))
            if kept is not None:
                records[i, tr.KNOWN + mark], records[i, tr.clocks(mark)] = 1, kept[MARK_CLOCK:]
                if mark == tr.MARKS - 1:
                    last_end[i] = kept[MARK_END]
        if self.stages is not None:
            self._add_stages(self.stages, http, records)
        return records, last_end

    def _add_stages(self, stages: StageLayers, http: HttpAnalysis, records: Ints) -> None:
        """How long frames of the responses were in each layer."""
        for (flow, exchange), record in zip(http.finished, records, strict=True):
            answered = exchange.response
            if answered is not None and answered.complete:
                found = stages.spent(flow, 1 - exchange.client, answered.first_n, answered.last_n)
                if found is not None:
                    record[tr.FRAMES :] = found[0], *found[1], *found[2]

    def _keep(self, http: HttpAnalysis, seen: Acknowledgements, ends: Ints) -> None:
        """Of the conversations of this batch, what exchanges that are not over will need."""
        for flow, _ in http.finished:
            if not http.open_packets(flow):
                self._kept.pop(flow, None)
        for flow in http.being_read(distinct(seen.rows[tk.IN_FLOW])[0]):
            before = _marks(self._kept.pop(flow, b""))
            kept = []
            for number in dict.fromkeys(http.open_packets(flow)):
                found = before.get(number)
                if found is None:
                    found = _mark(number, seen, ends)
                if found is not None:
                    kept.append(found)
            if kept:
                self._kept[flow] = np.concatenate(kept).tobytes()


def _head(message: Message) -> tuple[int, int, int]:
    """What a record holds of a message."""
    state = (tr.SEEN if message.first_n else 0) | (tr.COMPLETE if message.complete else 0)
    return state, message.first_ts, message.last_ts


def _mark(number: int, seen: Acknowledgements, ends: Ints) -> Ints | None:
    """What is kept of a packet, if it is one of this batch."""
    place = int(np.searchsorted(seen.n, number))
    if place >= len(seen.n) or seen.n[place] != number:
        return None
    return np.concatenate([[number, ends[place]], seen.clocks[:, place]])


def _marks(kept: bytes) -> dict[int, Ints]:
    """What was kept of packets, by their numbers."""
    rows = np.frombuffer(kept, np.int64).reshape(-1, MARK_CLOCK + tk.OUT_WIDTH)
    return {int(row[0]): row for row in rows}
