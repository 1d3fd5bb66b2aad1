"""TCP of one host: which socket a segment belongs to, listening, minimal sockets, resets (net/ipv4/tcp_ipv4.c).

Knows: the tables of sockets, requests and TIME_WAIT sockets; what answers a segment that no socket wants.
Must not know: how a socket works (`input`, `output`, `timers`).
Facts 9, 33, 56 and 59: what no full socket sends has IPv4 ID 0 and a full checksum.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from pcaptool.sim.events import Event, Step, WaitQueue
from pcaptool.stack.skbuff import SkBuff, TcpHeader
from pcaptool.stack.tcp import (
    challenge,
    fastopen,
    handshake,
    keepalive,
    notes,
    output,
    pmtu,
    recovery,
    small_queue,
    syncookies,
    synrecv,
    timers,
)
from pcaptool.stack.tcp.input import rcv_state_process
from pcaptool.stack.tcp.lock import add_backlog
from pcaptool.stack.tcp.options import encode_options
from pcaptool.stack.tcp.sock import State, TcpSock, Tuple4, wire_seq
from pcaptool.stack.timers import KernelTimer
from pcaptool.wire.tcp import SEQ_MASK, TcpFlag, TcpOptions

if TYPE_CHECKING:
    from pcaptool.stack.host import Host

__all__ = ["Listener", "TcpProtocol", "TimeWaitSock"]

TIME_WAIT_NS = 60 * 1_000_000_000  # TCP_TIMEWAIT_LEN and sysctl tcp_fin_timeout
ALWAYS_COOKIES = 2  # sysctl tcp_syncookies
SOMAXCONN = 4096  # sysctl somaxconn
SYNACK_RETRIES = 5  # sysctl tcp_synack_retries
PORTS = (32768, 60999)  # sysctl ip_local_port_range


@dataclass(slots=True)
class Listener:
    """A listening socket with its queues; `backlog` is listen()'s, at most sysctl somaxconn."""

    sk: TcpSock
    backlog: int = SOMAXCONN
    requests: dict[Tuple4, handshake.RequestSock] = field(default_factory=dict)
    accept_queue: deque[TcpSock] = field(default_factory=deque)
    acceptable: WaitQueue = field(default_factory=WaitQueue)
    cookies: dict[Tuple4, handshake.RequestSock] = field(default_factory=dict)  # what cookies would say
    fastopen: int = 0  # TCP_FASTOPEN
    fastopen_pending: int = 0  # sockets without their third ACK
    somaxconn: int = SOMAXCONN

    @property
    def full(self) -> bool:
        """sk_acceptq_is_full: one more may wait than was asked for."""
        return len(self.accept_queue) > self.backlog


@dataclass(slots=True)
class TimeWaitSock:
    """What is left of a socket in FIN_WAIT2 without a program, or in TIME_WAIT (struct tcp_timewait_sock)."""

    local: tuple[bytes, int]
    remote: tuple[bytes, int]
    substate: State
    rcv_nxt: int
    snd_nxt: int
    window: int
    ts_recent: int
    ts_offset: int
    timestamps: bool
    flow_label: int
    expiry: Event


class TcpProtocol:
    """TCP's tables and entry points on one host.

    Parameters
    ----------
    host : Host
    """

    rearm_rto = staticmethod(timers.rearm_rto)
    schedule_loss_probe = staticmethod(timers.schedule_loss_probe)
    check_probe_timer = staticmethod(timers.check_probe_timer)
    stop_probe_timer = staticmethod(timers.stop_probe_timer)
    restart_rto = staticmethod(timers.restart_rto)
    await_reneging = staticmethod(timers.await_reneging)
    set_reordering_timer = staticmethod(timers.set_reordering_timer)
    set_transmit_timer = staticmethod(timers.set_transmit_timer)
    send_syn = staticmethod(handshake.send_syn)
    crossed = staticmethod(synrecv.crossed)
    repeat_crossed = staticmethod(synrecv.repeat)
    check_request = staticmethod(synrecv.check_request)
    third_ack = staticmethod(synrecv.third_ack)
    repeat_fastopen = staticmethod(fastopen.repeat_synack)
    syn_data_acknowledged = staticmethod(fastopen.data_acknowledged)
    enter_cwr = staticmethod(recovery.enter_cwr)
    should_autocork = staticmethod(small_queue.should_autocork)
    small_queue_check = staticmethod(small_queue.small_queue_check)
    wfree = staticmethod(small_queue.wfree)
    send_more = staticmethod(recovery.send_more)
    segment_note = staticmethod(notes.segment_note)

    def __init__(self, host: Host) -> None:
        self.host = host
        self.established: dict[Tuple4, TcpSock] = {}
        self.listeners: dict[int, Listener] = {}
        self.waiting: dict[Tuple4, TimeWaitSock] = {}
        self.fastopen_peers: dict[bytes, fastopen.Remembered] = {}  # by address

    # --- sockets

    def listen(self, sk: TcpSock, backlog: int = SOMAXCONN) -> Listener:
        """Make a socket a listening one."""
        sk.state = State.LISTEN
        listener = Listener(sk, min(backlog, SOMAXCONN))
        self.listeners[sk.local[1]] = listener
        return listener

    def insert(self, sk: TcpSock) -> None:
        """Into the established hash."""
        self.established[sk.key] = sk

    def free_port(self, address: bytes, remote: tuple[bytes, int]) -> int:
        """A local port for connect(): even ones first (fact 26)."""
        stream = self.host.chance.stream("port")
        first = stream.randrange(PORTS[0], PORTS[1], 2)
        span = PORTS[1] - PORTS[0] + 1
        for parity in (0, 1):
            for step in range(0, span, 2):
                port = PORTS[0] + (first - PORTS[0] + step) % span // 2 * 2 + parity
                key = (address, port, *remote)
                if key not in self.established and key not in self.waiting:
                    return port
        raise OSError("EADDRNOTAVAIL: all local ports are in use")

    def done(self, sk: TcpSock) -> None:
        """tcp_done: the connection is over."""
        sk.state = State.CLOSE
        sk.retransmit_timer.close()
        sk.delack_timer.close()
        keepalive.stop(sk)
        fastopen.release(sk)
        self.established.pop(sk.key, None)
        for queue in (sk.readable, sk.writable, sk.connected):
            queue.wake(self.host.costs.wakeup_ns)

    def reset(self, sk: TcpSock) -> None:
        """tcp_reset: the peer said RST, or we gave up."""
        sk.error = "EPIPE" if sk.state is State.CLOSE_WAIT else "ECONNRESET"
        self.done(sk)

    def time_wait(self, sk: TcpSock, substate: State) -> None:
        """tcp_time_wait: a small stand-in takes the place of the socket."""
        key = sk.key
        expiry = self.host.simulator.after(TIME_WAIT_NS, self._forget, key)
        self.waiting[key] = TimeWaitSock(
            local=sk.local,
            remote=sk.remote,
            substate=substate,
            rcv_nxt=sk.rcv_nxt,
            snd_nxt=sk.snd_nxt,
            window=min(sk.receive_window, 65535 << sk.receive_wscale) >> sk.receive_wscale,
            ts_recent=sk.ts_recent,
            ts_offset=sk.ts_offset,
            timestamps=sk.timestamps,
            flow_label=sk.flow_label,
            expiry=expiry,
        )
        self.done(sk)

    def _forget(self, key: Tuple4) -> None:
        self.waiting.pop(key, None)

    # --- arrival

    def receive(self, skb: SkBuff) -> Step:
        """tcp_v4_rcv: find the socket and let it have the segment."""
        header, ip = skb.tcp, skb.ip
        if header is None or ip is None:
            return
        yield self.host.costs.tcp_v4_rcv_ns
        key = (ip.destination, header.dstport, ip.source, header.srcport)
        if (sk := self.established.get(key)) is not None:
            if sk.owned:
                add_backlog(sk, skb)
            elif sk.state is State.SYN_SENT:
                yield from handshake.synsent_process(sk, skb)
            else:
                yield from rcv_state_process(sk, skb)
        elif (waiting := self.waiting.get(key)) is not None:
            yield from self._time_wait_process(waiting, skb)
        elif (listener := self.listeners.get(header.dstport)) is not None:
            yield from self._listen_process(listener, key, skb)
        else:
            yield from self.send_reset(skb)

    def icmp_error(self, key: Tuple4, seq: int, error: str) -> Step:
        """tcp_v4_err: ICMP says something about a segment of ours."""
        yield from pmtu.icmp_error(self, key, seq, error)

    def _listen_process(self, listener: Listener, key: Tuple4, skb: SkBuff) -> Step:
        """tcp_rcv_state_process in LISTEN, and tcp_check_req."""
        header = skb.tcp
        if header is None:
            return
        request = listener.requests.get(key)
        if header.flags & TcpFlag.SYN and not header.flags & TcpFlag.ACK:
            if request is not None:
                yield from self._answer_again(listener, request)
                return
            yield from self._new_request(listener, key, skb)
        elif request is None and not header.flags & TcpFlag.RST and key in listener.cookies:
            yield from self._cookie_check(listener, key, skb)
        elif request is None or header.ack != wire_seq(request.seq + 1):
            yield from self.send_reset(skb)
        elif header.flags & TcpFlag.RST:
            self._drop_request(listener, key)
        elif self._queue_full(listener, key):
            # The peer believes that it is connected, and will say more; or it is told that it is not.
            if self.host.settings.tcp_abort_on_overflow:
                self._drop_request(listener, key)
                yield from self.send_reset(skb)
        else:
            self._drop_request(listener, key)
            yield from self._new_socket(listener, request, skb)

    def _queue_full(self, listener: Listener, key: Tuple4) -> bool:
        """sk_acceptq_is_full; in a driven run the recording tells."""
        known = self.host.known.get(key)
        if known is not None and known.recording is not None:
            return known.recording.queue_full(self.host.now_ns)
        return listener.full

    def _new_request(self, listener: Listener, key: Tuple4, skb: SkBuff) -> Step:
        """tcp_conn_request: remember a SYN, or answer with a cookie, or drop it."""
        cookies = self.host.settings.tcp_syncookies
        cookie = cookies == ALWAYS_COOKIES or len(listener.requests) > listener.backlog
        if self._queue_full(listener, key) or (cookie and not cookies):
            return
        request = handshake.conn_request(listener.sk, skb)
        if request is None:
            return
        if cookie:
            request = syncookies.forget(request)
            if (before := listener.cookies.get(key)) is not None and before.peer_seq == request.peer_seq:
                request.seq = before.seq  # the cookie is a hash of the SYN
            listener.cookies[key] = request
        elif (child := fastopen.try_fastopen(listener, request, skb)) is not None:
            self.insert(child)
            yield from handshake.send_synack(listener.sk, request)
            self._acceptable(listener, child)
            return
        else:
            listener.requests[key] = request
            request.timer = self._synack_timer(listener, key)
        yield from handshake.send_synack(listener.sk, request)

    def _cookie_check(self, listener: Listener, key: Tuple4, skb: SkBuff) -> Step:
        """cookie_v4_check: the third ACK brings back what was not kept; nothing happens where too many wait already."""
        request, header = listener.cookies[key], skb.tcp
        if header is None or header.ack != wire_seq(request.seq + 1):
            yield from self.send_reset(skb)
        elif not self._queue_full(listener, key):
            del listener.cookies[key]
            label = self.host.chance.stream("flow label").getrandbits(20)
            yield from self._new_socket(listener, syncookies.remember(request, label), skb)

    def _new_socket(self, listener: Listener, request: handshake.RequestSock, skb: SkBuff) -> Step:
        """inet_csk_complete_hashdance: the child is a socket of its own, and the program may accept it."""
        sk = handshake.finish_request(listener.sk, request, skb)
        self.insert(sk)
        self._acceptable(listener, sk)
        yield from rcv_state_process(sk, skb)

    def _acceptable(self, listener: Listener, sk: TcpSock) -> None:
        """inet_csk_reqsk_queue_add, sk_data_ready."""
        listener.accept_queue.append(sk)
        listener.acceptable.wake(self.host.costs.wakeup_ns)

    def _drop_request(self, listener: Listener, key: Tuple4) -> None:
        request = listener.requests.pop(key)
        if request.timer is not None:
            request.timer.cancel()

    def repeat_synack(self, listener: Listener, request: handshake.RequestSock) -> Step:
        """The same SYN-ACK again: same numbers, a new stamp, on IPv6 a new flow label (facts 12, 25)."""
        request.repeats += 1
        request.flow_label = self.host.chance.stream("flow label").getrandbits(20)
        yield from handshake.send_synack(listener.sk, request)

    def _answer_again(self, listener: Listener, request: handshake.RequestSock) -> Step:
        """tcp_check_req for a SYN that comes again: the SYN-ACK again, and its timer anew; twice a second at most."""
        host = self.host
        if challenge.rate_limited(host, request):
            return
        yield from self.repeat_synack(listener, request)
        if request.timer is not None:
            request.timer.mod(host.jiffies.at(host.now_ns) + (host.jiffies.hz << request.timeouts))

    def _synack_timer(self, listener: Listener, key: Tuple4) -> KernelTimer:
        """reqsk_timer_handler: a SYN-ACK that nobody answers is repeated after 1 s, then 2 s, 4 s, ..."""
        expire = partial(self._synack_timeout, listener, key)
        timer = KernelTimer(self.host.simulator, self.host.jiffies, expire)
        timer.mod(self.host.jiffies.at(self.host.now_ns) + self.host.jiffies.hz)
        return timer

    def _synack_timeout(self, listener: Listener, key: Tuple4) -> None:
        request = listener.requests.get(key)
        if request is None or request.timer is None:
            return
        if request.timeouts >= SYNACK_RETRIES:
            self._drop_request(listener, key)
            return
        request.timeouts += 1
        now_ns = self.host.simulator.now_ns
        request.timer.mod(self.host.jiffies.at(now_ns) + (self.host.jiffies.hz << request.timeouts))
        self.host.processor.raise_softirq(now_ns, partial(self.repeat_synack, listener, request))

    def _time_wait_process(self, waiting: TimeWaitSock, skb: SkBuff) -> Step:
        """tcp_timewait_state_process: acknowledge a FIN, refuse data, repeat the last ACK (fact 56)."""
        header = skb.tcp
        if header is None:
            return
        key = (*waiting.local, *waiting.remote)
        if header.flags & TcpFlag.RST:
            waiting.expiry.cancel()
            self._forget(key)
            return
        if header.options.timestamps is not None:
            waiting.ts_recent = header.options.timestamps[0]
        if waiting.substate is State.FIN_WAIT2:
            if skb.length:
                waiting.expiry.cancel()
                self._forget(key)
                yield from self.send_reset(skb)
                return
            if not header.flags & TcpFlag.FIN:
                return
            waiting.substate = State.TIME_WAIT
            waiting.rcv_nxt += 1
        elif not (skb.length or header.flags & TcpFlag.FIN):
            return
        waiting.expiry.cancel()
        waiting.expiry = self.host.simulator.after(TIME_WAIT_NS, self._forget, key)
        ts_clock = (self.host.tcp_clock_ms(self.host.now_ns) + waiting.ts_offset) & SEQ_MASK
        options = TcpOptions(timestamps=(ts_clock, waiting.ts_recent) if waiting.timestamps else None)
        yield from self._send_unowned(
            skb,
            TcpHeader(
                srcport=waiting.local[1],
                dstport=waiting.remote[1],
                seq=wire_seq(waiting.snd_nxt),
                ack=wire_seq(waiting.rcv_nxt),
                flags=int(TcpFlag.ACK),
                window=waiting.window,
                options=options,
                option_bytes=encode_options(options),
            ),
            waiting.flow_label,
        )

    def send_reset(self, skb: SkBuff) -> Step:
        """tcp_v4_send_reset: nobody wants this segment (fact 59 a and c)."""
        header = skb.tcp
        if header is None or header.flags & TcpFlag.RST:
            return
        if header.flags & TcpFlag.ACK:
            seq, ack, flags = header.ack, 0, int(TcpFlag.RST)
        else:
            syn_or_fin = bool(header.flags & TcpFlag.SYN) + bool(header.flags & TcpFlag.FIN)
            seq, ack, flags = 0, header.seq + skb.length + syn_or_fin, int(TcpFlag.RST | TcpFlag.ACK)
        reply = TcpHeader(header.dstport, header.srcport, seq, wire_seq(ack), flags, 0, TcpOptions(), b"")
        yield from self._send_unowned(skb, reply, 0)

    def _send_unowned(self, cause: SkBuff, header: TcpHeader, flow_label: int) -> Step:
        """ip_send_unicast_reply: the control socket's reply to a segment."""
        if cause.ip is None:
            return
        number = self.host.buffers.take()
        skb = SkBuff(number, number, seq=header.seq)
        skb.tcp = header
        end_ns = self.host.ip.unicast_reply(cause.ip, skb, flow_label)
        yield end_ns - self.host.now_ns

    def compressed_ack(self, sk: TcpSock) -> None:
        """tcp_compressed_ack_kick: the duplicate ACKs that waited leave as one."""

        def work() -> Step:
            if sk.compressed_acks and sk.state is not State.CLOSE:
                sk.compressed_acks = 0
                if sk.owned:
                    sk.ack_deferred = True
                else:
                    yield from output.tcp_send_ack(sk)

        self.host.processor.raise_softirq(self.host.simulator.now_ns, work)

    def send_active_reset(self, sk: TcpSock) -> Step:
        """tcp_send_active_reset: close() with unread data or linger 0 (fact 59 b)."""
        number = self.host.buffers.take()
        skb = SkBuff(number, number, seq=sk.snd_nxt)
        yield from output.send_with_header(sk, skb, int(TcpFlag.RST | TcpFlag.ACK))
        self.done(sk)
