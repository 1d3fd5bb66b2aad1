"""A tap's frames as records of a capture file."""

from __future__ import annotations

from functools import cache

import numpy as np

from pcaptool.engine import Engine
from pcaptool.file import CaptureWriter, PacketFlag, Record
from pcaptool.file.packet_flags import Direction, packet_flags
from pcaptool.stack.frame_block import LINK_BYTES, SegmentRun
from pcaptool.stack.tap import Frames, TapBlock, TapFrame

__all__ = ["KERNEL", "tap_record", "write_frames"]

KERNEL = "pcaptool.generate.segments_kernel"


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


def write_frames(writer: CaptureWriter, frames: Frames, engine: Engine | None = None) -> None:
    """All frames of a tap; the segments of a super-packet together.

    Parameters
    ----------
    engine : Engine, optional
        For long runs: machine code makes the segments.
    """
    blocks = _Blocks(writer, engine or Engine("plain"))
    for piece in frames.pieces:
        if isinstance(piece, TapBlock):
            blocks.write(piece)
        else:
            writer.write(tap_record(piece))


class _Blocks:
    """Writes the segments of super-packets."""

    def __init__(self, writer: CaptureWriter, engine: Engine) -> None:
        self._writer = writer
        self._engine = engine
        self._put = engine.function(KERNEL, "put_segments")

    def write(self, block: TapBlock) -> None:
        flags = _flags(leaving=block.leaving, ready=True, whole=True)
        comments = (block.note,) if block.note else ()
        record = Record(block.time_ns, b"", block.orig_len, flags=flags, comments=comments)
        self._engine.passed(block.run.segments)
        if self._engine.compiled and block.kept_bytes == block.orig_len:
            self._write_made(block.run, record)
        else:
            self._writer.write_rows(block.rows, record)

    def _write_made(self, run: SegmentRun, record: Record) -> None:
        before, behind = self._writer.around(record, record.orig_len)
        front = before + run.headers
        size = (len(front) + run.size + len(behind)) * run.segments
        self._put(
            np.frombuffer(self._writer.room(size, run.segments), np.uint8),
            np.frombuffer(front, np.uint8),
            np.frombuffer(run.payload.toreadonly(), np.uint8),
            np.frombuffer(behind, np.uint8),
            run.size,
            run.segments,
            len(before) + run.tcp_at,
            run.seq,
            run.flags,
            int(run.whole),
            len(before) + LINK_BYTES if run.identification >= 0 else -1,
            run.identification,
            run.tcp_sum,
            run.ip_sum,
        )
