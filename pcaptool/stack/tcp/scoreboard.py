"""What is known of each buffer in flight: SACKed, lost, sent again (the scoreboard of tcp_input.c).

Knows: the marks, the counters that follow from them, and how SACK blocks set them (tcp_sacktag_write_queue).
Must not know: what is done about a loss (`recovery`), or when a buffer counts as lost (`rack`).
Sources: RFC 2018, RFC 2883, RFC 6675 section 4.
Complexity: a block visits the buffers from the queue's head to its own end; buffers are super-packets, so there are
few of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pcaptool.stack.skbuff import TRUESIZE_OVERHEAD, SkBuff
from pcaptool.stack.tcp import output, rate
from pcaptool.stack.tcp.rate import RateSample
from pcaptool.stack.tcp.sock import TcpSock, near

__all__ = ["AckEvent", "collapse", "mark_lost", "mark_sacked", "tag_sack_blocks"]


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
    probe_repeated : bool
        What arrived twice is a loss probe (FLAG_DSACK_TLP).
    echo : bool
        It said that data came with a congestion mark (FLAG_ECE).
    lost_retransmission : bool
        A retransmission was found lost.
    reneging : bool
        What is acknowledged ends before bytes that had been SACKed: the receiver may have thrown them away.
    rearm : bool
        The retransmission timer is to be set anew.
    rate : RateSample
        What it says about the delivery rate.
    sack_sent_ns, sack_last_ns : int
        When the first and the last newly SACKed buffer were sent that had not been sent again; 0 if none.
    """

    advanced: bool = False
    not_dup: bool = False
    data_acked: bool = False
    data_sacked: bool = False
    original_sacked: bool = False
    dsack: bool = False
    probe_repeated: bool = False
    echo: bool = False
    lost_retransmission: bool = False
    reneging: bool = False
    rearm: bool = False
    sack_sent_ns: int = 0
    sack_last_ns: int = 0
    rate: RateSample = field(default_factory=RateSample)


def mark_lost(sk: TcpSock, skb: SkBuff) -> None:
    """tcp_mark_skb_lost; a retransmission that is lost has to be sent once more."""
    if skb.sacked:
        return
    if skb.retransmission_out:
        skb.retransmission_out = False
        sk.retrans_out -= skb.gso_segs
        if skb.lost:
            sk.lost += skb.gso_segs
    if not skb.lost:
        skb.lost = True
        sk.lost_out += skb.gso_segs
        sk.lost += skb.gso_segs


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
            event.sack_sent_ns = event.sack_sent_ns or skb.sent_ns
            event.sack_last_ns = skb.sent_ns
        if skb.lost:
            skb.lost = False
            sk.lost_out -= skb.gso_segs
    if skb.retransmission_out:
        skb.retransmission_out = False
        sk.retrans_out -= skb.gso_segs
    skb.sacked = True
    sk.sacked_out += skb.gso_segs
    event.data_sacked = True
    rate.count_delivered(sk, skb.gso_segs, marked=event.echo)
    rate.delivered(sk, skb, event.rate)
    recovery.rack_advance(sk, skb)
    recovery.highest_sack_seq = max(recovery.highest_sack_seq, skb.end_seq)


def tag_sack_blocks(sk: TcpSock, blocks: tuple[tuple[int, int], ...], ack: int, event: AckEvent) -> None:
    """tcp_sacktag_write_queue: apply the SACK blocks of an ACK; the first may be a D-SACK (RFC 2883)."""
    edges = [(near(left, ack), near(right, ack)) for left, right in blocks]
    if edges and _is_dsack(edges, ack) and (repeats := _dsack_seen(sk, *edges[0], event)):
        _, right = edges.pop(0)
        recovery = sk.recovery
        if recovery.undo_retrans > 0 and 0 < recovery.undo_marker < right <= sk.snd_una:
            recovery.undo_retrans = max(0, recovery.undo_retrans - repeats)
    for left, right in sorted(edges):
        if ack <= left < right <= sk.snd_nxt:
            _tag_block(sk, left, right, event)


def _is_dsack(edges: list[tuple[int, int]], ack: int) -> bool:
    """tcp_check_dsack: below the ACK, or inside the second block."""
    left, right = edges[0]
    if left < ack:
        return True
    return len(edges) > 1 and edges[1][0] <= left and right <= edges[1][1]


def _dsack_seen(sk: TcpSock, left: int, right: int, event: AckEvent) -> int:
    """tcp_dsack_seen: how many segments arrived twice; 0 if that cannot be."""
    if not left < right or right - left > sk.max_window:
        return 0
    repeats = max(1, -(-(right - left) // sk.mss_cache))
    of_probe = repeats == 1 and sk.tlp_high_seq == right
    sk.dsack_dups += repeats
    if sk.dsack_dups > sk.total_retrans:
        return 0
    if sk.recovery.reordering_seen and not of_probe:
        sk.recovery.rack_dsack_seen = True
    event.dsack = True
    event.probe_repeated |= of_probe
    rate.count_delivered(sk, repeats, marked=event.echo)
    return repeats


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


def collapse(sk: TcpSock, skb: SkBuff, room: int) -> None:
    """tcp_retrans_try_collapse: small buffers behind one that is sent again join it, up to a segment.

    Not what the receiver has SACKed, nor what lies unread in its queue, where it is a clone of ours (veth).
    """
    queue = sk.rtx_queue
    if skb.length >= room or not _may_collapse(sk, skb):
        return
    room -= skb.length
    index = queue.index(skb)
    while index + 1 < len(queue):
        following = queue[index + 1]
        room -= following.length
        if not _may_collapse(sk, following) or room < 0 or following.end_seq > sk.window_end:
            return
        clear_marks(sk, following)
        skb.length += following.length
        skb.flags |= following.flags
        skb.retransmitted |= following.retransmitted
        sk.packets_out -= following.gso_segs
        sk.wmem_queued -= TRUESIZE_OVERHEAD
        following.freed = True
        del queue[index + 1]


def _may_collapse(sk: TcpSock, skb: SkBuff) -> bool:
    """tcp_can_collapse."""
    return skb.gso_segs == 1 and not skb.sacked and not (skb.unread and sk.host.softirq_follows)
