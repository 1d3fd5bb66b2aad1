"""All packets of a side as a few numbers each: what only the whole of a capture can tell.

Knows: for each packet its time, group, kind, and place in its direction's sequence space.
Must not know: fields; how groups came about (`prepare`, `quick`).
Where most packets are the same on both sides, units (all fields) exist for the others only; everything that looks
at whole conversations or at all times looks here. Memory: about 90 bytes a packet, of long captures in files (`room`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pcaptool.diff import couples_kernel, frames_kernel
from pcaptool.diff.arrays import Ints
from pcaptool.diff.numbers_kernel import KINDS, NONE, OTHER
from pcaptool.diff.room import MEMORY, SPAN, Room, let_go, spans
from pcaptool.engine import kernel_for

__all__ = ["Couples", "Matches", "Whole", "couples_of", "kernels", "same_frames", "whole_of"]

# Packets from which a kernel is compiled where its machine code is not at hand. Where few frames are the same, plain
# Python takes 100 us a packet for this one; others take a hundredth.
_WORTH_COMPILING = {"same_frames": 20_000}


@dataclass(frozen=True, slots=True)
class Whole:
    """Packets of a side; an element each, in any order.

    Parameters
    ----------
    n : numpy.ndarray of uint32
        Packet numbers.
    ts, elapsed : numpy.ndarray of int64
        Time, and time since the flow's first packet (the capture's for packets of no flow), in ns.
    group : numpy.ndarray of int64
        Twice the flow pair and the direction; beyond all pairs for packets of no flow, by kind; -1 for flows
        without counterpart.
    way : numpy.ndarray of int8
        Direction in the flow; -1 without flow.
    kind : numpy.ndarray of int8
        `numbers_kernel`'s.
    start, end, ack, tsval, tsecr : numpy.ndarray of int64
        As in `units`; `NONE` where null (tsval, tsecr: -1).
    order : numpy.ndarray of int64
        Indices by group and number.
    cut : int
        Packets that were captured only in part.
    room : Room
        Where further columns of all packets go.
    """

    n: npt.NDArray[Any]
    ts: Ints
    elapsed: Ints
    group: npt.NDArray[Any]
    way: npt.NDArray[Any]
    kind: npt.NDArray[Any]
    start: Ints
    end: Ints
    ack: Ints
    tsval: npt.NDArray[Any]
    tsecr: npt.NDArray[Any]
    order: Ints
    cut: int
    room: Room = MEMORY

    @property
    def height(self) -> int:
        """Number of packets."""
        return len(self.ts)

    def pair(self, at: npt.NDArray[Any]) -> Ints:
        """Flow pair of some packets, -1 where there is none."""
        group = self.group[at].astype(np.int64)
        return np.where((group >= 0) & (self.way[at] >= 0), group >> 1, -1)


@dataclass(frozen=True, slots=True)
class Matches:
    """Which packet is which: indices into both `Whole`s.

    Parameters
    ----------
    to_b : numpy.ndarray of int64
        For each packet of A the one of B it is aligned with one to one, or -1.
    how : numpy.ndarray of int8
        Index into `align.HOW`, for each packet of A.
    seg_a, seg_b : numpy.ndarray of int64
        Overlapping data packets that were cut differently.
    only_a, only_b : numpy.ndarray of int64
        Packets without counterpart.
    """

    to_b: Ints
    how: npt.NDArray[np.int8]
    seg_a: Ints
    seg_b: Ints
    only_a: Ints
    only_b: Ints


@dataclass(frozen=True, slots=True)
class Couples:
    """Packets that are aligned one to one, an element each, in A's order by group.

    Parameters
    ----------
    a, b : numpy.ndarray of int32
        Indices into both `Whole`s.
    pair : numpy.ndarray of int64
        Flow pair, -1 without; of a packet whose own flow has no counterpart, that of the other one.
    way : numpy.ndarray of int8
        Direction in that flow, -1 without.
    """

    a: npt.NDArray[Any]
    b: npt.NDArray[Any]
    pair: Ints
    way: npt.NDArray[Any]


def couples_of(matches: Matches, a: Whole, b: Whole) -> Couples:
    """All of a comparison's."""
    room = min(len(a.order), b.height)
    at_a, at_b, pair, way = (a.room.empty(room, kind) for kind in (np.int32, np.int32, np.int64, np.int8))
    sides = (a.group, a.way), (b.group, b.way)
    kernel, count = kernels("couple", a.height), 0
    for span in spans(len(a.order)):
        rest = (at_a[count:], at_b[count:], pair[count:], way[count:])
        count += kernel(a.order[span], matches.to_b, *sides, rest)
    return Couples(at_a[:count], at_b[:count], pair[:count], way[:count])


def kernels(name: str, packets: int) -> Callable[..., Any]:
    """A kernel of `frames_kernel` or `couples_kernel`, compiled where there are many packets."""
    home = couples_kernel if name in couples_kernel.__all__ else frames_kernel
    return kernel_for(home.__name__, name, packets, _WORTH_COMPILING.get(name, 200_000))


def same_frames(x: tuple[Ints, Ints], y: tuple[Ints, Ints], starts_x: Ints, starts_y: Ints, out: Ints) -> int:
    """Runs the kernel of that name to its end; how many pairs it found."""
    kernel, state, count = kernels("same_frames", len(out)), np.zeros(5, np.int64), 0
    while state[0] < len(starts_x) - 1:
        count += kernel(x, y, starts_x, starts_y, state, SPAN, out)
        let_go()
    return count


def whole_of(units: pl.DataFrame, room: Room = MEMORY) -> Whole:
    """From units that hold all packets, grouped and with `elapsed`; what is not a column of theirs goes to `room`."""

    def numbers(column: str, null: int) -> Ints:
        return room.copy(units[column].cast(pl.Int64).fill_null(null).to_numpy())

    names = {name: i for i, name in enumerate(KINDS)}
    kind = units["kind"].replace_strict(names, default=OTHER, return_dtype=pl.Int8).to_numpy()
    return Whole(
        units["n"].to_numpy(), units["ts"].to_numpy(), units["elapsed"].to_numpy(), units["g"].to_numpy(),
        units["dir"].fill_null(-1).to_numpy(), kind, numbers("start", NONE), numbers("end", NONE),
        numbers("tcp.ack", NONE), numbers("tcp.options_timestamp_tsval", -1),
        numbers("tcp.options_timestamp_tsecr", -1),
        units["row"].to_numpy(), units.filter(pl.col("cap_len") < pl.col("len")).height, room,
    )  # fmt: skip
