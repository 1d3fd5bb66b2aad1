"""Keepalive: whether the peer of an idle connection is still there (tcp_keepalive_timer).

Knows: when a probe leaves, and when the connection is given up.
Must not know: who asked for it (`syscalls`).
Source: RFC 9293 section 3.8.4, RFC 1122 section 4.2.3.6. A probe is a pure ACK one number back, so that the peer must
answer. Idle time counts from the last ACK or data that came; sysctl defaults: 2 h, then 9 probes 75 s apart.
"""

from __future__ import annotations

from dataclasses import dataclass

from pcaptool.sim.events import Step
from pcaptool.stack.tcp import timers
from pcaptool.stack.tcp.sock import State, TcpSock
from pcaptool.stack.timers import KernelTimer

__all__ = ["Keepalive", "start", "stop"]

_NOTHING_TO_KEEP = frozenset({State.CLOSE, State.SYN_SENT, State.TIME_WAIT})


@dataclass(slots=True)
class Keepalive:
    """SO_KEEPALIVE of a connection: TCP_KEEPIDLE, TCP_KEEPINTVL in jiffies, TCP_KEEPCNT."""

    timer: KernelTimer
    idle_jiffies: int
    interval_jiffies: int
    probes: int


def start(sk: TcpSock, *, idle_ms: int = 7_200_000, interval_ms: int = 75_000, probes: int = 9) -> None:
    """Watch a connection from now on."""
    stop(sk)
    jiffies = sk.host.jiffies
    timer = KernelTimer(sk.host.simulator, jiffies, lambda: timers.fire(sk, _handler))
    sk.keepalive = Keepalive(timer, jiffies.from_ms(idle_ms), jiffies.from_ms(interval_ms), probes)
    _again(sk, sk.keepalive.idle_jiffies)


def stop(sk: TcpSock) -> None:
    """No longer."""
    if sk.keepalive is not None:
        sk.keepalive.timer.cancel()
    sk.keepalive = None


def _again(sk: TcpSock, delay_jiffies: int) -> None:
    if sk.keepalive is not None:
        sk.keepalive.timer.mod(sk.host.jiffies.at(sk.host.now_ns) + delay_jiffies)


def _handler(sk: TcpSock) -> Step:
    """tcp_keepalive_timer."""
    keep = sk.keepalive
    if keep is None or sk.state in _NOTHING_TO_KEEP:
        return
    if sk.packets_out or sk.write_queue:
        _again(sk, keep.idle_jiffies)  # alive without it: the retransmission timer watches
        return
    idle = sk.host.jiffies.at(sk.host.now_ns) - max(sk.ack.last_receive_jiffies, sk.last_ack_jiffies)
    if idle < keep.idle_jiffies:
        _again(sk, keep.idle_jiffies - idle)
        return
    if sk.probes_out >= keep.probes:
        sk.error = "ETIMEDOUT"
        yield from sk.host.tcp.send_active_reset(sk)
        return
    yield from timers.send_probe(sk)
    sk.probes_out += 1
    _again(sk, keep.interval_jiffies)
