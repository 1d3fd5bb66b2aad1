"""What all analyses of TCP byte streams share: which conversations are read, and the life of a reader's state.

Knows: which rows of a batch belong to conversations that are read, and how to skip the middle of long bodies.
Must not know: what the bytes mean (`Connection`), sequence numbers beyond handing them on (`streams`).
All conversations that are not read cost a few numpy operations a batch. Nothing that was captured raises, and
results do not depend on how packets are cut into batches.
Memory: 1 byte a flow; `open_connections` for those that are read. Those that had to leave are counted (`left`), and not
read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pcaptool.analyze.open_connections import OpenConnections, Resting
from pcaptool.analyze.segments import FIN, RST, Bools, Row, SegmentAnalysis, Segments, Start, segments_of
from pcaptool.analyze.streams import Part, StreamReassembler
from pcaptool.analyze.take import Ints
from pcaptool.decode.batch import Batch
from pcaptool.tables.columns import Columns
from pcaptool.wire.tcp import SEQ_MASK

__all__ = ["CLOSED", "READ", "Connection", "StreamAnalysis"]

_NEW, READ, CLOSED = 0, 1, 2
LEFT = "not read to its end: too many connections were open"
_TOGETHER = 512  # results that become rows at once: columns cost the same for one as for many


class Connection(Resting, Protocol):
    """Both byte streams of one conversation, being read."""

    streams: tuple[StreamReassembler, StreamReassembler]

    def segment(
        self,
        side: int,
        seq: int,
        data: memoryview | bytes,
        n: int,
        ts: int,
        *,
        missing: int = 0,
        fin: bool = False,
        ack: int = 0,
    ) -> bool:
        """Take a segment (see `StreamReassembler.push`); says whether rows may be ready."""
        ...

    def body_room(self, side: int) -> int:
        """How many bytes of a side may be given to `skip_body` now."""
        ...

    def skip_body(self, side: int, seq: int, size: int, n: int, ts: int, *, missing: int = 0) -> bool:
        """Take contiguous segments without looking at their bytes; False: `segment` must be called."""
        ...

    def hold_body(self, side: int, seq: int, parts: Sequence[Part]) -> bool:
        """Take contiguous segments that must wait behind a hole; False: `segment` must be called."""
        ...

    def end(self, why: str, *, unread: bool = False) -> None:
        """Nothing more will come in either direction; or (`unread`) will be read."""
        ...

    @property
    def over(self) -> bool:
        """There is nothing more to learn from it."""
        ...

    @property
    def confirmed(self) -> bool:
        """It was what it was taken for; else it may be picked up again."""
        ...

    def take_finished(self) -> list[Any]:
        """Results that are final."""
        ...

    def take_all(self) -> list[Any]:
        """All results that are left, final or not."""
        ...


class StreamAnalysis:
    """An analysis of TCP byte streams; one for each protocol says what to pick up and what comes of it."""

    table = ""
    reads_bytes = True
    needs: dict[str, tuple[str, ...]] = SegmentAnalysis.needs

    def __init__(self) -> None:
        self._state = np.zeros(1024, np.uint8)  # of each flow: _NEW, READ, CLOSED
        self._own = SegmentAnalysis()
        self._open = OpenConnections[Any](self.make)
        # Makes more rows of what a part of `parts` finished.
        self.then: Callable[[], dict[str, Columns]] | None = None
        self.left = 0  # connections that were not read to their end
        self._last_n = 0
        # Flows and results of the last batch, and the packet with which each was there.
        self.finished: list[tuple[int, Any]] = []
        self.finished_n: list[int] = []
        self._found: list[tuple[int, Any]] = []  # results that are not rows yet

    @property
    def notices(self) -> list[str]:
        """What was not read, for want of room."""
        what = f"{self.table}: of {self.left} connections the end was not read: too many were open at once"
        return [what] if self.left else []

    def make(self, flow: int) -> Connection:
        """A reader for one conversation."""
        raise NotImplementedError

    def marks(self, batch: Batch, start: Start) -> Bools:
        """Segments with which the reading of a conversation may begin."""
        raise NotImplementedError

    def columns(self, found: list[tuple[int, Any]]) -> Columns:
        """Flows and results to rows."""
        raise NotImplementedError

    def feed(self, batch: Batch) -> dict[str, Columns]:
        """Rows of what is finished, some hundreds at once."""
        self.finished_n = []
        self.finished = self.read(batch)
        self._found += self.finished
        return self._take_rows() if len(self._found) >= _TOGETHER else {}

    def _take_rows(self) -> dict[str, Columns]:
        found, self._found = self._found, []
        return {self.table: self.columns(found)} if found else {}

    def read(self, batch: Batch) -> list[tuple[int, Any]]:
        """Flows and results that this batch finished."""
        self._last_n = batch.first_n + batch.count - 1
        start = segments_of(batch, self._own)
        if start is None:
            return []
        found: list[tuple[int, Any]] = []
        data = batch.data.data
        wanted, picked_up = self._choose(batch, start)
        if not len(wanted):
            return []
        table = start.table[:, wanted]
        runs = _Runs(Segments(*table))
        done = bytearray(len(wanted))
        marks = np.frombuffer(done, np.uint8)
        at = done.find(0)
        while at >= 0:
            done[at] = 1
            row = Row(*table[:, at].tolist())
            connection = self._open.get(row.flow)
            if connection is None and picked_up[wanted[at]] and self._state[row.flow] != CLOSED:
                connection = self._begin(row, start, bool(start.first[wanted[at]]))
                self._segment(connection, row, data, found)
            elif connection is not None and not runs.skip(connection, row, at, marks):
                held = runs.hold(connection, row, at, data, marks)
                if held:
                    self._heard(held, row.n, found)
                else:
                    self._segment(connection, row, data, found)
            at = done.find(0, at + 1)
        return found

    def finish(self) -> dict[str, Columns]:
        """Rows that were still open at the end of the capture."""
        return self._end(self._open.flows)

    def parts(self) -> Iterator[dict[str, Columns]]:
        """The same, of some hundred conversations at once; all together they may take much memory."""
        flows = self._open.flows
        for first in range(0, max(len(flows), 1), _TOGETHER):
            yield self._end(flows[first : first + _TOGETHER])
            if self.then is not None:
                yield self.then()

    def _end(self, flows: list[int]) -> dict[str, Columns]:
        found: list[tuple[int, Any]] = []
        for flow in flows:
            connection = self._open.remove(flow)
            connection.end("the capture ends first")
            found += ((flow, each) for each in connection.take_all())
            connection.let_go()
        self.finished, self.finished_n = found, [self._last_n] * len(found)
        self._found += found
        return self._take_rows()

    def _choose(self, batch: Batch, start: Start) -> tuple[Ints, Bools]:
        """Which rows must be read, in order; and where the reading of a conversation may begin."""
        segments = start.segments
        highest = int(segments.flow.max())
        if highest >= len(self._state):
            grow = max(highest + 1, 2 * len(self._state)) - len(self._state)
            self._state = np.concatenate([self._state, np.zeros(grow, np.uint8)])
        state = self._state[segments.flow]
        marks = self.marks(batch, start) & (state != CLOSED) & (segments.size > 0)
        wanted = state == READ
        at = np.flatnonzero(marks)
        if len(at):  # a conversation that is picked up in this batch is read from that row on
            begins = np.full(highest + 1, len(marks), np.int64)
            np.minimum.at(begins, segments.flow[at], at)
            wanted |= np.arange(len(marks)) >= begins[segments.flow]
        return np.flatnonzero(wanted), marks

    def _begin(self, row: Row, start: Start, is_first: bool) -> Connection:
        connection: Connection = self._open.begin(row.flow)
        self._state[row.flow] = READ
        # Data that came before its turn waits for the first; one joined later begins with this row.
        connection.streams[row.side].begin(1 if is_first else row.seq)
        other = int(start.first_n[row.flow, 1 - row.side])
        connection.streams[1 - row.side].begin(row.ack if 0 < other < row.n else 1)
        return connection

    def _segment(
        self, connection: Connection, row: Row, data: memoryview, found: list[tuple[int, Any]]
    ) -> None:
        ended = connection.segment(
            row.side,
            row.seq,
            data[row.start : row.start + row.captured],
            row.n,
            row.ts,
            missing=row.size - row.captured,
            fin=bool(row.flags & FIN),
            ack=row.ack,
        )
        if row.flags & RST:
            connection.end("reset before it was complete")
        if ended:
            found += ((row.flow, each) for each in connection.take_finished())
        if connection.over:
            found += ((row.flow, each) for each in connection.take_all())
            self._state[row.flow] = CLOSED if connection.confirmed else _NEW
            self._open.remove(row.flow).let_go()
        self._heard(row.captured, row.n, found)

    def _heard(self, size: int, n: int, found: list[tuple[int, Any]]) -> None:
        """So many bytes were taken; those leave for which there is no room any more."""
        if self._open.heard(size):
            for flow, connection in self._open.leaving():
                connection.end(LEFT, unread=True)
                found += ((flow, each) for each in connection.take_all())
                connection.let_go()
                self._state[flow] = CLOSED
                self.left += 1
        self.finished_n += [n] * (len(found) - len(self.finished_n))


class _Runs:
    """Segments of a conversation that follow each other without a hole, and no other one of it between them.

    The bodies of messages are such runs: their middle is taken in one step, whatever its number of segments. So is what
    waits behind a lost segment.
    """

    def __init__(self, rows: Segments) -> None:
        order = np.argsort(rows.flow, kind="stable")
        flow, side, seq, size = (column[order] for column in (rows.flow, rows.side, rows.seq, rows.size))
        plain = (rows.flags & (FIN | RST) == 0)[order]
        same = (flow[1:] == flow[:-1]) & (side[1:] == side[:-1]) & plain[1:] & plain[:-1]
        same &= seq[1:] == (seq[:-1] + size[:-1]) & SEQ_MASK
        ends = np.flatnonzero(np.append(~same, np.ones(min(len(flow), 1), np.bool_)))
        self._order, self._rows = order, rows
        self._place = np.argsort(order)  # of each row in that order
        self._last = ends[np.searchsorted(ends, np.arange(len(flow)))]  # of the run, in that order
        self._bytes = np.cumsum(size)
        self._missing = np.cumsum(size - rows.captured[order])
        self._plain = plain

    def skip(self, connection: Connection, row: Row, at: int, done: npt.NDArray[np.uint8]) -> bool:
        """Take row `at` and what follows it as far as it is the middle of a body; marks what it took."""
        room = connection.body_room(row.side)
        place = int(self._place[at])
        if room < row.size or not self._plain[place]:
            return False
        before = int(self._bytes[place]) - row.size
        end = int(self._last[place]) + 1
        end = place + int(np.searchsorted(self._bytes[place:end], before + room, side="right"))
        last = int(self._order[end - 1])
        size = int(self._bytes[end - 1]) - before
        missing = int(self._missing[end - 1] - self._missing[place]) + row.size - row.captured
        n, ts = int(self._rows.n[last]), int(self._rows.ts[last])
        if not connection.skip_body(row.side, row.seq, size, n, ts, missing=missing):
            return False
        done[self._order[place:end]] = 1
        return True

    def hold(
        self, connection: Connection, row: Row, at: int, data: memoryview, done: npt.NDArray[np.uint8]
    ) -> int:
        """Take row `at` and what follows it if all of it waits behind a hole; marks what it took.

        How many bytes that is comes back.
        """
        if not connection.streams[row.side].has_hole or connection.streams[1 - row.side].has_hole:
            return 0
        place = int(self._place[at])
        end = int(self._last[place]) + 1
        if end - place < 2:
            return 0
        which, rows = self._order[place:end], self._rows
        columns = (rows.start, rows.captured, rows.size, rows.n, rows.ts, rows.ack)
        parts = [
            Part(bytes(data[start : start + captured]), size - captured, n, ts, ack)
            for start, captured, size, n, ts, ack in zip(*(c[which].tolist() for c in columns), strict=True)
        ]
        if not connection.hold_body(row.side, row.seq, parts):
            return 0
        done[which] = 1
        return int(rows.size[which].sum())
