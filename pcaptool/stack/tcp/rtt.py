"""Round-trip time, retransmission timeout, pacing rate (tcp_rtt_estimator, tcp_set_rto, tcp_update_pacing_rate).

Knows: RFC 6298 in the kernel's integer arithmetic: srtt times 8, deviations times 4, microseconds.
Must not know: when a sample is taken.
"""

from __future__ import annotations

from pcaptool.stack.skbuff import SkBuff
from pcaptool.stack.tcp.sock import TcpSock

__all__ = ["estimate", "receiver_measure", "rto_us", "update_min", "update_pacing_rate"]


def estimate(sk: TcpSock, sample_us: int) -> None:
    """tcp_rtt_estimator and tcp_set_rto for a sample of at least 1 us."""
    least4 = sk.host.settings.tcp_rto_min_us
    if sk.srtt8_us == 0:
        sk.srtt8_us = sample_us << 3
        sk.mdev4_us = sample_us << 1
        sk.rttvar4_us = sk.mdev_max4_us = max(sk.mdev4_us, least4)
        sk.rtt_seq = sk.snd_nxt
    else:
        error = sample_us - (sk.srtt8_us >> 3)
        sk.srtt8_us += error
        if error < 0:
            error = -error - (sk.mdev4_us >> 2)
            if error > 0:
                error >>= 3  # a shorter round trip shall not widen the timeout much (Eifel)
        else:
            error -= sk.mdev4_us >> 2
        sk.mdev4_us += error
        if sk.mdev4_us > sk.mdev_max4_us:
            sk.mdev_max4_us = sk.mdev4_us
            sk.rttvar4_us = max(sk.rttvar4_us, sk.mdev_max4_us)
        if sk.snd_una > sk.rtt_seq:
            if sk.mdev_max4_us < sk.rttvar4_us:
                sk.rttvar4_us -= (sk.rttvar4_us - sk.mdev_max4_us) >> 2
            sk.rtt_seq = sk.snd_nxt
            sk.mdev_max4_us = least4
    sk.srtt8_us = max(1, sk.srtt8_us)
    sk.rto_jiffies = sk.host.jiffies.from_us(rto_us(sk))
    sk.backoff = 0


def rto_us(sk: TcpSock) -> int:
    """__tcp_set_rto: smoothed round trip and deviation, the latter at least 200 ms (fact 61)."""
    return (sk.srtt8_us >> 3) + sk.rttvar4_us


def update_min(sk: TcpSock, sample_us: int) -> None:
    """tcp_update_rtt_min, without its window of 300 s."""
    sk.min_rtt_us = min(sk.min_rtt_us, max(sample_us, 1))


def update_pacing_rate(sk: TcpSock) -> None:
    """tcp_update_pacing_rate: twice the window a round trip in slow start, 1.2 times after; sizes TSO."""
    ratio = 200 if sk.snd_cwnd < sk.ssthresh >> 1 else 120
    rate = sk.mss_cache * 8 * 10_000 * ratio * max(sk.snd_cwnd, sk.packets_out)
    if sk.srtt8_us:
        sk.pacing_rate = rate // sk.srtt8_us


def receiver_measure(sk: TcpSock, skb: SkBuff) -> None:
    """tcp_rcv_rtt_measure and tcp_rcv_rtt_measure_ts: the receiver's view of the round trip.

    How long a window's worth of bytes took to come is one sample (the least of them counts); a full segment that echoes
    a new stamp, of another millisecond than now, is another.
    """
    now_ns = sk.host.now_ns
    if sk.rcv_rtt_seq == 0 or sk.rcv_nxt >= sk.rcv_rtt_seq:
        if sk.rcv_rtt_seq:
            took_us = now_ns // 1000 - sk.rcv_rtt_time_ns // 1000
            _receiver_update(sk, max(1, took_us), by_window=True)
        sk.rcv_rtt_seq, sk.rcv_rtt_time_ns = sk.rcv_nxt + sk.rcv_wnd, now_ns
    if not sk.timestamps or skb.tcp is None or skb.tcp.options.timestamps is None:
        return
    echoed = skb.tcp.options.timestamps[1]
    if not echoed or echoed == sk.rcv_rtt_last_tsecr:
        return
    sk.rcv_rtt_last_tsecr = echoed
    delta_us = ((sk.ts_clock() - echoed) & 0xFFFFFFFF) * 1000
    if delta_us and skb.length >= sk.ack.receive_mss:
        _receiver_update(sk, delta_us, by_window=False)


def _receiver_update(sk: TcpSock, sample_us: int, *, by_window: bool) -> None:
    """tcp_rcv_rtt_update: a lower sample counts at once; a higher one an eighth, where it was not for a slow reader."""
    if sk.rcv_rtt8_us == 0 or sample_us << 3 < sk.rcv_rtt8_us:
        sk.rcv_rtt8_us = sample_us << 3
    elif not by_window and sk.rcv_nxt == sk.copied_seq:
        sk.rcv_rtt8_us += sample_us - (sk.rcv_rtt8_us >> 3)
