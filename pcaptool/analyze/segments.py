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

from pcaptool.analyze import stream_kernel as sk
from pcaptool.analyze.take import Ints, grown, masked, plain
from pcaptool.decode.batch import Batch
from pcaptool.engine import Engine
from pcaptool.tables.columns import Columns, row_count
from pcaptool.wire.tcp import TcpFlag

__all__ = ["FIN", "RST", "Bools", "Row", "SegmentAnalysis", "Segments", "Start", "segments_of"]

FIN, RST = int(TcpFlag.FIN), int(TcpFlag.RST)
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
    table: Ints  # the same: one row for each of its columns
    at: Ints  # row of each in the tcp table
    word: Ints  # first four payload bytes as a number, zero where there are fewer
    first: Bools  # first data of its side of its flow
    first_n: npt.NDArray[np.uint32]  # of each flow and side, packet with its first data so far; 0: none


class SegmentAnalysis:
    """Leaves the segments of each batch in its notes, for the analyses behind it.

    Parameters
    ----------
    engine : Engine, optional
        How the kernel runs; plain Python without it.
    """

    reads_bytes = True
    needs: dict[str, tuple[str, ...]] = {  # noqa: RUF012 - the protocol has it on the instance
        "packets": ("ts", "cap_len"),
        "tcp": ("n", "ack_raw", "flags", "len", "payload_offset", "flow", "fwd", "seq", "ack"),
    }

    def __init__(self, engine: Engine | None = None) -> None:
        self._gather = (engine or Engine("plain")).flat(sk.__name__, "segments")
        self._first_n = np.zeros((1024, 2), np.uint32)

    def feed(self, batch: Batch) -> dict[str, Columns]:
        """Adds to the batch's notes."""
        tcp, packets = batch.tables.get("tcp"), batch.tables["packets"]
        if not tcp:
            return {}
        (flow, known), (forward, _), (seq, _), (ack, _) = (
            masked(tcp, name) for name in ("flow", "fwd", "seq", "ack")
        )
        n, height = plain(tcp, "n"), row_count(tcp["n"])
        self._first_n = grown(self._first_n, int(flow.max(initial=0)))
        at, out = np.empty(height, np.int64), np.empty((sk.WIDTH, height), np.int64)
        count = self._gather(
            batch.data,
            batch.first_n,
            batch.offsets,
            (plain(packets, "ts"), plain(packets, "cap_len")),
            (
                n,
                plain(tcp, "flags"),
                *masked(tcp, "len"),
                plain(tcp, "payload_offset"),
                flow,
                known,
                forward,
                seq,
                ack,
            ),
            self._first_n,
            at,
            out,
        )
        if count:
            columns = out[:, :count]
            segments = Segments(*columns[: sk.COLUMNS])
            batch.notes[_NOTE] = Start(
                segments,
                columns[: sk.COLUMNS],
                at[:count],
                columns[sk.WORD],
                columns[sk.FIRST] > 0,
                self._first_n,
            )
        return {}

    def finish(self) -> dict[str, Columns]:
        """No rows of its own."""
        return {}


def segments_of(batch: Batch, own: SegmentAnalysis) -> Start | None:
    """The segments that were left in a batch's notes; where nobody did, `own` works them out."""
    if _NOTE not in batch.notes:
        own.feed(batch)
    start: Start | None = batch.notes.get(_NOTE)
    return start
