"""The sender's thread: runs the kernel over the ring, with what the system grants it.

Knows: threads, priority, pinning, the ring's protocol (who fills, who sends, who collects).
Must not know: planning, reports.
The kernel of `send_kernel` runs compiled, without the interpreter's lock: planning beside it does not delay it. Where
machine code is switched off (NUMBA_DISABLE_JIT=1) it runs as plain Python, less exactly.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pcaptool.engine import Engine
from pcaptool.errors import SystemRefusedError, UsageError
from pcaptool.replay import send_kernel as sk
from pcaptool.replay.slots import SLOT_ROWS, SLOTS, Ring, Slot

__all__ = ["Sender", "Thread"]

SPIN_NS = 1_000_000
SPIN_REAL_TIME_NS = (
    150_000  # a real-time thread that never sleeps is stopped by the kernel for 50 ms a second
)
RETRY_NS = 1_000_000_000
BATCH = 64
BEHIND_NS = 1_000_000
SLEW_NS = 4_000
LATE_NS = 200_000
_PR_SET_TIMERSLACK = 29


@dataclass(frozen=True, slots=True)
class Thread:
    """How the sender's thread runs.

    Parameters
    ----------
    priority : int
        SCHED_FIFO priority 1 to 99; 0: an ordinary thread, of the process' niceness.
    cpu : int or None
        The one processor it runs on.
    """

    priority: int = 0
    cpu: int | None = None


class Sender:
    """Sends what is put into its ring.

    Parameters
    ----------
    handles : sequence of socket
        One an interface.
    thread : Thread
    engine : Engine
        How the kernel runs.
    timed : bool
        Whether there are deadlines to keep; else frames go in batches from the start.

    Attributes
    ----------
    ring : Ring
    """

    def __init__(
        self, handles: Sequence[socket.socket], thread: Thread, engine: Engine, *, timed: bool
    ) -> None:
        self.ring = Ring()
        self._handles = handles
        self._thread_wish = thread
        self._behind_ns = BEHIND_NS if timed else 0
        self._spin_ns = SPIN_REAL_TIME_NS if thread.priority else SPIN_NS
        self._control = np.zeros(sk.CONTROL_SIZE, np.int64)
        self._collected = 0
        self._slots = SLOTS
        self._kernel = engine.flat(sk.__name__, "send_frames")
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)
        self._ready, self._go = threading.Event(), threading.Event()
        self._fault: BaseException | None = None
        self._call(np.array([0], np.int64), ended=True)  # compiles, and sends nothing

    def _call(self, handles: np.ndarray[tuple[int], np.dtype[np.int64]], *, ended: bool = False) -> None:
        ring = self.ring
        control = self._control if not ended else np.zeros(sk.CONTROL_SIZE, np.int64)
        control[sk.ENDED] |= int(ended)
        self._kernel(
            control,
            np.array(
                [
                    self._slots,
                    SLOT_ROWS,
                    BATCH,
                    self._behind_ns,
                    self._spin_ns,
                    RETRY_NS,
                    SLEW_NS,
                    LATE_NS,
                ],
                np.int64,
            ),
            handles,
            ring.headers.ctypes.data,
            ring.counts,
            (ring.due_ns, ring.interface, ring.size, ring.sent_ns, ring.error),
            np.zeros(2, np.int64),
        )

    def begin(self) -> None:
        """Start the clock; slots may have been filled before.

        Raises
        ------
        SystemRefusedError, UsageError
            The priority or the processor is not granted.
        """
        self._thread.start()
        self._ready.wait()
        if self._fault is not None:
            raise self._fault
        self._go.set()

    def _run(self) -> None:
        try:
            self._take_place()
        except BaseException as error:  # noqa: BLE001 - raised again by `begin`
            self._fault = error
            return
        finally:
            self._ready.set()
        self._go.wait()
        try:
            self._call(np.array([handle.fileno() for handle in self._handles], np.int64))
        except BaseException as error:  # noqa: BLE001 - raised again by `finish`
            self._fault = error

    def _take_place(self) -> None:
        """Priority and processor of this thread; timers without slack."""
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
        wish = self._thread_wish
        if wish.cpu is not None:
            try:
                os.sched_setaffinity(0, {wish.cpu})
            except OSError as error:
                allowed = ", ".join(map(str, sorted(os.sched_getaffinity(os.getpid()))))
                raise UsageError(
                    f"--cpu {wish.cpu}: no such processor", hint=f"there are {allowed}"
                ) from error
        if wish.priority:
            try:
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(wish.priority))
            except OSError as error:
                raise SystemRefusedError(
                    f"--priority {wish.priority}: {(error.strerror or str(error)).lower()}",
                    hint="real-time priority needs CAP_SYS_NICE",
                ) from error

    # -- the planner's side ------------------------------------------------------------------------------------

    @property
    def room(self) -> bool:
        """Whether a slot is free to be filled."""
        return int(self._control[sk.FILLED]) - self._collected < self._slots

    def next_slot(self) -> Slot:
        """The slot to fill next; `room` must be true."""
        return self.ring.slots[int(self._control[sk.FILLED]) % self._slots]

    def put(self) -> None:
        """The slot of `next_slot` is filled."""
        filled = int(self._control[sk.FILLED])
        self.ring.close_slot(filled % self._slots)
        self._control[sk.FILLED] = filled + 1

    def keep(self, slots: int) -> None:
        """Use so many slots from now on, all of which are filled; to be called before `begin`."""
        self._slots = slots

    def end(self) -> None:
        """No further slot will come."""
        self._control[sk.ENDED] = 1

    def stop(self) -> None:
        """Send nothing any more."""
        self._control[sk.STOP] = 1

    # -- who collects ------------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether the sender still runs."""
        return self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        """Wait for the sender's end, for so long at most."""
        self._thread.join(seconds)

    @property
    def start_ns(self) -> int:
        """The first deadline on CLOCK_MONOTONIC; 0 before there is one."""
        return int(self._control[sk.START_NS])

    @property
    def tried(self) -> int:
        """Frames handed over or failed so far."""
        return int(self._control[sk.TRIED])

    @property
    def starved(self) -> int:
        """How often the sender found no frame planned although more were to come."""
        return int(self._control[sk.STARVED])

    @property
    def retried(self) -> int:
        """How often a full buffer made it try again."""
        return int(self._control[sk.RETRIED])

    @property
    def fatal(self) -> int:
        """The errno that ended sending, 0 for none."""
        return int(self._control[sk.FATAL])

    def collect(self, *, everything: bool = False) -> Slot | None:
        """A slot that the sender has done with, to be read before the next call; None where there is none.

        Parameters
        ----------
        everything : bool
            The sender has ended: also slots that it did not come to.
        """
        limit = int(self._control[sk.FILLED if everything else sk.DONE])
        if self._collected >= limit:
            return None
        slot = self.ring.slots[self._collected % self._slots]
        self._collected += 1
        return slot

    def fault(self) -> BaseException | None:
        """A bug in the sender's thread."""
        return self._fault
