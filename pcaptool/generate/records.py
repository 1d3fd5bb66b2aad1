"""A tap's frames as records of a capture file."""

from __future__ import annotations

from pcaptool.file import CaptureWriter, PacketFlag, Record
from pcaptool.file.packet_flags import Direction, packet_flags
from pcaptool.stack.tap import Frames, TapBlock, TapFrame

__all__ = ["tap_record", "write_frames"]


def tap_record(frame: TapFrame) -> Record:
    """A frame as the capture file holds it: pcapng says what the device still had to do."""
    bits = PacketFlag(0)
    if not frame.checksum_ready:
        bits |= PacketFlag.CHECKSUM_NOT_READY
    if frame.gso_segs > 1:
        bits |= PacketFlag.SEGMENTATION_OFFLOAD
    direction = Direction.OUTBOUND if frame.leaving else Direction.INBOUND
    comments = (frame.note,) if frame.note else ()
    flags = packet_flags(direction, bits)
    return Record(frame.time_ns, frame.data, frame.orig_len, flags=flags, comments=comments)


def write_frames(writer: CaptureWriter, frames: Frames) -> None:
    """All frames of a tap; the segments of a super-packet together."""
    for piece in frames.pieces:
        if isinstance(piece, TapBlock):
            direction = Direction.OUTBOUND if piece.leaving else Direction.INBOUND
            flags = packet_flags(direction, PacketFlag(0))
            comments = (piece.note,) if piece.note else ()
            model = Record(piece.time_ns, b"", piece.orig_len, flags=flags, comments=comments)
            writer.write_rows(piece.rows, model)
        else:
            writer.write(tap_record(piece))
