"""Where the time of each HTTP exchange went, as an analysis over batches.

Knows: how clocks that are read off at the packets of a message become its parts (`tables.timings` says which add up
to what). Must not know: HTTP, how a sender's state is found (`sender_kernel`), how clocks run (`timing_kernel`).

An exchange is known to be over long after its first packet has passed. So for each message that is not over the clocks
at its first and its last packet so far are kept, and nothing else of a batch. A row is given out when the client has
acknowledged the response (`deliveries`).
Memory: 4 bytes a flow, 224 for each with data; some 2 kB an exchange that is not over or not acknowledged; the
recorded stages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pcaptool.analyze import gather_kernel as gk
from pcaptool.analyze import timing_kernel as tk
from pcaptool.analyze.deliveries import Acknowledgements, Deliveries
from pcaptool.analyze.http import HttpAnalysis
from pcaptool.analyze.http_pairing import Exchange, Message
from pcaptool.analyze.segments import SegmentAnalysis
from pcaptool.analyze.stage_layers import StageLayers
from pcaptool.analyze.take import Ints, distinct, grown, masked
from pcaptool.analyze.tcp_analysis import Followed
from pcaptool.analyze.tcp_kernel import IN_N, IN_SEQ, IN_SIZE
from pcaptool.decode.batch import Batch
from pcaptool.engine import Engine
from pcaptool.tables.columns import Columns, Masked
from pcaptool.tables.definition import KINDS
from pcaptool.tables.timings import LAYERS, PARTS, REQUEST_PARTS, SERVER_PARTS, TIMINGS, TRANSFER_PARTS

__all__ = ["TimingAnalysis"]

_TOGETHER = 512  # rows that become columns at once: these cost the same for one as for many

Row = dict[str, Any]


class Mark(NamedTuple):
    """What is kept of a packet of a message."""

    clock: Ints
    end: int  # relative sequence number behind it


Marks = Callable[[int], Mark | None]


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
        self._used = np.zeros(1, np.int64)
        self._kept: dict[int, dict[int, Mark]] = {}
        self._deliveries = Deliveries()
        self._made: list[Row] = []  # rows that are not columns yet
        self.http: HttpAnalysis | None = None
        self.stages: StageLayers | None = None

    def feed(self, batch: Batch) -> dict[str, Columns]:
        """Rows that are complete, some hundreds at once."""
        followed: Followed | None = batch.notes.get("followed")
        if self.http is None or followed is None:
            return {}
        seen, ends = self._segments(batch, followed)
        made = self._finished(self.http, seen, ends)
        self._keep(self.http, seen, ends)
        made += self._deliveries.acknowledged(seen)
        made.sort(key=lambda found: (found[0], found[1]["flow"], found[1]["exchange"]))
        self._made += (row for _, row in made)
        return self._take_rows() if len(self._made) >= _TOGETHER else {}

    def _take_rows(self) -> dict[str, Columns]:
        made, self._made = self._made, []
        return _columns(made)

    def finish(self) -> dict[str, Columns]:
        """Rows that were not complete at the end of the capture."""
        if self.http is None:
            return {}
        none = np.zeros(0, np.int64)
        empty = np.zeros((tk.IN_WIDTH, 0), np.int64), np.zeros((tk.OUT_WIDTH, 0), np.int64)
        made = [row for _, row in self._finished(self.http, Acknowledgements(none, *empty, none), none)]
        made += self._deliveries.rest()
        made.sort(key=lambda row: (row["flow"], row["exchange"]))
        self._made += made
        return self._take_rows()

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
        while (done := self._kernel(rows, done, self._slots, self._state, self._used, out)) < rows.shape[1]:
            self._state = grown(self._state, len(self._state))
        return out

    def _finished(self, http: HttpAnalysis, seen: Acknowledgements, ends: Ints) -> list[tuple[int, Row]]:
        """Rows of exchanges that need no acknowledgement, with the packet that made them; others begin to wait."""
        made = []
        for (flow, exchange), n in zip(http.finished, http.finished_n, strict=True):
            kept = self._kept.get(flow, {})

            def mark(number: int, kept: dict[int, Mark] = kept) -> Mark | None:
                found = kept.get(number)
                return _at(number, seen, ends) if found is None else found

            row = self._row(flow, exchange, mark)
            answered = exchange.response
            last = mark(answered.last_n) if answered is not None and answered.complete else None
            if answered is None or last is None:
                made.append((n, row))
            else:
                self._deliveries.wait(row, exchange.client, last.end, answered.last_n, answered.last_ts)
        return made

    def _keep(self, http: HttpAnalysis, seen: Acknowledgements, ends: Ints) -> None:
        """Of the conversations of this batch, what exchanges that are not over will need."""
        for flow, _ in http.finished:
            if not http.open_exchanges(flow):
                self._kept.pop(flow, None)
        for flow in http.being_read(distinct(seen.rows[tk.IN_FLOW])[0]):
            before, kept = self._kept.pop(flow, {}), {}
            for exchange in http.open_exchanges(flow):
                for message in (exchange.request, exchange.response):
                    for number in (message.first_n, message.last_n) if message is not None else ():
                        found = before.get(number) or _at(number, seen, ends)
                        if found is not None:
                            kept[number] = found
            if kept:
                self._kept[flow] = kept

    def _row(self, flow: int, exchange: Exchange, mark: Marks) -> Row:
        def clock(number: int) -> Ints | None:
            found = mark(number)
            return None if found is None else found.clock

        row: Row = {"flow": flow, "exchange": exchange.number}
        client = exchange.client
        asked, answered = exchange.request, exchange.response
        if asked is not None and asked.first_n and asked.complete:
            row["request_time_ns"] = asked.last_ts - asked.first_ts
            row |= zip(REQUEST_PARTS, _waits(asked, client, clock), strict=True)
        if answered is not None and answered.first_n and answered.complete:
            row["transfer_time_ns"] = answered.last_ts - answered.first_ts
            row |= zip(TRANSFER_PARTS, _waits(answered, 1 - client, clock), strict=True)
        begun = clock(answered.first_n) if answered is not None and answered.first_n else None
        if asked is not None and asked.complete and answered is not None and answered.first_n:
            row["server_time_ns"] = answered.first_ts - asked.last_ts
            row |= zip(SERVER_PARTS, _server(asked, answered, client, begun), strict=True)
        if begun is not None:
            for side, name in ((client, "client"), (1 - client, "server")):
                row[f"{name}_rtt_ns"] = int(begun[side * tk.OUT_SIDE_WIDTH + tk.OUT_RTT]) or None
            row["connect_ns"] = (int(begun[tk.OUT_INITIAL]) or None) if exchange.number == 0 else None
        if "request_time_ns" in row and "server_time_ns" in row and "transfer_time_ns" in row:
            row["total_time_ns"] = row["request_time_ns"] + row["server_time_ns"] + row["transfer_time_ns"]
            longest = max(PARTS, key=lambda name: row[name])
            row["longest_part"] = longest.removesuffix("_ns") if row[longest] > 0 else None
        if self.stages is not None and answered is not None and answered.complete:
            row |= _layers(self.stages.spent(flow, 1 - client, answered.first_n, answered.last_n))
        return row


def _at(number: int, seen: Acknowledgements, ends: Ints) -> Mark | None:
    """What is kept of a packet, if it is one of this batch."""
    place = int(np.searchsorted(seen.n, number))
    if place >= len(seen.n) or seen.n[place] != number:
        return None
    return Mark(seen.clocks[:, place].copy(), int(ends[place]))


def _columns(rows: list[Row]) -> dict[str, Columns]:
    if not rows:
        return {}
    columns: Columns = {}
    for column in TIMINGS.columns:
        values = [row.get(column.name) for row in rows]
        if column.kind == "text":
            columns[column.name] = values
            continue
        plain = np.array([0 if v is None else v for v in values], KINDS[column.kind][0])
        valid = np.array([v is not None for v in values], np.bool_)
        columns[column.name] = Masked(plain, valid) if column.nullable else plain
    return {TIMINGS.name: columns}


def _waits(message: Message, side: int, clock: Any) -> list[int]:
    """What the sender of a message waited for: parts in the order of `REQUEST_PARTS`, whose sum is its time."""
    whole = message.last_ts - message.first_ts
    first, last = clock(message.first_n), clock(message.last_n)
    if first is None or last is None:
        return [0, 0, 0, 0, 0, whole]
    begin = side * tk.OUT_SIDE_WIDTH
    spent = (last - first)[begin : begin + tk.CLOCKS].tolist()
    # A gap that began before the message was given to a repetition in it: only what is left of it counts.
    repetition = spent[tk.REPETITION] + sum(min(part, 0) for part in spent[: tk.REPETITION])
    parts = [repetition, *(max(part, 0) for part in spent[: tk.REPETITION])]
    return [*parts, whole - sum(parts)]


def _server(asked: Message, answered: Message, client: int, clock: Ints | None) -> list[int]:
    """Parts of the time to the first byte, in the order of `SERVER_PARTS`."""
    whole = answered.first_ts - asked.last_ts
    if clock is None or whole <= 0:
        return [0, 0, whole]
    again = int(clock[client * tk.OUT_SIDE_WIDTH + tk.OUT_REPEATED_TS])
    repeated = again - asked.last_ts if asked.last_ts < again <= answered.first_ts else 0
    rtt = int(clock[(1 - client) * tk.OUT_SIDE_WIDTH + tk.OUT_RTT])
    network = min(rtt, whole - repeated)
    return [repeated, network, whole - repeated - network]


def _layers(found: tuple[int, Ints, Ints] | None) -> dict[str, int]:
    if found is None:
        return {}
    frames, first, total = found
    row = {"frames": frames}
    row |= {f"first_{layer}_ns": int(ns) for layer, ns in zip(LAYERS, first, strict=True)}
    return row | {f"frames_{layer}_ns": int(ns) for layer, ns in zip(LAYERS, total, strict=True)}
