"""The state of a TCP socket (struct tcp_sock, inet_connection_sock and sock in one).

Knows: the variables of one connection under the kernel's names, and the small sums over them.
Must not know: when they change (`input`, `output`, `timers`, `handshake`).
Sequence numbers are unbounded integers that begin at the 32-bit ISN; headers carry them modulo 2**32
(`wire_seq`), and what arrives is unwrapped around the expected value (`near`). RFC 9293 section 3.4.
Times are nanoseconds, those that the kernel keeps in jiffies are jiffies (`_jiffies`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

from pcaptool.sim.events import WaitQueue
from pcaptool.stack.skbuff import SendBuffer, SkBuff
from pcaptool.stack.tcp.ecn import Ecn
from pcaptool.stack.tcp.ofo import OutOfOrder
from pcaptool.stack.tcp.receive_queue import ReceiveQueue
from pcaptool.wire.tcp import SEQ_MASK, seq_diff

if TYPE_CHECKING:
    from pcaptool.sim.events import Event, Step
    from pcaptool.stack.host import Host
    from pcaptool.stack.tcp.congestion import CongestionControl
    from pcaptool.stack.tcp.fastopen import Pending
    from pcaptool.stack.tcp.keepalive import Keepalive
    from pcaptool.stack.tcp.recovery_state import Recovery
    from pcaptool.stack.timers import KernelTimer

__all__ = ["Acknowledgement", "CaState", "Nagle", "State", "TcpSock", "Tuple4", "near", "wire_seq"]

# (local address, local port, remote address, remote port)
Tuple4 = tuple[bytes, int, bytes, int]


class State(Enum):
    """States of RFC 9293 section 3.3.2, named as in the kernel."""

    CLOSE = "CLOSE"
    LISTEN = "LISTEN"
    SYN_SENT = "SYN_SENT"
    SYN_RECV = "SYN_RECV"
    ESTABLISHED = "ESTABLISHED"
    FIN_WAIT1 = "FIN_WAIT1"
    FIN_WAIT2 = "FIN_WAIT2"
    CLOSE_WAIT = "CLOSE_WAIT"
    CLOSING = "CLOSING"
    LAST_ACK = "LAST_ACK"
    TIME_WAIT = "TIME_WAIT"

    __hash__ = object.__hash__  # there is one of each: by name, as enums do it, costs ten times as much


class CaState(Enum):
    """Congestion states (enum tcp_ca_state)."""

    OPEN = "Open"
    DISORDER = "Disorder"
    CWR = "CWR"
    RECOVERY = "Recovery"
    LOSS = "Loss"

    __hash__ = object.__hash__  # as above


class Nagle:
    """Bits of tp->nonagle."""

    OFF: Final = 1  # TCP_NODELAY
    CORK: Final = 2  # TCP_CORK or MSG_MORE
    PUSH: Final = 4  # send what there is, once


def wire_seq(seq: int) -> int:
    """A sequence number as it stands in a header."""
    return seq & SEQ_MASK


def near(value: int, expected: int) -> int:
    """A header's sequence number as the unbounded number closest to `expected`.

    Examples
    --------
    >>> near(3, 0x1_FFFF_FFFE) == 0x2_0000_0003
    True
    """
    return expected + seq_diff(value, expected & SEQ_MASK)


@dataclass(slots=True)
class Acknowledgement:
    """What decides when an ACK is sent (inet_connection_sock.icsk_ack)."""

    scheduled: bool = False  # ICSK_ACK_SCHED
    now: bool = False  # ICSK_ACK_NOW
    pushed: bool = False  # ICSK_ACK_PUSHED
    pushed2: bool = False  # ICSK_ACK_PUSHED2
    quick: int = 0  # quick ACKs left
    pingpong: int = 0  # replies sent within ato of data
    ato_jiffies: int = 0  # predicted tick of the delayed ACK
    last_receive_jiffies: int = 0  # lrcvtime
    receive_mss: int = 536  # rcv_mss
    last_segment_bytes: int = 0


@dataclass(slots=True)
class TcpSock:
    """One connection.

    Parameters
    ----------
    host : Host
    local, remote : (bytes, int)
        Address and port.
    """

    host: Host
    local: tuple[bytes, int]
    remote: tuple[bytes, int]
    state: State = State.CLOSE

    # options negotiated
    mss_clamp: int = 536  # what the peer's MSS option allows
    advmss: int = 1460
    mss_cache: int = 536  # payload of a full segment, options deducted
    timestamps: bool = False
    sack: bool = False
    window_scaling: bool = False
    send_wscale: int = 0
    receive_wscale: int = 0
    ts_offset: int = 0
    ts_recent: int = 0

    ecn: Ecn = field(default_factory=Ecn)

    # identification, type of service and flow label of this socket's datagrams
    inet_id: int = 0
    tos: int = 0
    flow_label: int = 0

    # sending
    iss: int = 0
    snd_una: int = 0
    snd_nxt: int = 0
    write_seq: int = 0
    pushed_seq: int = 0
    snd_sml: int = 0  # end of the last small segment (Minshall)
    snd_wnd: int = 0
    snd_wl1: int = 0
    max_window: int = 0
    nonagle: int = 0
    write_queue: deque[SkBuff] = field(default_factory=deque)
    rtx_queue: deque[SkBuff] = field(default_factory=deque)
    send_bytes: SendBuffer = field(default_factory=lambda: SendBuffer(0))
    sndbuf: int = 16384
    sndbuf_locked: bool = False
    nospace: bool = False  # SOCK_NOSPACE: a writer waits for room
    wmem_queued: int = 0
    wmem_alloc: int = 0  # memory of its buffers that are below TCP (sk_wmem_alloc)
    tsq_throttled: bool = False  # waits for one of them to leave (TSQ_THROTTLED)
    paced_below: bool = False  # fq paces for it (SK_PACING_FQ)
    packets_out: int = 0
    sacked_out: int = 0
    lost_out: int = 0
    retrans_out: int = 0
    lost: int = 0  # segments ever marked lost
    total_retrans: int = 0
    dsack_dups: int = 0
    probes_out: int = 0
    last_ack_jiffies: int = 0  # rcv_tstamp
    keepalive: Keepalive | None = None
    delivered: int = 1  # the SYN, or the SYN-ACK, was
    delivered_ce: int = 0
    delivered_us: int = 0
    first_tx_us: int = 0
    app_limited: int = 0  # delivered + in flight when the program had nothing to send; 0: it has
    rate_delivered: int = 0
    rate_interval_us: int = 0
    rate_app_limited: bool = False
    segs_out: int = 0
    segs_in: int = 0
    data_segs_out: int = 0
    data_segs_in: int = 0
    bytes_sent: int = 0
    bytes_retrans: int = 0
    bytes_acked: int = 0
    bytes_received: int = 0
    last_send_jiffies: int = 0
    write_stamp_ns: int = 0  # tcp_wstamp_ns

    # congestion
    ca_state: CaState = CaState.OPEN
    congestion: CongestionControl = None  # type: ignore[assignment] # set with the connection
    snd_cwnd: int = 10
    snd_cwnd_cnt: int = 0
    snd_cwnd_used: int = 0
    snd_cwnd_stamp_jiffies: int = 0
    ssthresh: int = 0x7FFFFFFF
    is_cwnd_limited: bool = False
    pacing_event: Event | None = None
    max_packets_out: int = 0
    cwnd_usage_seq: int = 0
    pacing_rate: int = 1 << 62  # bytes a second

    # round-trip time, microseconds; srtt is kept times 8, mdev times 4
    srtt8_us: int = 0
    mdev4_us: int = 0
    mdev_max4_us: int = 0
    rttvar4_us: int = 0
    rtt_seq: int = 0
    min_rtt_us: int = 0xFFFFFFFF
    rto_jiffies: int = 250
    backoff: int = 0
    retransmits: int = 0
    tlp_high_seq: int = 0
    recovery: Recovery = None  # type: ignore[assignment] # set in __post_init__

    # receiving
    irs: int = 0
    rcv_nxt: int = 0
    rcv_wup: int = 0
    rcv_wnd: int = 0
    copied_seq: int = 0
    window_clamp: int = 0
    rcv_ssthresh: int = 0
    rcvbuf: int = 131072
    rcvbuf_locked: bool = False
    scaling_ratio: int = 128  # payload per 256 bytes of buffer memory
    receive_queue: ReceiveQueue = field(default_factory=ReceiveQueue)
    ack: Acknowledgement = field(default_factory=Acknowledgement)
    out_of_order: OutOfOrder = field(default_factory=OutOfOrder)
    out_of_window_ack_jiffies: int | None = None  # last_oow_ack_time
    duplicate_acks_sent: int = 0
    duplicate_acks_for: int = 0
    compressed_acks: int = 0
    compressed_ack_event: Event | None = None
    rcvq_space: int = 0
    rcvq_seq: int = 0
    rcvq_time_ns: int = 0
    rcv_rtt8_us: int = 0
    rcv_rtt_last_tsecr: int = 0
    rcv_rtt_seq: int = 0  # up to which bytes make the window that is timed; 0: none yet
    rcv_rtt_time_ns: int = 0

    # the socket's users
    owned: bool = False
    backlog: deque[SkBuff] = field(default_factory=deque)
    backlog_bytes: int = 0  # sk_backlog.len
    deferred: list[Callable[[TcpSock], Step]] = field(default_factory=list)
    ack_deferred: bool = False
    readable: WaitQueue = field(default_factory=WaitQueue)
    writable: WaitQueue = field(default_factory=WaitQueue)
    connected: WaitQueue = field(default_factory=WaitQueue)
    unlocked: WaitQueue = field(default_factory=WaitQueue)
    receive_shutdown: bool = False
    send_shutdown: bool = False
    orphan: bool = False
    error: str = ""
    neighbour_confirmed: bool = False
    stale_clock_ns: int = 0  # tcp_mstamp where it is not refreshed; 0: it is
    mstamp_ns: int = 0  # tcp_mstamp while tcp_write_xmit runs, which refreshes it once; 0: it does not run
    call_began_ns: int = 0
    fastopen: Pending | None = None  # fastopen_rsk: the third ACK has not come, but there is a socket
    fastopen_asked: bool = False  # syn_fastopen: the SYN had the option
    write_pending: bool = False  # sk_write_pending: a program waits for the connection with bytes in its hand

    retransmit_timer: KernelTimer = None  # type: ignore[assignment] # set in __post_init__
    delack_timer: KernelTimer = None  # type: ignore[assignment] # set in __post_init__
    pending_timer: str = ""  # what the transmit timer is set for: rto, tlp, reo, probe

    def __post_init__(self) -> None:
        from pcaptool.stack.tcp import recovery_state, timers  # noqa: PLC0415 - they act on sockets, sockets own them

        self.recovery = recovery_state.Recovery()
        self.retransmit_timer = timers.write_timer(self)
        self.delack_timer = timers.delack_timer(self)

    @property
    def key(self) -> Tuple4:
        """Key of the established hash."""
        return (*self.local, *self.remote)

    @property
    def header_bytes(self) -> int:
        """TCP header with the options of an ordinary segment (tcp_header_len)."""
        return 32 if self.timestamps else 20

    @property
    def packets_in_flight(self) -> int:
        """tcp_packets_in_flight: sent, neither SACKed nor lost, and what was sent again."""
        return self.packets_out - self.sacked_out - self.lost_out + self.retrans_out

    @property
    def window_end(self) -> int:
        """tcp_wnd_end: first byte that the peer does not allow."""
        return self.snd_una + self.snd_wnd

    @property
    def receive_window(self) -> int:
        """tcp_receive_window: what is left of the last offer."""
        return max(0, self.rcv_wup + self.rcv_wnd - self.rcv_nxt)

    @property
    def in_slow_start(self) -> bool:
        """tcp_in_slow_start."""
        return self.snd_cwnd < self.ssthresh

    @property
    def paced(self) -> bool:
        """sk_pacing_status is not SK_PACING_NONE: the congestion control or a queueing discipline asks for pacing."""
        return self.paced_below or self.congestion.needs_pacing

    @property
    def pingpong(self) -> bool:
        """inet_csk_in_pingpong_mode; sysctl tcp_pingpong_thresh is 1."""
        return self.ack.pingpong >= 1

    def win_from_space(self, space: int) -> int:
        """tcp_win_from_space: payload that fits into so much buffer memory."""
        return space * self.scaling_ratio >> 8

    @property
    def space(self) -> int:
        """tcp_space: room for payload in the receive buffer."""
        free = self.rcvbuf - self.backlog_bytes - self.receive_queue.charged - self.out_of_order.charged
        return free * self.scaling_ratio >> 8 if free > 0 else 0

    @property
    def full_space(self) -> int:
        """tcp_full_space: room for payload in an empty receive buffer."""
        return self.rcvbuf * self.scaling_ratio >> 8

    @property
    def stream_memory_free(self) -> bool:
        """sk_stream_memory_free: whether another buffer may be allocated for sending."""
        return self.wmem_queued < self.sndbuf

    @property
    def stream_writeable(self) -> bool:
        """sk_stream_is_writeable: a third of the buffer is free."""
        return self.sndbuf - self.wmem_queued >= self.wmem_queued >> 1

    def charge(self, skb: SkBuff) -> None:
        """A buffer joins the write queue."""
        self.wmem_queued += skb.truesize

    def wfree(self, truesize: int, now_ns: int) -> None:
        """A buffer that was charged to this socket has left, or is gone."""
        self.host.tcp.wfree(self, truesize, now_ns)

    @property
    def clock_ns(self) -> int:
        """tcp_clock_cache: the time as of the last tcp_mstamp_refresh."""
        return self.stale_clock_ns or self.mstamp_ns or self.host.now_ns

    def ts_clock(self) -> int:
        """TSval for a segment built now: milliseconds plus this connection's offset (fact 27)."""
        return (self.host.tcp_clock_ms(self.clock_ns) + self.ts_offset) & SEQ_MASK
