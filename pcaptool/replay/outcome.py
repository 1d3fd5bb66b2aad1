"""What became of a plan: counts, timing errors, the first failures, and the rows of the `replay` table.

Knows: how frames' times become a report.
Must not know: how they were sent, how a report is printed.
Memory without a far side: a histogram; rows go to the table as they come. With one, 70 bytes a frame until the end.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pcaptool.replay.plan import REFUSALS
from pcaptool.replay.slots import Slot
from pcaptool.replay.watching import match
from pcaptool.tables.columns import Columns, Masked, Texts

__all__ = ["Failure", "Outcome", "Quantiles", "Tally", "replay_columns"]

Ints = npt.NDArray[np.int64]
_FIRST_FAILURES = 20
NOT_TRIED = -1


class Quantiles:
    """Absolute values in a histogram: exact below 4096, else to one part in 64; bounded whatever their number.

    Examples
    --------
    >>> q = Quantiles()
    >>> q.add(np.array([-3, 5, 100_000]))
    >>> q.count, q.at(0.5), q.largest, q.at(1.0)
    (3, 5, 100000, 100000)
    """

    _FINE_BITS = 12
    _STEPS = 64

    def __init__(self) -> None:
        self._counts = np.zeros((1 << self._FINE_BITS) + 64 * self._STEPS, np.int64)
        self.count = 0
        self.largest = 0

    def add(self, values: Ints) -> None:
        """Count values."""
        if not len(values):
            return
        sizes = np.abs(values)
        self.count += len(sizes)
        self.largest = max(self.largest, int(sizes.max()))
        shift = np.maximum(0, np.frexp(sizes.astype(np.float64))[1] - self._FINE_BITS)
        steps = sizes >> np.maximum(0, shift + self._FINE_BITS - 7)  # 64 to 127 where shift > 0
        bucket = np.where(
            shift == 0, sizes, (1 << self._FINE_BITS) + shift * self._STEPS + steps - self._STEPS
        )
        self._counts += np.bincount(bucket, minlength=len(self._counts))

    def at(self, part: float) -> int:
        """The value that this part of all do not exceed; the upper end of its step."""
        if not self.count:
            return 0
        wanted = max(1, int(np.ceil(part * self.count)))
        bucket = int(np.searchsorted(np.cumsum(self._counts), wanted))
        fine = 1 << self._FINE_BITS
        if bucket < fine:
            return bucket
        shift, step = divmod(bucket - fine, self._STEPS)
        return min(self.largest, ((step + self._STEPS + 1) << (shift + self._FINE_BITS - 7)) - 1)


@dataclass(frozen=True, slots=True)
class Failure:
    """A packet that was planned and not sent.

    Parameters
    ----------
    n : int
        Packet of the capture.
    part : int
        Segment of it.
    reason : str
    """

    n: int
    part: int
    reason: str


@dataclass(slots=True)
class Outcome:
    """What a replay did.

    Parameters
    ----------
    packets : int
        Packets of the capture that were to be sent, all rounds.
    planned : int
        Frames: segments of super-packets count each, refused packets as one.
    sent, failed, refused, untried : int
        Of those: handed to the kernel; failed with an error; refused while planning; not come to.
    sent_bytes : int
    seen, unwatched : int or None
        Frames found on the far side; frames that it had to drop, so that unseen says little. None without `verify`.
    seen_others : int or None
        Frames there that are none of ours.
    duration_ns, planned_duration_ns : int
        From the first to the last frame that was sent, as it was and as it was planned.
    drift_ns : int
        The one less the other: how far the last frame had moved away.
    error_ns : Quantiles
        Of sent_ns - planned_ns of frames; empty for topspeed.
    gap_error_ns : Quantiles or None
        Far side: of the time between two frames that follow each other, less what was planned.
    seen_drift_ns : int or None
        Far side: as `drift_ns`.
    reasons : Counter
        Why frames were not sent, and how many.
    failures : list of Failure
        The first of them.
    ended_by : str
        Why sending ended before the plan, or empty.
    notes : list of str
    changes : dict
        Packets segmented, padded, completed (checksum), left out by the filter.
    """

    packets: int = 0
    planned: int = 0
    sent: int = 0
    failed: int = 0
    refused: int = 0
    untried: int = 0
    sent_bytes: int = 0
    seen: int | None = None
    unwatched: int | None = None
    seen_others: int | None = None
    duration_ns: int = 0
    planned_duration_ns: int = 0
    drift_ns: int = 0
    error_ns: Quantiles = field(default_factory=Quantiles)
    gap_error_ns: Quantiles | None = None
    seen_drift_ns: int | None = None
    reasons: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    ended_by: str = ""
    notes: list[str] = field(default_factory=list)
    changes: dict[str, int] = field(default_factory=dict)
    dry: bool = False

    @property
    def whole(self) -> bool:
        """Everything planned was sent, and seen where someone looked."""
        sent = self.sent == self.planned and not self.ended_by
        return (sent or (self.dry and not self.refused)) and self.seen in (None, self.sent)

    @property
    def exit_code(self) -> int:
        """0 where everything planned was sent (and seen), else 1."""
        return 0 if self.whole else 1

    def as_dict(self) -> dict[str, Any]:
        """For a program."""
        plain = (
            *("dry", "packets", "planned", "sent", "failed", "refused", "untried", "sent_bytes", "seen"),
            *("unwatched", "seen_others", "duration_ns", "planned_duration_ns", "drift_ns", "seen_drift_ns"),
            *("ended_by", "notes", "changes"),
        )
        return {
            **{name: getattr(self, name) for name in plain},
            "error_ns": _three(self.error_ns),
            "gap_error_ns": _three(self.gap_error_ns),
            "reasons": dict(self.reasons),
            "failures": [{"n": f.n, "part": f.part, "reason": f.reason} for f in self.failures],
            "exit_code": self.exit_code,
        }


def _three(quantiles: Quantiles | None) -> dict[str, int] | None:
    if quantiles is None or not quantiles.count:
        return None
    return {"p50": quantiles.at(0.5), "p99": quantiles.at(0.99), "max": quantiles.largest}


@dataclass(slots=True)
class _Rows:
    """Columns of some frames, copied out of a slot."""

    n: Ints
    round: Ints
    part: Ints
    size: Ints
    interface: Ints
    due_ns: Ints
    sent_ns: Ints
    error: Ints  # errno; NOT_TRIED; 0
    reason: Ints  # of a refusal
    digest: Ints
    seen_ns: Ints | None = None


_OF_SLOT = ("n", "round", "part", "size", "interface", "due_ns", "sent_ns", "error", "reason", "digest")


class Tally:
    """Takes slots that were sent, gives the outcome.

    Parameters
    ----------
    names : sequence of str
        Of the interfaces.
    timed : bool
        Whether there are deadlines to keep.
    keep : bool
        Whether rows are kept until the far side is known.
    table : callable, optional
        Takes finished rows of the `replay` table.
    """

    def __init__(
        self, names: Sequence[str], *, timed: bool, keep: bool, table: Any = None, dry: bool = False
    ) -> None:
        self.outcome = Outcome(dry=dry)
        self._names, self._timed, self._keep, self._table = names, timed, keep, table
        self._kept: list[_Rows] = []
        self._first: tuple[int, int] | None = None
        self._last = (0, 0)

    def add(self, slot: Slot) -> None:
        """Take a slot's rows; the slot may be filled again afterwards."""
        rows = self._copy(slot)
        refused, failed = rows.reason > 0, (rows.error > 0)
        gone = (rows.sent_ns >= 0) & (rows.error == 0) & ~refused
        untried = ~gone & ~failed & ~refused
        rows.error[untried] = NOT_TRIED
        out = self.outcome
        out.planned += len(rows.n)
        out.sent += int(np.count_nonzero(gone))
        out.failed += int(np.count_nonzero(failed))
        out.refused += int(np.count_nonzero(refused))
        out.untried += int(np.count_nonzero(untried))
        out.sent_bytes += int(rows.size[gone].sum())
        self._times(rows.due_ns[gone], rows.sent_ns[gone])
        if not out.dry:
            self._note(rows, refused | failed | untried)
        else:
            self._note(rows, refused)
        if self._keep:
            self._kept.append(rows)
        elif self._table is not None:
            self._table(replay_columns(rows, self._names))

    def _copy(self, slot: Slot) -> _Rows:
        end = slot.count
        return _Rows(**{name: getattr(slot, name)[:end].copy() for name in _OF_SLOT})

    def _times(self, due_ns: Ints, sent_ns: Ints) -> None:
        if not len(due_ns):
            return
        if self._first is None:
            self._first = (int(due_ns[0]), int(sent_ns[0]))
        self._last = (int(due_ns[-1]), int(sent_ns[-1]))
        out = self.outcome
        out.duration_ns = self._last[1] - self._first[1]
        if self._timed:
            out.planned_duration_ns = self._last[0] - self._first[0]
            out.drift_ns = out.duration_ns - out.planned_duration_ns
            out.error_ns.add(sent_ns - due_ns)

    def _note(self, rows: _Rows, bad: npt.NDArray[np.bool_]) -> None:
        for i in np.flatnonzero(bad).tolist():
            reason = _words(int(rows.reason[i]), int(rows.error[i]))
            self.outcome.reasons[reason] += 1
            if len(self.outcome.failures) < _FIRST_FAILURES:
                self.outcome.failures.append(Failure(int(rows.n[i]), int(rows.part[i]), reason))

    def far_side(self, seen: Sequence[tuple[Ints, Ints, int]], start_ns: int) -> None:
        """What arrived, once nothing more will.

        Parameters
        ----------
        seen : sequence
            For each interface: times since 1970, digests, frames that were dropped.
        start_ns : int
            The first deadline, since 1970.
        """
        out = self.outcome
        out.seen = out.unwatched = out.seen_others = 0
        out.gap_error_ns = Quantiles()
        rows = _joined(self._kept)
        if rows is None:
            out.seen_others = sum(len(times) for times, _, _ in seen)
            return
        rows.seen_ns = np.full(len(rows.n), -1, np.int64)
        gone = (rows.error == 0) & (rows.reason == 0)
        for number, (times, digests, lost) in enumerate(seen):
            at = np.flatnonzero(gone & (rows.interface == number))
            where = match(rows.digest[at], digests)
            found = where >= 0
            rows.seen_ns[at[found]] = times[where[found]] - start_ns
            out.seen += int(np.count_nonzero(found))
            out.seen_others += len(digests) - int(np.count_nonzero(found))
            out.unwatched += lost
        self._far_times(rows)
        if self._table is not None:
            self._table(replay_columns(rows, self._names))
        self._kept.clear()

    def _far_times(self, rows: _Rows) -> None:
        at = np.flatnonzero(rows.seen_ns >= 0) if rows.seen_ns is not None else np.empty(0, np.int64)
        if rows.seen_ns is None or len(at) < 2 or not self._timed:
            return
        seen, due = rows.seen_ns[at], rows.due_ns[at]
        if self.outcome.gap_error_ns is not None:
            self.outcome.gap_error_ns.add(np.diff(seen) - np.diff(due))
        self.outcome.seen_drift_ns = int((seen[-1] - seen[0]) - (due[-1] - due[0]))


def _joined(kept: list[_Rows]) -> _Rows | None:
    if not kept:
        return None
    return _Rows(**{name: np.concatenate([getattr(rows, name) for rows in kept]) for name in _OF_SLOT})


def _words(reason: int, number: int) -> str:
    if reason:
        return f"refused: {REFUSALS[reason]}"
    if number == NOT_TRIED:
        return "not tried: sending had ended"
    return f"{errno.errorcode.get(number, number)}: {os.strerror(number)}"


def replay_columns(rows: _Rows, names: Sequence[str]) -> Columns:
    """Columns of the `replay` table."""
    codes = np.where(rows.reason > 0, rows.reason + (1 << 20), rows.error)
    kinds, places = np.unique(codes, return_inverse=True)
    words = [
        "" if code == 0 else _words(code - (1 << 20), 0) if code > 1 << 20 else _words(0, code)
        for code in kinds.tolist()
    ]
    tried = (rows.sent_ns >= 0) & (rows.error == 0)
    columns: Columns = {
        "n": rows.n.astype(np.uint32),
        "round": rows.round.astype(np.uint32),
        "part": rows.part.astype(np.uint16),
        "bytes": rows.size.astype(np.uint32),
        "interface": Texts(rows.interface.astype(np.int32), list(names)),
        "planned_ns": rows.due_ns,
        "sent_ns": Masked(rows.sent_ns, tried),
        "error": Texts(np.where(codes == 0, -1, places).astype(np.int32), words),
    }
    seen = rows.seen_ns if rows.seen_ns is not None else np.full(len(rows.n), -1, np.int64)
    columns["seen_ns"] = Masked(seen, seen >= 0)
    return columns
