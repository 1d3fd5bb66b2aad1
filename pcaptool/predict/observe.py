"""A capture's frames as buffers of the stack, by connection and direction.

Knows: ARP and neighbour discovery, IPv4, IPv6 without extension headers, TCP, ICMP messages.
Must not know: what is inferred from them.
Parsed with the layouts of `wire`, not with `decode`: the model's two sides stay each other's test.
Leaves out: what `framing` does not know; connections whose handshake was not captured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path

from pcaptool.errors import CaptureError
from pcaptool.file import Record, open_capture
from pcaptool.predict.framing import Framing
from pcaptool.stack.skbuff import Datagram, SkBuff, TcpHeader
from pcaptool.stack.tcp.syncookies import remembered_mss
from pcaptool.wire.checksum import partial_checksum
from pcaptool.wire.ethernet import ETHERNET, EtherType
from pcaptool.wire.ip import IPV4, IPV6, IpProtocol
from pcaptool.wire.linktype import LinkType
from pcaptool.wire.tcp import SEQ_MASK, TCP, TcpFlag, parse_options

__all__ = ["Connection", "Frame", "Observation", "observe"]

FIRST_INFORMATION = 128  # ICMPv6 types below are errors
Endpoint = tuple[bytes, int]


@dataclass(slots=True)
class Frame:
    """One captured frame.

    Parameters
    ----------
    n : int
        Packet number in the capture.
    time_ns : int
    skb : SkBuff
        Headers as values, and the payload.
    partial : bool
        The TCP checksum holds only the pseudo-header's sum.
    captured_bytes : int
        Bytes of the payload that the capture holds; the rest is filled with zeros.
    """

    n: int
    time_ns: int
    skb: SkBuff
    partial: bool = False
    captured_bytes: int = 0

    @property
    def tcp(self) -> TcpHeader:
        """Its TCP header.

        Raises
        ------
        ValueError
            It has none.
        """
        if self.skb.tcp is None:
            raise ValueError(f"packet {self.n} is not TCP")
        return self.skb.tcp


@dataclass(slots=True)
class Connection:
    """One TCP connection to the server, in the order of the capture."""

    client: Endpoint
    server: Endpoint
    from_client: list[Frame] = field(default_factory=list)
    from_server: list[Frame] = field(default_factory=list)

    @property
    def segment_bytes(self) -> int:
        """Payload of the server's full segments, as the handshake allows them."""
        return self._segment_bytes(self.from_client[0].tcp.options.mss or 536)

    @property
    def segment_bytes_by_cookie(self) -> int:
        """The same where the SYN-ACK is a cookie, which remembers one of four sizes."""
        return self._segment_bytes(remembered_mss(self.client[0], self.from_client[0].tcp.options.mss or 536))

    def _segment_bytes(self, offered: int) -> int:
        synack = self.from_server[0].tcp.options
        return min(offered, synack.mss or 536) - (12 if synack.timestamps else 0)

    @property
    def took_syn_data(self) -> bool:
        """Whether the server acknowledged data of the SYN (Fast Open)."""
        syn, synack = self.from_client[0], self.from_server[0]
        return syn.skb.length > 0 and synack.tcp.ack != (syn.tcp.seq + 1) & SEQ_MASK

    @property
    def cookie(self) -> bytes | None:
        """The client's Fast Open cookie: what the server offers, or what it took; None where it shows none."""
        offered = self.from_server[0].tcp.options.fast_open
        return offered or (self.from_client[0].tcp.options.fast_open if self.took_syn_data else None)


@dataclass(slots=True)
class Observation:
    """A capture as far as a driven run needs it.

    Parameters
    ----------
    path : str
    server : bytes
        The server's address.
    server_mac : bytes
    connections : list of Connection
        With a handshake, to that address.
    to_server : list of Frame
        All frames that the server's host received, in order.
    snaplen : int
        Bytes kept of the longest cut frame, 0 if none is cut.
    skipped : int
        TCP connections that cannot be driven.
    """

    path: str
    server: bytes
    server_mac: bytes
    connections: list[Connection]
    to_server: list[Frame]
    snaplen: int
    skipped: int
    framing: Framing


def observe(path: str | Path, unseen: Container[int] = ()) -> Observation:
    """Read a capture.

    Parameters
    ----------
    path : str or Path
    unseen : container of int
        Numbers of packets that did not get from the tap to the server's TCP: they are in no connection.

    Raises
    ------
    CaptureError
        It cannot be read, is of a link type that `framing` does not know, or holds no handshake.
    """
    frames, longest, cut, framing = [], 0, False, Framing(LinkType.ETHERNET)
    with open_capture(path) as capture:
        for n, record in enumerate(capture, 1):
            linktype = capture.interfaces[record.interface].linktype
            if n == 1:
                framing = _framing(path, linktype, record.data)
            if linktype != framing.linktype:
                raise CaptureError("a capture of one kind of link can be predicted", path=path, packet=n)
            longest, cut = max(longest, len(record.data)), cut or len(record.data) < record.orig_len
            if (frame := _frame(n, record, framing)) is not None:
                frames.append(frame)
    answers = Counter(
        (f.skb.ip.source, f.skb.source_mac)
        for f in frames
        if f.skb.ip and f.skb.tcp and f.skb.tcp.flags & 0x12 == TcpFlag.SYN | TcpFlag.ACK
    )
    if not answers:
        raise CaptureError(
            "no SYN-ACK was captured, so there is no server to predict",
            path=path,
            hint="the capture must hold the connection's start",
        )
    (server, server_mac), _ = answers.most_common(1)[0]
    to_server = [f for f in frames if _arrives(f, server, server_mac)]
    for frame in to_server:  # a cooked header does not say whom it was for
        if frame.skb.destination_mac == bytes(len(server_mac)):
            frame.skb.destination_mac = server_mac
    connections, skipped = _connections([f for f in frames if f.n not in unseen], server)
    return Observation(
        path=str(path),
        server=server,
        server_mac=server_mac,
        connections=connections,
        to_server=to_server,
        snaplen=longest - framing.header_bytes + ETHERNET.size if cut else 0,
        framing=framing,
        skipped=skipped,
    )


def _arrives(frame: Frame, server: bytes, server_mac: bytes) -> bool:
    """Whether a frame came to the server; on a loopback device both sides have one link address."""
    ip = frame.skb.ip
    return frame.skb.source_mac != server_mac or (ip is not None and ip.destination == server)


def _connections(frames: list[Frame], server: bytes) -> tuple[list[Connection], int]:
    found: dict[tuple[Endpoint, Endpoint], Connection] = {}
    for frame in frames:
        ip, tcp = frame.skb.ip, frame.skb.tcp
        if ip is None or tcp is None:
            continue
        leaving = ip.source == server
        mine, theirs = (ip.source, tcp.srcport), (ip.destination, tcp.dstport)
        client, local = (theirs, mine) if leaving else (mine, theirs)
        if local[0] != server:
            continue
        connection = found.setdefault((client, local), Connection(client, local))
        (connection.from_server if leaving else connection.from_client).append(frame)
    good = [c for c in found.values() if _has_handshake(c)]
    return good, len(found) - len(good)


def _has_handshake(connection: Connection) -> bool:
    """A SYN that was captured before its answer, as it is at a server."""
    return (
        bool(connection.from_client and connection.from_server)
        and connection.from_client[0].time_ns <= connection.from_server[0].time_ns
        and connection.from_client[0].tcp.flags & TcpFlag.SYN > 0
        and connection.from_server[0].tcp.flags & 0x12 == TcpFlag.SYN | TcpFlag.ACK
    )


def _framing(path: str | Path, linktype: int, data: bytes) -> Framing:
    try:
        return Framing.of(linktype, data)
    except ValueError as error:
        raise CaptureError(
            f"{error} cannot be predicted", path=path, packet=1, hint="Ethernet, Linux cooked and raw IP can"
        ) from error


def _frame(n: int, record: Record, framing: Framing) -> Frame | None:
    """A frame as a buffer; None where it is nothing that a modelled host understands."""
    data = record.data
    link = framing.read(data)
    if link is None:
        return None
    skb = SkBuff(0, 0, ethertype=link.ethertype)
    skb.destination_mac, skb.source_mac = link.destination, link.source
    frame = Frame(n, record.ts_ns, skb)
    rest = memoryview(data)[framing.header_bytes :]
    whole = record.orig_len - framing.header_bytes
    if link.ethertype == EtherType.IPV4 and len(rest) >= IPV4.size:
        fields = IPV4.unpack(rest)
        header = fields["ihl"] * 4
        total = fields["total_length"] or whole
        skb.ip = Datagram(
            source=fields["src"].to_bytes(4, "big"),
            destination=fields["dst"].to_bytes(4, "big"),
            protocol=fields["protocol"],
            ttl=fields["ttl"],
            tos=fields["tos"],
            identification=fields["id"],
        )
        return _transport(frame, rest[header:], total - header)
    if link.ethertype == EtherType.IPV6 and len(rest) >= IPV6.size:
        fields = IPV6.unpack(rest)
        if fields["next_header"] == IpProtocol.TCP or _is_error(fields["next_header"], rest[IPV6.size :]):
            skb.ip = Datagram(
                source=fields["src"].to_bytes(16, "big"),
                destination=fields["dst"].to_bytes(16, "big"),
                protocol=fields["next_header"],
                ttl=fields["hop_limit"],
                tos=fields["traffic_class"],
                flow_label=fields["flow_label"],
            )
            size = fields["payload_length"] or whole - IPV6.size
            return _transport(frame, rest[IPV6.size :], size)
    if link.ethertype in {EtherType.ARP, EtherType.IPV6}:
        skb.payload, skb.length = rest, len(rest)
        return frame
    return None


def _is_error(next_header: int, message: memoryview) -> bool:
    """Whether this is an ICMPv6 error (RFC 4443 section 2.1); what is none belongs to neighbour discovery."""
    return next_header == IpProtocol.ICMPV6 and len(message) > 0 and message[0] < FIRST_INFORMATION


def _transport(frame: Frame, rest: memoryview, size: int) -> Frame | None:
    skb = frame.skb
    if skb.ip is not None and skb.ip.protocol in {IpProtocol.ICMP, IpProtocol.ICMPV6}:
        skb.payload = rest[:size]
        skb.length = len(skb.payload)
        return frame
    if skb.ip is None or skb.ip.protocol != IpProtocol.TCP or len(rest) < TCP.size:
        return None
    fields = TCP.unpack(rest)
    header = fields["data_offset"] * 4
    if header < TCP.size or len(rest) < header or size < header:
        return None
    raw = bytes(rest[TCP.size : header])
    skb.tcp = TcpHeader(
        srcport=fields["srcport"],
        dstport=fields["dstport"],
        seq=fields["seq"],
        ack=fields["ack"],
        flags=fields["flags"],
        window=fields["window"],
        options=parse_options(raw),
        option_bytes=raw,
    )
    skb.length = size - header
    skb.payload = rest[header : header + skb.length]
    frame.captured_bytes = len(skb.payload)
    if len(skb.payload) < skb.length:
        # Cut by the snap length: the receiver got bytes of that number, whatever they were.
        skb.payload = memoryview(bytes(skb.payload) + bytes(skb.length - len(skb.payload)))
    expected = partial_checksum(skb.ip.source, skb.ip.destination, IpProtocol.TCP, size)
    frame.partial = fields["checksum"] == expected
    return frame
