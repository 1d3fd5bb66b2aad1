"""What is known of each buffer in flight: SACKed, lost, sent again (the scoreboard of tcp_input.c).

Knows: the marks, the counters that follow from them, and how SACK blocks set them (tcp_sacktag_write_queue).
Must not know: what is done about a loss (`recovery`), or when a buffer counts as lost (`rack`).
Sources: RFC 2018, RFC 2883, RFC 6675 section 4.
Complexity: a block visits the buffers from the queue's head to its own end; buffers are super-packets, so there are
few of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from pcaptool.stack.skbuff import SkBuff
from pcaptool.stack.tcp import output
from pcaptool.stack.tcp.sock import TcpSock, near

__all__ = ["AckEvent", "mark_lost", "mark_sacked", "tag_sack_blocks"]


@dataclass(slots=True)
class AckEvent:
    """What one arriving segment did for the sender (the FLAG_ bits of tcp_input.c).

    Parameters
    ----------
    advanced : bool
        snd_una moved.
    not_dup : bool
        It carried data, changed the window or acknowledged something: not a duplicate ACK.
    data_acked, data_sacked : bool
        New bytes were acknowledged, cumulatively or by SACK.
    original_sacked : bool
        Bytes that were never sent again were newly acknowledged or SACKed.
    dsack : bool
        It said that something arrived twice.
    lost_retransmission : bool
        A retransmission was found lost.
    rearm : bool
        The retransmission timer is to be set anew.
    delivered : int
        Segments newly acknowledged or SACKed.
    sack_sent_ns : int
        When the last newly SACKed buffer was sent, 0 if none was or it had been sent again.
    """

    advanced: bool = False
    not_dup: bool = False
    data_acked: bool = False
    data_sacked: bool = False
    original_sacked: bool = False
    dsack: bool = False
    lost_retransmission: bool = False
    rearm: bool = False
    delivered: int = 0
    sack_sent_ns: int = 0


def mark_lost(sk: TcpSock, skb: SkBuff) -> None:
    """tcp_mark_skb_lost; a retransmission that is lost has to be sent once more."""
    if skb.sacked:
        return
    if skb.retransmission_out:
        skb.retransmission_out = False
        sk.retrans_out -= skb.gso_segs
    if not skb.lost:
        skb.lost = True
        sk.lost_out += skb.gso_segs


def clear_marks(sk: TcpSock, skb: SkBuff) -> None:
    """A buffer leaves the queue, or its marks lose their meaning."""
    if skb.sacked:
        sk.sacked_out -= skb.gso_segs
    if skb.lost:
        sk.lost_out -= skb.gso_segs
    if skb.retransmission_out:
        sk.retrans_out -= skb.gso_segs
    skb.sacked = skb.lost = skb.retransmission_out = False


def mark_sacked(sk: TcpSock, skb: SkBuff, event: AckEvent) -> None:
    """tcp_sacktag_one: the receiver has this buffer."""
    recovery = sk.recovery
    if skb.retransmission_out:
        if skb.lost:
            clear_marks(sk, skb)
    else:
        if not skb.retransmitted:
            if skb.seq < recovery.highest_sack_seq:
                recovery.saw_reordering(skb, sk)
            if skb.end_seq <= recovery.high_seq:
                event.original_sacked = True
            event.sack_sent_ns = skb.sent_ns
        if skb.lost:
            skb.lost = False
            sk.lost_out -= skb.gso_segs
    if skb.retransmission_out:
        skb.retransmission_out = False
        sk.retrans_out -= skb.gso_segs
    skb.sacked = True
    sk.sacked_out += skb.gso_segs
    event.data_sacked = True
    event.delivered += skb.gso_segs
    recovery.rack_advance(sk, skb)
    recovery.highest_sack_seq = max(recovery.highest_sack_seq, skb.end_seq)


def tag_sack_blocks(sk: TcpSock, blocks: tuple[tuple[int, int], ...], ack: int, event: AckEvent) -> None:
    """tcp_sacktag_write_queue: apply the SACK blocks of an ACK; the first may be a D-SACK (RFC 2883)."""
    edges = [(near(left, ack), near(right, ack)) for left, right in blocks]
    if edges and _is_dsack(edges, ack):
        left, right = edges.pop(0)
        event.dsack = True
        if sk.recovery.undo_marker and sk.recovery.undo_retrans > 0 and left >= sk.recovery.undo_marker:
            sk.recovery.undo_retrans -= max(1, -(-(right - left) // sk.mss_cache))
            sk.recovery.undo_retrans = max(0, sk.recovery.undo_retrans)
    for left, right in sorted(edges):
        if ack <= left < right <= sk.snd_nxt:
            _tag_block(sk, left, right, event)


def _is_dsack(edges: list[tuple[int, int]], ack: int) -> bool:
    """tcp_check_dsack: below the ACK, or inside the second block."""
    left, right = edges[0]
    if left < ack:
        return True
    return len(edges) > 1 and edges[1][0] <= left and right <= edges[1][1]


def _tag_block(sk: TcpSock, left: int, right: int, event: AckEvent) -> None:
    index = 0
    while index < len(sk.rtx_queue):
        skb = sk.rtx_queue[index]
        if skb.seq >= right:
            return
        if skb.end_seq > left and not skb.sacked:
            if left <= skb.seq and skb.end_seq <= right:
                mark_sacked(sk, skb, event)
            elif (cut := _cut(skb, left, right, skb.gso_size or sk.mss_cache)) is not None:
                sk.rtx_queue.insert(index + 1, split(sk, skb, cut))
                continue
        index += 1


def _cut(skb: SkBuff, left: int, right: int, mss: int) -> int | None:
    """tcp_match_skb_to_sack: where to cut a buffer that a block covers in part, in whole segments."""
    size = -(-max(left - skb.seq, mss) // mss) * mss if left > skb.seq else (right - skb.seq) // mss * mss
    return size if 0 < size < skb.length else None


def split(sk: TcpSock, skb: SkBuff, size: int) -> SkBuff:
    """tcp_fragment of a buffer in flight at a segment's border: both parts keep the marks."""
    return output.fragment(sk, skb, size, skb.gso_size or sk.mss_cache)
