"""System calls on sockets: what a program can ask, in virtual time (net/socket.c, net/ipv4/af_inet.c).

Knows: entry cost, blocking, the lock around each call.
Must not know: what TCP does with it (`tcp`).
Every call is a generator to be used with `yield from` in a program, which is a process of the simulator.
writev() and write() are send() here: TCP sees the same bytes in one call. Readiness (epoll_wait) is asked of one
socket; a program that waits for many is a process per connection, and the run queue is its event loop.
"""

from __future__ import annotations

from pcaptool.sim.events import RESCHEDULE, Step
from pcaptool.stack.host import Host
from pcaptool.stack.tcp import fastopen, handshake, keepalive, sendmsg
from pcaptool.stack.tcp.input import rcv_state_process
from pcaptool.stack.tcp.lock import lock_sock, release_sock
from pcaptool.stack.tcp.protocol import Listener
from pcaptool.stack.tcp.sendmsg import Payload
from pcaptool.stack.tcp.sock import State, TcpSock

__all__ = ["Socket", "SocketError"]


MIN_SNDBUF = 4608  # SOCK_MIN_SNDBUF
MIN_RCVBUF = 2304  # SOCK_MIN_RCVBUF
PIPE_BYTES = 65536  # 16 pages (PIPE_DEF_BUFFERS)


class SocketError(OSError):
    """A call that failed inside the model; the text is the kernel's error name."""


class Socket:
    """A TCP socket of a modelled program.

    Parameters
    ----------
    host : Host
    sk : TcpSock, optional
        The connection of an accepted socket.
    """

    def __init__(self, host: Host, sk: TcpSock | None = None) -> None:
        self.host = host
        self.sk = sk if sk is not None else TcpSock(host, (host.ip.address, 0), (b"", 0))
        if sk is None:
            self.sk.rcvbuf = host.settings.tcp_rmem[1]
            self.sk.sndbuf = host.settings.tcp_wmem[1]
        self._linger_zero = False
        self._listener: Listener | None = None

    def listen(self, port: int, backlog: int | None = None, *, fastopen: int = 0) -> None:
        """bind(), setsockopt(TCP_FASTOPEN) and listen()."""
        self.sk.local = (self.host.ip.address, port)
        tcp = self.host.tcp
        self._listener = tcp.listen(self.sk) if backlog is None else tcp.listen(self.sk, backlog)
        self._listener.fastopen = fastopen

    def wait_acceptable(self) -> Step:
        """poll() of a listening socket."""
        if self._listener is None:
            raise SocketError("EINVAL")
        while not self._listener.accept_queue:
            yield self._listener.acceptable

    def accept(self) -> Step:
        """accept(): sleeps until a handshake is complete. Returns a `Socket`."""
        if self._listener is None:
            raise SocketError("EINVAL")
        while not self._listener.accept_queue:
            yield self._listener.acceptable
        return Socket(self.host, self._listener.accept_queue.popleft())

    def connect(self, address: bytes, port: int, *, local_port: int = 0) -> Step:
        """connect(): sleeps until the handshake is over.

        Raises
        ------
        SocketError
            ECONNREFUSED, ECONNRESET.
        """
        sk = self.sk
        self._name(address, port, local_port)
        yield from lock_sock(sk)
        yield from handshake.connect(sk)
        yield from self._wait_for_connect()
        yield RESCHEDULE
        if sk.error:
            raise SocketError(sk.error)

    def connect_with(self, address: bytes, port: int, data: bytes, *, local_port: int = 0) -> Step:
        """sendto(MSG_FASTOPEN): connect and send, in one where a cookie is at hand; sleeps until TCP has all bytes.

        Raises
        ------
        SocketError
            EOPNOTSUPP (net.ipv4.tcp_fastopen), and those of `connect` and `send`.
        """
        sk = self.sk
        if not self.host.settings.tcp_fastopen & fastopen.CLIENT:
            raise SocketError("EOPNOTSUPP")
        self._name(address, port, local_port)
        sk.call_began_ns = self.host.now_ns
        yield from lock_sock(sk)
        taken = yield from fastopen.connect(sk, memoryview(data))
        yield from self._wait_for_connect()
        sk.write_pending = False
        if taken < len(data) and not sk.error:
            yield from lock_sock(sk)
            taken += yield from sendmsg.sendmsg_locked(sk, data[taken:], more=False)
            yield from release_sock(sk)
        yield RESCHEDULE
        if taken < len(data):
            raise SocketError(sk.error or "EPIPE")

    def _name(self, address: bytes, port: int, local_port: int) -> None:
        """Both ends of a connection to be."""
        sk = self.sk
        sk.remote = (address, port)
        sk.local = (sk.local[0], local_port or self.host.tcp.free_port(sk.local[0], sk.remote))

    def _wait_for_connect(self) -> Step:
        """inet_wait_for_connect: process what came while the call held the lock, then sleep for the handshake's end."""
        sk = self.sk
        while sk.backlog:
            skb = sk.backlog.popleft()
            process = handshake.synsent_process if sk.state is State.SYN_SENT else rcv_state_process
            yield from process(sk, skb)
        sk.owned = False
        sk.unlocked.wake()
        while sk.state in {State.SYN_SENT, State.SYN_RECV}:
            yield sk.connected

    def send(self, data: bytes | Payload, *, more: bool = False) -> Step:
        """sendall(): blocks until TCP has taken all bytes; `more` is MSG_MORE.

        Raises
        ------
        SocketError
            EPIPE or ECONNRESET.
        """
        sk = self.sk
        sk.call_began_ns = self.host.now_ns
        yield self.host.costs.tcp_sendmsg_locked_ns
        yield from lock_sock(sk)
        taken = yield from sendmsg.sendmsg_locked(sk, data, more=more)
        yield from release_sock(sk)
        yield RESCHEDULE
        if taken < len(data):
            raise SocketError(sk.error or "EPIPE")

    def send_some(self, data: bytes, *, more: bool = False) -> Step:
        """send() of a non-blocking socket: the bytes that were taken, 0 where there is no room (EAGAIN).

        Raises
        ------
        SocketError
            EPIPE or ECONNRESET.
        """
        return (yield from self._send_now(data, more=more, copied=True))

    def sendfile(self, data: bytes | memoryview) -> Step:
        """sendfile() of a non-blocking socket: the bytes that were taken; `data` is the file from its offset on.

        The pages go through a pipe of 16 (splice_direct_to_actor, splice_to_socket): TCP gets up to 65,536 bytes a
        time, with MSG_MORE while more follow, and copies nothing. What TCP does not take of a pipe is offered again
        until it takes nothing: it may have sent some meanwhile.

        Raises
        ------
        SocketError
            EPIPE or ECONNRESET.
        """
        taken = 0
        while taken < len(data):
            pipe = data[taken : taken + PIPE_BYTES]
            more = taken + len(pipe) < len(data)
            while pipe:
                now = yield from self._send_now(pipe, more=more, copied=False)
                if not now:
                    return taken
                taken += now
                pipe = pipe[now:]
        return taken

    def _send_now(self, data: bytes | Payload, *, more: bool, copied: bool) -> Step:
        sk = self.sk
        sk.call_began_ns = self.host.now_ns
        yield self.host.costs.tcp_sendmsg_locked_ns
        yield from lock_sock(sk)
        taken = yield from sendmsg.sendmsg_locked(sk, data, more=more, waits=False, copied=copied)
        yield from release_sock(sk)
        if not taken and data and not sendmsg.may_send(sk):
            raise SocketError(sk.error or "EPIPE")
        return taken

    def wait_readable(self, timeout_ns: int | None = None) -> Step:
        """epoll_wait() until there is something to read, an end, or an error; False when the time is over first."""
        sk, over = self.sk, False

        def expire() -> None:
            nonlocal over
            over = True
            sk.readable.wake()

        timer = None if timeout_ns is None else self.host.simulator.after(timeout_ns, expire)
        while not (sk.receive_queue or sendmsg.at_end(sk) or over):
            yield sk.readable
        if timer is not None:
            timer.cancel()
        return not over or bool(sk.receive_queue)

    def wait_writable(self) -> Step:
        """epoll_wait() until a third of the send buffer is free (tcp_poll), or the connection has broken."""
        sk = self.sk
        while not sk.stream_writeable and sendmsg.may_send(sk):
            sk.nospace = True
            yield sk.writable

    def recv(self, size: int) -> Step:
        """recv(): bytes that are there, at most `size`; b"" when the peer has ended.

        Raises
        ------
        SocketError
            ECONNRESET.
        """
        sk = self.sk
        yield from lock_sock(sk)
        data = yield from sendmsg.recvmsg_locked(sk, size)
        yield from release_sock(sk)
        yield RESCHEDULE
        if not data and sk.error:
            raise SocketError(sk.error)
        return data

    def set_nodelay(self, *, on: bool) -> Step:
        """setsockopt(TCP_NODELAY)."""
        yield from lock_sock(self.sk)
        yield from sendmsg.set_nodelay(self.sk, on=on)
        yield from release_sock(self.sk)
        yield RESCHEDULE

    def set_cork(self, *, on: bool) -> Step:
        """setsockopt(TCP_CORK)."""
        self.sk.call_began_ns = self.host.now_ns
        yield from lock_sock(self.sk)
        yield from sendmsg.set_cork(self.sk, on=on)
        yield from release_sock(self.sk)
        yield RESCHEDULE

    def set_send_buffer(self, size: int) -> None:
        """setsockopt(SO_SNDBUF): twice the value, and no growth from then on (__sock_set_rcvbuf's sibling)."""
        self.sk.sndbuf = max(2 * min(size, self.host.settings.wmem_max), MIN_SNDBUF)
        self.sk.sndbuf_locked = True

    def set_receive_buffer(self, size: int) -> None:
        """setsockopt(SO_RCVBUF): twice the value, and no autotuning from then on (__sock_set_rcvbuf)."""
        self.sk.rcvbuf = max(2 * min(size, self.host.settings.rmem_max), MIN_RCVBUF)
        self.sk.rcvbuf_locked = True

    def set_keepalive(self, *, idle_ms: int = 7_200_000, interval_ms: int = 75_000, probes: int = 9) -> None:
        """setsockopt(SO_KEEPALIVE), with TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT."""
        keepalive.start(self.sk, idle_ms=idle_ms, interval_ms=interval_ms, probes=probes)

    def set_linger_zero(self) -> None:
        """setsockopt(SO_LINGER, on, 0 s): close() resets."""
        self._linger_zero = True

    def shutdown_write(self) -> Step:
        """shutdown(SHUT_WR)."""
        yield from lock_sock(self.sk)
        yield from sendmsg.shutdown_locked(self.sk)
        yield from release_sock(self.sk)
        yield RESCHEDULE

    def close(self) -> Step:
        """close()."""
        yield from lock_sock(self.sk)
        yield from sendmsg.close_locked(self.sk, abort=self._linger_zero)
        yield from release_sock(self.sk)
        yield RESCHEDULE
