"""Whether a server's connection is watched by SO_KEEPALIVE, as its probes show.

Knows: what a keepalive probe looks like (RFC 9293 section 3.8.4): a pure ACK one number back, with all data
acknowledged and the peer's window open. Must not know: how a run is done.
Linux takes TCP_KEEPIDLE in whole seconds, and its timer wheel fires up to an eighth of them late: of the values that
fit, the roundest is taken. How many probes it would send is not told: 9, the default.
"""

from __future__ import annotations

from dataclasses import dataclass

from pcaptool.predict.observe import Connection, Frame
from pcaptool.stack.tcp.sock import near
from pcaptool.wire.tcp import SEQ_MASK, TcpFlag

__all__ = ["Watch", "infer_watch"]

_LATE = (8, 7)  # how much longer than asked a wheel's level lets wait, and a little more
_ROUND_S = (3600, 600, 300, 60, 30, 10, 5, 1)
_DEFAULT_INTERVAL_S = 75
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Watch:
    """TCP_KEEPIDLE and TCP_KEEPINTVL, in seconds."""

    idle_s: int
    interval_s: int = _DEFAULT_INTERVAL_S


def infer_watch(connection: Connection) -> Watch | None:
    """What was set on a connection; None where no probe was seen."""
    idle_ns: list[int] = []
    interval_ns: list[int] = []
    sent = (connection.from_server[0].tcp.seq + 1) & SEQ_MASK
    heard = connection.from_server[0]
    probe: Frame | None = None  # the last one, as long as only answers to it came
    frames = [(f.time_ns, 0, f) for f in connection.from_client]
    frames += [(f.time_ns, 1, f) for f in connection.from_server]
    for _, from_server, frame in sorted(frames, key=lambda one: one[:2]):
        if not from_server:
            heard, probe = frame, None if frame.skb.length else probe
        elif not _is_probe(frame, sent, heard):
            end = frame.tcp.seq + frame.skb.length + bool(frame.tcp.flags & (TcpFlag.SYN | TcpFlag.FIN))
            sent, probe = max(sent, near(end, sent)) & SEQ_MASK, None
        elif probe is None:
            idle_ns.append(frame.time_ns - heard.time_ns)
            probe = frame
        else:  # the timer runs on from probe to probe, answered or not
            interval_ns.append(frame.time_ns - probe.time_ns)
            probe = frame
    if not idle_ns:
        return None
    idle_s = _roundest(min(idle_ns))
    return Watch(idle_s, _roundest(min(interval_ns))) if interval_ns else Watch(idle_s)


def _is_probe(frame: Frame, sent: int, heard: Frame) -> bool:
    pure = frame.tcp.flags == TcpFlag.ACK and frame.skb.length == 0
    whole = heard.tcp.flags & TcpFlag.ACK and heard.tcp.ack == sent and heard.tcp.window > 0
    return bool(pure and whole and frame.tcp.seq == (sent - 1) & SEQ_MASK)


def _roundest(waited_ns: int) -> int:
    """Whole seconds that were asked for where so much time passed.

    Examples
    --------
    >>> [_roundest(n * 1_000_000) for n in (1020, 3_071, 20_480, 46_080, 62_000, 7_340_000)]
    [1, 3, 20, 45, 60, 7200]
    """
    longest, shortest = _LATE
    for step in _ROUND_S:
        value_s = waited_ns // _NS // step * step
        if value_s and value_s * _NS * longest >= waited_ns * shortest:
            return value_s
    return 1
