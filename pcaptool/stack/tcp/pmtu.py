"""What TCP does when a router says that its segments are too big (tcp_v4_mtu_reduced, tcp_simple_retransmit).

Knows: which connection an error is about, how its segments shrink, that what was too big is sent again at once.
Must not know: how the error came (`stack.icmp`), or how long a path's MTU is remembered (`stack.ip`).
Sources: RFC 1191, RFC 8201; RFC 5927 section 4 (an error must be about something that is in flight).
Leaves out: probing for larger MTUs (RFC 4821).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcaptool.stack.tcp import output, recovery
from pcaptool.stack.tcp.handshake import sync_mss
from pcaptool.stack.tcp.reduction import current_ssthresh, set_ca_state
from pcaptool.stack.tcp.scoreboard import mark_lost
from pcaptool.stack.tcp.sock import CaState, State, near

if TYPE_CHECKING:
    from pcaptool.sim.events import Step
    from pcaptool.stack.tcp.protocol import TcpProtocol
    from pcaptool.stack.tcp.sock import TcpSock, Tuple4

__all__ = ["icmp_error"]


def icmp_error(tcp: TcpProtocol, key: Tuple4, seq: int, error: str) -> Step:
    """tcp_v4_err: an error that quotes a segment of ours."""
    sk = tcp.established.get(key)
    if sk is None or not sk.snd_una <= near(seq, sk.snd_una) <= sk.snd_nxt:
        return
    if error == "EMSGSIZE":
        if sk.owned:
            sk.deferred.append(mtu_reduced)
        else:
            yield from mtu_reduced(sk)
    elif sk.state is State.SYN_SENT:
        sk.error = error
        tcp.done(sk)


def mtu_reduced(sk: TcpSock) -> Step:
    """tcp_v4_mtu_reduced: smaller segments from now on; those that were too big are lost."""
    if sk.state is State.CLOSE:
        return
    before = sk.mss_cache
    sync_mss(sk)
    if sk.mss_cache < before:
        yield from simple_retransmit(sk)


def simple_retransmit(sk: TcpSock) -> Step:
    """tcp_simple_retransmit: repeat what did not fit, without slowing down: it was not congestion."""
    mss, lost_before = output.current_mss(sk), sk.lost_out
    for skb in sk.rtx_queue:
        if min(skb.length, skb.gso_size or skb.length) <= mss:
            continue
        before = skb.gso_segs
        more = output.packet_count(skb, mss) - before
        sk.packets_out += more
        sk.sacked_out += more if skb.sacked else 0
        sk.retrans_out += more if skb.retransmission_out else 0
        sk.lost_out += more if skb.lost else 0
        mark_lost(sk, skb)
    if sk.lost_out == lost_before:
        return
    if sk.ca_state is not CaState.LOSS:
        sk.recovery.high_seq = sk.snd_nxt
        sk.ssthresh = current_ssthresh(sk)
        sk.recovery.prior_ssthresh = sk.recovery.undo_marker = 0
        set_ca_state(sk, CaState.LOSS)
    # Nothing refreshes the connection's clock here (tcp_mstamp), so that the stamps are those of what was sent last
    # (pmtu-v4:13-19).
    sk.stale_clock_ns = sk.write_stamp_ns
    yield from recovery.xmit_retransmit_queue(sk)
    sk.stale_clock_ns = 0
