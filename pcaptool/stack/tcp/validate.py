"""Whether an arriving segment is acceptable (tcp_validate_incoming).

Knows: PAWS, the sequence test, which resets count, that a SYN never does.
Must not know: what an acceptable segment changes (`input`, `ack`).
Sources: RFC 9293 section 3.10.7.4, RFC 7323 section 5 (PAWS), RFC 5961 sections 3 and 4 (blind attacks), RFC 2883.
"""

from __future__ import annotations

from pcaptool.sim.events import Step
from pcaptool.stack.skbuff import SkBuff, TcpHeader
from pcaptool.stack.tcp import output
from pcaptool.stack.tcp.acknowledge import enter_quickack
from pcaptool.stack.tcp.challenge import rate_limited, send_challenge_ack
from pcaptool.stack.tcp.sock import State, TcpSock, near
from pcaptool.wire.tcp import SEQ_MASK, TcpFlag

__all__ = ["report_repeat", "validate_incoming"]

PAWS_WINDOW = 1  # TCP_PAWS_WINDOW: ticks that a stamp may go back
HALF = 0x80000000
_HALF_CLOSED = frozenset({State.CLOSE_WAIT, State.LAST_ACK, State.CLOSING})


def validate_incoming(sk: TcpSock, skb: SkBuff, seq: int) -> Step:
    """tcp_validate_incoming. Returns whether to go on with the segment."""
    header = skb.tcp
    if header is None:
        return False
    reset, syn = header.flags & TcpFlag.RST, header.flags & TcpFlag.SYN
    end = seq + skb.length + bool(header.flags & TcpFlag.FIN) + bool(syn)
    stale = _paws_discard(sk, header, seq, end)
    outside = end < sk.rcv_wup or seq > sk.rcv_nxt + sk.receive_window
    if reset and (not outside or _reset_after_fin(sk, seq)):
        if seq == sk.rcv_nxt or _reset_after_fin(sk, seq) or _at_last_block(sk, seq):
            sk.host.tcp.reset(sk)
        else:
            yield from send_challenge_ack(sk)
        return False
    if reset:
        return False
    if syn and not _completes_crossed(sk, header, seq, end):
        yield from send_challenge_ack(sk)
        return False
    if stale or outside:
        # Bytes are answered always, pure ACKs twice a second (tcp_oow_rate_limited).
        if end > seq or not rate_limited(sk.host, sk):
            yield from _send_dupack(sk, seq, end)
        return False
    return True


def _completes_crossed(sk: TcpSock, header: TcpHeader, seq: int, end: int) -> bool:
    """Whether this is the SYN-ACK that answers ours, after two SYNs crossed."""
    return (
        sk.state is State.SYN_RECV
        and sk.fastopen is None
        and bool(header.flags & TcpFlag.ACK)
        and seq + 1 == end == sk.rcv_nxt
        and near(header.ack, sk.snd_nxt) == sk.snd_nxt
    )


def _paws_discard(sk: TcpSock, header: TcpHeader, seq: int, end: int) -> bool:
    """tcp_paws_discard: an old stamp, unless it is a pure ACK that only came late."""
    stamps = header.options.timestamps
    if not sk.timestamps or stamps is None or not sk.ts_recent:
        return False
    age = (sk.ts_recent - stamps[0]) & SEQ_MASK
    if age >= HALF or age <= PAWS_WINDOW:
        return False
    window = header.window << sk.send_wscale
    ack = near(header.ack, sk.snd_una)
    late_ack = (
        seq == end == sk.rcv_nxt
        and ack == sk.snd_una
        and not (seq > sk.snd_wl1 or (seq == sk.snd_wl1 and window > sk.snd_wnd))
        and age <= sk.rto_jiffies * 1200 // sk.host.jiffies.hz
    )
    return not late_ack


def _reset_after_fin(sk: TcpSock, seq: int) -> bool:
    """tcp_reset_check: the peer did not count its FIN."""
    return seq == sk.rcv_nxt - 1 and sk.state in _HALF_CLOSED


def _at_last_block(sk: TcpSock, seq: int) -> bool:
    """A reset right behind the last bytes that we have."""
    return sk.sack and seq == max((right for _, right in sk.out_of_order.blocks), default=None)


def _send_dupack(sk: TcpSock, seq: int, end: int) -> Step:
    """tcp_send_dupack: the peer repeats itself, so it missed our ACKs."""
    if seq < end and seq < sk.rcv_nxt:
        enter_quickack(sk)
        report_repeat(sk, seq, min(end, sk.rcv_nxt))
    yield from output.tcp_send_ack(sk)


def report_repeat(sk: TcpSock, left: int, right: int) -> None:
    """tcp_dsack_set."""
    if sk.sack and sk.host.settings.tcp_dsack:
        sk.out_of_order.dsack = (left, right)
