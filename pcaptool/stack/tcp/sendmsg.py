"""What send(), recv(), shutdown() and close() do inside TCP (net/ipv4/tcp.c).

Knows: how bytes are gathered into buffers of the write queue, when that queue is pushed, when a writer sleeps; how a
reader empties the receive queue and what that makes TCP say; how a connection is closed.
Must not know: how a system call is entered (`syscalls`), or what lies below TCP.
Facts 36, 37, 47-55. All of it runs with the socket's lock held.
"""

from __future__ import annotations

from typing import Protocol

from pcaptool.sim.events import Step
from pcaptool.stack.skbuff import SkBuff
from pcaptool.stack.tcp import output
from pcaptool.stack.tcp.cwnd import idle_check
from pcaptool.stack.tcp.lock import lock_sock, process_backlog, release_sock
from pcaptool.stack.tcp.rate import check_app_limited
from pcaptool.stack.tcp.sock import Nagle, State, TcpSock, wire_seq
from pcaptool.stack.tcp.window import window_to_offer
from pcaptool.wire.tcp import TcpFlag

__all__ = [
    "Payload",
    "at_end",
    "close_locked",
    "may_send",
    "recvmsg_locked",
    "sendmsg_locked",
    "set_cork",
    "set_nodelay",
    "shutdown_locked",
]

FLUSH_BUFFERS = 16  # a long call looks at its backlog whenever it has begun so many buffers
CAN_SEND = frozenset({State.SYN_RECV, State.ESTABLISHED, State.CLOSE_WAIT})  # the first: Fast Open


class Payload(Protocol):
    """Bytes that a program hands to send() without holding all of them."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, part: slice, /) -> memoryview:
        """Some of them."""
        ...


def sendmsg_locked(
    sk: TcpSock, data: bytes | Payload, *, more: bool, waits: bool = True, copied: bool = True
) -> Step:
    """tcp_sendmsg_locked. Returns the bytes taken: fewer than given where the connection broke, or for want of memory.

    `waits` is False on a non-blocking socket, `copied` with MSG_SPLICE_PAGES (sendfile).
    """
    view: Payload = memoryview(data) if isinstance(data, bytes) else data
    at, total = 0, len(data)
    host = sk.host
    check_app_limited(sk)
    mss = output.current_mss(sk)
    goal = output.size_goal(sk, mss)
    if not may_send(sk):
        return 0
    since_flush = 0
    while at < total:
        tail = sk.write_queue[-1] if sk.write_queue else None
        if tail is None or tail.length >= goal:
            if not sk.stream_memory_free:
                sk.nospace = True
                if at:
                    yield from output.tcp_push(sk, more=False, mss=mss, nonagle=Nagle.PUSH, goal=goal)
                if not waits:
                    return at  # EAGAIN if it is 0; what is there was pushed just now
                yield from _wait_memory(sk)
                if not may_send(sk):
                    break
                mss = output.current_mss(sk)
                goal = output.size_goal(sk, mss)
                continue
            if since_flush >= FLUSH_BUFFERS:
                since_flush = 0
                if sk.backlog:  # sk_flush_backlog
                    yield from process_backlog(sk)
                    mss = output.current_mss(sk)
                    goal = output.size_goal(sk, mss)
                    if not may_send(sk):
                        break
                    continue
            since_flush += 1
            tail = _entail(sk)
        size = min(goal - tail.length, total - at)
        # The copy takes its time; what arrives meanwhile waits in the backlog.
        per_kib_ns = host.costs.copy_per_kib_ns if copied else host.costs.splice_per_kib_ns
        yield max(1, size * per_kib_ns >> 10)
        if not tail.length:
            tail.written_ns, tail.copied_ns = sk.call_began_ns, host.now_ns
        if at == 0:
            tail.flags &= ~TcpFlag.PSH
        sk.send_bytes.append(view[at : at + size])
        tail.length += size
        sk.wmem_queued += size
        sk.write_seq += size
        at += size
        if at == total:
            break
        if tail.length < goal:
            continue
        if output.forced_push(sk):
            output.mark_push(sk, tail)
            yield host.costs.tcp_write_xmit_ns
            yield from output.push_pending_frames(sk, mss, Nagle.PUSH)
        elif tail is sk.write_queue[0]:
            yield host.costs.tcp_write_xmit_ns
            yield from output.tcp_write_xmit(sk, mss, Nagle.PUSH, 1)
    if at:
        yield host.costs.tcp_write_xmit_ns
        yield from output.tcp_push(sk, more=more, mss=mss, nonagle=sk.nonagle, goal=goal)
    return at


def may_send(sk: TcpSock) -> bool:
    """Whether the connection takes bytes for sending."""
    return sk.state in CAN_SEND and not sk.send_shutdown and not sk.error


def _entail(sk: TcpSock) -> SkBuff:
    """tcp_stream_alloc_skb and tcp_skb_entail: a new, empty buffer at the end of the write queue."""
    number = sk.host.buffers.take()
    skb = SkBuff(number, number, seq=sk.write_seq)
    sk.write_queue.append(skb)
    sk.charge(skb)
    sk.nonagle &= ~Nagle.PUSH
    idle_check(sk)
    return skb


def _wait_memory(sk: TcpSock) -> Step:
    """sk_stream_wait_memory: give the lock away and sleep until there is room to write."""
    while _must_wait(sk):
        yield from release_sock(sk)
        if _must_wait(sk):
            yield sk.writable
            known = sk.host.known.get(sk.key)
            if known is not None and known.recording is not None:
                now_ns = sk.host.now_ns
                yield max(0, known.recording.resumed_ns(wire_seq(sk.write_seq), now_ns) - now_ns)
        yield from lock_sock(sk, sends=True)


def _must_wait(sk: TcpSock) -> bool:
    return not sk.stream_memory_free and may_send(sk)


def recvmsg_locked(sk: TcpSock, size: int) -> Step:
    """tcp_recvmsg_locked: bytes that are there, at most `size`; sleeps while there are none. b"" at the end."""
    parts: list[memoryview] = []
    copied = 0
    while True:
        while taken := sk.receive_queue.read_first(size - copied):
            parts += taken
            count = sum(len(part) for part in taken)
            copied += count
            yield max(1, count * sk.host.costs.copy_per_kib_ns >> 10)
            sk.copied_seq += count
            space_adjust(sk)
        if copied:
            if copied == size or not sk.backlog:
                break
            yield from cleanup_rbuf(sk, copied)
            yield from release_sock(sk)
            yield from lock_sock(sk)
            if not sk.receive_queue:
                break
            continue
        if at_end(sk):
            break
        yield from cleanup_rbuf(sk, 0)
        yield from release_sock(sk)
        if not sk.receive_queue and not at_end(sk):
            yield sk.readable
        yield from lock_sock(sk)
    yield from cleanup_rbuf(sk, copied)
    return b"".join(parts)


def at_end(sk: TcpSock) -> bool:
    """Whether a reader of an empty queue is told so at once."""
    return sk.receive_shutdown or bool(sk.error) or sk.state is State.CLOSE


def space_adjust(sk: TcpSock) -> None:
    """tcp_rcv_space_adjust: receive buffer autotuning, once a round trip (RFC 9293 has none; Linux does)."""
    now_ns = sk.host.now_ns
    rtt_us = sk.rcv_rtt8_us >> 3
    if not rtt_us or (now_ns - sk.rcvq_time_ns) // 1000 < rtt_us:
        return
    copied = sk.copied_seq - sk.rcvq_seq - (sk.rcv_nxt - sk.copied_seq)
    if copied > sk.rcvq_space:
        if sk.host.settings.tcp_moderate_rcvbuf and not sk.rcvbuf_locked:
            wanted = (copied << 1) + 16 * sk.advmss
            wanted += (wanted * (copied - sk.rcvq_space) // max(1, sk.rcvq_space)) << 1
            buffer = min((wanted << 8) // sk.scaling_ratio, sk.host.settings.tcp_rmem[2])
            if buffer > sk.rcvbuf:
                sk.rcvbuf = buffer
                sk.window_clamp = sk.win_from_space(buffer)
        sk.rcvq_space = copied
    sk.rcvq_seq = sk.copied_seq
    sk.rcvq_time_ns = now_ns


def cleanup_rbuf(sk: TcpSock, copied: int) -> Step:
    """tcp_cleanup_rbuf: reading may be the moment for the ACK, or for a window update."""
    ack = sk.ack
    now = False
    if ack.scheduled:
        now = sk.rcv_nxt - sk.rcv_wup > ack.receive_mss or (
            copied > 0 and (ack.pushed2 or (ack.pushed and not sk.pingpong)) and not sk.receive_queue.charged
        )
    if copied > 0 and not now and not sk.receive_shutdown:
        window = sk.receive_window
        if 2 * window <= sk.window_clamp:
            new = window_to_offer(sk)
            now = new > 0 and new >= 2 * window
    if now:
        yield from output.tcp_send_ack(sk)


def set_nodelay(sk: TcpSock, *, on: bool) -> Step:
    """__tcp_sock_set_nodelay."""
    if on:
        sk.nonagle |= Nagle.OFF | Nagle.PUSH
        yield from output.push_pending_frames(sk, output.current_mss(sk), sk.nonagle)
    else:
        sk.nonagle &= ~Nagle.OFF


def set_cork(sk: TcpSock, *, on: bool) -> Step:
    """__tcp_sock_set_cork."""
    if on:
        sk.nonagle |= Nagle.CORK
        return
    sk.nonagle &= ~Nagle.CORK
    if sk.nonagle & Nagle.OFF:
        sk.nonagle |= Nagle.PUSH
    yield from output.push_pending_frames(sk, output.current_mss(sk), sk.nonagle)


# State on close() or shutdown(SHUT_WR): the next state, and whether a FIN is due (new_state[] in tcp.c).
CLOSE_TRANSITIONS: dict[State, tuple[State, bool]] = {
    State.ESTABLISHED: (State.FIN_WAIT1, True),
    State.SYN_RECV: (State.FIN_WAIT1, True),
    State.CLOSE_WAIT: (State.LAST_ACK, True),
    State.SYN_SENT: (State.CLOSE, False),
    State.LISTEN: (State.CLOSE, False),
}


def shutdown_locked(sk: TcpSock) -> Step:
    """tcp_shutdown(SEND_SHUTDOWN): nothing more will be written; a FIN follows what is queued."""
    following = CLOSE_TRANSITIONS.get(sk.state)
    if following is None:
        return
    sk.state, fin = following
    sk.send_shutdown = True
    if fin:
        yield from send_fin(sk)


def send_fin(sk: TcpSock) -> Step:
    """tcp_send_fin: on the last unsent buffer if there is one, else in a segment of its own (fact 55)."""
    if sk.write_queue:
        sk.write_queue[-1].flags |= TcpFlag.FIN
        sk.write_seq += 1
    else:
        skb = _entail(sk)
        skb.flags |= TcpFlag.FIN
        sk.write_seq += 1
    yield from output.push_pending_frames(sk, output.current_mss(sk), Nagle.OFF)


def close_locked(sk: TcpSock, *, abort: bool) -> Step:
    """__tcp_close: an orderly end, or a reset if data is unread or linger is 0."""
    sk.receive_shutdown = True
    unread = len(sk.receive_queue) > 0
    sk.receive_queue.clear()
    sk.orphan = True
    if sk.state is State.CLOSE:
        return
    if (unread or abort) and sk.state not in {State.SYN_SENT, State.LISTEN}:
        yield from sk.host.tcp.send_active_reset(sk)
        return
    yield from shutdown_locked(sk)
    _after_close(sk)


def _after_close(sk: TcpSock) -> None:
    """What close() does with the state that the FIN left: nobody will ever ask this socket again."""
    if sk.state is State.CLOSE:
        sk.host.tcp.done(sk)
    elif sk.state is State.FIN_WAIT2:
        sk.host.tcp.time_wait(sk, State.FIN_WAIT2)
