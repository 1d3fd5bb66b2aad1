"""Acknowledgements that found the socket owned by a call which the model does not see at work.

Knows: that a segment which finds the socket owned waits in the backlog until it is given back, that neighbouring pure
ACKs become one there (tcp_add_backlog), and that the next frame which leaves shows when that was.
Must not know: whether an ACK was held (`schedule` answers), or what the stack does with it.
An ACK that is held begins a batch; those that follow it before the batch is processed belong to it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from pcaptool.predict.observe import Endpoint, Frame
from pcaptool.predict.recording import Recording
from pcaptool.predict.schedule import Schedule
from pcaptool.sim.events import Simulator
from pcaptool.stack.skbuff import SkBuff
from pcaptool.stack.tcp.lock import merge
from pcaptool.wire.tcp import TcpFlag

__all__ = ["Held", "own_copy"]

LEAST_NS, MOST_NS = 5_000, 300_000  # a call owns a socket so long


class Held:
    """Between a capture's frames and the modelled host.

    Parameters
    ----------
    simulator : Simulator
    deliver : callable
        Given a frame and the time at which it arrives.
    schedule : Schedule
    """

    def __init__(
        self, simulator: Simulator, deliver: Callable[[Frame, int], None], schedule: Schedule
    ) -> None:
        self.simulator = simulator
        self.deliver = deliver
        self.schedule = schedule
        self.recordings: dict[Endpoint, Recording] = {}
        self._batches: dict[Endpoint, deque[Frame]] = {}

    def arrive(self, frame: Frame, time_ns: int) -> None:
        """A frame of the client is there."""
        ip, tcp = frame.skb.ip, frame.skb.tcp
        client = (ip.source, tcp.srcport) if ip is not None and tcp is not None else (b"", 0)
        recording = self.recordings.get(client)
        waiting = self._batches.get(client)
        begins = False
        if recording is not None and tcp is not None and not frame.skb.length and tcp.flags == TcpFlag.ACK:
            next_ns = recording.next_ns(time_ns)
            if next_ns is not None and LEAST_NS <= next_ns - time_ns <= MOST_NS:
                begins = self.schedule.choose(("held", client[1], tcp.ack), time_ns, usual=False)
                if begins and waiting is None:
                    self._batches[client] = deque([_own(frame)])
                    self.simulator.at(next_ns, self._release, client)
                    return
        if waiting is None:
            self.deliver(frame, time_ns)
        elif begins or not merge(waiting[-1].skb, own_copy(frame.skb)):
            waiting.append(_own(frame))

    def _release(self, client: Endpoint) -> None:
        for frame in self._batches.pop(client):
            self.deliver(frame, self.simulator.now_ns)


def own_copy(skb: SkBuff) -> SkBuff:
    """A buffer that the stack may change: the capture's frames are played more than once."""
    return skb if skb.tcp is None else replace(skb, tcp=replace(skb.tcp))


def _own(frame: Frame) -> Frame:
    return replace(frame, skb=own_copy(frame.skb))
