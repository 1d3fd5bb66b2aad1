"""When the server's clock goes from one millisecond to the next, as its timestamps show it.

Knows: that a TSval is a count of milliseconds with an offset of its own for each connection, and one phase for the host
(tcp_clock_ms): the capture's clock and the kernel's monotonic one do not tick together.
Must not know: how a run is done.
A stamp is never younger than its frame's departure; frames that nothing held back bound it from the other side.
"""

from __future__ import annotations

from pcaptool.predict.observe import Connection
from pcaptool.stack.tcp.syncookies import CLOCK_BITS, option_bits
from pcaptool.wire.tcp import TcpFlag

__all__ = ["clock_phase_ns", "cookie_phase_ns", "timestamp_offset"]

MS_NS = 1_000_000
MODULUS_NS = MS_NS << 32
COOKIE_PERIOD_MS = 1 << CLOCK_BITS


def _lead_ns(connection: Connection) -> int:
    """What to add to the capture's time so that it counts this connection's stamps: the middle of its bounds."""
    behind = []
    first = None
    for frame in connection.from_server:
        if stamps := frame.tcp.options.timestamps:
            value = frame.time_ns - stamps[0] * MS_NS
            first = value if first is None else first
            behind.append((value - first + MODULUS_NS // 2) % MODULUS_NS - MODULUS_NS // 2 + first)
    if not behind:
        return 0
    least = min(behind)
    spread = max(value - least for value in behind if value - least < MS_NS)
    return -least + (MS_NS - spread) // 2


def clock_phase_ns(connections: list[Connection]) -> int:
    """How far into its millisecond the host's clock is at the whole milliseconds of the capture's."""
    longest = max(connections, key=lambda connection: len(connection.from_server))
    return _lead_ns(longest) % MS_NS


def timestamp_offset(connection: Connection, phase_ns: int) -> int:
    """A connection's offset, given the host's phase.

    Examples
    --------
    >>> from pcaptool.predict.observe import observe
    >>> seen = observe("fixtures/captures/lab/size-1354.server.pcap").connections
    >>> phase_ns, frame = clock_phase_ns(seen), seen[0].from_server[0]
    >>> stamp = (frame.time_ns + phase_ns) // 1_000_000 + timestamp_offset(seen[0], phase_ns) & 0xFFFFFFFF
    >>> stamp == frame.tcp.options.timestamps[0]
    True
    """
    return round((_lead_ns(connection) - phase_ns) / MS_NS) & 0xFFFFFFFF


def cookie_phase_ns(connections: list[Connection], phase_ns: int) -> int:
    """The phase of a host whose SYN-ACKs are cookies, within 64 ms: what a cookie's stamp lags tells it.

    Its low six bits hold options, so that it is as much too old as the true clock is ahead of those bits.
    """
    for connection in connections:
        syn, synack = connection.from_client[0].tcp.options, connection.from_server[0]
        if not synack.tcp.options.timestamps:
            continue
        scale = syn.window_scale if synack.tcp.options.window_scale is not None else None
        bits = option_bits(
            scale, sack=synack.tcp.options.sack_permitted, ecn=bool(synack.tcp.flags & TcpFlag.ECE)
        )
        clock_ms = (synack.time_ns + phase_ns) // MS_NS
        lag_ms = clock_ms + timestamp_offset(connection, phase_ns) - synack.tcp.options.timestamps[0]
        return phase_ns + (bits + lag_ms - clock_ms) % COOKIE_PERIOD_MS * MS_NS
    return phase_ns
