"""The network layer: IP header, identification, demultiplexing (net/ipv4/ip_output.c, ip_input.c).

Knows: what stands in the IP header of each kind of datagram; where an arriving one goes.
Must not know: TCP's state, or link addresses (`neighbour`).
Sources: RFC 791, RFC 6864 (ID of datagrams that may not be fragmented), RFC 8200, RFC 6437 (flow labels);
facts 6-13. The way down is a function from the time at which a buffer enters to the time at which the caller goes on.
Leaves out: routing (one link, the peer is on it), fragmentation (DF is set on every frame, buffers fit the MTU),
options, IPv6 extension headers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcaptool.stack.skbuff import Datagram, SkBuff
from pcaptool.wire.ethernet import EtherType
from pcaptool.wire.ip import IpProtocol

if TYPE_CHECKING:
    from pcaptool.sim.events import Step
    from pcaptool.stack.host import Host
    from pcaptool.stack.tcp.handshake import RequestSock
    from pcaptool.stack.tcp.sock import TcpSock

__all__ = ["IpLayer"]


class IpLayer:
    """IP of one host.

    Parameters
    ----------
    host : Host
    address : bytes
        Its only address, 4 or 16 bytes.
    mtu : int
    ttl : int
    """

    def __init__(self, host: Host, address: bytes, mtu: int, ttl: int) -> None:
        self.host = host
        self.address = address
        self.mtu = mtu
        self.ttl = ttl

    @staticmethod
    def header_bytes(address: bytes) -> int:
        """Bytes of the IP header towards an address."""
        return 20 if len(address) == 4 else 40

    def queue_xmit(self, sk: TcpSock, skb: SkBuff) -> int:
        """__ip_queue_xmit: a socket's datagram; the ID counts wire segments (fact 7)."""
        if skb.length:  # pure ACKs are not charged
            skb.owner = sk
            sk.wmem_alloc += skb.truesize
        identification = sk.inet_id
        sk.inet_id = (sk.inet_id + skb.gso_segs) & 0xFFFF
        skb.ip = Datagram(
            source=sk.local[0],
            destination=sk.remote[0],
            protocol=IpProtocol.TCP,
            ttl=self.ttl,
            identification=identification,
            flow_label=sk.flow_label,
            partial_checksum=self.host.device.offload.tx_checksum,
        )
        return self._output(skb)

    def build_and_send(self, request: RequestSock, skb: SkBuff) -> int:
        """ip_build_and_send_pkt: a SYN-ACK; DF is set, so the ID may be 0, and is."""
        skb.ip = Datagram(
            source=request.local[0],
            destination=request.remote[0],
            protocol=IpProtocol.TCP,
            ttl=self.ttl,
            flow_label=request.flow_label,
            partial_checksum=self.host.device.offload.tx_checksum,
        )
        return self._output(skb)

    def unicast_reply(self, cause: Datagram, skb: SkBuff, flow_label: int) -> int:
        """ip_send_unicast_reply: a reply without a socket; IPv4's checksum is computed here (fact 33)."""
        version4 = len(cause.source) == 4
        skb.ip = Datagram(
            source=cause.destination,
            destination=cause.source,
            protocol=IpProtocol.TCP,
            ttl=self.ttl,
            flow_label=flow_label,
            partial_checksum=not version4 and self.host.device.offload.tx_checksum,
        )
        return self._output(skb)

    def _output(self, skb: SkBuff) -> int:
        """ip_output: write the header, pass the output hook, hand down to the neighbour."""
        if skb.ip is None or skb.tcp is None:
            raise ValueError("a buffer without headers reached the network layer")
        host, costs, stages = self.host, self.host.costs, self.host.stages
        skb.ethertype = EtherType.IPV4 if len(skb.ip.source) == 4 else EtherType.IPV6
        name = "ip" if len(skb.ip.source) == 4 else "ipv6"
        tcp_bytes, ip_bytes = skb.tcp.size, skb.ip.header_bytes
        now = host.now_ns + costs.tcp_transmit_skb_ns
        stages.pass_packet(skb, "__tcp_transmit_skb", now, "tcp", tcp_bytes)
        now += costs.ip_queue_xmit_ns
        stages.pass_packet(skb, "__ip_queue_xmit", now, f"{name}:tcp", ip_bytes + tcp_bytes)
        now += costs.ip_output_ns
        stages.pass_packet(skb, "ip_output", now, f"{name}:tcp", ip_bytes + tcp_bytes)
        return host.neighbours.output(skb, now)

    def receive(self, skb: SkBuff) -> Step:
        """ip_rcv: only what is for this host and has a protocol here goes up."""
        if skb.ip is None or skb.ip.destination != self.address:
            return
        if skb.ip.protocol == IpProtocol.TCP:
            yield from self.host.tcp.receive(skb)
