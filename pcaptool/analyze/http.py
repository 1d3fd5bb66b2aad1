"""HTTP/1 exchanges of a capture, as an analysis over batches.

Knows: which TCP payload to look at, and the life of a connection's state.
Must not know: HTTP's grammar (`http_head`, `http_reader`), pairing (`http_pairing`), sequence numbers beyond
handing them on (`streams`).

Which conversations are HTTP is found by content, on any port: one whose first data in a direction begins
with a capital letter is read until its start line says no; later, one in which a segment begins with a known
method or with "HTTP/". All others cost a few numpy operations a batch.
Nothing that was captured raises, and results do not depend on how packets are cut into batches.
Memory: about 3 KiB a conversation that is being read, plus what `streams` and `http_reader` hold; 9 bytes any
other one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pcaptool.analyze.http_pairing import Exchange, HttpConnection
from pcaptool.analyze.http_rows import exchange_columns
from pcaptool.analyze.take import Ints, integers
from pcaptool.decode.batch import Batch
from pcaptool.tables.columns import Columns
from pcaptool.wire.tcp import SEQ_MASK, TcpFlag

__all__ = ["HttpAnalysis"]

# First four bytes by which a conversation is picked up in its midst: the methods of RFC 9110, 5789, 4918,
# 3253 and those that servers meet, and the status line.
_STARTS = (
    *(b"GET ", b"HEAD", b"POST", b"PUT ", b"DELE", b"CONN", b"OPTI", b"TRAC", b"PATC", b"HTTP"),
    *(
        b"PROP",
        b"MKCO",
        b"COPY",
        b"MOVE",
        b"LOCK",
        b"UNLO",
        b"REPO",
        b"SEAR",
        b"PURG",
        b"M-SE",
        b"NOTI",
        b"SUBS",
    ),
)
_START_WORDS = np.array(sorted(int.from_bytes(word, "big") for word in _STARTS), np.int64)
_NEW, _READ, _CLOSED = 0, 1, 2
_FIN, _SYN, _RST = int(TcpFlag.FIN), int(TcpFlag.SYN), int(TcpFlag.RST)

Bools = npt.NDArray[np.bool_]


class _Segments(NamedTuple):
    """TCP rows of a batch that carry data, FIN or RST, as arrays of one length."""

    flow: Ints
    side: Ints  # 0: from the originator
    seq: Ints  # relative, of the first data byte
    ack: Ints  # relative
    flags: Ints
    size: Ints  # payload by the headers
    captured: Ints  # of it, in the capture
    start: Ints  # of it, in the batch's data
    n: Ints
    ts: Ints


class _Row(NamedTuple):
    """One of `_Segments`."""

    flow: int
    side: int
    seq: int
    ack: int
    flags: int
    size: int
    captured: int
    start: int
    n: int
    ts: int


class HttpAnalysis:
    """Fills the http table."""

    needs: dict[str, tuple[str, ...]] = {  # noqa: RUF012 - the protocol has it on the instance
        "packets": ("ts", "cap_len"),
        "tcp": ("n", "ack_raw", "flags", "len", "payload_offset", "flow", "fwd", "seq", "ack"),
    }

    def __init__(self) -> None:
        self._state = np.zeros(1024, np.uint8)  # of each flow: _NEW, _READ, _CLOSED
        self._first_n = np.zeros((1024, 2), np.uint32)  # packet with the first data of each side, or 0
        self._connections: dict[int, HttpConnection] = {}
        self._last = (0, 0)

    def feed(self, batch: Batch) -> dict[str, Columns]:
        """Exchanges that this batch finished."""
        packets = batch.tables["packets"]
        self._last = (batch.first_n + batch.count - 1, int(integers(packets, "ts")[-1]))
        if not batch.tables.get("tcp"):
            return {}
        segments = _segments(batch)
        if not len(segments.flow):
            return {}
        found: list[tuple[int, Exchange]] = []
        data = batch.data.data
        wanted, picked_up, first = self._choose(batch, segments)
        table = np.stack(segments, axis=1)[wanted]
        runs = _Runs(_Segments(*table.T))
        done = bytearray(len(wanted))
        at = done.find(0)
        while at >= 0:
            done[at] = 1
            row = _Row(*table[at].tolist())
            connection = self._connections.get(row.flow)
            if connection is None and picked_up[wanted[at]] and self._state[row.flow] != _CLOSED:
                connection = self._begin(row, bool(first[wanted[at]]))
                self._segment(connection, row, data, found)
            elif connection is not None and not runs.skip(connection, row, at, done):
                self._segment(connection, row, data, found)
            at = done.find(0, at + 1)
        return {"http": exchange_columns(found)} if found else {}

    def finish(self) -> dict[str, Columns]:
        """Exchanges that were still open at the end of the capture."""
        found: list[tuple[int, Exchange]] = []
        for flow in sorted(self._connections):
            connection = self._connections[flow]
            connection.end(*self._last, "the capture ends first")
            found += ((flow, exchange) for exchange in connection.take_all())
        self._connections.clear()
        return {"http": exchange_columns(found)} if found else {}

    def _choose(self, batch: Batch, segments: _Segments) -> tuple[Ints, Bools, Bools]:
        """Which rows must be read, in order; and two masks over all rows.

        The masks: where the reading of a conversation may begin, and what is the first data of its side.
        """
        highest = int(segments.flow.max())
        if highest >= len(self._state):
            grow = max(highest + 1, 2 * len(self._state)) - len(self._state)
            self._state = np.concatenate([self._state, np.zeros(grow, np.uint8)])
            self._first_n = np.concatenate([self._first_n, np.zeros((grow, 2), np.uint32)])
        word = _first_word(batch.data, segments)
        marks = np.isin(word, _START_WORDS)
        first = self._first_data(segments)
        letter = word >> 24
        marks |= first & ((segments.seq != 1) | ((letter >= ord("A")) & (letter <= ord("Z"))))
        marks &= (self._state[segments.flow] != _CLOSED) & (segments.size > 0)
        being_read = self._state[segments.flow] == _READ
        # A conversation that is picked up in this batch is read from that row on.
        begins = np.full(highest + 1, len(marks), np.int64)
        at = np.flatnonzero(marks)
        np.minimum.at(begins, segments.flow[at], at)
        wanted = np.flatnonzero(being_read | (np.arange(len(marks)) >= begins[segments.flow]))
        return wanted, marks, first

    def _first_data(self, segments: _Segments) -> Bools:
        """Which rows are the first data of their side of their conversation."""
        first = np.zeros(len(segments.flow), np.bool_)
        at = np.flatnonzero((segments.size > 0) & (self._first_n[segments.flow, segments.side] == 0))
        _, where = np.unique(segments.flow[at] * 2 + segments.side[at], return_index=True)
        first[at[where]] = True
        where = at[where]
        self._first_n[segments.flow[where], segments.side[where]] = segments.n[where]
        return first

    def _begin(self, row: _Row, is_first: bool) -> HttpConnection:
        connection = self._connections[row.flow] = HttpConnection()
        self._state[row.flow] = _READ
        # Data that came before its turn waits for the first; one joined later begins with this row.
        connection.streams[row.side].begin(1 if is_first else row.seq)
        other = int(self._first_n[row.flow, 1 - row.side])
        connection.streams[1 - row.side].begin(row.ack if 0 < other < row.n else 1)
        return connection

    def _segment(
        self, connection: HttpConnection, row: _Row, data: memoryview, found: list[tuple[int, Exchange]]
    ) -> None:
        ended = connection.segment(
            row.side,
            row.seq,
            data[row.start : row.start + row.captured],
            row.n,
            row.ts,
            missing=row.size - row.captured,
            fin=bool(row.flags & _FIN),
            ack=row.ack,
        )
        if row.flags & _RST:
            connection.end(row.n, row.ts, "reset before it was complete")
        if ended:
            found += ((row.flow, exchange) for exchange in connection.take_finished())
        if connection.over:
            found += ((row.flow, exchange) for exchange in connection.take_all())
            self._state[row.flow] = _CLOSED if connection.seen_http else _NEW
            del self._connections[row.flow]


class _Runs:
    """Segments of a conversation that follow each other without a hole, and no other one of it between them.

    The bodies of messages are such runs: their middle is taken in one step, whatever its number of segments.
    """

    def __init__(self, rows: _Segments) -> None:
        order = np.argsort(rows.flow, kind="stable")
        flow, side, seq, size = (column[order] for column in (rows.flow, rows.side, rows.seq, rows.size))
        whole = ((rows.captured == rows.size) & (rows.flags & (_FIN | _RST) == 0))[order]
        same = (flow[1:] == flow[:-1]) & (side[1:] == side[:-1]) & whole[1:] & whole[:-1]
        same &= seq[1:] == (seq[:-1] + size[:-1]) & SEQ_MASK
        ends = np.flatnonzero(np.append(~same, np.ones(min(len(flow), 1), np.bool_)))
        self._order, self._rows = order, rows
        self._place = np.argsort(order)  # of each row in that order
        self._last = ends[np.searchsorted(ends, np.arange(len(flow)))]  # of the run, in that order
        self._bytes = np.cumsum(size)
        self._whole = whole

    def skip(self, connection: HttpConnection, row: _Row, at: int, done: bytearray) -> bool:
        """Take row `at` and what follows it as far as it is the middle of a body; marks what it took."""
        room = connection.body_room(row.side)
        place = int(self._place[at])
        if room < row.size or not self._whole[place]:
            return False
        before = int(self._bytes[place]) - row.size
        end = int(self._last[place]) + 1
        end = place + int(np.searchsorted(self._bytes[place:end], before + room, side="right"))
        last = int(self._order[end - 1])
        size = int(self._bytes[end - 1]) - before
        if not connection.skip_body(
            row.side, row.seq, size, int(self._rows.n[last]), int(self._rows.ts[last])
        ):
            return False
        for k in self._order[place:end].tolist():
            done[k] = 1
        return True


def _segments(batch: Batch) -> _Segments:
    tcp, packets = batch.tables["tcp"], batch.tables["packets"]
    flow, size, flags = integers(tcp, "flow"), integers(tcp, "len"), integers(tcp, "flags")
    at = np.flatnonzero((flow >= 0) & ((size > 0) | ((size == 0) & (flags & (_FIN | _RST) != 0))))
    n, flags, size = integers(tcp, "n")[at], flags[at], size[at]
    packet = n - batch.first_n
    offset = integers(tcp, "payload_offset")[at]
    size = np.where(flags & _RST != 0, 0, size)  # a reset's text (RFC 9293 section 3.5.3) is no stream data
    captured = np.clip(integers(packets, "cap_len")[packet] - offset, 0, size)
    return _Segments(
        flow=flow[at],
        side=1 - integers(tcp, "fwd")[at],
        seq=(integers(tcp, "seq")[at] + (flags & _SYN != 0)) & SEQ_MASK,
        ack=integers(tcp, "ack")[at],
        flags=flags,
        size=size,
        captured=captured,
        start=batch.offsets[packet] + offset,
        n=n,
        ts=integers(packets, "ts")[packet],
    )


def _first_word(data: npt.NDArray[np.uint8], segments: _Segments) -> Ints:
    """The first four payload bytes as a number, zero where there are fewer."""
    word = np.zeros(len(segments.flow), np.int64)
    last = len(data) - 1
    for k in range(4):
        byte = data[np.minimum(segments.start + k, last)].astype(np.int64)
        word = (word << 8) | np.where(segments.captured > k, byte, 0)
    return word
