"""ICMP and ICMPv6 (net/ipv4/icmp.c, net/ipv6/icmp.c): errors about datagrams, and echo.

Knows: the messages, what they quote, whom an error is for.
Must not know: what TCP or UDP do with an error.
Sources: RFC 792, RFC 4443, RFC 1191, RFC 8201; measured on Linux 6.18: an IPv4 error has TOS 0xc0 and no DF, and is at
most 576 bytes with what it quotes; ICMPv6's is at most 1280 (fixtures/captures/lab/udp-closed-v4, udp-closed-v6).
Leaves out: redirects, time exceeded, rate limits beyond the scenario's few messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcaptool.stack.frame_bytes import frame_bytes
from pcaptool.stack.skbuff import ETHERNET_BYTES, Datagram, SkBuff
from pcaptool.wire.checksum import complement, sum16, transport_checksum
from pcaptool.wire.icmp import ICMP_ERROR, IcmpType
from pcaptool.wire.icmpv6 import Icmpv6Type
from pcaptool.wire.ip import IPV4, IPV6, IpProtocol

if TYPE_CHECKING:
    from pcaptool.sim.events import Step
    from pcaptool.stack.host import Host

__all__ = ["IcmpProtocol", "error_message", "too_big"]

PORT_UNREACHABLE = {4: (IcmpType.DESTINATION_UNREACHABLE, 3), 16: (Icmpv6Type.DESTINATION_UNREACHABLE, 4)}
TOO_BIG = {4: (IcmpType.DESTINATION_UNREACHABLE, 4), 16: (Icmpv6Type.PACKET_TOO_BIG, 0)}
ERROR_TOS = {4: 0xC0, 16: 0}
LARGEST_ERROR = {4: 576, 16: 1280}  # bytes of the packet that an error is
LEAST_MTU = {4: 552, 16: 1280}  # sysctl min_pmtu; RFC 8200


def error_message(cause: SkBuff, source: bytes, kind: tuple[int, int], word: int) -> bytes:
    """An error about a datagram: header, a word that depends on the kind, and what it quotes."""
    if cause.ip is None:
        raise ValueError("an error about no datagram")
    size = len(source)
    quoted = frame_bytes(cause, partial_sum=cause.ip.partial_checksum)[ETHERNET_BYTES:]
    header_bytes = 20 if size == 4 else 40
    quoted = quoted[: LARGEST_ERROR[size] - header_bytes - 8]
    message = bytearray(ICMP_ERROR.pack(type=kind[0], code=kind[1], rest=word) + quoted)
    if size == 4:
        checksum = complement(sum16(message))
    else:
        checksum = transport_checksum(source, cause.ip.source, IpProtocol.ICMPV6, bytes(message))
    message[2:4] = checksum.to_bytes(2, "big")
    return bytes(message)


def too_big(cause: SkBuff, source: bytes, mtu: int) -> bytes:
    """What a router with a smaller MTU answers (RFC 1191 section 4, RFC 4443 section 3.2)."""
    return error_message(cause, source, TOO_BIG[len(source)], mtu)


class IcmpProtocol:
    """ICMP of one host.

    Parameters
    ----------
    host : Host
    """

    def __init__(self, host: Host) -> None:
        self.host = host

    def unreachable(self, cause: SkBuff) -> Step:
        """icmp_send: nobody has this port."""
        if cause.ip is None:
            return
        address = self.host.ip.address
        message = error_message(cause, address, PORT_UNREACHABLE[len(address)], 0)
        yield from self._send(message, cause.ip.source, ERROR_TOS[len(address)])

    def _send(self, message: bytes, destination: bytes, tos: int) -> Step:
        host = self.host
        number = host.buffers.take()
        skb = SkBuff(number, number, length=len(message), payload=memoryview(message))
        end_ns = host.ip.send_icmp(skb, destination, tos)
        yield end_ns - host.now_ns

    def receive(self, skb: SkBuff) -> Step:
        """icmp_rcv: errors go to the protocol that they are about; a question is answered."""
        if skb.ip is None or skb.length < ICMP_ERROR.size:
            return
        yield self.host.costs.tcp_v4_rcv_ns
        size = len(skb.ip.source)
        header = ICMP_ERROR.unpack(skb.payload)
        kind = (header["type"], header["code"])
        if kind == TOO_BIG[size]:
            yield from self._error(skb.payload[8 : skb.length], header["rest"] & 0xFFFFFFFF, "EMSGSIZE")
        elif kind == PORT_UNREACHABLE[size]:
            yield from self._error(skb.payload[8 : skb.length], 0, "ECONNREFUSED")
        elif header["type"] == (IcmpType.ECHO_REQUEST if size == 4 else Icmpv6Type.ECHO_REQUEST):
            yield from self._echo(skb, skb.ip)

    def _error(self, quoted: memoryview, mtu: int, error: str) -> Step:
        """The protocol's err_handler, by what the message quotes."""
        host = self.host
        version4 = len(host.ip.address) == 4
        layout, protocol, ports_at = (IPV4, "protocol", 20) if version4 else (IPV6, "next_header", 40)
        if len(quoted) < ports_at + 8:
            return
        ip = layout.unpack(quoted)
        destination = ip["dst"].to_bytes(len(host.ip.address), "big")
        source_port = int.from_bytes(quoted[ports_at : ports_at + 2], "big")
        destination_port = int.from_bytes(quoted[ports_at + 2 : ports_at + 4], "big")
        if error == "EMSGSIZE":
            host.ip.update_pmtu(
                destination, max(mtu & 0xFFFF if version4 else mtu, LEAST_MTU[len(destination)])
            )
        if ip[protocol] == IpProtocol.UDP:
            if error != "EMSGSIZE":
                host.udp.failed(source_port, error)
        elif ip[protocol] == IpProtocol.TCP:
            seq = int.from_bytes(quoted[ports_at + 4 : ports_at + 8], "big")
            key = (host.ip.address, source_port, destination, destination_port)
            yield from host.tcp.icmp_error(key, seq, error)

    def _echo(self, skb: SkBuff, ip: Datagram) -> Step:
        """icmp_echo."""
        message = bytearray(skb.payload[: skb.length])
        version4 = len(ip.source) == 4
        message[0] = IcmpType.ECHO_REPLY if version4 else Icmpv6Type.ECHO_REPLY
        message[2:4] = bytes(2)
        if version4:
            checksum = complement(sum16(message))
        else:
            checksum = transport_checksum(ip.destination, ip.source, IpProtocol.ICMPV6, bytes(message))
        message[2:4] = checksum.to_bytes(2, "big")
        yield from self._send(bytes(message), ip.source, ip.tos)
