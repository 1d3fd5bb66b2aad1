"""The network layer: IP header, identification, demultiplexing (net/ipv4/ip_output.c, ip_input.c).

Knows: what stands in the IP header of each kind of datagram; where an arriving one goes; each path's MTU.
Must not know: TCP's state, or link addresses (`neighbour`).
Sources: RFC 791, RFC 6864 (ID of datagrams that may not be fragmented), RFC 8200, RFC 6437 (flow labels);
facts 6-13. The way down is a function from the time at which a buffer enters to the time at which the caller goes on.
Leaves out: routing (one link, the peer is on it), options, IPv6 extension headers other than the fragment header.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcaptool.stack.fragment import Reassembly, fragment
from pcaptool.stack.hooks import Verdict
from pcaptool.stack.skbuff import ETHERNET_BYTES, Datagram, SkBuff
from pcaptool.stack.stages import header_names
from pcaptool.wire.ethernet import EtherType
from pcaptool.wire.ip import IpProtocol

if TYPE_CHECKING:
    from pcaptool.sim.events import Step
    from pcaptool.stack.host import Host
    from pcaptool.stack.tcp.handshake import RequestSock
    from pcaptool.stack.tcp.sock import TcpSock
    from pcaptool.stack.udp import DatagramSocket

__all__ = ["IpLayer"]

PMTU_EXPIRES_NS = 600 * 1_000_000_000  # sysctl mtu_expires


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
        self.reassembly = Reassembly()
        self.name = "ip" if len(address) == 4 else "ipv6"  # Wireshark's name of the header
        self._tcp_headers = f"{self.name}:tcp"
        self._pmtu: dict[bytes, tuple[int, int]] = {}  # destination to (MTU, time until which it holds)
        self._idents: dict[int, tuple[int, int]] = {}  # protocol to (next ID, jiffies): ip_idents

    # --- the path's MTU

    def mtu_to(self, destination: bytes) -> int:
        """dst_mtu: the device's, or what a router said lately."""
        if destination not in self._pmtu:
            return self.mtu
        mtu, until_ns = self._pmtu[destination]
        return mtu if self.host.now_ns < until_ns else self.mtu

    def update_pmtu(self, destination: bytes, mtu: int) -> None:
        """ip_rt_update_pmtu: a smaller MTU holds for ten minutes."""
        if mtu < self.mtu_to(destination):
            self._pmtu[destination] = (mtu, self.host.now_ns + PMTU_EXPIRES_NS)

    @staticmethod
    def header_bytes(address: bytes) -> int:
        """Bytes of the IP header towards an address."""
        return 20 if len(address) == 4 else 40

    def queue_xmit(self, sk: TcpSock, skb: SkBuff) -> int:
        """__ip_queue_xmit: a socket's datagram; the ID counts wire segments (fact 7)."""
        if self.host.annotate:
            skb.note = self.host.tcp.segment_note(sk, skb)
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
            tos=sk.tos,
            identification=identification,
            flow_label=sk.flow_label,
            partial_checksum=self.host.device.offload.tx_checksum,
        )
        return self._output(skb)

    def build_and_send(self, request: RequestSock, skb: SkBuff) -> int:
        """ip_build_and_send_pkt: a SYN-ACK; DF is set, so the ID may be 0, and is."""
        if self.host.annotate:
            skb.note = "SYN-ACK again" if request.repeats or request.timeouts else "SYN-ACK"
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
        if self.host.annotate:
            skb.note = "sent without a full socket: nobody wants this segment, or TIME_WAIT answers"
        skb.ip = Datagram(
            source=cause.destination,
            destination=cause.source,
            protocol=IpProtocol.TCP,
            ttl=self.ttl,
            flow_label=flow_label,
            partial_checksum=not version4 and self.host.device.offload.tx_checksum,
        )
        return self._output(skb)

    def send_datagram(self, socket: DatagramSocket, skb: SkBuff, destination: bytes) -> int:
        """udp_send_skb, ip_send_skb: a UDP socket's datagram; one that does not fit is cut, and may be cut again."""
        fits = self.header_bytes(destination) + 8 + skb.length <= self.mtu_to(destination)
        if socket.peer is not None:
            identification, socket.inet_id = socket.inet_id, (socket.inet_id + 1) & 0xFFFF
        else:
            identification = self._select_ident(IpProtocol.UDP)
        skb.ip = Datagram(
            source=self.address,
            destination=destination,
            protocol=IpProtocol.UDP,
            ttl=self.ttl,
            identification=identification,
            flow_label=socket.flow_label,
            partial_checksum=fits and self.host.device.offload.tx_checksum,
            dont_fragment=fits,
        )
        now = self.host.now_ns + self.host.costs.ip_queue_xmit_ns
        self.host.stages.pass_packet(skb, "udp_send_skb", now, f"{self.name}:udp", skb.ip.header_bytes + 8)
        return self._local_out(skb, now)

    def send_icmp(self, skb: SkBuff, destination: bytes, tos: int) -> int:
        """icmp_push_reply: a message about what came in; without DF, as it may be cut."""
        version4 = len(destination) == 4
        skb.ip = Datagram(
            source=self.address,
            destination=destination,
            protocol=IpProtocol.ICMP if version4 else IpProtocol.ICMPV6,
            ttl=self.ttl,
            tos=tos,
            identification=self._select_ident(IpProtocol.ICMP),
            flow_label=self.host.chance.keyed("icmp flow label", destination, size=4) & 0xFFFFF,
            dont_fragment=False,
        )
        return self._local_out(skb, self.host.now_ns)

    def _select_ident(self, protocol: int) -> int:
        """__ip_select_ident: one counter a peer and protocol, which jumps by at most the ticks that have passed."""
        now = self.host.jiffies.at(self.host.now_ns)
        chance = self.host.chance.stream("ip idents")
        next_id, last = self._idents.get(protocol, (chance.getrandbits(16), now))
        next_id += chance.randrange(now - last) if now > last else 0
        self._idents[protocol] = (next_id + 1, now)
        return next_id & 0xFFFF

    def _output(self, skb: SkBuff) -> int:
        """The way of a TCP segment from its clone to the network layer."""
        if skb.ip is None or skb.tcp is None:
            raise ValueError("a buffer without headers reached the network layer")
        host, costs, stages = self.host, self.host.costs, self.host.stages
        tcp_bytes = 20 + len(skb.tcp.option_bytes)
        now = host.now_ns + costs.tcp_transmit_skb_ns
        stages.pass_packet(skb, "__tcp_transmit_skb", now, "tcp", tcp_bytes)
        now += costs.ip_queue_xmit_ns
        stages.pass_packet(skb, "__ip_queue_xmit", now, self._tcp_headers, skb.ip.header_bytes + tcp_bytes)
        return self._local_out(skb, now)

    def _local_out(self, skb: SkBuff, now_ns: int) -> int:
        """ip_local_out, ip_output: past the hooks; what is too large is cut, then down to the neighbour."""
        host, ip = self.host, skb.ip
        if ip is None:
            raise ValueError("a buffer without network header reached the network layer")
        skb.ethertype = EtherType.IPV4 if len(ip.source) == 4 else EtherType.IPV6
        now = now_ns + host.costs.ip_output_ns
        for point in ("output", "postrouting") if host.hooks.programs else ():
            if host.hooks.run(point, skb, now) is Verdict.DROP:
                skb.lost_whole = True  # -EPERM: whoever sent it is told, and TCP keeps it
                skb.orphan(now)
                return now
        ip = skb.ip or ip
        whole = skb.tcp is not None and not ip.fragment_offset
        headers = self._tcp_headers if whole else f"{self.name}:{header_names(skb).rsplit(':', 1)[1]}"
        host.stages.pass_packet(skb, "ip_output", now, headers, skb.header_bytes - ETHERNET_BYTES)
        mtu = self.mtu_to(ip.destination)
        if skb.tcp is None and skb.network_bytes > mtu:
            fragment_id = host.chance.stream("fragment id").getrandbits(32) or 1
            for piece in fragment(skb, mtu, fragment_id, host.buffers):
                now = host.neighbours.output(piece, now)
            return now
        return host.neighbours.output(skb, now)

    def receive(self, skb: SkBuff) -> Step:
        """ip_rcv: only what is for this host and has a protocol here goes up, pieces of a datagram together."""
        if skb.ip is None or skb.ip.destination != self.address:
            return
        hooks = self.host.hooks
        if hooks.programs and hooks.run("prerouting", skb, self.host.now_ns) is Verdict.DROP:
            return
        whole = self.reassembly.add(skb)
        if whole is None or (hooks.programs and hooks.run("input", whole, self.host.now_ns) is Verdict.DROP):
            return
        match skb.ip.protocol:
            case IpProtocol.TCP:
                yield from self.host.tcp.receive(whole)
            case IpProtocol.UDP:
                yield from self.host.udp.receive(whole)
            case IpProtocol.ICMP | IpProtocol.ICMPV6:
                yield from self.host.icmp.receive(whole)
