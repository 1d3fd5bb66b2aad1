"""Delivery rate: how fast the network delivered what is acknowledged (net/ipv4/tcp_rate.c).

Knows: what is noted of a buffer when it leaves, and the sample that its acknowledgement gives.
Must not know: what a congestion control makes of it.
Source: draft-cheng-iccrg-delivery-rate-estimation. Times are microseconds, amounts wire segments, as in the kernel.
A sample spans from the last delivery before a buffer left to now, or the time in which its flight was sent,
whichever is longer. It is marked when the program, not the network, was the limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pcaptool.stack.skbuff import SkBuff
    from pcaptool.stack.tcp.sock import TcpSock

__all__ = [
    "DepartureNote",
    "RateSample",
    "check_app_limited",
    "count_delivered",
    "delivered",
    "finish",
    "sent",
]


@dataclass(frozen=True, slots=True)
class DepartureNote:
    """What the connection had delivered when a buffer left (tcp_skb_cb.tx)."""

    first_us: int
    delivered_us: int
    delivered: int
    app_limited: bool


@dataclass(slots=True)
class RateSample:
    """struct rate_sample: what one ACK tells.

    Parameters
    ----------
    delivered, interval_us : int
        Segments delivered in so much time; -1 where there is no valid sample.
    losses, acked : int
        Segments newly marked lost, newly acknowledged or SACKed.
    rtt_us : int
        Of the last buffer that was acknowledged or SACKed; -1 without.
    prior_in_flight : int
        In flight before this ACK.
    app_limited, ack_delayed, retransmitted : bool
        The sender had nothing to send; the receiver may have waited; the sample is from a repeated buffer.
    """

    prior_delivered: int = 0
    prior_us: int = 0
    delivered: int = -1
    interval_us: int = -1
    losses: int = 0
    acked: int = 0
    rtt_us: int = -1
    prior_in_flight: int = 0
    last_end_seq: int = 0
    app_limited: bool = False
    ack_delayed: bool = False
    retransmitted: bool = False


def sent(sk: TcpSock, skb: SkBuff) -> None:
    """tcp_rate_skb_sent: a buffer leaves, for the first time or again."""
    if not sk.packets_out:
        sk.first_tx_us = sk.delivered_us = skb.sent_ns // 1000
    skb.delivery_note = DepartureNote(sk.first_tx_us, sk.delivered_us, sk.delivered, sk.app_limited > 0)


def count_delivered(sk: TcpSock, segments: int, *, marked: bool) -> None:
    """tcp_count_delivered; `marked`: by an ACK that says ECE."""
    sk.delivered += segments
    if marked:
        sk.delivered_ce += segments


def delivered(sk: TcpSock, skb: SkBuff, sample: RateSample) -> None:
    """tcp_rate_skb_delivered: the buffer that was sent last among the delivered ones makes the sample."""
    note = skb.delivery_note
    if note is None:
        return
    sent_us = skb.sent_ns // 1000
    if not sample.prior_delivered or (sent_us, skb.end_seq) > (sk.first_tx_us, sample.last_end_seq):
        sample.prior_delivered = note.delivered
        sample.prior_us = note.delivered_us
        sample.app_limited = note.app_limited
        sample.retransmitted = skb.retransmitted
        sample.last_end_seq = skb.end_seq
        sk.first_tx_us = sent_us
        sample.interval_us = sent_us - note.first_us
    if skb.sacked:
        skb.delivery_note = None  # not a second time when it is acknowledged


def finish(sk: TcpSock, sample: RateSample, acked: int, losses: int, *, reneged: bool = False) -> None:
    """tcp_rate_gen: the sample is complete; while SACKed bytes may be gone it says nothing."""
    now_us = sk.host.now_ns // 1000
    if sk.app_limited and sk.delivered > sk.app_limited:
        sk.app_limited = 0
    if acked:
        sk.delivered_us = now_us
    sample.acked, sample.losses = acked, losses
    if not sample.prior_us or reneged:
        sample.delivered = sample.interval_us = -1
        return
    sample.delivered = sk.delivered - sample.prior_delivered
    sample.interval_us = max(sample.interval_us, now_us - sample.prior_us)
    if sample.interval_us < sk.min_rtt_us:
        sample.interval_us = -1
        return
    if not sample.app_limited or (
        sample.delivered * sk.rate_interval_us >= sk.rate_delivered * sample.interval_us
    ):
        sk.rate_delivered, sk.rate_interval_us = sample.delivered, sample.interval_us
        sk.rate_app_limited = sample.app_limited


def check_app_limited(sk: TcpSock) -> None:
    """tcp_rate_check_app_limited: the program writes, and had left the network room to spare."""
    if (
        sk.write_seq - sk.snd_nxt < sk.mss_cache
        and not sk.wmem_alloc
        and sk.packets_in_flight < sk.snd_cwnd
        and sk.lost_out <= sk.retrans_out
    ):
        sk.app_limited = max(1, sk.delivered + sk.packets_in_flight)
