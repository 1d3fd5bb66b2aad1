"""UDP (net/ipv4/udp.c, net/ipv6/udp.c): sockets that send and receive datagrams.

Knows: the header, the queue of a socket, which socket a datagram is for, that nobody's datagram is answered by ICMP.
Must not know: fragmentation (`ip`), or what datagrams hold.
Sources: RFC 768; measured on Linux 6.18 (fixtures/captures/lab/udp-v4, udp-v6): DF on a datagram that fits the MTU, IDs
that count up, a partial checksum where the device fills it in, a full one where the datagram is fragmented.
Leaves out: corking, multicast, UDP GSO and GRO, checksums switched off.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from pcaptool.sim.events import Step, WaitQueue
from pcaptool.stack.skbuff import SkBuff, UdpHeader

if TYPE_CHECKING:
    from pcaptool.stack.host import Host

__all__ = ["DatagramSocket", "UdpProtocol"]

PORTS = (32768, 60999)  # sysctl ip_local_port_range
RECEIVE_BUFFER_BYTES = 212_992  # net.core.rmem_default


class UdpProtocol:
    """UDP's table of sockets.

    Parameters
    ----------
    host : Host
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self.sockets: dict[int, DatagramSocket] = {}

    def free_port(self) -> int:
        """udp_lib_get_port: any free port of the range."""
        stream = self.host.chance.stream("udp port")
        while (port := stream.randint(*PORTS)) in self.sockets:
            pass
        return port

    def receive(self, skb: SkBuff) -> Step:
        """udp_rcv: into the socket's queue, or "port unreachable"."""
        if skb.udp is None or skb.ip is None:
            return
        yield self.host.costs.tcp_v4_rcv_ns
        socket = self.sockets.get(skb.udp.dstport)
        source = (skb.ip.source, skb.udp.srcport)
        if socket is None or socket.peer not in (None, source):
            yield from self.host.icmp.unreachable(skb)
            return
        socket.deliver(bytes(skb.payload[: skb.length]), source)

    def failed(self, port: int, error: str) -> None:
        """udp_err: ICMP says that a datagram of this socket did not get there."""
        socket = self.sockets.get(port)
        if socket is not None and socket.peer is not None:
            socket.error = error
            socket.readable.wake(self.host.costs.wakeup_ns)


class DatagramSocket:
    """A UDP socket of a modelled program.

    Parameters
    ----------
    host : Host
    port : int
        To bind to; 0 for a free one.
    """

    def __init__(self, host: Host, port: int = 0) -> None:
        self.host = host
        self.port = port or host.udp.free_port()
        self.peer: tuple[bytes, int] | None = None
        self.error = ""
        self.readable = WaitQueue()
        self.flow_label = host.chance.stream("flow label").getrandbits(20)
        self.inet_id = host.chance.stream("inet id").getrandbits(16)
        self._queue: deque[tuple[bytes, tuple[bytes, int]]] = deque()
        self._charged = 0
        host.udp.sockets[self.port] = self

    def connect(self, address: bytes, port: int) -> None:
        """connect(): only this peer from now on."""
        self.peer = (address, port)

    def deliver(self, data: bytes, source: tuple[bytes, int]) -> None:
        """A datagram came; one for which there is no room is gone."""
        if self._charged + len(data) <= RECEIVE_BUFFER_BYTES:
            self._charged += len(data)
            self._queue.append((data, source))
            self.readable.wake(self.host.costs.wakeup_ns)

    def send(self, data: bytes, to: tuple[bytes, int] | None = None) -> Step:
        """sendto(): udp_sendmsg makes one datagram of it and sends it."""
        host = self.host
        target = to or self.peer
        if target is None:
            raise OSError("EDESTADDRREQ")
        number, began_ns = host.buffers.take(), host.now_ns
        skb = SkBuff(number, number, length=len(data), payload=memoryview(data))
        host.stages.pass_packet(skb, "sys_enter_sendto", began_ns, "", 0)
        yield host.costs.tcp_sendmsg_locked_ns + max(1, len(data) * host.costs.copy_per_kib_ns >> 10)
        skb.udp = UdpHeader(self.port, target[1])
        host.stages.pass_packet(skb, "udp_sendmsg", host.now_ns, "udp", 8)
        end_ns = host.ip.send_datagram(self, skb, target[0])
        yield end_ns - host.now_ns
        if host.softirq_follows:
            yield from host.processor.drain()

    def recv(self, *, timeout_ns: int = 0) -> Step:
        """recvfrom(): sleeps until there is a datagram. Returns (data, (address, port)), None after the timeout.

        Raises
        ------
        OSError
            ECONNREFUSED: the peer's host said that nobody listens.
        """
        costs, until_ns = self.host.costs, self.host.now_ns + timeout_ns
        alarm = self.host.simulator.at(until_ns, self.readable.wake) if timeout_ns else None
        while not self._queue and not self.error:
            if timeout_ns and self.host.now_ns >= until_ns:
                return None
            yield self.readable
        if alarm is not None:
            alarm.cancel()
        if self.error:
            error, self.error = self.error, ""
            raise OSError(error)
        data, source = self._queue.popleft()
        self._charged -= len(data)
        yield max(1, len(data) * costs.copy_per_kib_ns >> 10)
        return data, source

    def close(self) -> None:
        """close()."""
        self.host.udp.sockets.pop(self.port, None)
