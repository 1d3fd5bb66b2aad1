"""A capture sent again: its packets to an interface, its requests to a server, or both to the model.

Knows: planning what is sent when, sending it on time, telling what became of it.
Must not know: arguments, printing.

    packets, plan, pace, rewriting   what is sent, and when: sans-I/O but for reading the capture
    plan_kernel, frame_kernel, segment_kernel
                                     one packet to the frames that leave; plain or compiled
    slots, sending, send_kernel      the sender's thread, the ring between it and planning
    interfaces, watching             packet sockets, what arrives on the far side
    outcome                          counts, timing errors, the `replay` table
    run                              all of it, from beginning to end

It reports itself: what was planned, sent, failed with which error, and with a far side to look at, seen. Nothing that
was planned and not sent goes unsaid.
"""

from __future__ import annotations

from pcaptool.replay.outcome import Outcome
from pcaptool.replay.pace import Pace
from pcaptool.replay.rewriting import Rewriting
from pcaptool.replay.run import Options, replay
from pcaptool.replay.sending import Thread

__all__ = ["Options", "Outcome", "Pace", "Rewriting", "Thread", "replay"]
