"""What TCP did with a segment, in a sentence for a person (`--annotate`).

Knows: a connection's variables at the moment at which a segment leaves it.
Must not know: anything that happens below, or where the sentence goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcaptool.stack.tcp.sock import CaState
from pcaptool.wire.tcp import TcpFlag

if TYPE_CHECKING:
    from pcaptool.stack.skbuff import SkBuff
    from pcaptool.stack.tcp.sock import TcpSock

__all__ = ["segment_note"]

_INFINITE = 0x7FFFFFFF


def segment_note(sk: TcpSock, skb: SkBuff) -> str:
    """Why a segment leaves, and the window that let it."""
    what = _what(sk, skb)
    if skb.gso_segs > 1:
        what += f", super-packet of {skb.gso_segs} segments"
    threshold = "none" if sk.ssthresh >= _INFINITE else str(sk.ssthresh)
    state = "" if sk.ca_state is CaState.OPEN else f", {sk.ca_state.value}"
    rtt = f", srtt {sk.srtt8_us // 8} us" if sk.srtt8_us else ""
    return f"{what}; cwnd {sk.snd_cwnd}, in flight {sk.packets_in_flight}, ssthresh {threshold}{state}{rtt}"


def _what(sk: TcpSock, skb: SkBuff) -> str:
    flags = skb.tcp.flags if skb.tcp is not None else 0
    if flags & TcpFlag.RST:
        return "reset"
    if flags & TcpFlag.SYN:
        return f"SYN repeated ({sk.retransmits})" if sk.retransmits else "SYN"
    if not skb.length and not flags & TcpFlag.FIN:
        return _acknowledgement(sk, skb)
    if skb.clone_of is not None and skb.clone_of.retransmitted:
        return f"sent again: {_cause(sk)}"
    what = "new data" if skb.length else "end of the stream"
    return f"{what} and end of the stream" if skb.length and flags & TcpFlag.FIN else what


def _cause(sk: TcpSock) -> str:
    if sk.stale_clock_ns:
        return "a router said that it was too big"
    if sk.ca_state is CaState.LOSS:
        return f"retransmission timeout (RTO {sk.rto_jiffies * sk.host.jiffies.tick_ns // 1_000_000} ms)"
    if sk.ca_state is CaState.RECOVERY:
        return "fast retransmission"
    return "tail loss probe" if sk.recovery.tlp_retransmitted else "retransmission"


def _acknowledgement(sk: TcpSock, skb: SkBuff) -> str:
    if skb.seq < sk.snd_una:
        return "window probe or keepalive: an old number, so that the peer answers"
    if skb.tcp is not None and skb.tcp.options.sack_blocks:
        return f"ACK, holes in what came ({len(skb.tcp.options.sack_blocks)} SACK blocks)"
    return "ACK"
