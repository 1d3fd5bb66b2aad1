"""A processor that runs packet work to the end, one piece after the other.

Knows: the order of deferred work and when each piece starts.
Must not know: what the work is.
Mirrors the kernel's NET_RX softirq on one CPU: received frames are handled in order of arrival; what a piece of
work sends onto a link of the same machine (veth) is received only when that piece is over; a system call that
sends over veth goes on only when the softirq it raised has run (local_bh_enable at the end of __dev_queue_xmit).

The work is a generator that yields the nanoseconds it spends; it never sleeps. Time inside it runs ahead of the
simulator's clock by `lead_ns`, and is the simulator's again when it is over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from pcaptool.sim.events import Simulator, Step, WaitQueue

__all__ = ["Processor"]


class Processor:
    """Runs deferred work in order.

    Parameters
    ----------
    simulator : Simulator
    """

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.lead_ns = 0
        self.idle = WaitQueue(keeps_processor=True)
        self._queue: deque[Callable[[], Step]] = deque()
        self._tasklets: deque[Callable[[], Step]] = deque()
        self._raised = 0
        self._free_ns = simulator.now_ns
        self._running = False
        self._scheduled = False

    @property
    def now_ns(self) -> int:
        """Time as the running piece of work sees it; the simulator's when none runs."""
        return self.simulator.now_ns + self.lead_ns

    @property
    def busy_ns(self) -> int:
        """For how long the last piece of work goes on after the simulator's time; 0 if it is over."""
        return max(0, self._free_ns - self.simulator.now_ns)

    def raise_softirq(self, time_ns: int, work: Callable[[], Step]) -> None:
        """Have `work` run at `time_ns`, behind all work raised earlier for an earlier time."""
        self._raised += 1
        self.simulator.call_at(time_ns, self._arrived, work)

    def _arrived(self, work: Callable[[], Step]) -> None:
        self._raised -= 1
        now_ns = self.simulator.now_ns
        if self._queue or self._scheduled or self._free_ns > now_ns or not self.simulator.alone_until(now_ns):
            self._queue.append(work)
            self._schedule()
        else:
            self._run_one(work)  # an event of its own would be the next one

    def raise_tasklet(self, time_ns: int, work: Callable[[], Step]) -> None:
        """Have `work` run at `time_ns` or later: when nothing raised by then, or by what that raises, is left.

        The kernel's tasklets run behind the packets that a softirq receives, and those that they make others send.
        """
        self.simulator.call_at(time_ns, self._tasklet_arrived, work)

    def _tasklet_arrived(self, work: Callable[[], Step]) -> None:
        self._tasklets.append(work)
        self._run_tasklets()

    def _run_tasklets(self) -> None:
        if self._tasklets and not self._queue and not self._raised and not self._scheduled:
            self._queue.extend(self._tasklets)
            self._tasklets.clear()
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.simulator.call_at(self._free_ns, self._run_next)

    def _run_next(self) -> None:
        self._scheduled = False
        self._run_one(self._queue.popleft())

    def _run_one(self, work: Callable[[], Step]) -> None:
        self.run(work())
        if self._tasklets:
            self._run_tasklets()
        if self._scheduled:
            return
        if self._queue:
            self._schedule()
        elif self.idle.waiters:
            self.idle.wake(self._free_ns - self.simulator.now_ns)

    def run(self, work: Step) -> None:
        """Run a piece of work now, to its end; timers use this too."""
        if self._running:
            raise RuntimeError("softirq work does not nest")
        self._running = True
        now_ns = self.simulator.now_ns
        self.lead_ns = max(0, self._free_ns - now_ns)
        try:
            for spent in work:
                if isinstance(spent, int):
                    self.lead_ns += spent
        finally:
            self._free_ns = now_ns + self.lead_ns
            self.lead_ns = 0
            self._running = False

    def drain(self) -> Step:
        """Wait until all raised work has run: where a system call re-enables softirqs after sending."""
        while self._queue or self._raised or self._tasklets:
            yield self.idle
        if self._free_ns > self.simulator.now_ns:
            yield self._free_ns - self.simulator.now_ns
