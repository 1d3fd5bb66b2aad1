"""Reading a capture of either format.

Knows: which format it is, blocks of bytes to runs of packets, sections and interfaces, where reading must end.
Must not know: packet content.

A file that is not a capture raises. One that ends in the middle, or is damaged from some byte on, is read up to
there, and `CaptureReader.cut` says where and why.
Memory: one block of 12 MiB, and at most one record more.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

import numpy as np

from pcaptool.engine import Engine
from pcaptool.errors import CaptureError
from pcaptool.file import pcap, pcapng
from pcaptool.file.model import MAX_CAPTURED_BYTES, Cut, Interface, Record, Run
from pcaptool.file.pcapng_runs import SectionReader
from pcaptool.file.source import ByteSource, open_bytes
from pcaptool.file.walk_kernel import AT, NEED, STOP, STOP_DAMAGED, STOP_FULL, STOP_SHORT

if TYPE_CHECKING:
    from pcaptool.file.packet_filter import PacketFilter

__all__ = ["CaptureReader", "open_capture"]

_KERNEL = "pcaptool.file.walk_kernel"


def open_capture(
    source: str | Path | BinaryIO,
    engine: Engine | None = None,
    only: PacketFilter | None = None,
    until: Callable[[], bool] | None = None,
) -> CaptureReader:
    """Open a capture: a path, `-` for standard input, or a binary stream.

    Parameters
    ----------
    source : path or binary file
        pcap or pcapng, plain or gzip, zstd, lz4.
    engine : Engine, optional
        How kernels run; plain Python without.
    only : PacketFilter, optional
        Packets that do not fit are passed over, as if they were not in the file: they have no number.
    until : callable, optional
        A file is read on as it grows, until this is true (`source.open_bytes`).

    Raises
    ------
    CaptureError
        Missing, empty, or not a capture.

    Examples
    --------
    >>> import io
    >>> header = bytes.fromhex("d4c3b2a1 0200 0400 00000000 00000000 00000400 01000000")
    >>> packet = struct.pack("<IIII", 1, 5, 2, 60) + b"ab"
    >>> with open_capture(io.BytesIO(header + packet)) as capture:
    ...     [(r.ts_ns, r.data, r.orig_len) for r in capture]
    [(1000005000, b'ab', 60)]
    """
    return CaptureReader(open_bytes(source, until), engine or Engine("plain"), only)


class CaptureReader:
    """A capture that is being read; iterate over records once, or take runs.

    Attributes
    ----------
    path : str
    format : str
        "pcap" or "pcapng".
    compression : str
        "gzip", "zstd", "lz4" or "".
    interfaces : list of Interface
        Those seen so far; pcapng may add some while reading, numbered through all sections.
    packets : int
        Packets read so far, without those that were passed over.
    cut : Cut or None
        Set when reading ended before the end of the file.
    """

    def __init__(self, source: ByteSource, engine: Engine, only: PacketFilter | None = None) -> None:
        self.path = source.name
        self.compression = source.compression
        self.cut: Cut | None = None
        self.packets = 0
        self._source = source
        self._engine = engine
        self._only = only
        self._section: SectionReader | None = None
        self._pcap: pcap.PcapHeader | None = None
        self.interfaces: list[Interface] = []
        try:
            self._begin()
        except BaseException:
            source.close()
            raise

    def _begin(self) -> None:
        head = self._source.peek(pcap.HEADER_BYTES)
        if not head:
            raise CaptureError(self._source.fault or "the file is empty", path=self.path, offset=0)
        self._pcap = pcap.parse_header(head, self.path)
        if self._pcap is not None:
            self._source.start += pcap.HEADER_BYTES
            self.interfaces = [self._pcap.interface]
        elif head[:4] == struct.pack(">I", pcapng.SECTION_HEADER):
            self._section = SectionReader(self._source, self.interfaces, self._engine)
        else:
            raise CaptureError(
                "not a capture: it begins like neither pcap nor pcapng", path=self.path, offset=0
            )

    @property
    def format(self) -> str:
        """`pcap` or `pcapng`."""
        return "pcap" if self._pcap is not None else "pcapng"

    @property
    def size_bytes(self) -> int | None:
        """Bytes of the file, None for a pipe or a compressed file."""
        return self._source.size_bytes

    @property
    def position(self) -> int:
        """Bytes of the (uncompressed) capture that were consumed."""
        return self._source.position

    def __enter__(self) -> Self:
        """Close at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file, if it was opened here."""
        self._source.close()

    def __iter__(self) -> Iterator[Record]:
        """All packets, one by one."""
        for run in self.runs():
            yield from run.records()

    def runs(self, limit: int = 16_384) -> Iterator[Run]:
        """All packets, in runs of at most `limit`.

        A run's `data` is overwritten when the next one is asked for.
        """
        parts = self._section.runs(limit) if self._section is not None else self._pcap_runs(limit)
        for part in parts:
            run = part if self._only is None else part.chosen(self._only.wanted(part))
            if not len(run):
                continue
            run.first_n = self.packets + 1
            self.packets += len(run)
            yield run
        if self._section is not None and self._section.fault:
            self._end(self._section.fault)
        elif self._source.fault and self.cut is None:
            self._end(self._source.fault)

    def _end(self, reason: str) -> None:
        self.cut = Cut(self.path, self._source.position, self.packets, reason)

    def _pcap_runs(self, limit: int) -> Iterator[Run]:
        if self._pcap is None:
            raise AssertionError("called for a pcap file only")
        walk = self._engine.flat(_KERNEL, "walk_pcap")
        header = np.array([self._pcap.big_endian, self._pcap.unit_ns, self._pcap.record_bytes], np.int64)
        state = np.zeros(3, np.int64)
        source = self._source
        while True:
            size = min(limit, self._engine.left)
            offsets, ts_ns = np.empty(size, np.int64), np.empty(size, np.int64)
            cap_len, orig_len = np.empty(size, np.uint32), np.empty(size, np.uint32)
            columns = (offsets, ts_ns, cap_len, orig_len)
            state[AT] = source.start
            count = walk(source.data, source.end, size, header, MAX_CAPTURED_BYTES, state, columns)
            source.start = int(state[AT])
            if count:
                zeros = np.zeros(count, np.uint16)
                yield Run(
                    first_n=0,
                    data=source.data,
                    offsets=offsets[:count],
                    ts_ns=ts_ns[:count],
                    cap_len=cap_len[:count],
                    orig_len=orig_len[:count],
                    interface=zeros,
                    linktype=np.full(count, self.interfaces[0].linktype, np.uint16),
                    flags=np.full(count, -1, np.int64),
                )
            if state[STOP] == STOP_FULL:
                continue
            if state[STOP] == STOP_DAMAGED:
                self._end("a record's length is beyond any limit: the file is damaged from here on")
                return
            if state[STOP] == STOP_SHORT and not source.more(int(state[NEED])):
                if source.end > source.start:
                    self._end("the file ends within a record")
                return
