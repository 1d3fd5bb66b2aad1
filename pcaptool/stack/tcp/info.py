"""What a connection says of itself (tcp_get_info): TCP_INFO from real state.

Knows: how each field follows from the socket's variables, with the kernel's units and names.
Must not know: who asks (a program's getsockopt, a script's assertion, `explain`).
Source: struct tcp_info in include/uapi/linux/tcp.h. Round-trip times and times since are micro- and milliseconds, as
there; sizes are bytes, counts wire segments.
Leaves out: busy, rwnd-limited and sndbuf-limited times, reordering counters of the receiver, Fast Open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pcaptool.stack.tcp.sock import CaState, State, TcpSock

if TYPE_CHECKING:
    from pcaptool.stack.timers import Jiffies

__all__ = ["STATE_NUMBERS", "TcpInfo", "tcp_info"]

# The kernel's numbers of the states (include/net/tcp_states.h) and of enum tcp_ca_state.
STATE_NUMBERS = {
    State.ESTABLISHED: 1,
    State.SYN_SENT: 2,
    State.SYN_RECV: 3,
    State.FIN_WAIT1: 4,
    State.FIN_WAIT2: 5,
    State.TIME_WAIT: 6,
    State.CLOSE: 7,
    State.CLOSE_WAIT: 8,
    State.LAST_ACK: 9,
    State.LISTEN: 10,
    State.CLOSING: 11,
}
CA_STATE_NUMBERS = {state: number for number, state in enumerate(CaState)}
OPTION_TIMESTAMPS, OPTION_SACK, OPTION_WSCALE, OPTION_ECN, OPTION_ECN_SEEN = 1, 2, 4, 8, 16
INFINITE_PACING_RATE = 0xFFFFFFFFFFFFFFFF


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """struct tcp_info, without the prefix tcpi_."""

    state: int
    ca_state: int
    retransmits: int
    probes: int
    backoff: int
    options: int
    snd_wscale: int
    rcv_wscale: int
    delivery_rate_app_limited: bool
    rto: int
    ato: int
    snd_mss: int
    rcv_mss: int
    unacked: int
    sacked: int
    lost: int
    retrans: int
    last_data_sent: int
    last_data_recv: int
    pmtu: int
    rcv_ssthresh: int
    rtt: int
    rttvar: int
    snd_ssthresh: int
    snd_cwnd: int
    advmss: int
    reordering: int
    rcv_rtt: int
    rcv_space: int
    total_retrans: int
    pacing_rate: int
    bytes_acked: int
    bytes_received: int
    segs_out: int
    segs_in: int
    notsent_bytes: int
    min_rtt: int
    data_segs_in: int
    data_segs_out: int
    delivery_rate: int
    delivered: int
    delivered_ce: int
    bytes_sent: int
    bytes_retrans: int
    dsack_dups: int
    reord_seen: int
    snd_wnd: int
    rcv_wnd: int


def tcp_info(sk: TcpSock) -> TcpInfo:
    """TCP_INFO of a socket, now.

    Examples
    --------
    >>> from pcaptool.stack.lone import LoneHost
    >>> lone = LoneHost()
    >>> sk = lone.established()
    >>> info = tcp_info(sk)
    >>> info.state, info.snd_cwnd, info.unacked, info.rto
    (1, 10, 0, 204000)
    """
    jiffies, now = sk.host.jiffies, sk.host.jiffies.at(sk.host.now_ns)
    recovery = sk.recovery
    return TcpInfo(
        state=STATE_NUMBERS[sk.state],
        ca_state=CA_STATE_NUMBERS[sk.ca_state],
        retransmits=sk.retransmits,
        probes=sk.probes_out,
        backoff=sk.backoff,
        options=_options(sk),
        snd_wscale=sk.send_wscale,
        rcv_wscale=sk.receive_wscale,
        delivery_rate_app_limited=sk.rate_app_limited,
        rto=_us(jiffies, sk.rto_jiffies),
        ato=_us(jiffies, sk.ack.ato_jiffies),
        snd_mss=sk.mss_cache,
        rcv_mss=sk.ack.receive_mss,
        unacked=sk.packets_out,
        sacked=sk.sacked_out,
        lost=sk.lost_out,
        retrans=sk.retrans_out,
        last_data_sent=_us(jiffies, now - sk.last_send_jiffies) // 1000,
        last_data_recv=_us(jiffies, now - sk.ack.last_receive_jiffies) // 1000,
        pmtu=sk.host.ip.mtu,
        rcv_ssthresh=sk.rcv_ssthresh,
        rtt=sk.srtt8_us >> 3,
        rttvar=sk.mdev4_us >> 2,
        snd_ssthresh=sk.ssthresh,
        snd_cwnd=sk.snd_cwnd,
        advmss=sk.advmss,
        reordering=recovery.reordering,
        rcv_rtt=sk.rcv_rtt8_us >> 3,
        rcv_space=sk.rcvq_space,
        total_retrans=sk.total_retrans,
        pacing_rate=INFINITE_PACING_RATE if sk.pacing_rate >= 1 << 62 else sk.pacing_rate,
        bytes_acked=sk.bytes_acked,
        bytes_received=sk.bytes_received,
        segs_out=sk.segs_out,
        segs_in=sk.segs_in,
        notsent_bytes=max(0, sk.write_seq - sk.snd_nxt),
        min_rtt=sk.min_rtt_us,
        data_segs_in=sk.data_segs_in,
        data_segs_out=sk.data_segs_out,
        delivery_rate=_delivery_rate(sk),
        delivered=sk.delivered,
        delivered_ce=sk.delivered_ce,
        bytes_sent=sk.bytes_sent,
        bytes_retrans=sk.bytes_retrans,
        dsack_dups=sk.dsack_dups,
        reord_seen=recovery.reordering_seen,
        snd_wnd=sk.snd_wnd,
        rcv_wnd=sk.rcv_wnd,
    )


def _us(jiffies: Jiffies, count: int) -> int:
    return count * jiffies.tick_ns // 1000


def _options(sk: TcpSock) -> int:
    given = (
        (sk.timestamps, OPTION_TIMESTAMPS),
        (sk.sack, OPTION_SACK),
        (sk.window_scaling, OPTION_WSCALE),
        (sk.ecn.ok, OPTION_ECN),
        (sk.ecn.seen, OPTION_ECN_SEEN),
    )
    return sum(bit for is_on, bit in given if is_on)


def _delivery_rate(sk: TcpSock) -> int:
    """tcp_compute_delivery_rate, bytes a second."""
    if not sk.rate_delivered or not sk.rate_interval_us:
        return 0
    return sk.rate_delivered * sk.mss_cache * 1_000_000 // sk.rate_interval_us
