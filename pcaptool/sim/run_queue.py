"""A processor, and who of those that want it runs next.

Knows: programs, each a group of processes (its threads), in which order these were woken, and for how long the running
program has had the processor.
Must not know: what they do.
Mirrors the scheduler of Linux 6.18 (EEVDF) as far as traces of the laboratory show it to matter. Each program is a
group of tasks (autogroup: a session), and who runs keeps its slice (run to parity): a program that another one's packet
wakes waits until that one sleeps, or has used up its slice and leaves a system call. Among threads of one program the
woken one goes first when the running one leaves its system call.

Left out: lag and virtual deadlines (an EEVDF of equal groups, tried on the fixtures and 60 random scenarios, gave the
same frames), the tick in the middle of a system call, weights, several processors, and tasks that are not the
scenario's: tcpdump, which the laboratory keeps on another processor, and whatever else a machine runs.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pcaptool.sim.events import Process

__all__ = ["SLICE_NS", "RunQueue"]

SLICE_NS = (
    1_400_000  # base_slice_ns as documented, for two processors: 0.7 ms times 1 + log2(2); not measured
)


@dataclass(slots=True)
class _Waiting:
    """Threads of one program that want the processor."""

    woken: deque[tuple[Process, int]] = field(default_factory=deque)
    preempted: deque[Process] = field(default_factory=deque)

    def take(self) -> tuple[Process, int]:
        """The one whose turn it is, and how long it takes to switch to it."""
        return self.woken.popleft() if self.woken else (self.preempted.popleft(), 0)


class RunQueue:
    """A processor and the processes that want it.

    Threads of a program run in the order in which they were woken; one that lost the processor to a sibling runs before
    those that are woken later. Programs take turns in the order in which they began to want it.

    Parameters
    ----------
    slice_ns : int
        How long a program keeps the processor while another one waits, if it does not sleep.

    Examples
    --------
    >>> from pcaptool.sim.events import RESCHEDULE, Simulator
    >>> sim, cpu, log = Simulator(), RunQueue(slice_ns=10), []
    >>> def program(name):
    ...     for _ in range(3):
    ...         yield 6
    ...         log.append((name, sim.now_ns))
    ...         yield RESCHEDULE
    >>> for name in ("a", "b"):
    ...     _ = sim.spawn(program(name), processor=cpu, group=name)
    >>> sim.run()
    >>> log
    [('a', 6), ('a', 12), ('b', 18), ('b', 24), ('a', 30), ('b', 36)]
    """

    def __init__(self, slice_ns: int = SLICE_NS) -> None:
        self.current: Process | None = None
        self.slice_ns = slice_ns
        self._since_ns = 0  # when the running program got the processor
        self._waiting: dict[str, _Waiting] = {}  # in the order of their turns

    def ready(self, process: Process, delay_ns: int) -> None:
        """A process was woken; it takes `delay_ns` to switch to it."""
        if self.current is None:
            self._since_ns = process.simulator.now_ns
            self._run(process, delay_ns)
        else:
            self._of(process.group).woken.append((process, delay_ns))

    def release(self, process: Process) -> None:
        """The running process sleeps or has ended: the next one's turn, a sibling's if the program's slice lasts."""
        self.current = None
        if process.group in self._waiting and not self._slice_is_over(process):
            self._switch(process.group)
        elif self._waiting:
            self._since_ns = process.simulator.now_ns
            self._switch(next(iter(self._waiting)))

    def preempt(self, process: Process) -> bool:
        """Whether the running process loses its processor to one that was woken."""
        group = process.group
        siblings = self._waiting.get(group)
        others = next((name for name in self._waiting if name != group), None)
        if others is not None and self._slice_is_over(process):
            self._of(group).preempted.append(process)
            self._since_ns = process.simulator.now_ns
            self._switch(others)
        elif siblings is not None and siblings.woken:
            siblings.preempted.append(process)
            self._switch(group)
        else:
            return False
        return True

    def _slice_is_over(self, process: Process) -> bool:
        return process.simulator.now_ns - self._since_ns >= self.slice_ns

    def _of(self, group: str) -> _Waiting:
        return self._waiting.setdefault(group, _Waiting())

    def _switch(self, group: str) -> None:
        waiting = self._waiting[group]
        process, delay_ns = waiting.take()
        if not (waiting.woken or waiting.preempted):
            del self._waiting[group]
        self._run(process, delay_ns)

    def _run(self, process: Process, delay_ns: int) -> None:
        self.current = process
        process.simulator.call_after(delay_ns, process.work)
