"""What is to be sent and when: a capture's packets to slots of frames. Sans-I/O but for reading the capture.

Knows: the order of work: read, choose (filter, limit, rounds), plan frames (`plan_kernel`), give deadlines (`pace`).
Must not know: sockets, clocks, threads.
Memory: one run of the capture and the slot that is being filled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pcaptool.file.packet_filter import PacketFilter
from pcaptool.replay import plan_kernel as pk
from pcaptool.replay.frame_kernel import FRAME_SIZE
from pcaptool.replay.inner_kernel import INNER_SIZE
from pcaptool.replay.pace import Clockwork, Pace
from pcaptool.replay.packets import Packets, Source
from pcaptool.replay.rewriting import Rewriting
from pcaptool.replay.slots import Slot

__all__ = ["REFUSALS", "Planner", "Target"]

Ints = npt.NDArray[np.int64]
_WORK_BYTES = 512 << 10

# Reason of `plan_kernel` -> words for a person.
REFUSALS: dict[int, str] = {
    pk.CUT: "the capture holds only its beginning (--pad fills it up with zeros)",
    pk.LINK_TYPE: "its link type cannot be sent on this interface",
    pk.NO_DESTINATION: "it has no Ethernet header, and no destination is given (--mac dst=ADDRESS)",
    pk.TOO_LONG: "it is larger than the MTU and no TCP super-packet",
    pk.DATAGRAM: "it is a UDP datagram larger than the MTU: the capture does not tell the size of its segments",
    pk.NO_ROOM: "it is larger than the MTU, and cannot be cut",
    pk.NOT_IP: "the interface carries IP packets only, and it is none",
    pk.NOT_SEGMENTED: "it is a super-packet larger than the MTU (--no-segment)",
    pk.NO_HEADER: "it is shorter than its link header, or not what the link type says",
}


@dataclass(frozen=True, slots=True)
class Target:
    """An interface as far as planning must know it.

    Parameters
    ----------
    name : str
    mtu : int
    ethernet : bool
        Whether its frames begin with an Ethernet header; else they are IP packets.
    mac : int
        Its own address.
    """

    name: str
    mtu: int = 1500
    ethernet: bool = True
    mac: int = 0


@dataclass(slots=True)
class Counts:
    """What planning has seen and done so far.

    Parameters
    ----------
    packets : int
        Recorded packets that were wanted, all rounds.
    filtered : int
        Packets that the filter left out.
    segmented, padded, completed : int
        Packets that were cut to the MTU, filled up, given the checksum that a device was to fill in.
    refused : Counter
        Packets by reason.
    """

    packets: int = 0
    filtered: int = 0
    segmented: int = 0
    padded: int = 0
    completed: int = 0
    refused: Counter[int] = field(default_factory=Counter)

    def times(self, rounds: int) -> Counts:
        """So many rounds of the same."""
        return Counts(
            packets=rounds * self.packets,
            filtered=rounds * self.filtered,
            segmented=rounds * self.segmented,
            padded=rounds * self.padded,
            completed=rounds * self.completed,
            refused=Counter({reason: rounds * count for reason, count in self.refused.items()}),
        )


class Planner:
    """Fills slots until the capture ends.

    Parameters
    ----------
    source : Source
    targets : sequence of Target
        One, or two: the client's packets leave by the first, the server's by the second.
    pace : Pace
    rewriting : Rewriting
    only : PacketFilter, optional
    limit : int, optional
        Recorded packets at most, all rounds together.
    rounds : int
        How often the capture is sent.
    digest : bool
        Whether digests of frames are wanted.
    keep : int
        Slots that the caller can keep filled, to send them again (`repeats`).

    Examples
    --------
    >>> from pcaptool.engine import Engine
    >>> capture = "fixtures/captures/lab/size-10240.server.pcap"
    >>> source = Source(capture, split=False, engine=Engine("plain"))
    >>> planner, slot = Planner(source, [Target("x")], Pace(), Rewriting()), Slot.alone()
    >>> planner.fill(slot), slot.count, planner.counts.packets, int(slot.size[: slot.count].max())
    (True, 20, 14, 1514)
    """

    def __init__(
        self,
        source: Source,
        targets: Sequence[Target],
        pace: Pace,
        rewriting: Rewriting,
        *,
        only: PacketFilter | None = None,
        limit: int | None = None,
        rounds: int = 1,
        digest: bool = False,
        keep: int = 0,
    ) -> None:
        self.counts = Counts()
        self.source = source
        self.clockwork = Clockwork(pace)
        self._only, self._limit, self._rounds = only, limit, rounds
        self._rules, self._settings = rewriting.rules(len(targets)), rewriting.settings(digest=digest)
        self._interfaces = (
            np.array([t.mtu for t in targets], np.int64),
            np.array([pk.ETHERNET if t.ethernet else pk.RAW for t in targets], np.int64),
            np.array([t.mac for t in targets], np.int64),
            np.array([rewriting.destination(k) for k in range(len(targets))], np.int64),
        )
        self._kernel = source.engine.flat(pk.__name__, "plan_packets")
        self._work = (
            np.zeros(_WORK_BYTES, np.uint8),
            np.zeros(FRAME_SIZE, np.int64),
            np.zeros(FRAME_SIZE, np.int64),
            np.zeros(INNER_SIZE, np.int64),
        )
        self._state = np.zeros(5, np.int64)
        self._chosen: Generator[_Chosen] = self._choose()
        self._now: _Chosen | None = next(self._chosen, None)
        self._can_repeat = rounds > 1 and limit is None and pace.kind in ("recorded", "topspeed")
        self._keep = keep
        self._first_round = 0  # slots that the first round filled, 0 while it is not over
        self._first_counts = Counts()
        self._filled = 0
        self._refilled = 0
        self._round_ns = 0

    @property
    def repeats(self) -> int:
        """Slots that hold the whole capture: more than one, sent several times, and kept by the caller; else 0.

        Who has kept them calls `repeat` instead of `fill` from then on: nothing must be planned again.
        """
        return self._first_round if 1 < self._first_round <= self._keep else 0

    def fill(self, slot: Slot) -> bool:
        """Fill a slot; False where nothing is left."""
        slot.clear()
        self._state[pk.USED] = 0
        while self._now is not None and slot.count < len(slot.n):
            rows = self._plan(self._now, slot)
            if self._state[pk.NEXT] < len(self._now.n):
                if rows or slot.count:
                    break
                raise AssertionError("a packet does not fit an empty slot")
            before, self._now = self._now, next(self._chosen, None)
            self._state[pk.NEXT] = 0
            if self._can_repeat and before.round == 0 and self._now is not None and self._now.round:
                self._first_round = self._filled + 1
                self._round_ns = int(slot.due_ns[slot.count - 1])
                if self.repeats:
                    self._chosen.close()
                    break  # rounds begin with a slot of their own
        self._filled += 1
        return slot.count > 0

    def repeat(self, slot: Slot) -> bool:
        """The slot, which was filled in the first round, as it is to be sent in the next one; False: it was the last.

        To be called for the slots of the first round in turn.
        """
        number, at = divmod(self._refilled, self._first_round)
        if number + 1 >= self._rounds:
            return False
        if at == 0:
            self.counts = self._first_counts.times(number + 2)
        slot.round[: slot.count] = number + 1
        slot.due_ns[: slot.count] += self._round_ns
        slot.sent_ns[:] = -1
        slot.error[:] = 0
        self._refilled += 1
        return True

    def _plan(self, chosen: _Chosen, slot: Slot) -> int:
        first = slot.count
        arrays = (slot.n, slot.part, slot.at, slot.size, slot.reason, slot.digest)
        rows = tuple(array[first:] for array in arrays)
        count = int(
            self._kernel(
                chosen.data,
                chosen.columns,
                self._interfaces,
                self._settings,
                self._rules,
                slot.data,
                rows,
                self._state,
                self._work,
            )
        )
        end = first + count
        index = slot.n[first:end].copy()
        slot.n[first:end] = chosen.n[index]
        slot.round[first:end] = chosen.round
        slot.interface[first:end] = chosen.columns[5][index]
        slot.due_ns[first:end] = self.clockwork.deadlines(chosen.due_ns[index], slot.size[first:end])
        slot.count = end
        refused = slot.reason[first:end]
        if refused.any():
            self.counts.refused.update(refused[refused > 0].tolist())
        self.counts.segmented = int(self._state[pk.SEGMENTED])
        self.counts.padded = int(self._state[pk.PADDED])
        self.counts.completed = int(self._state[pk.COMPLETED])
        return count

    def _choose(self) -> Generator[_Chosen]:
        """The packets that are wanted, round by round."""
        for number in range(self._rounds):
            if number:
                self.clockwork.next_round()
            if number == 1:
                self._first_counts = self.counts.times(1)
            before = self.counts.packets
            for packets in self.source.packets():
                left = None if self._limit is None else self._limit - self.counts.packets
                if left is not None and left <= 0:
                    return
                chosen = self._wanted(packets, left, number)
                if len(chosen.n):
                    self.counts.packets += len(chosen.n)
                    yield chosen
            if self.counts.packets == before:
                return  # nothing fits the filter: no further round will find more

    def _wanted(self, packets: Packets, left: int | None, number: int) -> _Chosen:
        run, sides = packets
        keep: Any = slice(None)
        if self._only is not None:
            wanted = self._only.wanted(run)
            self.counts.filtered += len(run) - int(np.count_nonzero(wanted))
            keep = np.flatnonzero(wanted)
        leaves = np.zeros(len(run), np.int64) if sides is None else sides
        columns = tuple(
            np.ascontiguousarray(column[keep][:left].astype(np.int64))
            for column in (run.offsets, run.cap_len, run.orig_len, run.linktype, run.flags, leaves)
        )
        n = (run.first_n + np.arange(len(run)))[keep][:left]
        return _Chosen(run.data, n, columns, self.clockwork.recorded(run.ts_ns[keep][:left]), number)


@dataclass(slots=True)
class _Chosen:
    """Packets of a run that are wanted."""

    data: npt.NDArray[np.uint8]
    n: Ints
    columns: tuple[Ints, ...]
    due_ns: Ints
    round: int
