"""TCP analysis: Wireshark's `tcp.analysis.*` as columns, and each flow's sum of it.

Knows: how columns become the kernel's rows, and its output becomes columns; the room for its state.
Must not know: the rules (`analyze.tcp_kernel`, `analyze.tcp44_kernel`), which conversation a segment belongs to
(`analyze.flows`).
What follows from its output: `analyze.tcp_sums` (each flow's sums), `analyze.tcp_senders` (what senders did).
Memory: 53 * 8 bytes a TCP conversation, 40 bytes a segment that is not acknowledged.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pcaptool.analyze import gather_kernel as gk
from pcaptool.analyze import tcp44_kernel as tk44
from pcaptool.analyze import tcp_kernel as tk
from pcaptool.analyze.selection import Selection, select
from pcaptool.analyze.take import Ints, grown, index, masked, plain, runs
from pcaptool.analyze.tcp_senders import FLOW_COLUMNS, Senders
from pcaptool.analyze.tcp_sums import FlowSums
from pcaptool.engine import Engine
from pcaptool.tables import TIMINGS
from pcaptool.tables.columns import Columns, Lists, Masked, row_count
from pcaptool.tables.tcp_analysis import TCP_ANALYSIS, TCP_CONVERSATION, TCP_FLAGS, TCP_NUMBERS, TCP_SENDER

__all__ = ["Followed", "TcpAnalyzer"]

# Columns of the tcp table that the kernel's output makes, that following the senders makes, and flow sums.
_FILLED = frozenset(column.name for column in (*TCP_NUMBERS, *TCP_ANALYSIS)) - {"stream", "fwd", "seq", "ack"}
_SENDER = frozenset(column.name for column in TCP_SENDER)
_SUMS = frozenset(column.name for column in TCP_CONVERSATION) - FLOW_COLUMNS

FIRST_CAPACITY = 1024
MASK32 = 0xFFFFFFFF


class Followed(NamedTuple):
    """What the kernels found out about the segments of a batch, in the order of their packets."""

    at: Ints  # row of the tcp table
    rows: Ints  # `tcp_kernel`'s input
    found: Ints  # its output
    waits: Ints  # OUT_WAITS of `sender_kernel`


class TcpAnalyzer:
    """Runs the kernel over the segments of each batch.

    Parameters
    ----------
    engine : Engine, optional
        How the kernel runs; plain Python without it.
    chosen : Selection, optional
        What is wanted of it; all without.

    Attributes
    ----------
    wanted : bool
        Whether anything is; else `feed` need not be called.
    """

    needs: tuple[str, ...] = (
        *("ack_raw", "flags", "window_size_value", "options_wscale_shift"),
        *("options_sack_le", "options_sack_re", "options_mptcp_subtypes"),
    )

    def __init__(self, engine: Engine | None = None, chosen: Selection | None = None) -> None:
        chosen, engine = chosen or select(), engine or Engine("plain")
        self._later = chosen.tcp_rules == "4.4"
        kernel, width = (tk44, tk44.WIDTH) if self._later else (tk, tk.WIDTH)
        self._kernel = engine.function(kernel.__name__, "analyze")
        self._gather = engine.flat(gk.__name__, "segments")
        self._state = np.zeros((FIRST_CAPACITY, width), np.int64)
        self._segments = np.zeros((0, tk.SEG_WIDTH), np.int64)
        self._free = np.full(1, -1, np.int64)
        self._chosen = chosen
        self._fills = chosen.wants("tcp", _FILLED)
        self._sums = FlowSums(engine) if chosen.wants("flows", _SUMS) else None
        self._timed = TIMINGS.name in chosen.tables
        fills = chosen.wants("tcp", _SENDER)
        followed = fills or chosen.wants("flows", FLOW_COLUMNS) or self._timed
        self._senders = Senders(engine, fills=fills) if followed else None
        self.wanted = bool(self._fills or self._sums or self._senders)

    def feed(self, tcp: Columns, headers: Ints, conversations: Ints, tcp_rows: Ints) -> Followed | None:
        """Adds the analysis columns to a batch's tcp table; what `timings` needs of it, where that is wanted.

        Parameters
        ----------
        tcp : Columns
        headers, conversations : int64 arrays
            Input and output of `flow_kernel.track`.
        tcp_rows : int64 array
            For each of these the row of the tcp table, -1 for another protocol.
        """
        at, rows = self._rows(tcp, headers, conversations, tcp_rows)
        height = rows.shape[1]
        out = np.empty((tk.OUT_WIDTH, height), np.int64)
        done = self._kernel(rows, 0, self._state, self._segments, self._free, out)
        while done < height:
            self._grow(int(rows[tk.IN_STREAM, done]))
            done = self._kernel(rows, done, self._state, self._segments, self._free, out)
        if self._fills:
            _fill(tcp, at, rows, out, self._chosen)
        if self._sums is not None:
            self._sums.add(rows, out)
        if self._senders is None:
            return None
        waits = self._senders.feed(tcp, at, rows, out)
        return Followed(at, rows, out, waits) if self._timed else None

    def _rows(self, tcp: Columns, headers: Ints, conversations: Ints, tcp_rows: Ints) -> tuple[Ints, Ints]:
        """Which rows of the tcp table belong to conversations, and the kernel's rows."""
        most = len(tcp_rows)
        at, rows = np.empty(most, np.int64), np.empty((tk.IN_WIDTH, most), np.int64)
        offsets, left = runs(tcp, "options_sack_le")
        _, right = runs(tcp, "options_sack_re")
        window, scale = plain(tcp, "window_size_value"), masked(tcp, "options_wscale_shift")
        fields = (window, *scale, offsets, left, right, *runs(tcp, "options_mptcp_subtypes"))
        count = self._gather(headers, conversations, tcp_rows, fields, at, rows)
        if count < most:
            at, rows = at[:count], np.ascontiguousarray(rows[:, :count])
        return at, _rows_44(tcp, at, rows) if self._later else rows

    def flow_columns(self, streams: Ints, last_ts: Ints) -> Columns:
        """Columns of the flows table.

        Parameters
        ----------
        streams : int64 array
            Each flow's TCP number, -1 for UDP.
        last_ts : int64 array
            Time of each flow's last packet.
        """
        found: Columns = {}
        if self._sums is not None:
            found |= self._sums.flow_columns(streams, last_ts)
        if self._senders is not None:
            found |= self._senders.flow_columns(streams)
        return found

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


def _rows_44(tcp: Columns, at: Ints, basic: Ints) -> Ints:
    """Those of `tcp_kernel`, with all SACK blocks in the sum, and their edges."""
    rows = np.full((tk44.ROW_WIDTH, len(at)), -1, np.int64)
    rows[: tk.IN_WIDTH] = basic
    left, right = tcp["options_sack_le"], tcp["options_sack_re"]
    if not isinstance(left, Lists) or not isinstance(right, Lists):
        raise TypeError("SACK edges are lists")
    rows[tk.IN_SACK] = _sacked(tcp, tk44.BLOCKS)[at]
    counts = np.minimum(np.diff(left.offsets), np.diff(right.offsets))[at]
    for k in range(tk44.BLOCKS):
        with_block = np.flatnonzero(counts > k)
        for edge, side in enumerate((left, right)):
            values = side.values[side.offsets[:-1][at[with_block]] + k]
            rows[tk44.IN_EDGES + 2 * k + edge, with_block] = values
    return rows


def _sacked(tcp: Columns, blocks: int) -> Ints:
    """Bytes in the first SACK blocks of each row."""
    left, right = tcp["options_sack_le"], tcp["options_sack_re"]
    if not isinstance(left, Lists) or not isinstance(right, Lists):
        raise TypeError("SACK edges are lists")
    begin = left.offsets[:-1].astype(np.int64)
    counts = np.minimum(np.diff(left.offsets), np.diff(right.offsets))
    sizes = np.zeros(len(counts), np.int64)
    if len(left.values):
        for k in range(blocks):
            at = np.flatnonzero(counts > k)
            here = begin[at] + k
            there = right.offsets[:-1].astype(np.int64)[at] + k
            sizes[at] += (right.values[there].astype(np.int64) - left.values[here].astype(np.int64)) & MASK32
    return sizes


def _among(height: int, at: Ints, values: Any) -> Any:
    """Values at these places (of the last axis) of an array of zeros."""
    out = np.zeros((*values.shape[:-1], height), values.dtype)
    out[..., at] = values
    return out


def _fill(tcp: Columns, at: Ints, rows: Ints, out: Ints, chosen: Selection) -> None:
    height = row_count(tcp["n"])
    wide, here, syn = out, np.ones(out.shape[1], np.bool_), rows[tk.IN_FLAGS] & tk.SYN != 0
    if not isinstance(index(at, height), slice):
        wide, here, syn = (_among(height, at, values) for values in (wide, here, syn))

    def some(column: int, dtype: str, valid: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Masked:
        return Masked(wide[column].astype(dtype), valid)

    flags = wide[tk.OUT_FLAGS].astype(np.int32)
    repeats = flags & (tk.RETRANSMISSION | tk.FAST | tk.SPURIOUS) != 0
    for bit, flag in enumerate(TCP_FLAGS):
        if chosen.wants("tcp", (flag.name,)):
            tcp[flag.name] = repeats if bit == 0 else flags & (1 << bit) != 0
    scale = wide[tk.OUT_SCALE]
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
        if not chosen.wants("tcp", (f"analysis_{name}",)):
            continue
        valid = wide[column] != 0
        if column == tk.OUT_DUP_FRAME:
            valid = flags & tk.DUPLICATE_ACK != 0
        tcp[f"analysis_{name}"] = some(column, kind, valid)
