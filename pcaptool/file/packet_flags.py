"""The epb_flags word of pcapng (draft-ietf-opsawg-pcapng, section 4.3.1): a table of its bits.

Knows: the bits, and how flags are put together from what a capture point knows.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

__all__ = ["Direction", "PacketFlag", "Reception", "direction_of", "packet_flags"]


class Direction(IntEnum):
    """Bits 0 and 1."""

    UNKNOWN = 0
    INBOUND = 1
    OUTBOUND = 2


class Reception(IntEnum):
    """Bits 2 to 4, shifted down."""

    UNKNOWN = 0
    UNICAST = 1
    MULTICAST = 2
    BROADCAST = 3
    PROMISCUOUS = 4


class PacketFlag(IntFlag):
    """Single bits: offload state (9 to 11) and link-layer errors (24 to 31)."""

    CHECKSUM_NOT_READY = 1 << 9  # the field holds a partial sum: a device is to complete it
    CHECKSUM_VALID = 1 << 10  # the receiver has verified it
    SEGMENTATION_OFFLOAD = 1 << 11  # a super-packet that a device is to cut
    CRC_ERROR = 1 << 24
    TOO_LONG = 1 << 25
    TOO_SHORT = 1 << 26
    WRONG_INTERFRAME_GAP = 1 << 27
    UNALIGNED_FRAME = 1 << 28
    START_FRAME_DELIMITER_ERROR = 1 << 29
    PREAMBLE_ERROR = 1 << 30
    SYMBOL_ERROR = 1 << 31


FCS_SHIFT, FCS_MASK = 5, 0xF  # bits 5 to 8: bytes of frame check sequence


def packet_flags(
    direction: Direction = Direction.UNKNOWN,
    bits: PacketFlag = PacketFlag(0),  # noqa: B008 - an immutable constant
    *,
    reception: Reception = Reception.UNKNOWN,
    fcs_bytes: int = 0,
) -> int:
    """The word for one packet.

    Examples
    --------
    >>> hex(packet_flags(Direction.OUTBOUND, PacketFlag.CHECKSUM_NOT_READY | PacketFlag.SEGMENTATION_OFFLOAD))
    '0xa02'
    """
    return int(direction) | int(reception) << 2 | (fcs_bytes & FCS_MASK) << FCS_SHIFT | int(bits)


def direction_of(flags: int) -> Direction:
    """Inbound, outbound or unknown; the reserved value 3 is unknown."""
    value = flags & 3
    return Direction(value) if value < 3 else Direction.UNKNOWN
