"""Whether a token bucket held the server's frames back, and how large it was, as their times show it.

Knows: tbf's law (sch_tbf.c): a frame that must wait leaves when there are tokens for it, its size at the rate behind
the frame before it; and never more than the bucket and the rate allow.
Must not know: why a frame was built.
A frame that waited below TCP carries a timestamp older than its departure: that tells a queue from TCP's own pacing,
and from frames that ACKs let go one by one. Where that is seen, and the gaps agree on one rate, the rate is the median
of those, the bucket the most that ever left beyond it.
Leaves out: connections without timestamps, other queueing disciplines, the queue's limit (nothing is dropped).
"""

from __future__ import annotations

import statistics

from pcaptool.predict.observe import Connection, Frame
from pcaptool.stack.qdisc.base import packet_bytes
from pcaptool.stack.skbuff import SkBuff

__all__ = ["infer_qdisc", "waits_ms"]

WAITED_MS = 2  # a timestamp this much older than its frame's departure; one is rounding
LEAST_GAPS = 3
SAME_RATE = 0.01
SNAP = 0.02  # people choose round numbers
BYTE_NS = 8_000_000_000  # a byte takes this many nanoseconds, divided by the bits a second
LIMIT_BYTES = 100_000_000


def waits_ms(connection: Connection) -> list[tuple[Frame, int]]:
    """How many milliseconds each data frame left after it was built, by its timestamp; the fastest frame is 0."""
    stamped = [
        (frame, (frame.time_ns // 1_000_000 - frame.tcp.options.timestamps[0]) & 0xFFFFFFFF)
        for frame in connection.from_server
        if frame.tcp.options.timestamps
    ]
    if not stamped:
        return []
    first = stamped[0][1]
    relative = [(frame, (offset - first + 0x80000000 & 0xFFFFFFFF) - 0x80000000) for frame, offset in stamped]
    least = min(offset for _, offset in relative)
    return [(frame, offset - least) for frame, offset in relative if frame.skb.length]


def infer_qdisc(connections: list[Connection], full: int) -> str | None:
    """The words of a queueing discipline, as a scenario has them; None where no queue is seen.

    Parameters
    ----------
    connections : list of Connection
    full : int
        Payload of a full segment.
    """
    waited = [aged for connection in connections for aged in waits_ms(connection)]
    if sum(age_ms >= WAITED_MS for _, age_ms in waited) < LEAST_GAPS:
        return None
    frames = sorted((f for c in connections for f in c.from_server), key=lambda frame: frame.time_ns)
    late = {id(frame) for frame, age_ms in waited if age_ms >= 1}
    sizes = [_wire_bytes(frame, full) for frame in frames]
    times = [frame.time_ns for frame in frames]
    rates = [
        size * BYTE_NS // (time_ns - before_ns)
        for frame, size, before_ns, time_ns in zip(frames[1:], sizes[1:], times, times[1:], strict=False)
        if id(frame) in late and time_ns > before_ns
    ]
    agreeing: list[int] = max(
        ([other for other in rates if abs(other - rate) <= rate * SAME_RATE] for rate in rates),
        key=len,
        default=[],
    )
    if len(agreeing) < LEAST_GAPS:
        return None
    rate_bps = _round(int(statistics.median(agreeing)))
    burst_bytes = _burst(sizes, times, rate_bps)
    return f"tbf rate {rate_bps}bit burst {burst_bytes}b limit {LIMIT_BYTES}b"


def _wire_bytes(frame: Frame, full: int) -> int:
    """What a queueing discipline charges: the headers of each segment of a super-packet."""
    skb = frame.skb
    segments = max(1, -(-skb.length // full))
    whole = SkBuff(0, 0, length=skb.length, gso_segs=segments, gso_size=full if segments > 1 else 0)
    whole.tcp, whole.ip = skb.tcp, skb.ip
    return packet_bytes(whole)


def _burst(sizes: list[int], times: list[int], rate_bps: int) -> int:
    """The most bytes that left beyond the rate in any stretch of time."""
    beyond = most_scaled = 0  # times BYTE_NS, so that nothing is rounded on the way
    before_ns = times[0]
    for size, time_ns in zip(sizes, times, strict=True):
        beyond = max(0, beyond - (time_ns - before_ns) * rate_bps) + size * BYTE_NS
        most_scaled, before_ns = max(most_scaled, beyond), time_ns
    most = most_scaled // BYTE_NS
    near = min((round(most / unit) * unit for unit in (1024, 1000)), key=lambda size: abs(size - most))
    return near if near and abs(near - most) <= most * SNAP else most


def _round(rate_bps: int) -> int:
    """The number of two digits close by, if there is one."""
    unit = 10 ** max(0, len(str(rate_bps)) - 2)
    near = round(rate_bps / unit) * unit
    return near if abs(near - rate_bps) <= rate_bps * SNAP else rate_bps
