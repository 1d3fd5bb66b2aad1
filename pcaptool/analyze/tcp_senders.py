"""What senders did, as columns: causes of repetitions, windows, gaps, and what each direction waited for.

Knows: how columns become the kernel's rows, and its output becomes columns. Must not know: the rules
(`analyze.sender_kernel`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pcaptool.analyze import gather_kernel as gk
from pcaptool.analyze import sender_kernel as nk
from pcaptool.analyze import tcp_kernel as tk
from pcaptool.analyze.take import Ints, grown, index, masked, plain, runs
from pcaptool.engine import Engine
from pcaptool.tables.columns import Columns, Masked, Texts, row_count
from pcaptool.tables.tcp_analysis import CAUSES

__all__ = ["FLOW_COLUMNS", "LIMITS", "Senders"]

LIMITS = ("idle", "application", "rwnd", "cwnd")
_SPENT = ("idle_ns", "application_limited_ns", "rwnd_limited_ns", "cwnd_limited_ns")
_COUNTED = ((nk.C_RTO, "rtos"), (nk.C_FAST, "fast_retransmissions"), (nk.C_TLP, "tlps"))

# Columns of the flows table that following the senders makes.
FLOW_COLUMNS = frozenset(
    f"{what}_{side}"
    for what in (*(name for _, name in _COUNTED), "needless_retransmissions", *_SPENT, "limited_by")
    for side in ("fwd", "rev")
)


class Senders:
    """Follows the senders of all segments.

    Parameters
    ----------
    engine : Engine, optional
        How the kernel runs; plain Python without it.
    fills : bool
        Whether columns of the tcp table are wanted.
    """

    def __init__(self, engine: Engine | None = None, *, fills: bool = True) -> None:
        engine = engine or Engine("plain")
        self._fills = fills
        self._kernel = engine.function(nk.__name__, "follow")
        self._gather = engine.flat(gk.__name__, "extras")
        self._hello = np.zeros((1024, 2, nk.H_WIDTH), np.int64)
        self._slots = np.zeros(1024, np.int32)
        self._state = np.zeros((1024, nk.WIDTH), np.int64)
        self._again = np.zeros((64, nk.AGAIN_WIDTH), np.int64)
        self._used = np.zeros(2, np.int64)

    def feed(self, tcp: Columns, at: Ints, rows: Ints, found: Ints) -> Ints:
        """Adds columns to a batch's tcp table.

        Parameters
        ----------
        tcp : Columns
        at : int64 array
            Row of the tcp table of each segment.
        rows, found : int64 arrays
            Input and output of `tcp_kernel.analyze`.

        Returns
        -------
        int64 array
            What both sides wait for behind each segment (`sender_kernel`'s OUT_WAITS).
        """
        self._room(int(rows[tk.IN_STREAM].max(initial=-1)))
        out = np.empty((nk.OUT_WIDTH, rows.shape[1]), np.int64)
        extra, done = np.empty((nk.X_WIDTH, len(at)), np.int64), 0
        self._gather(at, _fields(tcp), extra)
        while True:
            known = (self._hello, self._slots, self._state, self._again, self._used)
            done = self._kernel(rows, found, extra, done, *known, out)
            if done == rows.shape[1]:
                break
            self._state = grown(self._state, int(self._used[0]))
            self._again = grown(self._again, int(self._used[1]))
        if self._fills:
            _fill(tcp, at, out)
        waits: Ints = out[nk.OUT_WAITS]
        return waits

    def flow_columns(self, streams: Ints) -> Columns:
        """Columns of the flows table; `streams` is each flow's TCP number, -1 for UDP."""
        self._room(int(streams.max(initial=-1)))
        slots = np.where(streams >= 0, self._slots[np.maximum(streams, 0)], 0)
        state = self._state[np.maximum(slots - 1, 0)]
        state[slots == 0] = 0
        again = self._again[np.maximum(state[:, nk.AGAIN] - 1, 0), :]
        again[state[:, nk.AGAIN] == 0] = 0
        columns: Columns = {}
        for side, name in ((0, "fwd"), (1, "rev")):
            place = side * nk.AGAIN_SIDE_WIDTH
            for cause, what in _COUNTED:
                columns[f"{what}_{name}"] = again[:, place + nk.COUNTED + cause].astype("u4")
            columns[f"needless_retransmissions_{name}"] = again[:, place + nk.NEEDLESS].astype("u4")
            begin = side * nk.SIDE_WIDTH + nk.SPENT + nk.IDLE
            spent = state[:, begin : begin + nk.CONGESTION + 1 - nk.IDLE]
            for k, what in enumerate(_SPENT):
                columns[f"{what}_{name}"] = spent[:, k].copy()
            most = np.where(spent.max(axis=1) > 0, spent.argmax(axis=1), -1)
            columns[f"limited_by_{name}"] = Texts(most.astype(np.int32), LIMITS)
        return columns

    def _room(self, stream: int) -> None:
        self._hello, self._slots = grown(self._hello, stream), grown(self._slots, stream)


def _fill(tcp: Columns, at: Ints, out: Ints) -> None:
    """Columns of a batch's tcp table."""
    height = row_count(tcp["n"])
    wide = out
    if not isinstance(index(at, height), slice):
        wide = np.zeros((nk.OUT_WIDTH, height), np.int64)
        wide[nk.OUT_GAP] = -1
        wide[:, at] = out
    tcp["retransmission_cause"] = Texts((wide[nk.OUT_CAUSE] - 1).astype(np.int32), CAUSES)
    tcp["pacing_gap_ns"] = Masked(wide[nk.OUT_GAP].copy(), wide[nk.OUT_GAP] >= 0)
    for name, column, dtype in (
        ("needless_n", nk.OUT_NEEDLESS, "u4"),
        ("cwnd_estimate_bytes", nk.OUT_CWND, "u4"),
        ("gso_segments", nk.OUT_SEGMENTS, "u2"),
    ):
        tcp[name] = Masked(wide[column].astype(dtype), wide[column] > 0)


def _fields(tcp: Columns) -> tuple[npt.NDArray[Any], ...]:
    """As `gather_kernel.extras` wants them."""
    tsval, known = masked(tcp, "options_timestamp_tsval")
    offsets, left = runs(tcp, "options_sack_le")
    return (
        *(tsval, masked(tcp, "options_timestamp_tsecr")[0], known, *masked(tcp, "options_mss_val")),
        *(plain(tcp, "options_sack_perm"), plain(tcp, "ack_raw")),
        *(offsets, left, runs(tcp, "options_sack_re")[1]),
    )
