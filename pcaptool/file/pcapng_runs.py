"""A pcapng stream as runs of packets: sections, interfaces, and the blocks that the kernel leaves.

Knows: block order and what each block changes. Must not know: packet content.
Blocks that are not about packets (name resolution, statistics, secrets, custom, unknown) are skipped by length.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pcaptool.engine import Engine
from pcaptool.file import pcapng
from pcaptool.file.model import MAX_CAPTURED_BYTES, Interface, Run
from pcaptool.file.source import ByteSource
from pcaptool.file.walk_kernel import AT, NEED, STOP, STOP_DAMAGED, STOP_FULL, STOP_SHORT, nanoseconds

__all__ = ["SectionReader"]

_MAX_BLOCK = MAX_CAPTURED_BYTES + 65_536
# Blocks whose content matters, so that they must fit the window.
_READ = frozenset(pcapng.Block)
_MAX_INTERFACES = 65_535  # the column that numbers them has 16 bits


class SectionReader:
    """Reads sections one after the other.

    Parameters
    ----------
    source : ByteSource
        Stands at the first section header.
    interfaces : list of Interface
        Interfaces of all sections are appended here.
    engine : Engine
    """

    def __init__(self, source: ByteSource, interfaces: list[Interface], engine: Engine) -> None:
        self.fault = ""
        self._source = source
        self._interfaces = interfaces
        self._engine = engine
        self._walk = engine.flat("pcaptool.file.walk_kernel", "walk_pcapng")
        self._order = "<"
        self._first = 0  # number of this section's first interface
        self._clock = np.zeros((0, 5), np.int64)

    def runs(self, limit: int) -> Iterator[Run]:
        """Runs of packets; ends at the end of the stream or at damage (`fault`)."""
        state = np.zeros(3, np.int64)
        source = self._source
        while not self.fault:
            size = min(limit, self._engine.left)
            columns = _empty_columns(size)
            state[AT] = source.start
            big = int(self._order == ">")
            count = self._walk(
                source.data, source.end, size, big, MAX_CAPTURED_BYTES, self._clock, state, columns
            )
            source.start = int(state[AT])
            if count:
                yield self._run(tuple(column[:count] for column in columns))
            if state[STOP] == STOP_FULL:
                continue
            if state[STOP] == STOP_DAMAGED:
                self.fault = "a packet block's lengths contradict each other"
            elif state[STOP] == STOP_SHORT:
                if not source.more(int(state[NEED])):
                    if source.end > source.start:
                        self.fault = "the file ends within a block"
                    return
            else:
                yield from self._other_block()

    def _run(self, columns: tuple[npt.NDArray[np.generic], ...]) -> Run:
        offsets, ts_ns, cap_len, orig_len, interface, flags, has_comments = columns
        linktypes = np.array([i.linktype for i in self._interfaces[self._first :]], np.uint16)
        run = Run(
            first_n=0,
            data=self._source.data,
            offsets=offsets.astype(np.int64, copy=False),
            ts_ns=ts_ns.astype(np.int64, copy=False),
            cap_len=cap_len.astype(np.uint32, copy=False),
            orig_len=orig_len.astype(np.uint32, copy=False),
            interface=(interface.astype(np.uint32) + self._first).astype(np.uint16),
            linktype=linktypes[interface.astype(np.int64)],
            flags=flags.astype(np.int64, copy=False),
        )
        for row in np.flatnonzero(has_comments).tolist():
            run.comments[row] = self._comments(int(run.offsets[row]), int(run.cap_len[row]))
        return run

    def _comments(self, offset: int, captured: int) -> tuple[str, ...]:
        block = offset - 28
        size = struct.unpack_from(self._order + "I", self._source.data.data, block + 4)[0]
        first = offset + (captured + 3) // 4 * 4
        raw = self._source.data[first : block + size - 4].tobytes()
        return pcapng.comments_of(raw, self._order)

    def _other_block(self) -> Iterator[Run]:
        head = self._source.peek(12)
        kind = struct.unpack_from(self._order + "I", head)[0]
        if kind == pcapng.SECTION_HEADER and not self._section(head):
            return
        size = struct.unpack_from(self._order + "I", head, 4)[0]
        if size < 12 or size % 4:
            self.fault = f"a block of {size} bytes cannot be"
            return
        if size > _MAX_BLOCK:
            if kind in _READ:
                self.fault = f"a block of {size} bytes is beyond any limit"
            else:
                self._skip(size)
            return
        body = self._source.peek(size)
        if len(body) < size:
            self.fault = "the file ends within a block"
            return
        at = self._source.start
        self._source.start += size
        if kind == pcapng.Block.INTERFACE:
            self._interface(body[8:-4])
        elif kind == pcapng.Block.SIMPLE_PACKET:
            yield from self._simple_packet(body, at)
        elif kind == pcapng.Block.PACKET:
            yield from self._old_packet(body, at)

    def _skip(self, size: int) -> None:
        while size:
            step = min(size, 1 << 20)
            if len(self._source.take(step)) < step:
                self.fault = "the file ends within a block"
                return
            size -= step

    def _section(self, head: bytes) -> bool:
        """Begin a section: its byte order, no interfaces yet."""
        for order in "<>":
            if struct.unpack_from(order + "I", head, 8)[0] == pcapng.BYTE_ORDER_MAGIC:
                self._order = order
                self._first = len(self._interfaces)
                self._clock = np.zeros((0, 5), np.int64)
                return True
        self.fault = "a section header without byte-order magic"
        return False

    def _interface(self, body: bytes) -> None:
        interface = pcapng.parse_interface(body, self._order)
        if interface is None:
            self.fault = "an interface description is too short"
        elif len(self._interfaces) >= _MAX_INTERFACES:
            self.fault = f"more than {_MAX_INTERFACES} interfaces"
        else:
            self._interfaces.append(interface)
            row = np.array([pcapng.clock_row(interface)], np.int64)
            self._clock = np.concatenate([self._clock, row])

    def _simple_packet(self, body: bytes, at: int) -> Iterator[Run]:
        """A packet of the first interface, without a time: 0 stands for it."""
        if not len(self._clock) or len(body) < 16:
            self.fault = "a simple packet block without interface"
            return
        original = struct.unpack_from(self._order + "I", body, 8)[0]
        snaplen = self._interfaces[self._first].snaplen or original
        captured = min(original, snaplen, len(body) - 16)
        yield self._single(at + 12, (0, captured, original, 0), -1, ())

    def _old_packet(self, body: bytes, at: int) -> Iterator[Run]:
        """The obsolete Packet Block: like an enhanced one, with a 16-bit interface and a drop count."""
        if len(body) < 32:
            self.fault = "a packet block is too short"
            return
        number, _, high, low, captured, original = struct.unpack_from(self._order + "HHIIII", body, 8)
        behind = 28 + (captured + 3) // 4 * 4
        if number >= len(self._clock) or behind > len(body) - 4:
            self.fault = "a packet block's lengths contradict each other"
            return
        ts_ns = nanoseconds(high, low, self._clock.data, number)
        flags = -1
        for option in pcapng.options(body[behind:-4], self._order):
            if option.code == pcapng.Option.EPB_FLAGS and len(option.value) == 4:
                flags = struct.unpack(self._order + "I", option.value)[0]
        comments = pcapng.comments_of(body[behind:-4], self._order)
        yield self._single(at + 28, (ts_ns, captured, original, number), flags, comments)

    def _single(
        self, offset: int, values: tuple[int, int, int, int], flags: int, comments: tuple[str, ...]
    ) -> Run:
        ts_ns, captured, original, number = values
        return Run(
            first_n=0,
            data=self._source.data,
            offsets=np.array([offset], np.int64),
            ts_ns=np.array([ts_ns], np.int64),
            cap_len=np.array([captured], np.uint32),
            orig_len=np.array([original], np.uint32),
            interface=np.array([self._first + number], np.uint16),
            linktype=np.array([self._interfaces[self._first + number].linktype], np.uint16),
            flags=np.array([flags], np.int64),
            comments={0: comments} if comments else {},
        )


def _empty_columns(size: int) -> tuple[npt.NDArray[np.generic], ...]:
    kinds = (np.int64, np.int64, np.uint32, np.uint32, np.uint16, np.int64, np.uint8)
    return tuple(np.empty(size, kind) for kind in kinds)
