"""Kernel timers: jiffies and the timer wheel (kernel/time/timer.c).

Knows: how late a timer fires that was set for a jiffy.
Must not know: what it is for.
The wheel has levels of 64 buckets; level 0 holds timers due within 63 jiffies and fires at the jiffy after the one
asked for; each further level is 8 times coarser and rounds up (facts 60 and 61).
"""

from __future__ import annotations

from collections.abc import Callable

from pcaptool.sim.events import Event, Simulator

__all__ = ["Jiffies", "KernelTimer", "wheel_expiry", "wheel_level"]

_LEVELS = 9
_LEVEL_SIZE = 64
_LEVEL_SHIFT = 3


class Jiffies:
    """The tick counter of a host.

    Parameters
    ----------
    hz : int
        CONFIG_HZ.
    phase_ns : int
        How far into a tick time 0 lies.
    """

    def __init__(self, hz: int, phase_ns: int = 0) -> None:
        self.hz = hz
        self.tick_ns = 1_000_000_000 // hz
        self.phase_ns = phase_ns

    def at(self, now_ns: int) -> int:
        """Jiffies at a time."""
        return (now_ns + self.phase_ns) // self.tick_ns

    def begin_ns(self, jiffy: int) -> int:
        """Time at which a jiffy begins."""
        return jiffy * self.tick_ns - self.phase_ns

    def from_us(self, microseconds: int) -> int:
        """usecs_to_jiffies: rounded up."""
        return -(-microseconds * 1000 // self.tick_ns)

    def from_ms(self, milliseconds: int) -> int:
        """msecs_to_jiffies: rounded up."""
        return self.from_us(milliseconds * 1000)


def wheel_expiry(expires: int, now: int) -> int:
    """The jiffy at which a timer fires that is due at jiffy `expires`.

    Examples
    --------
    >>> wheel_expiry(110, 100), wheel_expiry(205, 100)
    (111, 208)
    """
    delta = expires - now
    if 0 <= delta < _LEVEL_SIZE - 1:
        return expires + 1
    delta = max(0, delta)
    for level in range(_LEVELS):
        shift = level * _LEVEL_SHIFT
        if delta < (_LEVEL_SIZE - 1) << shift:
            return ((max(expires, now) + (1 << shift)) >> shift) << shift
    return expires


def wheel_level(delta: int) -> int:
    """The level of the wheel that holds a timer which is due in so many jiffies.

    Examples
    --------
    >>> [wheel_level(delta) for delta in (10, 62, 63, 250, 504, 18_750)]
    [0, 0, 1, 1, 2, 3]
    """
    return next(
        (level for level in range(_LEVELS) if delta < _LEVEL_SIZE - 1 << level * _LEVEL_SHIFT), _LEVELS
    )


def _nothing() -> None:
    pass


class KernelTimer:
    """A timer on the wheel.

    Parameters
    ----------
    simulator : Simulator
    jiffies : Jiffies
    callback : callable
        Run when it fires.
    """

    def __init__(self, simulator: Simulator, jiffies: Jiffies, callback: Callable[[], None]) -> None:
        self.simulator = simulator
        self.jiffies = jiffies
        self.callback = callback
        self.expires: int | None = None
        self._event: Event | None = None

    @property
    def pending(self) -> bool:
        """Whether it is set."""
        return self.expires is not None

    def mod(self, expires: int) -> None:
        """mod_timer: set it for a jiffy, whether it was set before or not."""
        if self._event is not None:
            self._event.callback = None
        self.expires = expires
        simulator, jiffies = self.simulator, self.jiffies
        tick_ns, phase_ns = jiffies.tick_ns, jiffies.phase_ns
        now = (simulator.now_ns + phase_ns) // tick_ns
        self._event = simulator.timer_at(wheel_expiry(expires, now) * tick_ns - phase_ns, self._fire)

    def cancel(self) -> None:
        """del_timer."""
        if self._event is not None:
            self._event.callback = None
            self._event = None
        self.expires = None

    def close(self) -> None:
        """timer_shutdown: it will not fire any more, and lets go of whom it belongs to."""
        self.cancel()
        self.callback = _nothing

    def _fire(self) -> None:
        self._event = None
        self.expires = None
        self.callback()
