"""The socket's lock, backlog and what is deferred until the lock is free (lock_sock, release_sock, tcp_add_backlog).

Knows: that a system call owns the socket while it works, that segments which arrive meanwhile wait, and that
neighbouring pure ACKs among them become one (TCPBacklogCoalesce).
Must not know: what the system call does.
It is why an ACK that is on the wire before a frame may be unprocessed when that frame is built (fact 30).
"""

from __future__ import annotations

from collections import deque

from pcaptool.sim.events import Step
from pcaptool.stack.skbuff import SkBuff
from pcaptool.stack.tcp import output
from pcaptool.stack.tcp.input import rcv_state_process
from pcaptool.stack.tcp.sock import TcpSock
from pcaptool.wire.tcp import TcpFlag

__all__ = ["add_backlog", "lock_sock", "merge", "process_backlog", "release_sock"]

_NEVER_MERGED = TcpFlag.SYN | TcpFlag.RST | TcpFlag.URG
_MUST_AGREE = TcpFlag.ECE | TcpFlag.CWR


def lock_sock(sk: TcpSock, *, sends: bool = False) -> Step:
    """Wait until no other system call owns the socket, then own it.

    Who is about to send waits for the softirq that has it, too (bh_lock_sock): its frames leave first. Not for those
    that come meanwhile: the spin lock is fair. On one machine both share a processor, and it waits anyway.
    """
    if sends and not sk.host.softirq_follows and (busy_ns := sk.host.processor.busy_ns):
        yield busy_ns
    while sk.owned:
        yield sk.unlocked
    sk.owned = True


def release_sock(sk: TcpSock) -> Step:
    """Process the backlog, then what was deferred, then let others have the socket."""
    if sk.backlog:
        yield from process_backlog(sk)
    if sk.deferred:
        deferred, sk.deferred = sk.deferred, []
        for work in deferred:
            yield from work(sk)
    if sk.ack_deferred:
        sk.ack_deferred = False
        if sk.ack.scheduled:
            yield from output.tcp_send_ack(sk)
    # Sending let softirqs run: what they left in the backlog must not wait for the next call.
    if sk.backlog:
        yield from process_backlog(sk)
    sk.owned = False
    if sk.unlocked.waiters:
        sk.unlocked.wake()


def process_backlog(sk: TcpSock) -> Step:
    """__release_sock: batch after batch; what arrives meanwhile begins the next one, and is merged into that only.

    Until all is processed its memory counts as the backlog's, and takes from the window as the receive queue's does.
    """
    while sk.backlog:
        batch, sk.backlog = sk.backlog, deque()
        for skb in batch:
            yield from rcv_state_process(sk, skb)
    sk.backlog_bytes = 0


def add_backlog(sk: TcpSock, skb: SkBuff) -> None:
    """tcp_add_backlog: keep a segment for the owner, as part of the one before it where that is possible."""
    if not (sk.backlog and merge(sk.backlog[-1], skb)):
        sk.backlog.append(skb)
        sk.backlog_bytes += skb.truesize


def merge(tail: SkBuff, skb: SkBuff) -> bool:
    """Make one segment of two neighbours in the backlog; False where they stay two."""
    if not _merges(tail, skb) or tail.tcp is None or skb.tcp is None:
        return False
    if (skb.tcp.ack - tail.tcp.ack) & 0xFFFFFFFF < 0x80000000:
        tail.tcp.ack = skb.tcp.ack
    tail.tcp.window = skb.tcp.window
    tail.tcp.flags |= skb.tcp.flags & (TcpFlag.FIN | TcpFlag.PSH)
    tail.gso_segs += skb.gso_segs
    return True


def _merges(tail: SkBuff, skb: SkBuff) -> bool:
    """Whether two neighbouring segments differ in nothing but what a merged one can hold; data is kept apart."""
    a, b = tail.tcp, skb.tcp
    if a is None or b is None or tail.ip is None or skb.ip is None:
        return False
    return (
        tail.length == skb.length == 0
        and a.seq == b.seq
        and not a.flags & TcpFlag.FIN
        and tail.ip.tos == skb.ip.tos
        and not (a.flags | b.flags) & _NEVER_MERGED
        and bool(a.flags & b.flags & TcpFlag.ACK)
        and not (a.flags ^ b.flags) & _MUST_AGREE
        and a.option_bytes == b.option_bytes
    )
