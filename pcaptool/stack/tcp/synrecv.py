"""SYN_RECV of a socket that exists before the third ACK: SYNs that crossed, and Fast Open (tcp_rcv_state_process).

Knows: what a SYN does to a socket that has sent one itself, and what the ACK of its SYN-ACK changes.
Must not know: how requests wait that are no sockets yet (`protocol`).
Sources: RFC 9293 sections 3.5 (figure 7) and 3.10.7.4; functions carry the kernel's names.
Leaves out: data in a SYN that crosses another.
"""

from __future__ import annotations

from pcaptool.sim.events import Step
from pcaptool.stack.skbuff import SkBuff
from pcaptool.stack.tcp import challenge, fastopen, handshake, rtt
from pcaptool.stack.tcp.congestion import CONTROLS
from pcaptool.stack.tcp.ecn import syn_asks
from pcaptool.stack.tcp.sock import CaState, State, TcpSock
from pcaptool.stack.tcp.undo import try_undo_recovery
from pcaptool.wire.tcp import TcpFlag

__all__ = ["check_request", "crossed", "send_synack", "third_ack"]


def crossed(sk: TcpSock, skb: SkBuff) -> Step:
    """A SYN for a socket in SYN_SENT: its SYN is now a SYN-ACK, and the peer's as well."""
    header, ip = skb.tcp, skb.ip
    if header is None or ip is None:
        return
    sk.state = State.SYN_RECV
    handshake.take_peer(sk, header)
    sk.snd_wnd = sk.max_window = header.window
    sk.ecn.ok &= syn_asks(header.flags, ip.tos, sk.host.settings.tcp_ecn)
    handshake.sync_mss(sk)
    sk.congestion = CONTROLS[sk.host.settings.congestion]()
    sk.ack.receive_mss = min(sk.advmss, sk.mss_cache, 536)
    sk.charge(sk.rtx_queue[0])
    yield from send_synack(sk)


def send_synack(sk: TcpSock) -> Step:
    """tcp_send_synack: the queued SYN once more, as a SYN-ACK of a full socket."""
    queued = sk.rtx_queue[0]
    queued.sent_ns = sk.host.now_ns
    skb = SkBuff(sk.host.buffers.take(), queued.number, seq=sk.iss, flags=int(TcpFlag.SYN))
    flags = TcpFlag.SYN | TcpFlag.ACK | (TcpFlag.ECE if sk.ecn.ok else 0)
    yield from handshake.transmit_syn(sk, skb, flags)


def check_request(sk: TcpSock, skb: SkBuff) -> Step:
    """tcp_check_req for a Fast Open socket: a SYN that comes again gets the SYN-ACK again. Returns whether to go on."""
    header, pending = skb.tcp, sk.fastopen
    if header is None or pending is None:
        return True
    request = pending.request
    if header.flags & TcpFlag.SYN and not header.flags & TcpFlag.ACK and header.seq == request.peer_seq:
        if not challenge.rate_limited(sk.host, request):
            yield from sk.host.tcp.repeat_synack(pending.listener, request)
        return False
    return bool(header.flags & (TcpFlag.ACK | TcpFlag.RST))


def third_ack(sk: TcpSock, skb: SkBuff, seq: int) -> None:
    """What an acceptable ACK changes of a socket whose SYN-ACK it acknowledges."""
    header, host, pending = skb.tcp, sk.host, sk.fastopen
    if header is None:
        return
    if sk.state is State.SYN_RECV:
        sk.delivered += 1
        if not sk.srtt8_us:
            echoed = header.options.timestamps[1] if header.options.timestamps else 0
            handshake.synack_rtt(sk, None if pending is None else pending.request, echoed)
    timeouts, sk.retransmits = sk.retransmits, 0
    if pending is not None:
        if sk.ca_state is CaState.LOSS and not sk.packets_out:
            try_undo_recovery(sk, None)
        fastopen.release(sk)
        host.tcp.rearm_rto(sk)
    else:
        handshake.finish_active(sk, timeouts)
        sk.copied_seq = sk.rcv_nxt
    if sk.state is State.FIN_WAIT1:
        return
    sk.state = State.ESTABLISHED
    sk.connected.wake(host.costs.wakeup_ns)
    # Scaled, also where it is a SYN-ACK's, whose window is not.
    sk.snd_wnd = header.window << sk.send_wscale
    sk.snd_wl1 = seq
    if not sk.congestion.takes_control:
        rtt.update_pacing_rate(sk)
    sk.last_send_jiffies = host.jiffies.at(host.now_ns)
    sk.ack.receive_mss = min(sk.advmss, sk.mss_cache, 536)


def repeat(sk: TcpSock) -> Step:
    """tcp_retransmit_timer: the SYN-ACK again."""
    sk.rtx_queue[0].retransmitted = True
    sk.flow_label = sk.host.chance.stream("flow label").getrandbits(20)
    yield from send_synack(sk)
