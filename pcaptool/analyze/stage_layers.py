"""How long each frame of a sending host was in each of its layers, by the `stages` table of a run.

Knows: that a frame is in the layer of its last stage until its next one; which recorded frames are those of a
capture: same number, same sequence number, same payload.
Must not know: how stages were recorded; exchanges.
A stage that a record lacks (the kernel has tracepoints at a few places only) counts to the layer before it.
Memory: some 100 bytes a recorded frame, all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pcaptool.analyze.take import Ints, integers
from pcaptool.tables.columns import Columns, Lists, Masked, Texts, row_count
from pcaptool.tables.timings import LAYERS

__all__ = ["StageLayers"]

_LAYER_OF = {stage: k for k, stages in enumerate(LAYERS.values()) for stage in stages}


@dataclass(slots=True)
class _Host:
    """Frames that a host sent, in the order of their numbers."""

    name: str
    n: Ints
    seq: Ints
    size: Ints
    spent: Ints  # (frames, layers) ns
    flow: Ints  # -1 until the capture has shown it
    side: Ints
    agreed: int = 0
    differed: int = 0


class StageLayers:
    """Recorded frames, matched with those of a capture as its batches pass.

    Parameters
    ----------
    stages : Columns
        The table `stages`.

    Examples
    --------
    >>> stages = {
    ...     "host": Texts(np.zeros(2, "i4"), ["server"]),
    ...     "stage": Texts(np.array([0, 1], "i4"), ["tcp_write_xmit", "net_dev_queue"]),
    ...     "ts": np.array([100, 130]), "n": np.array([7, 7]), "seq_raw": np.array([1, 1]),
    ...     "payload_bytes": np.array([9, 9]),
    ... }
    >>> layers = StageLayers(stages)
    >>> n, seq, size, flow, side = (np.array([value]) for value in (7, 1, 9, 0, 1))
    >>> layers.match(n, seq, size, flow, side)
    >>> count, first, total = layers.spent(0, 1, 7, 9)
    >>> count, dict(zip(LAYERS, first.tolist()))["tcp"]
    (1, 30)
    """

    def __init__(self, stages: Columns) -> None:
        self._stages = stages
        host = stages["host"]
        if not isinstance(host, Texts):
            raise TypeError("hosts are texts")
        self._hosts = [_host(stages, code, name) for code, name in enumerate(host.words)]

    def match(self, n: Ints, seq: Ints, size: Ints, flow: Ints, side: Ints) -> None:
        """Take the TCP segments of a batch, in the order of their numbers: arrays of one length."""
        for host in self._hosts:
            low, high = np.searchsorted(host.n, [n[0], n[-1] + 1]) if len(n) else (0, 0)
            mine = np.arange(low, high)
            place = np.searchsorted(n, host.n[mine])
            known = (place < len(n)) & (n[np.minimum(place, len(n) - 1)] == host.n[mine])
            mine, place = mine[known], place[known]
            same = (host.seq[mine] == seq[place]) & (host.size[mine] == size[place])
            host.agreed += int(same.sum())
            host.differed += int((~same).sum())
            host.flow[mine[same]], host.side[mine[same]] = flow[place[same]], side[place[same]]

    def spent(self, flow: int, side: int, first_n: int, last_n: int) -> tuple[int, Ints, Ints] | None:
        """Frames with data of a direction between two packets: how many, times of the first, sums over all.

        None where none of them was recorded, or not the first.
        """
        for host in self._hosts:
            low, high = np.searchsorted(host.n, [first_n, last_n + 1])
            here = slice(int(low), int(high))
            mine = (host.flow[here] == flow) & (host.side[here] == side) & (host.size[here] > 0)
            if mine.any() and host.n[here][mine][0] == first_n:
                spent = host.spent[here][mine]
                return len(spent), spent[0], spent.sum(axis=0)
        return None

    def own(self) -> Columns:
        """Rows of the hosts whose frames are all in the capture: those that `n` joins with its packets."""
        names = {host.name for host in self._hosts if host.agreed and not host.differed}
        host = self._stages["host"]
        if not isinstance(host, Texts):
            raise TypeError("hosts are texts")
        codes = [code for code, name in enumerate(host.words) if name in names]
        chosen = np.flatnonzero(np.isin(host.codes, codes))
        return {name: _rows(column, chosen) for name, column in self._stages.items()}


def _rows(column: Any, chosen: npt.NDArray[np.int64]) -> Any:
    match column:
        case Texts(codes, words):
            return Texts(codes[chosen], words)
        case Masked(values, valid):
            return Masked(values[chosen], valid[chosen])
        case Lists():
            raise TypeError("stages hold no lists")
        case _:
            return column[chosen]


def _host(stages: Columns, code: int, name: str) -> _Host:
    host, stage = stages["host"], stages["stage"]
    if not isinstance(host, Texts) or not isinstance(stage, Texts):
        raise TypeError("hosts and stages are texts")
    n, seq = integers(stages, "n"), integers(stages, "seq_raw")
    at = np.flatnonzero((host.codes == code) & (n >= 0) & (seq >= 0))
    at = at[np.lexsort((np.arange(len(at)), integers(stages, "ts")[at], n[at]))]
    n, ts = n[at], integers(stages, "ts")[at]
    layer_of = np.array([_LAYER_OF.get(word, -1) for word in stage.words] or [-1])
    layer = layer_of[stage.codes[at]]
    frames, begin, frame = np.unique(n, return_index=True, return_inverse=True)
    spent = np.zeros((len(frames), len(LAYERS)), np.int64)
    step = np.flatnonzero((n[1:] == n[:-1]) & (layer[:-1] >= 0))
    np.add.at(spent, (frame[step], layer[step]), ts[step + 1] - ts[step])
    sizes = integers(stages, "payload_bytes")[at]
    none = np.full(len(frames), -1, np.int64)
    if not row_count(stage):
        begin = np.zeros(0, np.int64)
    return _Host(name, frames, seq[at][begin], sizes[begin], spent, none, none.copy())
