"""Capture files, in and out: pcap and pcapng.

Knows: records, interfaces, times, lengths, compression. Must not know: what is inside a packet.

    open_capture    read, as records or as runs of arrays
    open_writer     write, whole or not at all
"""

from __future__ import annotations

from pcaptool.file.model import Cut, Interface, Record, Run
from pcaptool.file.packet_flags import PacketFlag
from pcaptool.file.reader import CaptureReader, open_capture
from pcaptool.file.writer import CaptureWriter, open_writer

__all__ = [
    "CaptureReader",
    "CaptureWriter",
    "Cut",
    "Interface",
    "PacketFlag",
    "Record",
    "Run",
    "open_capture",
    "open_writer",
]
