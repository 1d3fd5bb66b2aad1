"""Explicit congestion notification of one connection (the tcp_ecn_* functions of tcp_input.c and tcp_output.c).

Knows: how ECN is agreed on, which segments are marked as capable, how a mark is echoed and the echo answered.
Must not know: what a smaller window means (`recovery`), who sets the marks (queues and hooks below).
Sources: RFC 3168 sections 6.1.1-6.1.5, RFC 8311; fact 11. sysctl tcp_ecn: 0 never, 1 ask for it, 2 only when asked.
Leaves out: AccECN (RFC 9768), ECT(1), ECN for SYN and pure ACKs (RFC 5562, 8311 section 4.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pcaptool.wire.tcp import TcpFlag

if TYPE_CHECKING:
    from pcaptool.stack.skbuff import SkBuff
    from pcaptool.stack.tcp.sock import TcpSock

__all__ = ["CE", "ECN_MASK", "ECT0", "Ecn", "check_ce", "echoed", "mark_segment", "syn_asks", "syn_flags"]

ECN_MASK = 3  # of the TOS byte or traffic class
ECT0 = 2
CE = 3
SYN_ECN = TcpFlag.SYN | TcpFlag.ECE | TcpFlag.CWR


@dataclass(slots=True)
class Ecn:
    """tp->ecn_flags.

    Parameters
    ----------
    ok : bool
        Both ends agreed (TCP_ECN_OK).
    seen : bool
        The peer's data has come with a capable mark.
    demand_cwr : bool
        Data came marked: every segment says ECE until the peer says CWR.
    queue_cwr : bool
        The window was cut: the next new data says CWR.
    """

    ok: bool = False
    seen: bool = False
    demand_cwr: bool = False
    queue_cwr: bool = False

    def cut(self) -> None:
        """tcp_ecn_queue_cwr: the congestion window was reduced, for whatever reason."""
        if self.ok:
            self.queue_cwr = True


def syn_flags(sk: TcpSock, *, repeated: bool) -> int:
    """tcp_ecn_send_syn: flags of a SYN; a repeated one no longer asks (sysctl tcp_ecn_fallback)."""
    if sk.host.settings.tcp_ecn != 1:
        return int(TcpFlag.SYN)
    sk.ecn.ok = True
    return int(TcpFlag.SYN if repeated else SYN_ECN)


def syn_asks(flags: int, tos: int, tcp_ecn: int) -> bool:
    """tcp_ecn_create_request: whether a SYN asks for ECN and this host agrees.

    Examples
    --------
    >>> syn_asks(SYN_ECN, 0, 2), syn_asks(TcpFlag.SYN, 0, 1), syn_asks(SYN_ECN, ECT0, 2)
    (True, False, False)
    """
    return flags & SYN_ECN == SYN_ECN and tcp_ecn != 0 and not tos & ECN_MASK


def mark_segment(sk: TcpSock, skb: SkBuff, flags: int) -> int:
    """tcp_ecn_send: new data is capable and may say CWR; nothing else is. Returns the segment's flags."""
    ecn = sk.ecn
    if not ecn.ok:
        return flags
    if skb.length and skb.seq >= sk.snd_nxt:
        sk.tos |= ECT0
        if ecn.queue_cwr:
            ecn.queue_cwr = False
            flags |= TcpFlag.CWR
    else:
        sk.tos &= ~ECN_MASK
    return flags | TcpFlag.ECE if ecn.demand_cwr else flags


def check_ce(sk: TcpSock, skb: SkBuff) -> bool:
    """tcp_ecn_check_ce: a data segment's mark. Returns whether the next ACKs must not wait."""
    ecn = sk.ecn
    if not ecn.ok or skb.ip is None:
        return False
    mark = skb.ip.tos & ECN_MASK
    if mark == 0:
        # Not capable, though the peer's data was: a retransmission, so there was a loss.
        return ecn.seen
    ecn.seen = True
    if mark == CE and not ecn.demand_cwr:
        ecn.demand_cwr = True
        return True
    return False


def echoed(sk: TcpSock, flags: int) -> bool:
    """tcp_ecn_rcv_ecn_echo: the peer's segment says that our data came marked."""
    return bool(sk.ecn.ok and flags & TcpFlag.ECE and not flags & TcpFlag.SYN)
