"""The three-way handshake, both sides (tcp_connect, tcp_conn_request, tcp_check_req, tcp_rcv_synsent_state_process).

Knows: what a SYN and a SYN-ACK offer, what a socket becomes when the handshake is over.
Must not know: what programs do with the connection.
Sources: RFC 9293 sections 3.5 and 3.10.7.3, RFC 7323; facts 14-19, 22, 28, 29.
Fast Open is in `fastopen`, the state between crossed SYNs and the third ACK in `synrecv`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pcaptool.sim.events import Step
from pcaptool.stack.skbuff import SendBuffer, SkBuff, TcpHeader
from pcaptool.stack.tcp import acknowledge, ecn, output, rtt
from pcaptool.stack.tcp.ack import expand_send_buffer
from pcaptool.stack.tcp.congestion import CONTROLS
from pcaptool.stack.tcp.options import encode_options
from pcaptool.stack.tcp.sock import State, TcpSock, Tuple4, near, wire_seq
from pcaptool.stack.tcp.syncookies import cookie_clock_ms
from pcaptool.stack.timers import KernelTimer
from pcaptool.wire.tcp import SEQ_MASK, TcpFlag, TcpOptions

if TYPE_CHECKING:
    from pcaptool.stack.host import Host

__all__ = [
    "RequestSock",
    "conn_request",
    "connect",
    "create_child",
    "finish_request",
    "init_transfer",
    "send_syn",
    "synsent_process",
]

TIMESTAMP_BYTES = 12
TIMEOUT_FALLBACK_S = 3  # TCP_TIMEOUT_FALLBACK: where the handshake gave no round trip
MAX_WSCALE = 14


@dataclass(slots=True)
class RequestSock:
    """A connection between SYN and third ACK (struct tcp_request_sock).

    Parameters
    ----------
    local, remote : (bytes, int)
    peer_seq : int
        The peer's initial sequence number.
    seq : int
        Ours.
    options : TcpOptions
        What the SYN offered.
    window, wscale : int
        What we offer.
    synack_ns : int
        When the first SYN-ACK was sent.
    repeats, timeouts : int
        How often it was repeated, for whatever reason; how often because the timer went off.
    rcv_nxt : int
        What the SYN-ACK acknowledges: the SYN, and its data where a socket took that.
    cookie_offered : bytes or None
        A Fast Open cookie for the client.
    """

    local: tuple[bytes, int]
    remote: tuple[bytes, int]
    peer_seq: int
    seq: int
    options: TcpOptions
    timestamps: bool
    sack: bool
    window_scaling: bool
    window: int
    wscale: int
    ts_offset: int
    flow_label: int
    mss: int
    ecn_ok: bool = False
    synack_ns: int = 0
    repeats: int = 0
    timeouts: int = 0
    out_of_window_ack_jiffies: int | None = None
    timer: KernelTimer | None = None
    cookie: bool = False  # a SYN cookie: nothing of this is kept
    rcv_nxt: int = 0
    cookie_offered: bytes | None = None


def initial_window(sk: TcpSock, mss: int, *, scaling: bool) -> tuple[int, int]:
    """tcp_select_initial_window: (window, scale) of a SYN or SYN-ACK (facts 17, 18)."""
    space = sk.full_space
    window = space // mss * mss if space > mss else space
    scale = 0
    if scaling:
        largest = max(space, sk.host.settings.tcp_rmem[2], sk.host.settings.rmem_max)
        # SO_RCVBUF fixes the buffer, and with it the largest window there will ever be (fact 17).
        largest = min(largest, space if sk.rcvbuf_locked else 65535 << MAX_WSCALE)
        scale = min(max(largest.bit_length() - 1 - 15, 0), MAX_WSCALE)
    return window, scale


def initial_seq(host: Host, key: Tuple4) -> int:
    """secure_tcp_seq: keyed hash of the four-tuple plus a clock of 64 ns (fact 29)."""
    if (known := host.known.get(key)) is not None:
        return known.isn
    return (host.chance.keyed("isn", *key, size=4) + (host.now_ns >> 6)) & SEQ_MASK


def timestamp_offset(host: Host, key: Tuple4) -> int:
    """secure_tcp_ts_off: keyed hash of the four-tuple, unless tcp_timestamps is 2 (fact 28)."""
    if (known := host.known.get(key)) is not None:
        return known.ts_offset
    if host.settings.tcp_timestamps == 2:
        return 0
    return host.chance.keyed("tcp timestamps", *key, size=4)


def _flow_label(host: Host, key: Tuple4) -> int:
    """20 bits that stay with the connection (fact 12)."""
    if (known := host.known.get(key)) is not None:
        return known.flow_label
    return host.chance.keyed("flow label", *key, size=4) & 0xFFFFF


def sync_mss(sk: TcpSock) -> None:
    """tcp_sync_mss: payload of a full segment."""
    mtu_mss = sk.host.ip.mtu_to(sk.remote[0]) - sk.host.ip.header_bytes(sk.remote[0]) - 20
    size = min(sk.mss_clamp, mtu_mss) - (TIMESTAMP_BYTES if sk.timestamps else 0)
    sk.mss_cache = output.bound_to_half_window(sk, size)


def init_transfer(sk: TcpSock, *, handshake_repeats: int) -> None:
    """tcp_init_transfer: buffers, congestion control and windows of a connection that begins."""
    settings = sk.host.settings
    sk.neighbour_confirmed = True  # tcp_init_metrics
    # One SYN or SYN-ACK may be repeated; after more the path is taken to be crowded (RFC 6298 section 5.7).
    sk.snd_cwnd = 1 if handshake_repeats > 1 else settings.initial_cwnd
    sk.snd_cwnd_stamp_jiffies = sk.host.jiffies.at(sk.host.now_ns)
    sk.congestion = CONTROLS[settings.congestion]()
    sk.advmss = sk.host.ip.mtu - sk.host.ip.header_bytes(sk.remote[0]) - 20
    sk.advmss -= TIMESTAMP_BYTES if sk.timestamps else 0
    # tcp_init_buffer_space keeps one segment in reserve.
    sk.window_clamp = min(sk.full_space - sk.advmss, 65535 << sk.receive_wscale)
    sk.rcvq_space = min(sk.rcv_ssthresh, sk.rcv_wnd, 10 * sk.advmss)
    sk.rcvq_time_ns = sk.host.now_ns
    sk.rcvq_seq = sk.copied_seq
    expand_send_buffer(sk)
    sync_mss(sk)
    if not sk.congestion.takes_control:
        rtt.update_pacing_rate(sk)
    sk.congestion.init(sk)
    sk.ack.receive_mss = min(sk.advmss, sk.mss_cache, 536)


def _syn_header(sk: TcpSock, options: TcpOptions, window: int, flags: int, ack: int) -> TcpHeader:
    return TcpHeader(
        srcport=sk.local[1],
        dstport=sk.remote[1],
        seq=wire_seq(sk.iss),
        ack=ack,
        flags=flags,
        window=window,
        options=options,
        option_bytes=encode_options(options),
    )


def connect(sk: TcpSock, send: Callable[[], Step] | None = None) -> Step:
    """tcp_v4_connect and tcp_connect: send the SYN; the caller sleeps until `sk.connected` is woken.

    `send` sends another first SYN than the plain one.
    """
    host, settings = sk.host, sk.host.settings
    sk.iss = initial_seq(host, sk.key)
    sk.ts_offset = timestamp_offset(host, sk.key)
    sk.inet_id = host.chance.stream("ip id").getrandbits(16)
    sk.flow_label = _flow_label(host, sk.key)
    sk.snd_una = sk.iss
    sk.snd_nxt = sk.write_seq = sk.pushed_seq = sk.iss + 1
    sk.snd_sml = sk.iss
    sk.send_bytes = SendBuffer(sk.write_seq)
    sk.state = State.SYN_SENT
    mss = host.ip.mtu - host.ip.header_bytes(sk.remote[0]) - 20
    sk.advmss = mss
    sk.window_scaling = settings.tcp_window_scaling
    sk.rcv_wnd, sk.receive_wscale = initial_window(sk, mss, scaling=sk.window_scaling)
    sk.timestamps = settings.tcp_timestamps != 0
    number = host.buffers.take()
    sk.rtx_queue.append(SkBuff(number, number, seq=sk.iss, flags=int(TcpFlag.SYN)))
    sk.packets_out = 1
    host.tcp.insert(sk)
    yield from send_syn(sk) if send is None else send()
    host.tcp.rearm_rto(sk)


def send_syn(sk: TcpSock, fast_open: TcpOptions | None = None, data: SkBuff | None = None) -> Step:
    """The SYN, for the first time or again: a new stamp, and on IPv6 a new flow label (fact 12).

    The first one may have a Fast Open option, and data, which is a buffer of its own in the retransmission queue.
    """
    host = sk.host
    queued = sk.rtx_queue[0]
    if queued.sent_ns:
        queued.retransmitted = True
        sk.flow_label = host.chance.stream("flow label").getrandbits(20)
    skb = SkBuff(host.buffers.take(), queued.number, seq=sk.iss, flags=int(TcpFlag.SYN))
    if data is not None:
        skb.length, skb.payload, skb.clone_of = data.length, sk.send_bytes.view(data.seq, data.length), data
    flags = ecn.syn_flags(sk, repeated=queued.retransmitted)
    yield from transmit_syn(sk, skb, flags, fast_open)


def transmit_syn(sk: TcpSock, skb: SkBuff, flags: int, fast_open: TcpOptions | None = None) -> Step:
    """tcp_transmit_skb of a SYN, or of the SYN-ACK of a socket that had sent one: tcp_syn_options, no scaled window."""
    host = sk.host
    sk.rtx_queue[0].sent_ns = host.now_ns
    options = TcpOptions(
        mss=sk.host.ip.mtu - sk.host.ip.header_bytes(sk.remote[0]) - 20,
        window_scale=sk.receive_wscale if sk.window_scaling else None,
        sack_permitted=host.settings.tcp_sack,
        timestamps=(sk.ts_clock(), sk.ts_recent) if sk.timestamps else None,
        fast_open=None if fast_open is None else fast_open.fast_open,
        fast_open_experimental=fast_open is not None and fast_open.fast_open_experimental,
    )
    ack = wire_seq(sk.rcv_nxt) if flags & TcpFlag.ACK else 0
    skb.tcp = _syn_header(sk, options, min(sk.rcv_wnd, 65535), flags, ack)
    end_ns = host.ip.queue_xmit(sk, skb)
    yield end_ns - host.now_ns
    if host.softirq_follows and sk.owned:
        yield from host.processor.drain()


def synsent_process(sk: TcpSock, skb: SkBuff) -> Step:
    """tcp_rcv_synsent_state_process: the SYN-ACK arrives, a RST, or a SYN that crossed ours."""
    header = skb.tcp
    if header is None:
        return
    if header.flags & (TcpFlag.ACK | TcpFlag.SYN | TcpFlag.RST) == TcpFlag.SYN:
        yield from sk.host.tcp.crossed(sk, skb)
        return
    acked = near(header.ack, sk.snd_nxt)
    if not header.flags & TcpFlag.ACK or not sk.iss < acked <= sk.snd_nxt:
        return
    if header.flags & TcpFlag.RST:
        sk.error = "ECONNREFUSED"
        sk.host.tcp.done(sk)
        sk.connected.wake(sk.host.costs.wakeup_ns)
        return
    if not header.flags & TcpFlag.SYN:
        return
    host, offered = sk.host, header.options
    take_peer(sk, header)
    sk.snd_una = acked
    sent = sk.rtx_queue.popleft()
    if sk.rtx_queue and sk.rtx_queue[0].end_seq <= acked:
        taken = sk.rtx_queue.popleft()  # the SYN's data
        taken.freed = True
        sk.wmem_queued -= taken.truesize
        sk.send_bytes.release(acked)
    sk.packets_out = len(sk.rtx_queue)
    timeouts, sk.retransmits = sk.retransmits, 0
    sk.pending_timer = ""
    sk.retransmit_timer.cancel()
    sk.ecn.ok &= header.flags & (TcpFlag.ECE | TcpFlag.CWR) == TcpFlag.ECE
    sk.snd_wnd = sk.max_window = header.window
    sample_us = 0
    if not sent.retransmitted:
        sample_us = max(1, (host.now_ns - sent.sent_ns) // 1000)
    elif sk.timestamps and offered.timestamps is not None and offered.timestamps[1]:
        # Which SYN was answered only its stamp tells.
        sample_us = max(1, (sk.ts_clock() - offered.timestamps[1]) & 0xFFFFFFFF) * 1000
    if sample_us:
        rtt.estimate(sk, sample_us)
        rtt.update_min(sk, sample_us)
    finish_active(sk, timeouts)
    sk.ack.last_receive_jiffies = host.jiffies.at(host.now_ns)
    whole = True
    if sk.snd_nxt > sk.iss + 1 or sk.fastopen_asked:
        sk.retransmits = timeouts
        whole = yield from host.tcp.syn_data_acknowledged(sk, offered)
        sk.retransmits = 0
    sk.connected.wake(host.costs.wakeup_ns)
    if not whole:
        return  # what was sent again acknowledges
    if sk.write_pending:
        # The bytes that a program is about to send carry the ACK.
        sk.ack.scheduled = True
        acknowledge.enter_quickack(sk)
        sk.delack_timer.mod(host.jiffies.at(host.now_ns) + host.jiffies.hz // 5)
        return
    yield from output.tcp_send_ack(sk)


def take_peer(sk: TcpSock, header: TcpHeader) -> None:
    """What the peer's SYN, or SYN-ACK, says to a socket that has sent a SYN."""
    settings, offered = sk.host.settings, header.options
    sk.irs = header.seq
    sk.rcv_nxt = sk.rcv_wup = sk.copied_seq = sk.irs + 1
    sk.snd_wl1 = sk.irs
    sk.timestamps = settings.tcp_timestamps != 0 and offered.timestamps is not None
    sk.sack = settings.tcp_sack and offered.sack_permitted
    sk.window_scaling = settings.tcp_window_scaling and offered.window_scale is not None
    if sk.window_scaling and offered.window_scale is not None:
        sk.send_wscale = min(offered.window_scale, MAX_WSCALE)
    else:
        sk.receive_wscale = 0
    if sk.timestamps and offered.timestamps is not None:
        sk.ts_recent = offered.timestamps[0]
    sk.mss_clamp = offered.mss or 536


def finish_active(sk: TcpSock, timeouts: int) -> None:
    """tcp_finish_connect: an active opener's connection begins."""
    init_transfer(sk, handshake_repeats=timeouts)
    sk.state = State.ESTABLISHED
    # The window of an active opener grows from what its SYN offered, rounded up by the scale, reserve or not
    # (lab off-100k:13-17, size-100k:9, rmem-6m:9; no growth within the reserve: busy-8s:9).
    unit = 1 << sk.receive_wscale
    sk.rcv_ssthresh = (sk.rcv_wnd + unit - 1) // unit * unit


def conn_request(listener: TcpSock, skb: SkBuff) -> RequestSock | None:
    """tcp_conn_request: a SYN for a listening socket; what the SYN-ACK will say."""
    header, ip = skb.tcp, skb.ip
    if header is None or ip is None:
        return None
    host, settings, offered = listener.host, listener.host.settings, header.options
    local, remote = (ip.destination, header.dstport), (ip.source, header.srcport)
    key = (*local, *remote)
    timestamps = settings.tcp_timestamps != 0 and offered.timestamps is not None
    scaling = settings.tcp_window_scaling and offered.window_scale is not None
    mss = host.ip.mtu - host.ip.header_bytes(ip.source) - 20
    window, scale = initial_window(listener, mss - (TIMESTAMP_BYTES if timestamps else 0), scaling=scaling)
    return RequestSock(
        local=local,
        remote=remote,
        peer_seq=header.seq,
        seq=initial_seq(host, key),
        options=offered,
        timestamps=timestamps,
        sack=settings.tcp_sack and offered.sack_permitted,
        window_scaling=scaling,
        window=window,
        wscale=scale,
        ts_offset=timestamp_offset(host, key) if timestamps else 0,
        flow_label=_flow_label(host, key),
        mss=mss,
        rcv_nxt=header.seq + 1,
        ecn_ok=ecn.syn_asks(header.flags, ip.tos, settings.tcp_ecn),
    )


def send_synack(listener: TcpSock, request: RequestSock) -> Step:
    """tcp_v4_send_synack: no socket stands behind it yet, so its IPv4 ID is 0."""
    host = listener.host
    request.synack_ns = request.synack_ns or host.now_ns  # of the first; repeats are told by their stamps
    peer = request.options.timestamps
    clock_ms = host.tcp_clock_ms(host.now_ns)
    if request.cookie:
        clock_ms = cookie_clock_ms(request, clock_ms)
    ts_clock = (clock_ms + request.ts_offset) & SEQ_MASK
    options = TcpOptions(
        mss=request.mss,
        window_scale=request.wscale if request.window_scaling else None,
        sack_permitted=request.sack,
        timestamps=(ts_clock, peer[0]) if request.timestamps and peer is not None else None,
        fast_open=request.cookie_offered,
        fast_open_experimental=request.cookie_offered is not None and request.options.fast_open_experimental,
    )
    request.cookie_offered = None  # what is repeated does not offer it again
    number = host.buffers.take()
    skb = SkBuff(number, number, seq=request.seq, flags=int(TcpFlag.SYN))
    skb.tcp = TcpHeader(
        srcport=request.local[1],
        dstport=request.remote[1],
        seq=wire_seq(request.seq),
        ack=wire_seq(request.rcv_nxt),
        flags=int(TcpFlag.SYN | TcpFlag.ACK | (TcpFlag.ECE if request.ecn_ok else 0)),
        window=min(request.window, 65535),
        options=options,
        option_bytes=encode_options(options),
    )
    end_ns = host.ip.build_and_send(request, skb)
    yield end_ns - host.now_ns


def create_child(listener: TcpSock, request: RequestSock) -> TcpSock:
    """tcp_create_openreq_child: a socket with what the SYN said."""
    host = listener.host
    sk = TcpSock(host, request.local, request.remote)
    sk.rcvbuf, sk.rcvbuf_locked = listener.rcvbuf, listener.rcvbuf_locked
    sk.sndbuf, sk.sndbuf_locked = listener.sndbuf, listener.sndbuf_locked
    sk.iss = request.seq
    sk.snd_una = sk.iss
    sk.snd_nxt = sk.write_seq = sk.pushed_seq = sk.iss + 1
    sk.snd_sml = sk.iss
    sk.send_bytes = SendBuffer(sk.write_seq)
    sk.irs = request.peer_seq
    sk.rcv_nxt = sk.rcv_wup = sk.copied_seq = sk.irs + 1
    sk.snd_wl1 = sk.irs
    sk.timestamps, sk.sack, sk.window_scaling = request.timestamps, request.sack, request.window_scaling
    sk.ecn.ok = request.ecn_ok
    sk.ts_offset, sk.flow_label = request.ts_offset, request.flow_label
    if request.options.timestamps is not None:
        sk.ts_recent = request.options.timestamps[0]
    sk.rcv_wnd, sk.receive_wscale = request.window, request.wscale
    if request.window_scaling and request.options.window_scale is not None:
        sk.send_wscale = min(request.options.window_scale, MAX_WSCALE)
    sk.mss_clamp = request.options.mss or 536
    known = host.known.get(sk.key)
    sk.inet_id = known.inet_id if known else host.chance.stream("ip id").getrandbits(16)
    sk.snd_una = sk.iss + 1
    return sk


def finish_request(listener: TcpSock, request: RequestSock, skb: SkBuff) -> TcpSock:
    """tcp_v4_syn_recv_sock and what follows: the third ACK makes a socket of the request."""
    sk = create_child(listener, request)
    header = skb.tcp
    sk.snd_wnd = sk.max_window = (header.window if header else 0) << sk.send_wscale
    echoed = header.options.timestamps[1] if header and header.options.timestamps else 0
    if request.cookie:
        # cookie_v4_check chooses the window anew, in whole segments of the peer.
        sk.rcv_wnd, _ = initial_window(listener, sk.mss_clamp, scaling=request.window_scaling)
    if not synack_rtt(sk, request, echoed) and request.cookie:
        sk.rto_jiffies = TIMEOUT_FALLBACK_S * sk.host.jiffies.hz
    first_stamp = (sk.host.tcp_clock_ms(request.synack_ns) + request.ts_offset) & SEQ_MASK
    spurious = sk.timestamps and echoed == first_stamp
    init_transfer(sk, handshake_repeats=0 if spurious else request.repeats)
    sk.state = State.ESTABLISHED
    sk.rcv_ssthresh = min(sk.rcv_wnd, sk.window_clamp)  # lab rmem-6m:7-8, nows:16
    return sk


def synack_rtt(sk: TcpSock, request: RequestSock | None, echoed: int) -> bool:
    """tcp_synack_rtt_meas: the handshake's round trip as the server sees it; whether there was a sample.

    Which SYN-ACK was answered, and when a cookie left, only the stamp tells (RFC 7323 section 4.3).
    """
    sample_us = 0
    if request is not None and not request.repeats and not request.cookie:
        sample_us = max(1, (sk.host.now_ns - request.synack_ns) // 1000)
    elif sk.timestamps and echoed:
        sample_us = max(1, (sk.ts_clock() - echoed) & 0xFFFFFFFF) * 1000
    if sample_us:
        rtt.estimate(sk, sample_us)
        rtt.update_min(sk, sample_us)
    return sample_us > 0
