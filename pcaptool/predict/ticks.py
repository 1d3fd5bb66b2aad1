"""When the server's kernel timers tick, as the frames that they sent show it.

Knows: that a timer fires at the beginning of a jiffy, and one that was set for long at a jiffy that is a multiple of
8, 64, ... (the wheel's levels, kernel/time/timer.c): repetitions, probes and delayed ACKs left just behind one.
Must not know: how a run is done.
The phase of the tick is where most of those frames fit; the digits of the jiffy's number above it, base 8, are those on
which most frames of timers that waited long enough agree. What no frame shows stays 0.
Leaves out: the frequency of the tick (`hz` is a setting), timers of connections whose handshake was not captured.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

from pcaptool.predict.observe import Connection, Frame
from pcaptool.stack.tcp.sock import near
from pcaptool.stack.timers import Jiffies, wheel_level
from pcaptool.wire.tcp import TcpFlag

__all__ = ["tick_phase_ns", "timer_frames"]

ALONE_NS = 1_000_000  # a frame behind such a pause was not let go by what had come before
SOFTIRQ_NS = 15_000  # from the tick to the frame, at least
LATE_NS = 500_000  # and, mostly, at most
TOP_LEVEL = 8
DIGIT = 8  # each level of the wheel is so much coarser


def tick_phase_ns(connections: list[Connection], hz: int) -> int:
    """What to give a host as `tick_phase_ns`; 0 where no timer is seen.

    Examples
    --------
    >>> from pcaptool.predict.observe import observe
    >>> seen = observe("fixtures/captures/lab/live-synack-twice.server.pcap").connections
    >>> [(frame.n, waited_ns // 1_000_000) for frame, waited_ns in timer_frames(seen[0])]
    [(5, 1001)]
    """
    found = [one for connection in connections for one in timer_frames(connection)]
    if not found:
        return 0
    jiffies = Jiffies(hz)
    tick_ns = jiffies.tick_ns
    within = sorted(frame.time_ns % tick_ns for frame, _ in found)
    begin_ns = max(within, key=lambda first: sum((time_ns - first) % tick_ns < LATE_NS for time_ns in within))
    phase_ns = (SOFTIRQ_NS - begin_ns) % tick_ns
    fitting = [
        ((frame.time_ns + phase_ns) // tick_ns, wheel_level(waited_ns // tick_ns))
        for frame, waited_ns in found
        if (frame.time_ns - begin_ns) % tick_ns < LATE_NS
    ]
    ahead = 0  # jiffies to add so that the numbers of those that fired are round
    for level in range(1, TOP_LEVEL):
        unit = DIGIT ** (level - 1)
        votes = Counter((jiffy + ahead) // unit % DIGIT for jiffy, reached in fitting if reached >= level)
        if not votes:
            break
        digit = votes.most_common(1)[0][0]
        fitting = [
            (jiffy, reached)
            for jiffy, reached in fitting
            if reached < level or (jiffy + ahead) // unit % DIGIT == digit
        ]
        ahead += -digit % DIGIT * unit
    return phase_ns + ahead * tick_ns


def timer_frames(connection: Connection) -> list[tuple[Frame, int]]:
    """Frames that only a timer can have sent, and for how long, at least, that had been set: nanoseconds.

    They say nothing new, and nothing had come from the client, nor left, just before.
    """
    out: list[tuple[Frame, int]] = []
    arrivals = [frame.time_ns for frame in connection.from_client]
    sent = connection.from_server[0].tcp.seq
    before_ns: int | None = None
    repeated = False
    synack_ns = connection.from_server[0].time_ns
    for frame in connection.from_server:
        end = (
            near(frame.tcp.seq, sent) + frame.skb.length + bool(frame.tcp.flags & (TcpFlag.SYN | TcpFlag.FIN))
        )
        index = bisect_left(arrivals, frame.time_ns)
        quiet_ns = frame.time_ns - max(before_ns or 0, arrivals[index - 1] if index else 0)
        old = end <= sent and before_ns is not None
        if old and quiet_ns >= ALONE_NS and not frame.tcp.flags & TcpFlag.RST:
            # A timer that was set when the frame before left, and then again, was not set for so long.
            own = (
                repeated
                or frame.tcp.flags & TcpFlag.SYN
                or index == 0
                or arrivals[index - 1] < (before_ns or 0)
            )
            waited_ns = quiet_ns if own else 0
            if connection.took_syn_data and frame.tcp.flags & TcpFlag.SYN:
                # A Fast Open socket's timer is not put off by a SYN that comes again.
                waited_ns, synack_ns = frame.time_ns - synack_ns, frame.time_ns
            out.append((frame, waited_ns))
        repeated = old
        sent, before_ns = max(sent, end), frame.time_ns
    return out
