"""Pages of the kernel's trace ring buffer to events, without I/O.

Knows: the page layout that `events/header_page` and `events/header_event` describe, and an event's `format` file
(kernel documentation: trace/events.rst, trace/ring-buffer-map). Little-endian, 64-bit: other machines are refused by
`trace`. The text form of a trace has microseconds only; this one has nanoseconds.
Must not know: which events there are, files.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

__all__ = ["Event", "Field", "Format", "parse_format", "read_page"]

_FIELD = re.compile(r"field:(.*?)(\w+)(?:\[\w*\])?;\s+offset:(\d+);\s+size:(\d+);\s+signed:(\d)")
_PADDING, _TIME_EXTEND, _TIME_STAMP = 29, 30, 31
_COMMIT_MASK = 0xFFFFF  # above it: flags for lost events
_HEADER_BYTES = 16
# Fields of every event that nothing here asks for.
_UNUSED = frozenset({"common_type"})


class Field(NamedTuple):
    """Where a field lies; `located`: it holds offset and length of a string (__data_loc)."""

    name: str
    offset: int
    size: int
    signed: bool
    located: bool


class Format(NamedTuple):
    """An event's layout."""

    name: str
    identity: int
    fields: tuple[Field, ...]


class Event(NamedTuple):
    """One event."""

    time_ns: int
    name: str
    values: dict[str, Any]


def parse_format(text: str) -> Format:
    r"""An event's `format` file.

    Examples
    --------
    >>> text = "name: x\nID: 7\nformat:\n\tfield:int a;\toffset:8;\tsize:4;\tsigned:1;\n"
    >>> parse_format(text).fields
    (Field(name='a', offset=8, size=4, signed=True, located=False),)
    """
    name, identity = (
        re.search(r"^name: (\w+)", text, re.MULTILINE),
        re.search(r"^ID: (\d+)", text, re.MULTILINE),
    )
    if name is None or identity is None:
        raise ValueError("not a format file of a trace event")
    fields = tuple(
        Field(word, int(offset), int(size), signed == "1", "__data_loc" in kind)
        for kind, word, offset, size, signed in _FIELD.findall(text)
        if word not in _UNUSED
    )
    return Format(name[1], int(identity[1]), fields)


def read_page(page: bytes, formats: Mapping[int, Format]) -> Iterator[Event]:
    """The events of a page, in order; those whose format is not given are passed over."""
    time_ns, commit = struct.unpack_from("<QQ", page)
    at, end = _HEADER_BYTES, min(_HEADER_BYTES + (commit & _COMMIT_MASK), len(page))
    while at + 4 <= end:
        (head,) = struct.unpack_from("<I", page, at)
        kind, delta = head & 31, head >> 5
        if kind == _PADDING:
            if not delta:
                return
            at += 4 + _word(page, at + 4)
        elif kind == _TIME_EXTEND:
            time_ns += delta + (_word(page, at + 4) << 27)
            at += 8
        elif kind == _TIME_STAMP:
            # The absolute time's lower 59 bits; the upper ones are those of the page.
            time_ns = (time_ns >> 59 << 59) | delta | (_word(page, at + 4) << 27)
            at += 8
        else:
            time_ns += delta
            start = at + 4 if kind else at + 8
            size = kind * 4 if kind else _word(page, at + 4) - 4
            event = _event(page[start : start + size], time_ns, formats)
            if event is not None:
                yield event
            at = start + size


def _word(page: bytes, at: int) -> int:
    value: int = struct.unpack_from("<I", page, at)[0]
    return value


def _event(data: bytes, time_ns: int, formats: Mapping[int, Format]) -> Event | None:
    layout = formats.get(int.from_bytes(data[:2], "little"))
    if layout is None:
        return None
    values: dict[str, Any] = {}
    for f in layout.fields:
        raw = data[f.offset : f.offset + f.size]
        if f.located:
            where = int.from_bytes(raw, "little")
            raw = data[where & 0xFFFF : (where & 0xFFFF) + (where >> 16)]
            values[f.name] = raw.rstrip(b"\0").decode("latin-1")
        elif f.size in (1, 2, 4, 8):
            values[f.name] = int.from_bytes(raw, "little", signed=f.signed)
    return Event(time_ns, layout.name, values)
