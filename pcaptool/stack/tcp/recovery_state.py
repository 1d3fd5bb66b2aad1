"""What loss detection and recovery remember of a connection.

Knows: the variables, and what a delivered buffer changes in them.
Must not know: what is done about a loss (`rack`, `recovery`).
Sources: RFC 6675, RFC 8985 section 6.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pcaptool.stack.skbuff import SkBuff
    from pcaptool.stack.tcp.sock import TcpSock

__all__ = ["REORDERING", "Recovery"]

REORDERING = 3  # sysctl tcp_reordering


@dataclass(slots=True)
class Recovery:
    """What loss detection and recovery remember."""

    high_seq: int = 0  # snd_nxt when recovery began
    prior_cwnd: int = 0
    prior_ssthresh: int = 0
    prr_delivered: int = 0
    prr_out: int = 0
    undo_marker: int = 0
    undo_retrans: int = 0
    retrans_stamp_ms: int = 0  # TSval clock of the first retransmission of this episode
    reordering: int = REORDERING
    reordering_seen: int = 0
    frto: bool = False
    highest_sack_seq: int = 0
    rack_sent_ns: int = 0
    rack_end_seq: int = 0
    rack_rtt_us: int = 0
    rack_advanced: bool = False
    rack_steps: int = 1  # reordering window in quarters of the shortest round trip
    rack_persist: int = 0  # recoveries for which a widened window stays
    rack_dsack_seen: bool = False
    rack_last_delivered: int = 0
    tlp_retransmitted: bool = False
    reneged: bool = False  # the receiver threw away what it had SACKed, until this loss is repaired

    def saw_reordering(self, skb: SkBuff, sk: TcpSock) -> None:
        """tcp_check_sack_reordering: something sent earlier arrived later, without having been sent again."""
        distance = (self.highest_sack_seq - skb.seq) // max(1, sk.mss_cache)
        self.reordering = min(max(self.reordering, distance), 300)
        self.reordering_seen += 1

    def rack_advance(self, sk: TcpSock, skb: SkBuff) -> None:
        """tcp_rack_advance: the latest send time among the delivered (RFC 8985 section 6.2 step 2)."""
        rtt_us = (sk.host.now_ns - skb.sent_ns) // 1000
        if skb.retransmitted and rtt_us < sk.min_rtt_us:
            return
        self.rack_advanced = True
        self.rack_rtt_us = rtt_us
        self.rack_sent_ns, self.rack_end_seq = max(
            (self.rack_sent_ns, self.rack_end_seq), (skb.sent_ns, skb.end_seq)
        )
