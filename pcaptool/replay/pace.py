"""When each frame is due: recorded times, faster or slower, or a rate. Integers, absolute, without drift.

Knows: nanoseconds since the first frame; that a deadline never lies before the one before it.
Must not know: clocks, sockets.

    recorded    (t - t0) / speed; all segments of a super-packet at its time, as a card sends them back to back
    pps         frame i at i / rate
    mbps        a frame when all bits before it have left at that rate (frame bytes, without preamble and FCS)
    topspeed    always due
A deadline is computed from the start, never from the one before, so no rounding adds up. Each round of a loop begins
when the last frame of the round before was due (with a rate: one step later).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt

from pcaptool.errors import UsageError

__all__ = ["Clockwork", "Pace"]

Ints = npt.NDArray[np.int64]
_LONGEST_NS = 2**62


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast.

    Parameters
    ----------
    kind : {"recorded", "pps", "mbps", "topspeed"}
    rate : Fraction
        Factor of the recorded speed, frames a second, or 10**6 bits a second.

    Examples
    --------
    >>> Pace.of(speed="2").rate
    Fraction(2, 1)
    >>> Pace.of(pps="0")
    Traceback (most recent call last):
    ...
    pcaptool.errors.UsageError: --pps '0' is not a number above 0
    """

    kind: Literal["recorded", "pps", "mbps", "topspeed"] = "recorded"
    rate: Fraction = Fraction(1)

    @staticmethod
    def of(
        *, speed: str | None = None, pps: str | None = None, mbps: str | None = None, topspeed: bool = False
    ) -> Pace:
        """From a user's words, of which at most one may be given.

        Raises
        ------
        UsageError
            Two were given, or one is not a number above 0.
        """
        given = [
            name
            for name, value in (
                ("speed", speed),
                ("pps", pps),
                ("mbps", mbps),
                ("topspeed", topspeed or None),
            )
            if value is not None
        ]
        if len(given) > 1:
            raise UsageError(f"--{given[0]} and --{given[1]} exclude each other")
        if topspeed:
            return Pace("topspeed")
        if pps is not None:
            return Pace("pps", _rate("--pps", pps))
        if mbps is not None:
            return Pace("mbps", _rate("--mbps", mbps))
        return Pace() if speed is None else Pace("recorded", _rate("--speed", speed))


def _rate(option: str, text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise UsageError(f"{option} {text!r} is not a number above 0")
    return rate


class Clockwork:
    """Gives deadlines to frames as they are planned; the state between batches.

    Parameters
    ----------
    pace : Pace

    Examples
    --------
    >>> clockwork = Clockwork(Pace.of(speed="2"))
    >>> clockwork.recorded(np.array([100, 200, 150]))
    array([ 0, 50, 50])
    >>> rate = Clockwork(Pace.of(pps="3"))
    >>> rate.deadlines(np.zeros(4, np.int64), np.full(4, 60)), rate.deadlines(np.zeros(1, np.int64), np.array([60]))
    (array([         0,  333333333,  666666666, 1000000000]), array([1333333333]))
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._first: int | None = None  # time of the round's first packet
        self._begin_ns = 0  # when the round begins
        self._last_ns = 0
        self._frames = 0
        self._bits = 0
        self.reversed = 0  # packets whose recorded time lies before that of an earlier one

    def next_round(self) -> None:
        """The capture begins again."""
        self._first, self._begin_ns = None, self._last_ns

    def recorded(self, ts_ns: Ints) -> Ints:
        """Deadlines of packets by their recorded times, never falling; 0 for other paces."""
        if self._pace.kind != "recorded" or not len(ts_ns):
            return np.zeros(len(ts_ns), np.int64)
        if self._first is None:
            self._first = int(ts_ns[0])
        rate = self._pace.rate
        if rate == 1:
            since = ts_ns - self._first + self._begin_ns
        else:
            numerator, denominator = rate.numerator, rate.denominator
            offsets = [min(t * denominator // numerator, _LONGEST_NS) for t in (ts_ns - self._first).tolist()]
            since = np.array(offsets, np.int64) + self._begin_ns
        due: Ints = np.maximum.accumulate(np.maximum(since, self._last_ns))
        self.reversed += int(np.count_nonzero(due != since))
        self._last_ns = int(due[-1])
        return due

    def deadlines(self, recorded: Ints, sizes: Ints) -> Ints:
        """Deadlines of frames, in order.

        Parameters
        ----------
        recorded : array
            From `recorded`, for each frame that of its packet.
        sizes : array
            Bytes of each frame.
        """
        if self._pace.kind in ("recorded", "topspeed") or not len(sizes):
            return recorded
        rate = self._pace.rate
        if self._pace.kind == "pps":
            numbers = range(self._frames, self._frames + len(sizes))
            due = [n * 10**9 * rate.denominator // rate.numerator for n in numbers]
            self._frames += len(sizes)
        else:
            before = np.concatenate([[0], np.cumsum(sizes * 8)]).tolist()
            due = [(self._bits + b) * 1000 * rate.denominator // rate.numerator for b in before[:-1]]
            self._bits += before[-1]
        return np.array(due, np.int64)
