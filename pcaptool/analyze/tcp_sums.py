"""Each flow's sums of TCP analysis, and quantiles of its round-trip times.

Knows: how the kernel's counts become columns. Must not know: what is counted (`analyze.sums_kernel`).
Memory: 256 bytes a TCP flow; for each direction with more than 2 measured times 48 more, with more than 8 864.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pcaptool.analyze import sums_kernel as sk
from pcaptool.analyze import tcp_kernel as tk
from pcaptool.analyze.take import Ints, grown
from pcaptool.engine import Engine
from pcaptool.tables.columns import Columns, Masked

__all__ = ["FlowSums"]

_COUNTS = (
    (sk.REXMIT, "u4", "retransmissions"),
    (sk.REXMIT_BYTES, "u8", "retransmitted_bytes"),
    (sk.REORDERED, "u4", "out_of_order"),
    (sk.REORDERED_BYTES, "u8", "out_of_order_bytes"),
    (sk.LOSTS, "u4", "lost_segments"),
    (sk.DUPLICATES, "u4", "duplicate_acks"),
    (sk.ZEROS, "u4", "zero_windows"),
    (sk.RTTS, "u4", "rtts"),
)


class FlowSums:
    """Adds up batches.

    Parameters
    ----------
    engine : Engine, optional
        How the kernel runs; plain Python without it.
    """

    def __init__(self, engine: Engine | None = None) -> None:
        self._kernel = engine.function(sk.__name__, "add") if engine else sk.add
        self._sums = np.zeros((1024, 2, sk.WIDTH), np.int64)
        self._pool = np.zeros((64, sk.BINS), np.uint32)
        self._more = np.zeros((64, sk.MORE), np.int64)
        self._used = np.zeros(2, np.int64)

    def add(self, rows: Ints, out: Ints) -> None:
        """Add a batch: input and output of `tcp_kernel.analyze`."""
        if not rows.shape[1]:
            return
        self._sums = grown(self._sums, int(rows[tk.IN_STREAM].max()))
        done = 0
        while True:
            done = self._kernel(rows, out, done, self._sums, self._more, self._pool, self._used)
            if done == rows.shape[1]:
                break
            self._pool = grown(self._pool, int(self._used[0]))
            self._more = grown(self._more, int(self._used[1]))

    def flow_columns(self, streams: Ints, last_ts: Ints) -> Columns:
        """Columns of the flows table; `streams` is each flow's TCP number, -1 for UDP."""
        self._sums = grown(self._sums, int(streams.max(initial=-1)))
        sums = self._sums[np.maximum(streams, 0)]
        sums[streams < 0] = 0
        columns: Columns = {}
        for side, name in ((0, "fwd"), (1, "rev")):
            mine = sums[:, side]
            for column, kind, what in _COUNTS:
                columns[f"{what}_{name}"] = mine[:, column].astype(kind)
            closed = np.where(mine[:, sk.CLOSED_SINCE] > 0, last_ts - mine[:, sk.CLOSED_SINCE], 0)
            columns[f"zero_window_ns_{name}"] = mine[:, sk.ZERO_NS] + np.maximum(closed, 0)
            measured = mine[:, sk.RTTS] > 0
            mean = mine[:, sk.RTT_SUM] // np.maximum(mine[:, sk.RTTS], 1)
            columns[f"rtt_min_ns_{name}"] = Masked(mine[:, sk.RTT_MIN].copy(), measured)
            columns[f"rtt_mean_ns_{name}"] = Masked(mean, measured)
            columns[f"rtt_median_ns_{name}"] = Masked(quantile(mine, self._more, self._pool, 50), measured)
            columns[f"rtt_p95_ns_{name}"] = Masked(quantile(mine, self._more, self._pool, 95), measured)
            columns[f"rtt_max_ns_{name}"] = Masked(mine[:, sk.RTT_MAX].copy(), measured)
        return columns


def quantile(sums: Ints, more: Ints, pool: npt.NDArray[np.uint32], percent: int) -> Ints:
    """The least measured time that `percent` of a direction's do not exceed; 0 where it has none.

    Parameters
    ----------
    sums : (directions, WIDTH) int64
        The kernel's rows.
    more : (room, MORE) int64
    pool : (room, BINS) uint32
    percent : int

    Returns
    -------
    int64 array
        Exact for up to EXACT measured times; else the middle of a bucket, within the least and greatest.
    """
    count = sums[:, sk.RTTS]
    rank = -(-count * percent // 100)  # from 1
    several = (count > sk.OWN) & (count <= sk.EXACT)
    further = more[np.where(several, sums[:, sk.POOL], 0)]
    exact = np.concatenate([sums[:, sk.FIRST : sk.FIRST + sk.OWN], further], axis=1)
    exact[np.arange(sk.EXACT) >= count[:, None]] = np.iinfo(np.int64).max
    exact.sort(axis=1)
    place = np.clip(rank - 1, 0, sk.EXACT - 1)
    out: Ints = np.where(count > 0, exact[np.arange(len(sums)), place], 0)
    many = np.flatnonzero(count > sk.EXACT)
    for part in np.array_split(
        many, max(len(many) // 4096, 1)
    ):  # a running sum of all would take much memory
        below = np.cumsum(pool[sums[part, sk.POOL]], axis=1, dtype=np.int64)
        bucket = (below < rank[part, None]).sum(axis=1)
        out[part] = np.clip(_middles()[bucket], sums[part, sk.RTT_MIN], sums[part, sk.RTT_MAX])
    return out


def _middles() -> Ints:
    """The time in the middle of each bucket."""
    k = np.arange(8, dtype=np.int64)
    linear = (k << (sk.LINEAR_BITS - 3)) + (1 << (sk.LINEAR_BITS - 4))
    octaves = [((8 + k) << (o - 3)) + (1 << (o - 4)) for o in range(sk.LINEAR_BITS, sk.LINEAR_BITS + 26)]
    return np.concatenate([linear, *octaves])
