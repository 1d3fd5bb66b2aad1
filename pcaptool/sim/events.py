"""Clock and event queue of a discrete-event simulation, and the processes that wait in it.

Knows: integer nanoseconds, a heap of callbacks, generators that sleep or wait.
Must not know: what the callbacks do.
Deterministic: events of the same time run in the order in which they were scheduled, timers in the reverse one.
Complexity: O(log n) for scheduling and running one event; a cancelled event stays in the heap until its time.

A *process* is a generator. It yields an `int` to work for that many nanoseconds, a `Sleep` to sleep for some, or a
`WaitQueue` to sleep until somebody wakes that queue. This is how a program's or a system call's code is written
straight down, as in the kernel, while others run in between. Processes of one `RunQueue` share a processor: while
one works the others wait, until it sleeps or yields `RESCHEDULE`, where `run_queue` says who goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from enum import Enum
from heapq import heappop, heappush
from typing import Any

from pcaptool.sim.run_queue import RunQueue

__all__ = [
    "RESCHEDULE",
    "Event",
    "Process",
    "Reschedule",
    "RunQueue",
    "Simulator",
    "Sleep",
    "Step",
    "WaitQueue",
]

_NEVER, _FOREVER = float("-inf"), float("inf")

Step = Generator["int | Sleep | WaitQueue | Reschedule", None, Any]


class Reschedule(Enum):
    """Where a process may lose its processor to one that was woken (need_resched on the way back to user mode)."""

    HERE = 1


RESCHEDULE = Reschedule.HERE


@dataclass(frozen=True, slots=True)
class Sleep:
    """A wish of a process: to be woken after some time, and to leave the processor to others until then."""

    duration_ns: int


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
    """Processes that sleep until something happens (the kernel's wait_queue_head).

    Parameters
    ----------
    keeps_processor : bool
        Whether who waits here keeps its processor: it does not sleep, its processor does something else first.
    """

    keeps_processor: bool = False
    waiters: list[Process] = field(default_factory=list)

    def wake(self, delay_ns: int = 0) -> None:
        """Let all of them go on, `delay_ns` from now: what the scheduler takes to run a woken task."""
        if not self.waiters:
            return
        sleepers, self.waiters = self.waiters, []
        for process in sleepers:
            if self.keeps_processor:
                process.simulator.call_after(delay_ns, process.work)
            else:
                process.wake(delay_ns)


@dataclass(slots=True)
class Process:
    """A running generator.

    Parameters
    ----------
    simulator : Simulator
    steps : generator
    processor : RunQueue, optional
        Whom it shares a processor with; nobody if not given.
    group : str
        The program that it is a thread of.
    """

    simulator: Simulator
    steps: Step
    processor: RunQueue | None = None
    group: str = ""
    done: bool = False

    def wake(self, delay_ns: int = 0) -> None:
        """Go on as soon as the processor is free, and has switched to this process."""
        if self.processor is None:
            self.simulator.call_after(delay_ns, self.work)
        else:
            self.processor.ready(self, delay_ns)

    def work(self) -> None:
        """Run until it sleeps, or until something else is to happen before it has worked for as long as it wishes."""
        simulator = self.simulator
        try:
            while True:
                wish = next(self.steps)
                if isinstance(wish, int):
                    if not simulator.advance(wish):
                        simulator.call_after(wish, self.work)
                        return
                elif not isinstance(wish, Reschedule):
                    break
                elif self.processor is not None and self.processor.preempt(self):
                    return
        except StopIteration:
            self.done = True
            self._leave()
            return
        if isinstance(wish, Sleep):
            simulator.call_after(wish.duration_ns, self.wake)
            self._leave()
        else:
            wish.waiters.append(self)
            if not wish.keeps_processor:
                self._leave()

    def _leave(self) -> None:
        if self.processor is not None:
            self.processor.release(self)


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
        self._heap: list[tuple[int, int, Callable[..., None] | Event, tuple[Any, ...]]] = []
        self._order = 0
        self._last_ns: float = _NEVER  # until which the run that goes on may come

    def at(self, time_ns: int, callback: Callable[..., None], *arguments: Any) -> Event:
        """Schedule a callback at an absolute time, not before now."""
        event = Event(max(time_ns, self.now_ns), callback, arguments)
        self._order += 1
        heappush(self._heap, (event.time_ns, self._order, event, ()))
        return event

    def call_at(self, time_ns: int, callback: Callable[..., None], *arguments: Any) -> None:
        """The same for a callback that nobody will cancel."""
        self._order += 1
        now_ns = self.now_ns
        heappush(self._heap, (max(now_ns, time_ns), self._order, callback, arguments))

    def call_after(self, delay_ns: int, callback: Callable[..., None], *arguments: Any) -> None:
        """Schedule a callback that nobody will cancel `delay_ns` from now."""
        self._order += 1
        time_ns = self.now_ns + delay_ns if delay_ns > 0 else self.now_ns
        heappush(self._heap, (time_ns, self._order, callback, arguments))

    def alone_until(self, time_ns: int) -> bool:
        """Whether nothing else happens up to and including this time: what is due then may be done at once."""
        heap = self._heap
        return time_ns <= self._last_ns and (not heap or heap[0][0] > time_ns)

    def advance(self, delay_ns: int) -> bool:
        """Let time pass without an event, for the callback that runs now, if nothing else happens meanwhile."""
        time_ns, heap = self.now_ns + delay_ns, self._heap
        if delay_ns < 0 or time_ns > self._last_ns or (heap and heap[0][0] <= time_ns):
            return False
        self.now_ns = time_ns
        return True

    def timer_at(self, time_ns: int, callback: Callable[..., None]) -> Event:
        """The same for a timer: of those of the same time the one set last runs first, before other events.

        A bucket of the kernel's timer wheel is such a stack.
        """
        now_ns = self.now_ns
        event = Event(max(now_ns, time_ns), callback, ())
        self._order += 1
        heappush(self._heap, (event.time_ns, -self._order, event, ()))
        return event

    def after(self, delay_ns: int, callback: Callable[..., None], *arguments: Any) -> Event:
        """Schedule a callback `delay_ns` from now."""
        return self.at(self.now_ns + delay_ns, callback, *arguments)

    def spawn(
        self, steps: Step, delay_ns: int = 0, processor: RunQueue | None = None, group: str = ""
    ) -> Process:
        """Start a process, a thread of the program `group`."""
        process = Process(self, steps, processor, group)
        self.call_after(delay_ns, process.wake)
        return process

    def run(self, until_ns: int | None = None) -> None:
        """Run events up to and including `until_ns`, or until there are none."""
        heap, last_ns = self._heap, _FOREVER if until_ns is None else until_ns
        self._last_ns = last_ns
        while heap and heap[0][0] <= last_ns:
            time_ns, _, callback, arguments = heappop(heap)
            if isinstance(callback, Event):
                event = callback
                if event.callback is None:
                    continue
                callback, arguments = event.callback, event.arguments
                event.callback = None
            self.now_ns = time_ns
            self.events_run += 1
            callback(*arguments)
        self._last_ns = _NEVER
        if until_ns is not None:
            self.now_ns = max(self.now_ns, until_ns)

    @property
    def idle(self) -> bool:
        """Whether nothing is left to happen."""
        return not any(call.pending if isinstance(call, Event) else True for _, _, call, _ in self._heap)
