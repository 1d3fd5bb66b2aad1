"""TCP Fast Open: data in the SYN, both sides (net/ipv4/tcp_fastopen.c; tcp_send_syn_data, tcp_rcv_fastopen_synack).

Knows: who may send data in a SYN (cookies, sysctl tcp_fastopen, the listener's TCP_FASTOPEN), what a socket is that
exists before the third ACK, how its SYN-ACK is repeated, and what the client remembers of a server (tcp_metrics).
Must not know: what a SYN and a SYN-ACK say otherwise (`handshake`), or what the third ACK changes (`synrecv`).
Source: RFC 7413; the cookie is drawn here, not encrypted: 8 bytes that two addresses share.
Leaves out: keys that change, the pause after a suspected black hole (off by default), a place in the queue that a reset
keeps taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pcaptool.sim.events import Step
from pcaptool.stack.skbuff import SkBuff
from pcaptool.stack.tcp import handshake, recovery, timers
from pcaptool.stack.tcp.reduction import current_ssthresh, set_ca_state
from pcaptool.stack.tcp.scoreboard import mark_lost
from pcaptool.stack.tcp.sock import CaState, State, TcpSock
from pcaptool.wire.tcp import TcpFlag, TcpOptions

if TYPE_CHECKING:
    from pcaptool.stack.host import Host
    from pcaptool.stack.tcp.handshake import RequestSock
    from pcaptool.stack.tcp.protocol import Listener

__all__ = ["Pending", "Remembered", "connect", "data_acknowledged", "release", "try_fastopen"]

CLIENT, SERVER, CLIENT_WITHOUT_COOKIE, SERVER_WITHOUT_COOKIE, ALL_LISTENERS = 1, 2, 4, 0x200, 0x400
MAX_OPTION_BYTES = 40
SYNACK_RETRIES = 6  # sysctl tcp_synack_retries, and one more
COOKIE_BYTES = 8


@dataclass(slots=True)
class Pending:
    """What a socket knows of its handshake until the third ACK (tp->fastopen_rsk)."""

    request: RequestSock
    listener: Listener


@dataclass(slots=True)
class Remembered:
    """What a client remembers of a server (struct tcp_fastopen_metrics).

    Parameters
    ----------
    mss : int
        What its SYN-ACK offered; 0: nothing is known.
    cookie : bytes
        Empty: none.
    experimental : bool
        The cookie is for the experimental option.
    tries : int
        1: the next SYN asks by the experimental option, as the other was not answered; 2: both were not.
    """

    mss: int = 0
    cookie: bytes = b""
    experimental: bool = False
    tries: int = 0


# --- the server


def allowed_pending(listener: Listener) -> int:
    """fastopenq.max_qlen: handshakes with data that may be pending."""
    everywhere = ALL_LISTENERS | SERVER
    if not listener.fastopen and listener.sk.host.settings.tcp_fastopen & everywhere == everywhere:
        return listener.backlog
    return min(listener.fastopen, listener.somaxconn)


def try_fastopen(listener: Listener, request: RequestSock, skb: SkBuff) -> TcpSock | None:
    """tcp_try_fastopen: a socket at once where the SYN may bring data; else what the SYN-ACK says of cookies."""
    host, asked = listener.sk.host, request.options.fast_open
    wanted = bool(skb.length) or asked is not None
    settings = host.settings.tcp_fastopen
    if not (settings & SERVER and wanted and listener.fastopen_pending < allowed_pending(listener)):
        return None
    if not settings & SERVER_WITHOUT_COOKIE:
        if asked is None:
            return None
        valid = _cookie(host, request)
        if asked != valid:
            request.cookie_offered = valid
            return None
    return _create_child(listener, request, skb)


def _cookie(host: Host, request: RequestSock) -> bytes:
    """tcp_fastopen_cookie_gen: a keyed hash of both addresses."""
    known = host.known.get((*request.local, *request.remote))
    if known is not None and known.fast_open is not None:
        return known.fast_open
    drawn = host.chance.keyed("fast open", request.remote[0], request.local[0], size=COOKIE_BYTES)
    return drawn.to_bytes(COOKIE_BYTES, "big")


def _create_child(listener: Listener, request: RequestSock, skb: SkBuff) -> TcpSock:
    """tcp_fastopen_create_child: a socket in SYN_RECV with the SYN's data in its receive queue."""
    sk = handshake.create_child(listener.sk, request)
    listener.fastopen_pending += 1
    sk.fastopen = Pending(request, listener)
    # The window of a SYN is not scaled (RFC 7323 section 2.2).
    sk.snd_wnd = sk.max_window = skb.tcp.window if skb.tcp is not None else 0
    handshake.init_transfer(sk, handshake_repeats=0)
    sk.rcv_ssthresh = min(sk.rcv_wnd, sk.window_clamp)
    sk.state = State.SYN_RECV
    timers.set_synack_timer(sk, sk.host.jiffies.hz)
    if skb.length:
        _take_syn_data(sk, skb)
    request.rcv_nxt = sk.rcv_wup = sk.rcv_nxt
    return sk


def _take_syn_data(sk: TcpSock, skb: SkBuff) -> None:
    """tcp_fastopen_add_skb: a SYN's bytes, without the rhythm of a connection that began before."""
    skb.seq = sk.rcv_nxt
    skb.flags = (skb.tcp.flags if skb.tcp is not None else 0) & TcpFlag.FIN
    sk.receive_queue.add(skb)
    sk.rcv_nxt += skb.length
    sk.bytes_received = skb.length
    sk.data_segs_in = sk.segs_in = 1


def release(sk: TcpSock) -> None:
    """reqsk_fastopen_remove: the handshake is over, or the socket is."""
    if sk.fastopen is not None:
        sk.fastopen.listener.fastopen_pending -= 1
        sk.fastopen = None


def repeat_synack(sk: TcpSock) -> Step:
    """tcp_fastopen_synack_timer: until the third ACK nothing else is sent again."""
    if sk.fastopen is None:
        return
    request, host = sk.fastopen.request, sk.host
    if request.timeouts >= SYNACK_RETRIES:
        sk.error = "ETIMEDOUT"
        host.tcp.done(sk)
        return
    if sk.retransmits == 1 and sk.rtx_queue:
        recovery.enter_loss(sk)
    request.timeouts += 1
    sk.retransmits += 1
    yield from host.tcp.repeat_synack(sk.fastopen.listener, request)
    timers.set_synack_timer(sk, host.jiffies.hz << request.timeouts)


# --- the client


def connect(sk: TcpSock, data: memoryview) -> Step:
    """tcp_sendmsg_fastopen and tcp_connect: the SYN, with data where that may be. Returns how many bytes it took."""
    yield from handshake.connect(sk, partial(_send_syn_data, sk, data))
    return sk.write_seq - sk.iss - 1


def _send_syn_data(sk: TcpSock, data: memoryview) -> Step:
    """tcp_send_syn_data: with a cookie, or where none is needed; else a SYN that asks for one."""
    host = sk.host
    known = host.tcp.fastopen_peers.get(sk.remote[0], Remembered())
    if host.settings.tcp_fastopen & CLIENT_WITHOUT_COOKIE:
        cookie = None
    elif known.cookie:
        cookie = known.cookie
    else:
        sk.fastopen_asked, sk.write_pending = True, True
        options = TcpOptions(fast_open=b"", fast_open_experimental=known.tries == 1)
        yield from handshake.send_syn(sk, options)
        return
    mtu_mss = host.ip.mtu_to(sk.remote[0]) - host.ip.header_bytes(sk.remote[0]) - 20
    size = max(0, min(len(data), min(mtu_mss, known.mss or sk.advmss) - MAX_OPTION_BYTES))
    sk.fastopen_asked = cookie is not None
    sk.write_pending = size < len(data)
    number = host.buffers.take()
    held = SkBuff(number, number, length=size, seq=sk.iss + 1, flags=int(TcpFlag.PSH), sent_ns=host.now_ns)
    sk.send_bytes.append(data[:size])
    sk.write_seq += size
    sk.snd_nxt = sk.pushed_seq = sk.write_seq
    if size:
        sk.charge(held)
        sk.rtx_queue.append(held)
        sk.packets_out += 1
        sk.data_segs_out += 1
        sk.bytes_sent += size
    options = TcpOptions(fast_open=cookie, fast_open_experimental=cookie is not None and known.experimental)
    yield from handshake.send_syn(sk, options, held)


def data_acknowledged(sk: TcpSock, offered: TcpOptions) -> Step:
    """tcp_rcv_fastopen_synack: remember the server; what it did not take is sent again. Returns whether it took all."""
    data = sk.rtx_queue[0] if sk.rtx_queue else None
    known = sk.host.tcp.fastopen_peers.setdefault(sk.remote[0], Remembered())
    known.mss = offered.mss or known.mss
    if sk.fastopen_asked:
        if offered.fast_open:
            known.cookie, known.experimental = offered.fast_open, offered.fast_open_experimental
        elif not sk.retransmits and data is None and sk.write_seq == sk.iss + 1 and not known.cookie:
            known.tries = min(known.tries + 1, 2)
    if data is None:
        return True
    for skb in sk.rtx_queue:
        mark_lost(sk, skb)
    # tcp_non_congestion_loss_retransmit: no reason to shrink.
    sk.recovery.high_seq = sk.snd_nxt
    sk.ssthresh = current_ssthresh(sk)
    sk.recovery.prior_ssthresh = sk.recovery.undo_marker = 0
    set_ca_state(sk, CaState.LOSS)
    yield from recovery.xmit_retransmit_queue(sk)
    return False
