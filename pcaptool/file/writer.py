"""Writing a capture, whole or not at all.

Knows: both formats' layouts, that a file appears under its name only when it is complete.
Must not know: packet content.
Times are exact: pcap is written with nanosecond fractions, pcapng with if_tsresol 9.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from pcaptool.errors import OutputError
from pcaptool.file.aside import AsideFile
from pcaptool.file.behind import WriteBehind
from pcaptool.file.model import MAX_CAPTURED_BYTES, Interface, Record
from pcaptool.file.pcapng import BYTE_ORDER_MAGIC, Block, Option
from pcaptool.file.rows import repeated_records

if TYPE_CHECKING:
    import numpy as np

__all__ = ["CaptureWriter", "open_writer"]

_NANOSECOND_MAGIC = 0xA1B23C4D
_ETHERNET = Interface(1)


def open_writer(
    path: str | Path,
    format: Literal["pcap", "pcapng"] | None = None,  # noqa: A002 - the word people use
    interfaces: Sequence[Interface] = (_ETHERNET,),
    application: str = "pcaptool",
) -> CaptureWriter:
    """A context manager that writes records and makes the file appear at its end.

    Parameters
    ----------
    path : path
        Compressed if the name ends in .gz, .zst or .lz4.
    format : {"pcap", "pcapng"}, optional
        Without: pcapng if the name says so, else pcap.
    interfaces : sequence of Interface
        pcap holds one; times are written in nanoseconds whatever `tsresol` says.
    application : str
        shb_userappl of pcapng.

    Raises
    ------
    OutputError
        The place cannot be written, or the format cannot hold the interfaces.

    Examples
    --------
    >>> import tempfile
    >>> from pcaptool.file.reader import open_capture
    >>> path = Path(tempfile.mkdtemp()) / "two.pcapng"
    >>> with open_writer(path, interfaces=[Interface(1, name="eth0")]) as out:
    ...     out.write(Record(1_000_000_007, b"abc", 60, comments=("hello",)))
    >>> with open_capture(path) as capture:
    ...     [(r.ts_ns, r.data, r.orig_len, r.comments) for r in capture], capture.interfaces[0].name
    ([(1000000007, b'abc', 60, ('hello',))], 'eth0')
    """
    name = Path(path).name
    plain = name.removesuffix(".gz").removesuffix(".zst").removesuffix(".lz4")
    chosen = format or ("pcapng" if plain.endswith(".pcapng") else "pcap")
    if chosen == "pcap" and len(interfaces) != 1:
        raise OutputError(
            f"a pcap file holds one interface, not {len(interfaces)}", path=path, hint="use pcapng"
        )
    return CaptureWriter(Path(path), chosen, tuple(interfaces), application)


class CaptureWriter:
    """A capture that is being written; see `open_writer`."""

    def __init__(
        self,
        path: Path,
        format: str,  # noqa: A002 - the word people use
        interfaces: tuple[Interface, ...],
        application: str,
    ) -> None:
        self.path = path
        self.packets = 0
        self._interfaces = interfaces
        self._file = WriteBehind(AsideFile(path))
        self._put: Callable[[Record], bytes] = _pcap_record if format == "pcap" else _packet_block
        self._data_at = 16 if format == "pcap" else 28  # of a packet's bytes in its record or block
        try:
            if format == "pcap":
                self._file.write(_pcap_header(interfaces[0]))
            else:
                self._file.write(_section_header(application))
                self._file.write(b"".join(map(_interface_block, interfaces)))
        except BaseException:
            self._file.discard()
            raise

    def __enter__(self) -> Self:
        """Write within the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The file appears, unless the block failed."""
        if kind is None:
            self._finish()
        else:
            self._file.discard()

    def _finish(self) -> None:
        try:
            self._file.finish()
        except BaseException:
            self._file.discard()
            raise

    def write(self, record: Record) -> None:
        """Append a packet.

        Raises
        ------
        OutputError
            The format cannot hold it.
        """
        if not 0 <= record.interface < len(self._interfaces):
            raise OutputError(f"there is no interface {record.interface}", path=self.path)
        if len(record.data) > MAX_CAPTURED_BYTES:
            raise OutputError(f"a packet of {len(record.data)} bytes is too long", path=self.path)
        try:
            self._file.write(self._put(record))
        except struct.error as error:
            raise OutputError(
                f"packet {self.packets + 1} does not fit the format: time {record.ts_ns} ns, "
                f"length {record.orig_len}",
                path=self.path,
            ) from error
        self.packets += 1

    def write_rows(self, rows: np.ndarray[Any, np.dtype[np.uint8]], record: Record) -> None:
        """Append packets of the same length, one a row; `record` says everything else of each.

        Raises
        ------
        OutputError
            The format cannot hold them.
        """
        if not len(rows):
            return
        first = replace(record, data=rows[0].tobytes())
        try:
            model = self._put(first)
        except struct.error:
            self.write(first)  # says what is wrong
            return
        if len(first.data) > MAX_CAPTURED_BYTES or first.interface >= len(self._interfaces):
            self.write(first)
            return
        self._file.write(repeated_records(rows, model, self._data_at))
        self.packets += len(rows)

    def around(self, record: Record, size: int) -> tuple[bytes, bytes]:
        """What stands before and behind the bytes of a packet of `size` bytes; `record` says everything else.

        For who puts many records together himself, in the bytes that `room` gives.

        Raises
        ------
        OutputError
            The format cannot hold it.
        """
        whole = replace(record, data=bytes(size))
        if size > MAX_CAPTURED_BYTES or not 0 <= record.interface < len(self._interfaces):
            self.write(whole)  # says what is wrong
        try:
            made = self._put(whole)
        except struct.error:
            self.write(whole)  # likewise
            raise
        return made[: self._data_at], made[self._data_at + size :]

    def room(self, size: int, packets: int) -> memoryview:
        """Where the records of so many packets are to be put together, as they stand in the file."""
        self.packets += packets
        return self._file.room(size)

    def write_all(self, records: Iterable[Record]) -> None:
        """Append packets."""
        for record in records:
            self.write(record)


def _pcap_header(interface: Interface) -> bytes:
    link = interface.linktype
    if interface.fcs_bytes is not None:
        link |= 0x04000000 | (interface.fcs_bytes // 2) << 28
    return struct.pack("<IHHiIII", _NANOSECOND_MAGIC, 2, 4, 0, 0, interface.snaplen, link)


def _pcap_record(record: Record) -> bytes:
    seconds, fraction = divmod(record.ts_ns, 1_000_000_000)
    return struct.pack("<IIII", seconds, fraction, len(record.data), record.orig_len) + record.data


def _padded(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % 4)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _texts(pairs: Iterable[tuple[int, str]]) -> list[bytes]:
    return [_option(code, text.encode()[:65_535]) for code, text in pairs if text]


def _block(kind: int, fixed: bytes, options: list[Any]) -> bytes:
    tail = b"".join([*options, bytes(4)]) if options else b""
    size = 12 + len(fixed) + len(tail)
    return struct.pack("<II", kind, size) + fixed + tail + struct.pack("<I", size)


def _section_header(application: str) -> bytes:
    fixed = struct.pack("<IHHq", BYTE_ORDER_MAGIC, 1, 0, -1)
    return _block(Block.SECTION, fixed, _texts([(4, application)]))


def _interface_block(interface: Interface) -> bytes:
    options = _texts([(Option.IF_NAME, interface.name), (Option.IF_DESCRIPTION, interface.description)])
    options.append(_option(Option.IF_TSRESOL, bytes([9])))
    if interface.filter:
        options.append(_option(Option.IF_FILTER, b"\0" + interface.filter.encode()[:65_534]))
    if interface.fcs_bytes is not None:
        options.append(_option(Option.IF_FCSLEN, bytes([interface.fcs_bytes])))
    fixed = struct.pack("<HHI", interface.linktype, 0, interface.snaplen)
    return _block(Block.INTERFACE, fixed, options)


def _packet_block(record: Record) -> bytes:
    options = _texts((Option.COMMENT, comment) for comment in record.comments)
    if record.flags is not None:
        options.append(_option(Option.EPB_FLAGS, struct.pack("<I", record.flags)))
    high, low = divmod(record.ts_ns, 1 << 32)
    fixed = struct.pack("<IIIII", record.interface, high, low, len(record.data), record.orig_len)
    return _block(Block.ENHANCED_PACKET, fixed + _padded(record.data), options)
