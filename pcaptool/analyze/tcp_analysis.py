"""TCP analysis: Wireshark's `tcp.analysis.*` as columns, and each flow's sum of it.

Knows: how columns become the kernel's rows, and its output becomes columns; the room for its state.
Must not know: the rules (`analyze.tcp_kernel`), which conversation a segment belongs to (`analyze.flows`).
What follows from its output: `analyze.tcp_sums` (each flow's sums), `analyze.tcp_senders` (what senders did).
Memory: 50 * 8 bytes a TCP conversation, 40 bytes a segment that is not acknowledged.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pcaptool.analyze import tcp_kernel as tk
from pcaptool.analyze.take import Ints, grown, index, integers
from pcaptool.analyze.tcp_senders import Senders
from pcaptool.analyze.tcp_sums import FlowSums
from pcaptool.engine import Engine
from pcaptool.tables.columns import Columns, Lists, Masked, row_count
from pcaptool.tables.tcp_analysis import TCP_FLAGS

__all__ = ["Segments", "TcpAnalyzer"]

FIRST_CAPACITY = 1024
MASK32 = 0xFFFFFFFF


class Segments(NamedTuple):
    """What `flows` found out about the segments of a batch; arrays of one length."""

    at: Ints  # row of the tcp table
    stream: Ints
    side: Ints
    n: Ints
    ts: Ints
    seq: Ints  # absolute
    base: Ints  # absolute number of its side's relative 0
    size: Ints  # -1 where not known
    reused: Ints


class TcpAnalyzer:
    """Runs the kernel over the segments of each batch.

    Parameters
    ----------
    engine : Engine, optional
        How the kernel runs; plain Python without it.
    """

    needs: tuple[str, ...] = (
        *("ack_raw", "flags", "window_size_value", "options_wscale_shift"),
        *("options_sack_le", "options_sack_re"),
    )

    def __init__(self, engine: Engine | None = None) -> None:
        self._kernel = engine.function(tk.__name__, "analyze") if engine else tk.analyze
        self._state = np.zeros((FIRST_CAPACITY, tk.WIDTH), np.int64)
        self._segments = np.zeros((0, tk.SEG_WIDTH), np.int64)
        self._free = np.full(1, -1, np.int64)
        self._sums = FlowSums(engine)
        self._senders = Senders(engine)

    def feed(self, tcp: Columns, found: Segments) -> None:
        """Adds the analysis columns to a batch's tcp table."""
        rows = _rows(tcp, found)
        out = np.zeros((len(rows), tk.OUT_WIDTH), np.int64)
        done = self._kernel(rows, 0, self._state, self._segments, self._free, out)
        while done < len(rows):
            self._grow(int(rows[done, tk.IN_STREAM]))
            done = self._kernel(rows, done, self._state, self._segments, self._free, out)
        _fill(tcp, found.at, rows, out)
        self._sums.add(rows, out)
        self._senders.feed(tcp, found.at, rows, out)

    def flow_columns(self, streams: Ints, last_ts: Ints) -> Columns:
        """Columns of the flows table.

        Parameters
        ----------
        streams : int64 array
            Each flow's TCP number, -1 for UDP.
        last_ts : int64 array
            Time of each flow's last packet.
        """
        return self._sums.flow_columns(streams, last_ts) | self._senders.flow_columns(streams)

    def _grow(self, stream: int) -> None:
        """Room for the conversation and the segment that the kernel stopped at."""
        self._room(stream)
        if self._free[0] >= 0:
            return
        used = len(self._segments)
        more = np.zeros((max(used, FIRST_CAPACITY), tk.SEG_WIDTH), np.int64)
        more[:, tk.SEG_OLDER] = np.arange(used + 1, used + 1 + len(more))
        more[-1, tk.SEG_OLDER] = -1
        self._segments = np.concatenate([self._segments, more])
        self._free[0] = used

    def _room(self, stream: int) -> None:
        self._state = grown(self._state, stream)


def _rows(tcp: Columns, found: Segments) -> Ints:
    rows = np.zeros((len(found.at), tk.IN_WIDTH), np.int64)
    at = index(found.at, row_count(tcp["n"]))
    for column, values in (
        (tk.IN_STREAM, found.stream),
        (tk.IN_SIDE, found.side),
        (tk.IN_N, found.n),
        (tk.IN_TS, found.ts),
        (tk.IN_SEQ, found.seq),
        (tk.IN_BASE, found.base),
        (tk.IN_SIZE, found.size),
        (tk.IN_REUSED, found.reused),
        (tk.IN_ACK, integers(tcp, "ack_raw")[at]),
        (tk.IN_FLAGS, integers(tcp, "flags")[at]),
        (tk.IN_WINDOW, integers(tcp, "window_size_value")[at]),
        (tk.IN_WSCALE, integers(tcp, "options_wscale_shift")[at]),
        (tk.IN_SACK, _sacked(tcp)[at]),
    ):
        rows[:, column] = values
    return rows


def _sacked(tcp: Columns) -> Ints:
    """Bytes in the first three SACK blocks of each row."""
    left, right = tcp["options_sack_le"], tcp["options_sack_re"]
    if not isinstance(left, Lists) or not isinstance(right, Lists):
        raise TypeError("SACK edges are lists")
    begin = left.offsets[:-1].astype(np.int64)
    counts = np.minimum(np.diff(left.offsets), np.diff(right.offsets))
    sizes = np.zeros(len(counts), np.int64)
    if len(left.values):
        for k in range(3):
            at = np.flatnonzero(counts > k)
            here = begin[at] + k
            there = right.offsets[:-1].astype(np.int64)[at] + k
            sizes[at] += (right.values[there].astype(np.int64) - left.values[here].astype(np.int64)) & MASK32
    return sizes


def _among(height: int, at: Ints, values: Any) -> Any:
    """Values at these rows of an array of zeros."""
    out = np.zeros((height, *values.shape[1:]), values.dtype)
    out[at] = values
    return out


def _fill(tcp: Columns, at: Ints, rows: Ints, out: Ints) -> None:
    height = row_count(tcp["n"])
    wide, here, syn = out, np.ones(len(out), np.bool_), rows[:, tk.IN_FLAGS] & tk.SYN != 0
    if not isinstance(index(at, height), slice):
        wide, here, syn = (_among(height, at, values) for values in (wide, here, syn))

    def some(column: int, dtype: str, valid: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Masked:
        return Masked(wide[:, column].astype(dtype), valid)

    flags = wide[:, tk.OUT_FLAGS]
    repeats = flags & (tk.RETRANSMISSION | tk.FAST | tk.SPURIOUS) != 0
    for bit, flag in enumerate(TCP_FLAGS):
        tcp[flag.name] = repeats if bit == 0 else flags & (1 << bit) != 0
    scale = wide[:, tk.OUT_SCALE]
    factor = np.where(scale >= 0, np.left_shift(1, np.clip(scale, 0, 14)), scale)
    tcp["window_size"] = some(tk.OUT_WINDOW, "u4", here)
    tcp["window_size_scalefactor"] = Masked(factor.astype("i4"), here & ~syn)
    tcp["completeness"] = some(tk.OUT_COMPLETENESS, "u1", here)
    for name, kind, column in (
        ("duplicate_ack_num", "u4", tk.OUT_DUP_NUM),
        ("duplicate_ack_frame", "u4", tk.OUT_DUP_FRAME),
        ("bytes_in_flight", "u4", tk.OUT_BIF),
        ("push_bytes_sent", "u4", tk.OUT_PUSH),
        ("acks_frame", "u4", tk.OUT_ACKS_FRAME),
        ("ack_rtt_ns", "i8", tk.OUT_ACK_RTT),
        ("initial_rtt_ns", "i8", tk.OUT_INITIAL_RTT),
        ("rto_ns", "i8", tk.OUT_RTO),
        ("rto_frame", "u4", tk.OUT_RTO_FRAME),
    ):
        valid = wide[:, column] != 0
        if column == tk.OUT_DUP_FRAME:
            valid = flags & tk.DUPLICATE_ACK != 0
        tcp[f"analysis_{name}"] = some(column, kind, valid)
