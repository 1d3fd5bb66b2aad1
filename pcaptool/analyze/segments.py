"""The stream segments of a batch: TCP rows that carry data, FIN or RST, as arrays.

Knows: how columns of a batch become positions in the two byte streams of a flow, and which segment is the first
data of its side. Must not know: what the bytes mean.
Several analyses read streams; the segments are worked out once a batch and left in its notes.
Memory: 8 bytes a flow.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pcaptool.analyze.take import Ints, distinct, integers
from pcaptool.decode.batch import Batch
from pcaptool.tables.columns import Columns
from pcaptool.wire.tcp import SEQ_MASK, TcpFlag

__all__ = ["FIN", "RST", "Bools", "Row", "SegmentAnalysis", "Segments", "Start", "segments_of"]

FIN, SYN, RST = int(TcpFlag.FIN), int(TcpFlag.SYN), int(TcpFlag.RST)
_NOTE = "segments"

Bools = npt.NDArray[np.bool_]


class Segments(NamedTuple):
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


class Row(NamedTuple):
    """One of `Segments`."""

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


class Start(NamedTuple):
    """What the segments of a batch begin with."""

    segments: Segments
    at: Ints  # row of each in the tcp table
    word: Ints  # first four payload bytes as a number, zero where there are fewer
    first: Bools  # first data of its side of its flow
    first_n: npt.NDArray[np.uint32]  # of each flow and side, packet with its first data so far; 0: none


class SegmentAnalysis:
    """Leaves the segments of each batch in its notes, for the analyses behind it."""

    reads_bytes = True
    needs: dict[str, tuple[str, ...]] = {  # noqa: RUF012 - the protocol has it on the instance
        "packets": ("ts", "cap_len"),
        "tcp": ("n", "ack_raw", "flags", "len", "payload_offset", "flow", "fwd", "seq", "ack"),
    }

    def __init__(self) -> None:
        self._first_n = np.zeros((1024, 2), np.uint32)

    def feed(self, batch: Batch) -> dict[str, Columns]:
        """Adds to the batch's notes."""
        if not batch.tables.get("tcp"):
            return {}
        segments, at = _segments(batch)
        if len(segments.flow):
            first = self._first_data(segments)
            word = _first_word(batch.data, segments)
            batch.notes[_NOTE] = Start(segments, at, word, first, self._first_n)
        return {}

    def finish(self) -> dict[str, Columns]:
        """No rows of its own."""
        return {}

    def _first_data(self, segments: Segments) -> Bools:
        """Which rows are the first data of their side of their conversation."""
        highest = int(segments.flow.max())
        if highest >= len(self._first_n):
            grown = np.zeros((max(highest + 1, 2 * len(self._first_n)), 2), np.uint32)
            grown[: len(self._first_n)] = self._first_n
            self._first_n = grown
        first = np.zeros(len(segments.flow), np.bool_)
        at = np.flatnonzero((segments.size > 0) & (self._first_n[segments.flow, segments.side] == 0))
        _, where, _ = distinct(segments.flow[at] * 2 + segments.side[at])
        first[at[where]] = True
        where = at[where]
        self._first_n[segments.flow[where], segments.side[where]] = segments.n[where]
        return first


def segments_of(batch: Batch, own: SegmentAnalysis) -> Start | None:
    """The segments that were left in a batch's notes; where nobody did, `own` works them out."""
    if _NOTE not in batch.notes:
        own.feed(batch)
    start: Start | None = batch.notes.get(_NOTE)
    return start


def _segments(batch: Batch) -> tuple[Segments, Ints]:
    tcp, packets = batch.tables["tcp"], batch.tables["packets"]
    flow, size, flags = integers(tcp, "flow"), integers(tcp, "len"), integers(tcp, "flags")
    at = np.flatnonzero((flow >= 0) & ((size > 0) | ((size == 0) & (flags & (FIN | RST) != 0))))
    n, flags, size = integers(tcp, "n")[at], flags[at], size[at]
    packet = n - batch.first_n
    offset = integers(tcp, "payload_offset")[at]
    size = np.where(flags & RST != 0, 0, size)  # a reset's text (RFC 9293 section 3.5.3) is no stream data
    captured = np.clip(integers(packets, "cap_len")[packet] - offset, 0, size)
    found = Segments(
        flow=flow[at],
        side=1 - integers(tcp, "fwd")[at],
        seq=(integers(tcp, "seq")[at] + (flags & SYN != 0)) & SEQ_MASK,
        ack=integers(tcp, "ack")[at],
        flags=flags,
        size=size,
        captured=captured,
        start=batch.offsets[packet] + offset,
        n=n,
        ts=integers(packets, "ts")[packet],
    )
    return found, at


def _first_word(data: npt.NDArray[np.uint8], segments: Segments) -> Ints:
    """The first four payload bytes as a number, zero where there are fewer."""
    word = np.zeros(len(segments.flow), np.int64)
    last = len(data) - 1
    for k in range(4):
        byte = data[np.minimum(segments.start + k, last)].astype(np.int64)
        word = (word << 8) | np.where(segments.captured > k, byte, 0)
    return word
