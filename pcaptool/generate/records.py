"""A tap's frames as records of a capture file."""

from __future__ import annotations

from pcaptool.file import PacketFlag, Record
from pcaptool.file.packet_flags import Direction, packet_flags
from pcaptool.stack.tap import TapFrame

__all__ = ["tap_record"]


def tap_record(frame: TapFrame) -> Record:
    """A frame as the capture file holds it: pcapng says what the device still had to do."""
    bits = PacketFlag(0)
    if not frame.checksum_ready:
        bits |= PacketFlag.CHECKSUM_NOT_READY
    if frame.gso_segs > 1:
        bits |= PacketFlag.SEGMENTATION_OFFLOAD
    direction = Direction.OUTBOUND if frame.leaving else Direction.INBOUND
    return Record(frame.time_ns, frame.data, frame.orig_len, flags=packet_flags(direction, bits))
