"""Clock and event queue of a discrete-event simulation, and the processes that wait in it.

Knows: integer nanoseconds, a heap of callbacks, generators that sleep or wait.
Must not know: what the callbacks do.
Deterministic: events of the same time run in the order in which they were scheduled.
Complexity: O(log n) for scheduling and running one event; a cancelled event stays in the heap until its time.

A *process* is a generator. It yields an `int` to let that many nanoseconds pass, or a `WaitQueue` to sleep until
somebody wakes that queue. This is how a program's or a system call's code is written straight down, as in the
kernel, while others run in between.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

__all__ = ["Event", "Process", "Simulator", "Step", "WaitQueue"]

Step = Generator["int | WaitQueue", None, Any]


@dataclass(slots=True)
class Event:
    """A callback that waits for its time; `cancel` makes it do nothing."""

    time_ns: int
    callback: Callable[..., None] | None
    arguments: tuple[Any, ...]

    def cancel(self) -> None:
        """Forget the callback."""
        self.callback = None

    @property
    def pending(self) -> bool:
        """Whether it is still to run."""
        return self.callback is not None


@dataclass(slots=True)
class WaitQueue:
    """Processes that sleep until something happens (the kernel's wait_queue_head)."""

    waiters: list[Process] = field(default_factory=list)

    def wake(self, delay_ns: int = 0) -> None:
        """Let all of them go on, `delay_ns` from now: what the scheduler takes to run a woken task."""
        sleepers, self.waiters = self.waiters, []
        for process in sleepers:
            process.simulator.after(delay_ns, process.resume)


@dataclass(slots=True)
class Process:
    """A running generator.

    Parameters
    ----------
    simulator : Simulator
    steps : generator
        Yields nanoseconds or wait queues.
    """

    simulator: Simulator
    steps: Step
    done: bool = False

    def resume(self) -> None:
        """Run until the next yield."""
        try:
            wish = next(self.steps)
        except StopIteration:
            self.done = True
            return
        if isinstance(wish, WaitQueue):
            wish.waiters.append(self)
        else:
            self.simulator.after(wish, self.resume)


class Simulator:
    """Virtual clock and event queue.

    Parameters
    ----------
    start_ns : int
        Time at which it begins.

    Examples
    --------
    >>> sim, log = Simulator(), []
    >>> def program():
    ...     yield 5
    ...     log.append(sim.now_ns)
    >>> _ = sim.spawn(program())
    >>> _ = sim.after(3, log.append, "three")
    >>> sim.run()
    >>> log
    ['three', 5]
    """

    def __init__(self, start_ns: int = 0) -> None:
        self.now_ns = start_ns
        self.events_run = 0
        self._heap: list[tuple[int, int, Event]] = []
        self._order = 0

    def at(self, time_ns: int, callback: Callable[..., None], *arguments: Any) -> Event:
        """Schedule a callback at an absolute time, not before now."""
        event = Event(max(time_ns, self.now_ns), callback, arguments)
        self._order += 1
        heappush(self._heap, (event.time_ns, self._order, event))
        return event

    def after(self, delay_ns: int, callback: Callable[..., None], *arguments: Any) -> Event:
        """Schedule a callback `delay_ns` from now."""
        return self.at(self.now_ns + delay_ns, callback, *arguments)

    def spawn(self, steps: Step, delay_ns: int = 0) -> Process:
        """Start a process."""
        process = Process(self, steps)
        self.after(delay_ns, process.resume)
        return process

    def run(self, until_ns: int | None = None) -> None:
        """Run events up to and including `until_ns`, or until there are none."""
        heap = self._heap
        while heap:
            time_ns, _, event = heap[0]
            if until_ns is not None and time_ns > until_ns:
                break
            heappop(heap)
            callback = event.callback
            if callback is None:
                continue
            event.callback = None
            self.now_ns = time_ns
            self.events_run += 1
            callback(*event.arguments)
        if until_ns is not None:
            self.now_ns = max(self.now_ns, until_ns)

    @property
    def idle(self) -> bool:
        """Whether nothing is left to happen."""
        return not any(event.pending for _, _, event in self._heap)
