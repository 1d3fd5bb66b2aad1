"""A capture in one quick pass: what can be said of each packet without decoding it.

Knows: how runs of packets go through the kernels, and which tables those share.
Must not know: the other side.
Must not load polars: the pass begins while that is being imported.
Memory: 59 bytes a packet, of long captures in files (`room`), and, for each flow, what `analyze.flow_kernel` holds;
never the packets' bytes.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pcaptool.analyze import flow_kernel as fk
from pcaptool.decode.dictionary import address_text
from pcaptool.decode.kernels.codes import F_IPV4
from pcaptool.diff import numbers_kernel as nk
from pcaptool.diff import skim_kernel as sk
from pcaptool.diff.arrays import Ints
from pcaptool.diff.room import Room
from pcaptool.engine import Engine
from pcaptool.file import open_capture
from pcaptool.file.model import Run

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Skim", "skim"]

# Packets of a run: their rows stay in a processor's cache, and the threads seldom ask for the interpreter's lock.
_RUN = 32_768
_ADDRESSES = 1 << 16
_UDP = 17
# Columns of the packets: name and type.
_COLUMNS: dict[str, str] = {
    "ts": "i8", "hash": "i8", "shape": "i2", "group": "i4", "start": "i8", "space": "i4", "ack": "i8",
    "kind": "i1", "tsval": "i8", "tsecr": "i8",
}  # fmt: skip


@dataclass(frozen=True)
class Skim:
    """What one pass says of a capture.

    Parameters
    ----------
    path : Path
    packets : dict of str to numpy.ndarray
        An element a packet, in capture order: ts; hash of all bytes; shape (`skim_kernel`); group (2 * flow +
        side, -1 without flow); start, space, ack (`numbers_kernel`), not yet moved to the initial numbers; kind;
        tsval, tsecr (-1: none).
    ways : numpy.ndarray
        `numbers_kernel`'s rows of the directions.
    flow_columns : dict of str to list or numpy.ndarray
        As much of the report's table of flows as the diff reads.
    exemplars : numpy.ndarray
        Number of a packet of each shape.
    odd, cut : int
        Packets that only decoding can place; packets that were captured only in part.
    notes : list of str
    room : Room
        Where further columns go.
    """

    path: Path
    packets: dict[str, npt.NDArray[Any]]
    ways: Ints
    flow_columns: dict[str, Any]
    exemplars: Ints
    odd: int
    cut: int
    notes: list[str]
    room: Room

    @property
    def height(self) -> int:
        """Number of packets."""
        return len(self.packets["ts"])

    @cached_property
    def flows(self) -> pl.DataFrame:
        """The table of flows."""
        import polars as pl  # noqa: PLC0415 - not before the pass is over

        texts = dict.fromkeys(("protocol", "src", "dst"), pl.String)
        return pl.DataFrame(self.flow_columns, schema_overrides=texts)


def skim(path: Path, engine: Engine, room: Room, stop: threading.Event | None = None) -> Skim:
    """Read a capture once; ends early, with `odd` set, at a packet that only decoding can place, or when told to."""
    pass_ = _Pass(engine, room)
    with open_capture(path, engine) as capture:
        for run in capture.runs(_RUN):
            pass_.make_room(len(run), capture.position, capture.size_bytes)
            pass_.feed(run)
            if pass_.state[sk.N_ODD] or (stop is not None and stop.is_set()):
                break
        notes = [str(capture.cut)] if capture.cut is not None else []
    return pass_.result(path, notes)


class _Pass:
    """What the kernels keep from run to run."""

    def __init__(self, engine: Engine, room: Room) -> None:
        self._room = room
        self._skim = engine.flat(sk.__name__, "skim")
        self._track = engine.flat(fk.__name__, "track")
        self._rehash = engine.flat(fk.__name__, "rehash")
        self._number = engine.flat(nk.__name__, "number")
        self.state = np.zeros(sk.STATE, np.int64)
        self._tables = (
            np.zeros((_ADDRESSES, 18), np.int64), np.zeros(2 * _ADDRESSES, np.int64),
            np.zeros((sk.SHAPES, 2), np.int64), np.zeros(2 * sk.SHAPES, np.int64),
        )  # fmt: skip
        self._flows = np.zeros((1024, fk.WIDTH), np.int64)
        self._slots = np.zeros(2048, np.int64)
        self._counts = np.zeros(2, np.int64)
        self._ways = np.zeros((2048, nk.WIDTH), np.int64)
        self._rows = np.zeros((0, 16), np.int64)
        self._columns = {name: np.empty(0, kind) for name, kind in _COLUMNS.items()}
        self._height = 0

    def make_room(self, packets: int, position: int, size: int | None) -> None:
        """For so many more packets; for all of the file, as far as one can tell from what was read of it."""
        need = self._height + packets
        if need <= len(self._columns["ts"]):
            return
        room = (
            2 * need if size is None else need + (size - position) * need * 17 // (16 * max(position, 1)) + 64
        )
        for name, column in self._columns.items():
            grown = self._room.empty(max(room, need), column.dtype)
            grown[: self._height] = column[: self._height]
            self._columns[name] = grown

    def feed(self, run: Run) -> None:
        """One run of packets."""
        height = len(run)
        if len(self._rows) < height:
            self._rows = np.zeros((height, 16), np.int64)
        new = {name: column[self._height : self._height + height] for name, column in self._columns.items()}
        self._height += height
        arrays = (run.offsets, run.cap_len, run.orig_len, run.linktype, run.ts_ns)
        out = (new["hash"], new["shape"], self._rows)
        count = self._skim(run.data, arrays, run.first_n, self._tables, self.state, out)
        rows = self._rows[:count]
        tracked = self._tracked(rows)
        new["ts"][:] = run.ts_ns
        mine = ("group", "start", "space", "ack", "kind")
        if count == height:
            self._number(rows, tracked, self._ways, tuple(new[name] for name in mine))
            new["tsval"][:] = rows[:, sk.IN_TSVAL]
            new["tsecr"][:] = rows[:, sk.IN_TSECR]
        else:
            self._scattered(new, rows, tracked, mine)

    def _scattered(
        self, new: dict[str, npt.NDArray[Any]], rows: Ints, tracked: Ints, mine: tuple[str, ...]
    ) -> None:
        """The same where some packets have no row."""
        at = np.flatnonzero(new["shape"] >= 0)
        some = [np.empty(len(at), _COLUMNS[name]) for name in mine]
        self._number(rows, tracked, self._ways, tuple(some))
        for name, nothing, values in zip(mine, (-1, nk.NONE, 0, nk.NONE, nk.OTHER), some, strict=True):
            new[name][:] = nothing
            new[name][at] = values
        for name, place in (("tsval", sk.IN_TSVAL), ("tsecr", sk.IN_TSECR)):
            new[name][:] = -1
            new[name][at] = rows[:, place]

    def _tracked(self, rows: Ints) -> Ints:
        out = np.zeros((len(rows), 6), np.int64)
        done = self._track(rows, 0, self._flows, self._slots, self._counts, fk.RULES_40, out)
        while done < len(rows):
            self._grow()
            done = self._track(rows, done, self._flows, self._slots, self._counts, fk.RULES_40, out)
        return out

    def _grow(self) -> None:
        count = int(self._counts[0])
        self._flows = np.concatenate([self._flows, np.zeros_like(self._flows)])
        self._ways = np.concatenate([self._ways, np.zeros_like(self._ways)])
        self._slots = np.zeros(2 * len(self._flows), np.int64)
        self._rehash(self._flows, count, self._slots)

    def result(self, path: Path, notes: list[str]) -> Skim:
        """All of it."""
        count = int(self._counts[0])
        packets = {name: column[: self._height] for name, column in self._columns.items()}
        shapes = self._tables[2][: int(self.state[sk.N_SHAPES]), 1]
        return Skim(
            path, packets, self._ways[: 2 * count].copy(), self._flow_table(count), shapes.copy(),
            int(self.state[sk.N_ODD]), int(self.state[sk.N_CUT]), notes, self._room,
        )  # fmt: skip

    def _flow_table(self, count: int) -> dict[str, Any]:
        flows = self._flows[:count]
        return {
            "flow": np.arange(count, dtype=np.uint32),
            "protocol": ["udp" if p == _UDP else "tcp" for p in flows[:, fk.PROTOCOL].tolist()],
            "src": [self._address(x >> 16) for x in flows[:, fk.SRC].tolist()],
            "srcport": (flows[:, fk.SRC] & 0xFFFF).astype(np.uint16),
            "dst": [self._address(x >> 16) for x in flows[:, fk.DST].tolist()],
            "dstport": (flows[:, fk.DST] & 0xFFFF).astype(np.uint16),
            "first_n": flows[:, fk.FIRST_N].astype(np.uint32),
        }

    def _address(self, number: int) -> str:
        if number < sk.IPV6_MARK:
            return address_text(0, number, F_IPV4)
        octets = bytes(self._tables[0][number - sk.IPV6_MARK, 2:18].astype(np.uint8))
        high = int.from_bytes(octets[:8], "big", signed=True)
        return address_text(high, int.from_bytes(octets[8:], "big"), 6)
