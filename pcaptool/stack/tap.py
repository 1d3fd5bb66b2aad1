"""What a capture program sees: frames as bytes, at one of three places.

Knows: how the headers of a buffer become bytes, with the checksum as it stands at that place.
Must not know: file formats.
    server, client   where tcpdump sits on that host: leaving frames just above the driver (super-packets, checksums
                     not yet filled in where the device does that), arriving ones as the driver hands them up
    wire             what is on the cable: frames of at most the MTU, all checksums complete
Complexity: O(bytes of the frame); a frame is serialised once for each tap that is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from pcaptool.stack.neighbour import ethernet_header
from pcaptool.stack.segment import segment
from pcaptool.stack.skbuff import SkBuff
from pcaptool.wire.checksum import complement, partial_checksum, pseudo_header, sum16
from pcaptool.wire.ip import IPV4_DF, IPV6, IpProtocol, ipv4_header
from pcaptool.wire.tcp import TCP

__all__ = ["Tap", "TapFrame", "frame_bytes"]


@dataclass(frozen=True, slots=True)
class TapFrame:
    """A frame as a tap saw it.

    Parameters
    ----------
    time_ns : int
    data : bytes
        What was captured of it.
    orig_len : int
        Bytes it had.
    skb : int
        The buffer that carried it, as in the `stages` table.
    leaving : bool
        Whether it left the host of the tap; at the wire, whether it left the server.
    checksum_ready : bool
        Whether its transport checksum is complete.
    gso_segs : int
        Wire segments it stands for.
    """

    time_ns: int
    data: bytes
    orig_len: int
    skb: int
    leaving: bool
    checksum_ready: bool
    gso_segs: int


class Tap:
    """Collects the frames of one place.

    Parameters
    ----------
    name : str
    wire : bool
        Whether it sits on the cable.
    snaplen : int
        Bytes kept of each frame, 0 for all.
    """

    def __init__(self, name: str, *, wire: bool = False, snaplen: int = 0) -> None:
        self.name = name
        self.snaplen = snaplen
        self.wire = wire
        self._frames: list[TapFrame] = []

    def __call__(self, time_ns: int, skb: SkBuff, leaving: bool) -> None:
        """A frame passes."""
        pieces = segment(skb) if self.wire else [skb]
        for piece in pieces:
            partial_sum = piece.ip is not None and piece.ip.partial_checksum and not self.wire
            data = frame_bytes(piece, partial_sum=partial_sum)
            kept = data[: self.snaplen] if self.snaplen else data
            self._frames.append(
                TapFrame(time_ns, kept, len(data), skb.number, leaving, not partial_sum, piece.gso_segs)
            )

    def from_client(self, time_ns: int, skb: SkBuff, _leaving: bool) -> None:
        """A frame of the client passes the wire."""
        self(time_ns, skb, False)  # noqa: FBT003 - it does not leave the server

    @property
    def frames(self) -> list[TapFrame]:
        """All frames in the order of time; those of equal time in the order in which they passed."""
        return sorted(self._frames, key=lambda frame: frame.time_ns)


def frame_bytes(skb: SkBuff, *, partial_sum: bool) -> bytes:
    """A buffer's frame from the link header on.

    Parameters
    ----------
    partial_sum : bool
        The transport checksum field holds the pseudo-header's sum only (CHECKSUM_PARTIAL).
    """
    link = ethernet_header(skb)
    if skb.ip is None or skb.tcp is None:
        return link + bytes(skb.payload)
    ip, tcp = skb.ip, skb.tcp
    length = tcp.size + skb.length
    header = bytearray(
        TCP.pack(
            srcport=tcp.srcport,
            dstport=tcp.dstport,
            seq=tcp.seq,
            ack=tcp.ack,
            data_offset=tcp.size // 4,
            flags=tcp.flags,
            window=tcp.window,
        )
        + tcp.option_bytes
    )
    if partial_sum:
        checksum = partial_checksum(ip.source, ip.destination, IpProtocol.TCP, length)
    else:
        start = sum16(pseudo_header(ip.source, ip.destination, IpProtocol.TCP, length))
        checksum = complement(sum16(skb.payload, sum16(header, start)))
    header[16:18] = checksum.to_bytes(2, "big")
    return b"".join((link, _network_header(skb, length), header, skb.payload))


def _network_header(skb: SkBuff, length: int) -> bytes:
    ip = skb.ip
    if ip is None:
        return b""
    source, destination = int.from_bytes(ip.source, "big"), int.from_bytes(ip.destination, "big")
    if len(ip.source) == 4:
        return ipv4_header(
            tos=ip.tos,
            total_length=20 + length,
            id=ip.identification,
            flags=IPV4_DF,
            ttl=ip.ttl,
            protocol=ip.protocol,
            src=source,
            dst=destination,
        )
    return IPV6.pack(
        version=6,
        traffic_class=ip.tos,
        flow_label=ip.flow_label,
        payload_length=length,
        next_header=ip.protocol,
        hop_limit=ip.ttl,
        src=source,
        dst=destination,
    )
