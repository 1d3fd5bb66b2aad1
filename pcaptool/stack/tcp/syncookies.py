"""SYN cookies: a listening socket whose queue of requests is full answers without remembering (net/ipv4/syncookies.c).

Knows: what survives in the cookie and in the low bits of the timestamp, and what is lost: the exact MSS, the window
scale and SACK of a peer without timestamps, the round trip of the handshake, a repetition of the SYN-ACK by itself.
Must not know: when a cookie is sent, or looked at (`protocol`).
Source: RFC 4987 section 3.6. The cookie itself is a keyed hash; here it is drawn as any other initial sequence number,
and the listening socket remembers what the cookie would say.
Leaves out: that a cookie is old after two minutes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pcaptool.stack.tcp.handshake import RequestSock

__all__ = ["CLOCK_BITS", "cookie_clock_ms", "forget", "option_bits", "remember", "remembered_mss"]

MSS_TABLE = {4: (536, 1300, 1440, 1460), 16: (1220, 1420, 1440, 8940)}  # by bytes of an address
CLOCK_BITS = 6  # TSBITS
NO_SCALE = 0xF  # TS_OPT_WSCALE_MASK
SACK_BIT, ECN_BIT = 1 << 4, 1 << 5


def forget(request: RequestSock) -> RequestSock:
    """A request as far as its SYN-ACK can say it: without timestamps no options but the MSS."""
    options = request.options
    if request.timestamps:
        return replace(request, cookie=True)
    options = replace(options, window_scale=None, sack_permitted=False)
    return replace(
        request, cookie=True, options=options, sack=False, window_scaling=False, wscale=0, ecn_ok=False
    )


def remember(request: RequestSock, flow_label: int) -> RequestSock:
    """What the third ACK tells of it: the MSS is one of four; on IPv6 it takes another flow label.

    Examples
    --------
    >>> [max(size for size in MSS_TABLE[4] if size <= mss) for mss in (1460, 1459, 1360)]
    [1460, 1440, 1300]
    """
    mss = remembered_mss(request.remote[0], request.options.mss or 536)
    return replace(request, options=replace(request.options, mss=mss), flow_label=flow_label)


def remembered_mss(address: bytes, offered: int) -> int:
    """What a cookie keeps of a peer's MSS."""
    table = MSS_TABLE[len(address)]
    return max((size for size in table if size <= offered), default=table[0])


def option_bits(scale: int | None, *, sack: bool, ecn: bool) -> int:
    """What the low bits of a cookie's stamp say: the peer's window scale, SACK, ECN."""
    bits = NO_SCALE if scale is None else min(scale, 14)
    return bits | (SACK_BIT if sack else 0) | (ECN_BIT if ecn else 0)


def cookie_clock_ms(request: RequestSock, clock_ms: int) -> int:
    """cookie_init_timestamp: the clock of a SYN-ACK's timestamp, whose low bits hold the peer's options; never ahead.

    Parameters
    ----------
    request : RequestSock
    clock_ms : int
        The true one.
    """
    scale = request.options.window_scale if request.window_scaling else None
    bits = option_bits(scale, sack=request.sack, ecn=request.ecn_ok)
    coded = clock_ms >> CLOCK_BITS << CLOCK_BITS | bits
    return coded if coded <= clock_ms else coded - (1 << CLOCK_BITS)
