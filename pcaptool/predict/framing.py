"""How a capture's frames begin, where that is not Ethernet: to Ethernet for the model, and back for its capture.

Knows: Linux cooked captures (`tcpdump -i any`), whose header has the sender's address only, and raw IP (a tunnel
device), which has none. Must not know: what is inferred from frames.
Leaves out: several devices in one capture (a packet that passes two of them is captured twice), BSD's loopback.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from pcaptool.wire.cooked import SLL, SLL2, PacketType
from pcaptool.wire.ethernet import ETHERNET, MAC_BROADCAST, EtherType
from pcaptool.wire.ip import IPV6
from pcaptool.wire.linktype import LinkType

__all__ = ["Framing", "Link"]

_NONE = bytes(6)
_GROUP = bytes.fromhex("01005e000000")  # some group's address
_RAW = (LinkType.RAW, LinkType.IPV4, LinkType.IPV6)
_SIZES = {LinkType.ETHERNET: ETHERNET.size, LinkType.LINUX_SLL: SLL.size, LinkType.LINUX_SLL2: SLL2.size}


class Link(NamedTuple):
    """What stands before a frame's network header."""

    ethertype: int
    source: bytes
    destination: bytes


@dataclass(frozen=True, slots=True)
class Framing:
    """Frames of one link type.

    Parameters
    ----------
    linktype : int
    device, hw_type : int
        As a cooked capture's headers say.

    Raises
    ------
    ValueError
        A link type that is not known here.

    Examples
    --------
    >>> any_device = Framing(LinkType.LINUX_SLL2, device=2)
    >>> frame = bytes.fromhex("020000000002 020000000001 0800") + b"datagram"
    >>> cooked = any_device.write(frame, leaving=True)
    >>> link = any_device.read(cooked)
    >>> hex(link.ethertype), link.source.hex(), cooked[20:]
    ('0x800', '020000000001', b'datagram')
    """

    linktype: int
    device: int = 0
    hw_type: int = 1

    def __post_init__(self) -> None:
        if self.linktype not in _SIZES and self.linktype not in _RAW:
            raise ValueError(f"link type {self.linktype}")

    @classmethod
    def of(cls, linktype: int, data: bytes) -> Framing:
        """By a capture's first frame."""
        if linktype == LinkType.LINUX_SLL2 and len(data) >= SLL2.size:
            fields = SLL2.unpack(data)
            return cls(linktype, fields["device"], fields["hw_type"])
        if linktype == LinkType.LINUX_SLL and len(data) >= SLL.size:
            return cls(linktype, hw_type=SLL.unpack(data)["hw_type"])
        return cls(linktype)

    @property
    def header_bytes(self) -> int:
        """Before the network header."""
        return _SIZES.get(LinkType(self.linktype), 0)

    def read(self, data: bytes) -> Link | None:
        """A frame's link header; None where it is not whole."""
        if len(data) < max(self.header_bytes, 1):
            return None
        if self.linktype == LinkType.ETHERNET:
            fields = ETHERNET.unpack(data)
            return Link(fields["type"], fields["src"].to_bytes(6, "big"), fields["dst"].to_bytes(6, "big"))
        if self.linktype in _RAW:
            return Link(EtherType.IPV4 if data[0] >> 4 == 4 else EtherType.IPV6, _NONE, _NONE)
        fields = (SLL if self.linktype == LinkType.LINUX_SLL else SLL2).unpack(data)
        source = fields["address"].to_bytes(8, "big")[:6]
        return Link(fields["type"], source, self._destination(fields, data))

    def _destination(self, fields: dict[str, int], data: bytes) -> bytes:
        """As far as it is told: to all, or to the group that an IPv6 destination names (RFC 2464 section 7)."""
        if fields["packet_type"] == PacketType.BROADCAST:
            return MAC_BROADCAST
        if fields["packet_type"] != PacketType.MULTICAST:
            return _NONE
        end = self.header_bytes + IPV6.size
        if fields["type"] == EtherType.IPV6 and len(data) >= end:
            return b"\x33\x33" + data[end - 4 : end]
        return _GROUP

    def write(self, frame: bytes, *, leaving: bool) -> bytes:
        """An Ethernet frame, framed like this."""
        if self.linktype == LinkType.ETHERNET:
            return frame
        fields, rest = ETHERNET.unpack(frame), frame[ETHERNET.size :]
        if self.linktype in _RAW:
            return rest
        destination = frame[:6]
        to_all = PacketType.BROADCAST if destination == MAC_BROADCAST else PacketType.MULTICAST
        arriving = to_all if destination[0] & 1 else PacketType.HOST
        values = {
            "type": fields["type"],
            "hw_type": self.hw_type,
            "packet_type": PacketType.OUTGOING if leaving else arriving,
            "address_bytes": 6,
            "address": fields["src"] << 16,
        }
        if self.linktype == LinkType.LINUX_SLL:
            return SLL.pack(**values) + rest
        return SLL2.pack(device=self.device, **values) + rest
