"""Blocks of pcapng other than Enhanced Packet Blocks, and option lists.

Knows: draft-ietf-opsawg-pcapng: section header, interface description, simple and obsolete packet blocks.
Must not know: where the bytes come from.
Every length is checked against the block before it is used.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from pcaptool.file.model import Interface

__all__ = [
    "BYTE_ORDER_MAGIC",
    "SECTION_HEADER",
    "Block",
    "Option",
    "clock_row",
    "comments_of",
    "options",
    "parse_interface",
]

SECTION_HEADER = 0x0A0D0D0A
BYTE_ORDER_MAGIC = 0x1A2B3C4D


class Block(IntEnum):
    """Block types that are read."""

    INTERFACE = 1
    PACKET = 2  # obsolete
    SIMPLE_PACKET = 3
    ENHANCED_PACKET = 6
    SECTION = SECTION_HEADER


class Option(IntEnum):
    """Option codes that are read or written."""

    END = 0
    COMMENT = 1
    IF_NAME = 2
    IF_DESCRIPTION = 3
    IF_TSRESOL = 9
    IF_FILTER = 11
    IF_FCSLEN = 13
    IF_TSOFFSET = 14
    EPB_FLAGS = 2


MAX_TIME = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class OptionValue:
    """One option."""

    code: int
    value: bytes


def options(raw: bytes, order: str) -> Iterator[OptionValue]:
    """Options up to the end mark, or to the first one that does not fit.

    Examples
    --------
    >>> [(o.code, o.value) for o in options(bytes.fromhex("0100020068690000") + bytes(4), "<")]
    [(1, b'hi')]
    """
    at = 0
    while at + 4 <= len(raw):
        code, size = struct.unpack_from(order + "HH", raw, at)
        if code == Option.END or at + 4 + size > len(raw):
            return
        yield OptionValue(code, raw[at + 4 : at + 4 + size])
        at += 4 + (size + 3) // 4 * 4


def comments_of(raw: bytes, order: str) -> tuple[str, ...]:
    """All comments of a block."""
    return tuple(_text(o.value) for o in options(raw, order) if o.code == Option.COMMENT)


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode("utf-8", "replace")


def parse_interface(body: bytes, order: str) -> Interface | None:
    """An Interface Description Block's content, None if it is too short."""
    if len(body) < 8:
        return None
    linktype, _, snaplen = struct.unpack_from(order + "HHI", body)
    texts = {Option.IF_NAME: "", Option.IF_DESCRIPTION: "", Option.IF_FILTER: ""}
    tsresol, offset, fcs = 6, 0, None
    for option in options(body[8:], order):
        if option.code in (Option.IF_NAME, Option.IF_DESCRIPTION):
            texts[Option(option.code)] = _text(option.value)
        elif option.code == Option.IF_FILTER and option.value[:1] == b"\0":
            texts[Option.IF_FILTER] = _text(option.value[1:])
        elif option.code == Option.IF_TSRESOL and len(option.value) == 1:
            tsresol = option.value[0]
        elif option.code == Option.IF_TSOFFSET and len(option.value) == 8:
            offset = struct.unpack(order + "q", option.value)[0]
        elif option.code == Option.IF_FCSLEN and len(option.value) == 1:
            fcs = option.value[0]
    return Interface(
        linktype,
        snaplen,
        texts[Option.IF_NAME],
        texts[Option.IF_DESCRIPTION],
        texts[Option.IF_FILTER],
        tsresol,
        offset,
        fcs,
    )


def clock_row(interface: Interface) -> tuple[int, int, int, int, int]:
    """How ticks become nanoseconds: largest tick, multiplier, divisor, binary digits, offset.

    A resolution beyond what 63 bits of ticks can hold (10**-19, 2**-63 and finer) gives times of 0; an offset
    that leads out of the range of 64-bit nanoseconds is left out.

    Examples
    --------
    >>> clock_row(Interface(1, tsresol=6))
    (9223372036854775, 1000, 1, 0, 0)
    >>> clock_row(Interface(1, tsresol=0x83))
    (73786976279, 0, 1, 3, 0)
    """
    offset = interface.tsoffset_s * 1_000_000_000
    if abs(offset) > MAX_TIME // 2:
        offset = 0
    room = MAX_TIME - max(offset, 0)
    digits = interface.tsresol & 0x7F
    if interface.tsresol & 0x80:
        if digits == 0:
            return room // 1_000_000_000, 1_000_000_000, 1, 0, offset
        if digits > 62:
            return MAX_TIME, 0, 1, 0, offset
        seconds = room // 1_000_000_000 - 1
        return min(MAX_TIME, (seconds << digits) - 1), 0, 1, digits, offset
    if digits <= 9:
        multiplier = 10 ** (9 - digits)
        return room // multiplier, multiplier, 1, 0, offset
    divisor = 10 ** (digits - 9)
    if divisor > MAX_TIME:
        return MAX_TIME, 0, 1, 0, offset
    return room, 1, divisor, 0, offset
