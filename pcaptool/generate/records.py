"""A tap's frames as records of a capture file."""

from __future__ import annotations

from functools import cache

from pcaptool.file import CaptureWriter, PacketFlag, Record
from pcaptool.file.packet_flags import Direction, packet_flags
from pcaptool.stack.tap import Frames, TapBlock, TapFrame

__all__ = ["tap_record", "write_frames"]


def tap_record(frame: TapFrame) -> Record:
    """A frame as the capture file holds it: pcapng says what the device still had to do."""
    flags = _flags(leaving=frame.leaving, ready=frame.checksum_ready, whole=frame.gso_segs == 1)
    comments = (frame.note,) if frame.note else ()
    return Record(frame.time_ns, frame.data, frame.orig_len, flags=flags, comments=comments)


@cache
def _flags(*, leaving: bool, ready: bool, whole: bool) -> int:
    bits = PacketFlag(0)
    if not ready:
        bits |= PacketFlag.CHECKSUM_NOT_READY
    if not whole:
        bits |= PacketFlag.SEGMENTATION_OFFLOAD
    return packet_flags(Direction.OUTBOUND if leaving else Direction.INBOUND, bits)


def write_frames(writer: CaptureWriter, frames: Frames) -> None:
    """All frames of a tap; the segments of a super-packet together."""
    for piece in frames.pieces:
        if isinstance(piece, TapBlock):
            flags = _flags(leaving=piece.leaving, ready=True, whole=True)
            comments = (piece.note,) if piece.note else ()
            model = Record(piece.time_ns, b"", piece.orig_len, flags=flags, comments=comments)
            writer.write_rows(piece.rows, model)
        else:
            writer.write(tap_record(piece))
