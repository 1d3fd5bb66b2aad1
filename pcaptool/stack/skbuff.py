"""The socket buffer: what the layers hand down, and up (struct sk_buff).

Knows: a run of payload bytes with its place in sequence space, the headers written so far, how many wire segments
it stands for, and whom it was cloned or cut from.
Must not know: which layer has it.
Buffers of the write queue hold only their place (`seq`, `length`): the bytes lie in the socket's `SendBuffer`, and a
clone that leaves takes a view of them. Cutting and cloning copy nothing.

`TRUESIZE_OVERHEAD` is what a buffer costs beside its payload: struct sk_buff 256, a head of 256 for headers,
skb_shared_info 320. Socket memory is accounted in these; the sum fits the windows that clients of the lab offer
(write-two:16, keepalive-5:21).
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Protocol

from pcaptool.wire.tcp import TcpOptions

if TYPE_CHECKING:
    from pcaptool.stack.tcp.rate import DepartureNote

__all__ = [
    "NO_BYTES",
    "TRUESIZE_OVERHEAD",
    "Datagram",
    "Owner",
    "SendBuffer",
    "SkBuff",
    "SkBuffIds",
    "TcpHeader",
    "UdpHeader",
]

TRUESIZE_OVERHEAD = 832
ETHERNET_BYTES = 14
NO_BYTES = memoryview(b"")


class Owner(Protocol):
    """The socket that a buffer on its way down is charged to (skb->sk)."""

    wmem_alloc: int  # bytes of memory that are below it (sk_wmem_alloc)
    pacing_rate: int  # bytes a second
    paced_below: bool  # a queueing discipline paces for it (SK_PACING_FQ)

    def wfree(self, truesize: int, now_ns: int) -> None:
        """A buffer of so much memory has left, or is gone (tcp_wfree, sock_wfree)."""
        ...


@dataclass(slots=True)
class UdpHeader:
    """The UDP header of a buffer, as values (RFC 768)."""

    srcport: int
    dstport: int
    size = 8


@dataclass(slots=True)
class TcpHeader:
    """The TCP header of a buffer, as values; sequence numbers are 32-bit."""

    srcport: int
    dstport: int
    seq: int
    ack: int
    flags: int
    window: int
    options: TcpOptions
    option_bytes: bytes

    @property
    def size(self) -> int:
        """Bytes of the header with its options."""
        return 20 + len(self.option_bytes)

    def copy(self) -> TcpHeader:
        """The same values, to be changed by who gets them."""
        return TcpHeader(
            self.srcport,
            self.dstport,
            self.seq,
            self.ack,
            self.flags,
            self.window,
            self.options,
            self.option_bytes,
        )


@dataclass(slots=True)
class Datagram:
    """The network layer's part of a buffer that is on its way: what `ip` wrote or read.

    Parameters
    ----------
    source, destination : bytes
        4 or 16 bytes.
    protocol : int
    ttl : int
    tos : int
        TOS byte or traffic class.
    identification : int
        IPv4 ID of the first segment.
    flow_label : int
        IPv6 flow label.
    partial_checksum : bool
        The transport checksum is left to the device (CHECKSUM_PARTIAL).
    dont_fragment : bool
        IPv4: DF.
    fragment_offset : int
        Bytes of the datagram before this fragment.
    more_fragments : bool
    fragment_id : int or None
        IPv6: identification of the fragment header; None where there is none.
    """

    source: bytes
    destination: bytes
    protocol: int
    ttl: int = 64
    tos: int = 0
    identification: int = 0
    flow_label: int = 0
    partial_checksum: bool = False
    dont_fragment: bool = True
    fragment_offset: int = 0
    more_fragments: bool = False
    fragment_id: int | None = None

    @property
    def header_bytes(self) -> int:
        """Bytes of the network header, with an IPv6 fragment header."""
        if len(self.source) == 4:
            return 20
        return 40 if self.fragment_id is None else 48


class SkBuffIds:
    """Numbers for buffers, unique in a run."""

    def __init__(self) -> None:
        self._next = count(1)

    def take(self) -> int:
        """The next number."""
        return next(self._next)


@dataclass(slots=True)
class SkBuff:
    """A socket buffer.

    Parameters
    ----------
    number : int
        Its identity in the `stages` table.
    origin : int
        The buffer it was cloned or cut from; itself if from none.
    length : int
        Transport payload bytes (for frames that are not TCP: everything behind the link header).
    payload : memoryview
        Those bytes; empty while the buffer waits in the write queue.
    seq : int
        Sequence number of the first byte. Inside the stack sequence numbers are not wrapped: 32-bit values
        appear only in headers.
    flags : int
        TCP flags that belong to these bytes (PSH, FIN, SYN).
    gso_size : int
        Payload bytes of each wire segment, 0 if it is one segment.
    gso_segs : int
        Wire segments it stands for.
    written_ns, copied_ns : int
        When the system call that brought its first byte began, and when its bytes were copied.
    sent_ns : int
        When it was last given to the network layer.
    retransmitted : bool
        Whether it was ever sent again.
    sacked, lost, retransmission_out : bool
        The scoreboard's marks: the receiver has it, it is taken for lost, its repetition is under way.
    clone_of : SkBuff or None
        The buffer of a retransmission queue that shares its payload.
    freed : bool
        Whether the retransmission queue has let go of it.
    unread : bool
        Whether a clone of it lies in the peer's receive queue.
    owner : Owner or None
        The socket it is charged to while it is below that socket.
    departure_ns : int
        Earliest departure time (skb->tstamp), 0 for none.
    enqueued_ns : int
        When a queueing discipline took it.
    refused : bool
        The queueing discipline did not take it (NET_XMIT_DROP or NET_XMIT_CN).
    lost_whole : bool
        It was dropped before it left (NET_XMIT_DROP).
    note : str
        What the stack did with it, for a person.
    delivery_note : DepartureNote or None
        What had been delivered when it left last (tcp_skb_cb.tx).
    """

    number: int
    origin: int
    length: int = 0
    payload: memoryview = NO_BYTES
    seq: int = 0
    flags: int = 0
    gso_size: int = 0
    gso_segs: int = 1
    written_ns: int = 0
    copied_ns: int = 0
    sent_ns: int = 0
    retransmitted: bool = False
    sacked: bool = False
    lost: bool = False
    retransmission_out: bool = False
    tcp: TcpHeader | None = None
    ip: Datagram | None = None
    destination_mac: bytes = b""
    source_mac: bytes = b""
    ethertype: int = 0
    confirms_neighbour: bool = False
    clone_of: SkBuff | None = None
    freed: bool = False
    unread: bool = False
    udp: UdpHeader | None = None
    owner: Owner | None = None
    departure_ns: int = 0
    enqueued_ns: int = 0
    refused: bool = False
    lost_whole: bool = False
    note: str = ""
    delivery_note: DepartureNote | None = None

    @property
    def end_seq(self) -> int:
        """Sequence number behind the last byte; SYN and FIN count as one."""
        return self.seq + self.length + (self.flags & 1) + (self.flags >> 1 & 1)

    @property
    def truesize(self) -> int:
        """Bytes of kernel memory it is charged with."""
        return self.length + TRUESIZE_OVERHEAD

    @property
    def transport_bytes(self) -> int:
        """Bytes of the transport header; 0 where the payload holds it (fragments, ICMP)."""
        return self.tcp.size if self.tcp else 8 if self.udp else 0

    @property
    def network_bytes(self) -> int:
        """Bytes from the network header on."""
        return (self.ip.header_bytes if self.ip else 0) + self.transport_bytes + self.length

    @property
    def header_bytes(self) -> int:
        """Bytes of all headers of a frame, from the link header on."""
        ip, tcp = self.ip, self.tcp
        if ip is None:
            return ETHERNET_BYTES + self.transport_bytes
        transport_bytes = self.transport_bytes if tcp is None else 20 + len(tcp.option_bytes)
        return ETHERNET_BYTES + ip.header_bytes + transport_bytes

    @property
    def flow_key(self) -> tuple[object, ...]:
        """What tells flows apart: addresses, protocol and ports."""
        if self.ip is None:
            return (self.ethertype,)
        ports = self.tcp or self.udp
        both = (ports.srcport, ports.dstport) if ports else (0, 0)
        return (self.ip.source, self.ip.destination, int(self.ip.protocol), *both)

    def received(self) -> SkBuff:
        """The same buffer as the peer gets it: without owner, departure time and note, with a TCP header of its own.

        Written out, as every frame takes this way: `dataclasses.replace` asks each of the fields by its name.
        """
        tcp = self.tcp
        return SkBuff(
            self.number,
            self.origin,
            self.length,
            self.payload,
            self.seq,
            self.flags,
            self.gso_size,
            self.gso_segs,
            self.written_ns,
            self.copied_ns,
            self.sent_ns,
            self.retransmitted,
            self.sacked,
            self.lost,
            self.retransmission_out,
            None if tcp is None else tcp.copy(),
            self.ip,
            self.destination_mac,
            self.source_mac,
            self.ethertype,
            self.confirms_neighbour,
            self.clone_of,
            self.freed,
            self.unread,
            self.udp,
            refused=self.refused,
            lost_whole=self.lost_whole,
            delivery_note=self.delivery_note,
        )

    def orphan(self, now_ns: int) -> None:
        """skb_orphan: its socket need not care for it any more."""
        owner, self.owner = self.owner, None
        if owner is not None:
            owner.wfree(self.truesize, now_ns)


class SendBuffer:
    """The bytes of a socket's send queue, by sequence number.

    Complexity: `append` and `release` O(1) amortised, `view` O(log chunks); a view copies only where it crosses
    from one write's bytes into the next one's.

    Parameters
    ----------
    seq : int
        Sequence number of the first byte that will be appended.

    Examples
    --------
    >>> b = SendBuffer(100)
    >>> b.append(memoryview(b"hello ")); b.append(memoryview(b"world"))
    >>> bytes(b.view(104, 4))
    b'o wo'
    """

    def __init__(self, seq: int) -> None:
        self._starts: list[int] = []
        self._chunks: list[memoryview] = []
        self._end = seq

    def append(self, data: memoryview) -> None:
        """Add bytes behind the last ones."""
        if len(data):
            self._starts.append(self._end)
            self._chunks.append(data)
            self._end += len(data)

    def view(self, seq: int, length: int) -> memoryview:
        """The bytes from `seq` on."""
        if length == 0:
            return NO_BYTES
        index = bisect_right(self._starts, seq) - 1
        at = seq - self._starts[index]
        chunk = self._chunks[index]
        if at + length <= len(chunk):
            return chunk[at : at + length]
        parts, left = [], length
        while left:
            part = self._chunks[index][at : at + left]
            parts.append(part)
            left -= len(part)
            index, at = index + 1, 0
        return memoryview(b"".join(parts))

    def release(self, seq: int) -> None:
        """Forget whole chunks that lie before `seq`: they are acknowledged."""
        keep = bisect_right(self._starts, seq) - 1
        if keep > 16:
            del self._starts[:keep], self._chunks[:keep]
