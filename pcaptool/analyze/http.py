"""HTTP/1 exchanges of a capture, as an analysis over batches.

Knows: with which TCP payload the reading of a conversation begins.
Must not know: HTTP's grammar (`http_head`, `http_reader`), pairing (`http_pairing`).

Which conversations are HTTP is found by content, on any port: one whose first data in a direction begins
with a capital letter is read until its start line says no; later, one in which a segment begins with a known
method or with "HTTP/".
Memory: what `open_connections` holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from pcaptool.analyze.bodies import Bodies
from pcaptool.analyze.http_pairing import HttpConnection, open_packets
from pcaptool.analyze.http_rows import exchange_columns
from pcaptool.analyze.segments import Bools, Start
from pcaptool.analyze.stream_analysis import CLOSED, READ, StreamAnalysis
from pcaptool.analyze.take import Ints, among
from pcaptool.decode.batch import Batch
from pcaptool.tables.columns import Columns

__all__ = ["HttpAnalysis"]

# First four bytes by which a conversation is picked up in its midst: the methods of RFC 9110, 5789, 4918,
# 3253 and those that servers meet, and the status line.
_STARTS = (
    *(b"GET ", b"HEAD", b"POST", b"PUT ", b"DELE", b"CONN", b"OPTI", b"TRAC", b"PATC", b"HTTP"),
    *(b"PROP", b"MKCO", b"COPY", b"MOVE", b"LOCK", b"UNLO", b"REPO", b"SEAR", b"PURG", b"M-SE"),
    *(b"NOTI", b"SUBS"),
)
_START_WORDS = np.array(sorted(int.from_bytes(word, "big") for word in _STARTS), np.int64)


class HttpAnalysis(StreamAnalysis):
    """Fills the http table."""

    table = "http"

    def __init__(self) -> None:
        super().__init__()
        self._bodies: Bodies | None = None

    def extract(self, bodies: Bodies) -> None:
        """Write bodies, too. Then every byte of them is looked at, which takes more time."""
        self._bodies = bodies

    def make(self, flow: int) -> HttpConnection:
        """A reader for one conversation."""
        return HttpConnection(flow, self._bodies)

    def being_read(self, flows: Ints) -> list[int]:
        """Which of these conversations are read now; each number lower than those that a batch has shown."""
        known = flows[flows < len(self._state)]
        found: list[int] = known[self._state[known] == READ].tolist()
        return found

    def closed(self, flows: Iterable[int]) -> list[int]:
        """Which of these conversations will not be read any more."""
        return [flow for flow in flows if self._state[flow] == CLOSED]

    def open_packets(self, flow: int) -> list[int]:
        """Packets with which messages of exchanges that are not over began, and end so far."""
        found: HttpConnection | tuple[Any, ...] | None = self._open.peek(flow)
        return [] if found is None else open_packets(found)

    def marks(self, batch: Batch, start: Start) -> Bools:  # noqa: ARG002 - others look at the batch
        """Segments with which the reading of a conversation may begin."""
        letter = start.word >> 24
        capital = (letter >= ord("A")) & (letter <= ord("Z"))
        marks: Bools = among(start.word, _START_WORDS)
        marks |= start.first & ((start.segments.seq != 1) | capital)
        return marks

    def columns(self, found: list[tuple[int, Any]]) -> Columns:
        """Flows and exchanges to rows."""
        return exchange_columns(found)
