"""Answers to segments that do not fit, at most two a second (tcp_send_challenge_ack, __tcp_oow_rate_limited).

Knows: the rate limit of one connection.
Must not know: what was wrong with a segment (`validate`, `ack`).
Source: RFC 5961 sections 3.2, 4.2, 5.2 and 7; fact 71.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pcaptool.sim.events import Step
from pcaptool.stack.tcp import output
from pcaptool.stack.tcp.sock import TcpSock

if TYPE_CHECKING:
    from pcaptool.stack.host import Host

__all__ = ["rate_limited", "send_challenge_ack"]

INVALID_RATELIMIT_MS = 500  # sysctl tcp_invalid_ratelimit


class Limited(Protocol):
    """A socket, or a request for one, that remembers when it last answered such a segment."""

    out_of_window_ack_jiffies: int | None


def rate_limited(host: Host, sk: Limited) -> bool:
    """__tcp_oow_rate_limited: whether an answer has just left; if not, this one counts."""
    jiffies = host.jiffies
    now = jiffies.at(host.now_ns)
    last = sk.out_of_window_ack_jiffies
    if last is not None and 0 <= now - last < jiffies.from_ms(INVALID_RATELIMIT_MS):
        return True
    sk.out_of_window_ack_jiffies = now
    return False


def send_challenge_ack(sk: TcpSock) -> Step:
    """tcp_send_challenge_ack: say what we expect; a peer that really has restarted will reset."""
    if not rate_limited(sk.host, sk):
        yield from output.tcp_send_ack(sk)
