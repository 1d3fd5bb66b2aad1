"""When the server's processor did what a capture shows: the times that a driven run takes from it.

Knows: when each byte of the server first left, and when the client's acknowledgement of it was there.
Must not know: how a run is done, or how large a frame the model makes.
A processor does other work, copies at the speed of its memory, runs a softirq late, wakes a program later still. None
of that is TCP's, and it differs from run to run; but it decides which acknowledgements a call finds when it goes on.
So a byte leaves the model not before it left the server: that far the capture is the clock. What leaves (sizes, flags,
numbers, windows, repetitions) and what waits for what (windows, Nagle, timers) is the model's.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from pcaptool.predict.observe import Connection, Frame
from pcaptool.predict.schedule import Schedule
from pcaptool.stack.tcp.sock import near
from pcaptool.wire.tcp import TcpFlag

__all__ = ["Recording", "refused"]

ONE_MACHINE_NS = 300_000  # a handshake that is faster is between two namespaces of a machine
ANSWER_NS = 100_000  # a softirq that answers does so within this time; later ACKs come from elsewhere
LATE_NS = 300_000  # a processor is late by less than this; a byte that left later waited for something
LATE_TIMER_NS = 1_000_000  # a timer fires late by less than this (a virtual machine without its processor)
LET_GO_NS = 30_000
LATE_ACKS = 12
OWNER_NS = 1_000  # so long before an acknowledgement that found the socket owned had it been taken
UNSURE_NS = 20_000  # the model's times within a processor's work are right to that


class Recording:
    """The times of one connection.

    Parameters
    ----------
    connection : Connection
    way_down_ns : int
        From TCP's decision to send to the tap, as the model counts it.
    schedule : Schedule
        Answers what the times leave open.
    queued : bool
        Whether a queue held frames back below TCP: then departures do not tell when TCP was at work.
    """

    def __init__(
        self, connection: Connection, way_down_ns: int, schedule: Schedule, *, queued: bool = False
    ) -> None:
        self._schedule = schedule
        self._port = connection.client[1]
        synack = connection.from_server[0]
        self._base = synack.tcp.seq + 1
        self._way_down_ns = way_down_ns
        self._queued = queued
        self._firsts: list[int] = []
        self._first_times: list[int] = []
        self._times = [
            f.time_ns for f in connection.from_server[1:] if f.skb.length or f.tcp.flags & TcpFlag.FIN
        ]
        expected = 0
        for frame in connection.from_server[1:]:
            at = near(frame.tcp.seq, self._base + expected) - self._base
            end = at + frame.skb.length
            if frame.skb.length and at <= expected < end:
                self._firsts.append(expected)
                self._first_times.append(frame.time_ns)
                expected = end
        self._end = expected
        acks = [f for f in connection.from_client[1:] if f.tcp.flags & TcpFlag.ACK]
        self._ack_times = [f.time_ns for f in acks]
        self._acked: list[int] = []  # what was acknowledged, as it grew, and when
        self._acked_times: list[int] = []
        for f in acks:
            ack = near(f.tcp.ack, self._base + (self._acked or [0])[-1]) - self._base
            if ack > (self._acked or [0])[-1]:
                self._acked.append(ack)
                self._acked_times.append(f.time_ns)
        third: Frame | None = next((f for f in acks if f.time_ns > synack.time_ns), None)
        self.one_machine = third is not None and third.time_ns - synack.time_ns <= ONE_MACHINE_NS
        self._taken_ns, self._synack_ns, self._admitted_ns = _admission(connection)

    def queue_full(self, now_ns: int) -> bool:
        """Whether too many connections waited for accept(), as this one was not let in."""
        return now_ns < self._taken_ns or self._synack_ns <= now_ns < self._admitted_ns

    def fired_ns(self, seq: int, due_ns: int) -> int:
        """When a timer that was due then let this byte go."""
        return self.left_ns(seq, due_ns, LATE_TIMER_NS)

    def left_ns(self, seq: int, now_ns: int, late_ns: int = LATE_NS) -> int:
        """When the frame that begins with a byte could be sent, by the capture: `now_ns` if that tells nothing."""
        index = bisect_right(self._firsts, self._offset(seq)) - 1
        if self._queued or index < 0 or self._offset(seq) >= self._end:
            return now_ns
        left = self._first_times[index] - self._way_down_ns
        return left if now_ns < left < now_ns + late_ns else now_ns

    def next_ns(self, now_ns: int) -> int | None:
        """When TCP was at work on the next frame that left with something in it; None where nothing followed."""
        index = bisect_right(self._times, now_ns)
        return None if self._queued or index == len(self._times) else self._times[index] - self._way_down_ns

    def resumed_ns(self, seq: int, now_ns: int) -> int:
        """When a writer that was woken had the processor again, by the byte that it wrote next.

        Nothing is told by a byte that an acknowledgement let go: it had been written before.
        """
        index = bisect_right(self._firsts, self._offset(seq)) - 1
        if self._queued or index < 0 or self._offset(seq) >= self._end:
            return now_ns
        if not self.one_machine:
            return self._late_ns(seq, self._owner_from_ns(now_ns))
        time_ns = self._first_times[index]
        before = bisect_left(self._ack_times, time_ns) - 1
        let_go = before >= 0 and time_ns - self._ack_times[before] < LET_GO_NS
        if self._schedule.choose(("resumed", self._port, seq), now_ns, usual=let_go):
            return now_ns
        return max(now_ns, time_ns - self._way_down_ns)

    def _owner_from_ns(self, now_ns: int) -> int:
        """Just before the first acknowledgement that found the socket owned, if that is soon: the writer owned it."""
        begins = (
            self._acked_times[index] - OWNER_NS
            for what, port, ack in self._schedule.otherwise
            if what == "held" and port == self._port
            for index in (bisect_left(self._acked, self._offset(ack)),)
            if index < len(self._acked)
        )
        return min((time_ns for time_ns in begins if now_ns <= time_ns < now_ns + LATE_NS), default=now_ns)

    def _late_ns(self, seq: int, now_ns: int) -> int:
        """On a machine of its own: a woken writer may have its processor some acknowledgements later."""
        first = bisect_right(self._ack_times, now_ns)
        last = min(bisect_left(self._ack_times, now_ns + LATE_NS), first + LATE_ACKS)
        late_ns = now_ns
        for count, index in enumerate(range(first, last), 1):
            if not self._schedule.choose((f"resumed behind {count}", self._port, seq), now_ns, usual=True):
                late_ns = self._ack_times[index] + OWNER_NS
        return late_ns

    def answered_ns(self, begin: int, end: int, now_ns: int) -> int:
        """On one machine: when a frame that leaves now, with these bytes, had been acknowledged.

        Where the server's next frame left before that, another processor received for the client: nobody waited.
        A frame that the device cut may be acknowledged up to one of its segments only.
        """
        if not self.one_machine:
            return now_ns
        first, offset = self._offset(begin), self._offset(end)
        left_ns = self._first_times[max(0, bisect_left(self._firsts, offset) - 1)]
        following = bisect_right(self._times, left_ns)
        next_ns = self._times[following] if following < len(self._times) else None
        soon = bisect_left(self._acked_times, now_ns + ANSWER_NS) - 1
        index = min(bisect_left(self._acked, offset), soon)
        if index < 0 or self._acked[index] <= first:
            return now_ns
        time_ns = self._acked_times[index]
        if not now_ns < time_ns < now_ns + ANSWER_NS:
            return now_ns
        known_ns = time_ns + self._way_down_ns  # before that no frame can show what the ACK changed
        alone = next_ns is not None and next_ns < known_ns
        waits = self._schedule.choose(("answered", self._port, end), now_ns, usual=not alone)
        return time_ns if waits else now_ns

    def defers(self, seq: int, early_ns: int, now_ns: int) -> bool:
        """Whether a buffer is held back for the next ACK, which is due so much later than Linux would wait for.

        Where microseconds decide, they are not the model's to know.
        """
        usual = early_ns <= 0
        if self._queued or abs(early_ns) >= UNSURE_NS:
            return usual
        return self._schedule.choose(("deferred", self._port, seq), now_ns, usual=usual)

    def _offset(self, seq: int) -> int:
        return near(seq, self._base + self._end // 2) - self._base


def _admission(connection: Connection) -> tuple[int, int, int]:
    """When the SYN came that was answered, when it was, and when the first segment came that was not ignored.

    A listening socket that has no room drops SYNs, and segments behind a SYN-ACK; their sender repeats them.
    """
    synack = connection.from_server[0]
    asked = [f for f in connection.from_client if f.tcp.flags & TcpFlag.SYN and f.time_ns <= synack.time_ns]
    acts = next((f for f in connection.from_server if not f.tcp.flags & TcpFlag.SYN), None)
    if acts is not None and refused(connection):
        return asked[-1].time_ns, synack.time_ns, acts.time_ns + 1
    before = [f for f in connection.from_client if acts is None or f.time_ns < acts.time_ns]
    data = [f for f in before if f.skb.length and not f.tcp.flags & TcpFlag.SYN]
    again = [f.time_ns for f in data[1:] if f.tcp.seq == data[0].tcp.seq]
    return asked[-1].time_ns, synack.time_ns, again[-1] if again else 0


def refused(connection: Connection) -> bool:
    """Whether the server answered the third ACK by a reset (sysctl tcp_abort_on_overflow)."""
    reset = next((f for f in connection.from_server if not f.tcp.flags & TcpFlag.SYN), None)
    before = [f for f in connection.from_client if reset is not None and f.time_ns < reset.time_ns]
    return (
        reset is not None
        and reset.tcp.flags & (TcpFlag.RST | TcpFlag.ACK) == TcpFlag.RST
        and bool(before)
        and before[-1].tcp.flags == TcpFlag.ACK
        and not any(f.skb.length or f.tcp.flags & TcpFlag.FIN for f in before)
    )
