"""Kernel: IEEE 802.11 frames, with and without a radiotap header.

Knows: radiotap.org's header as far as its Flags field, IEEE 802.11-2020 sections 9.2.4 and 9.3.2: which addresses are
source and destination, where the frame body begins.
Leaves out: what is encrypted, fragments, aggregates (A-MSDU), the bodies of management and control frames: nothing
behind their header is decoded.
"""

from __future__ import annotations

from typing import Any

from pcaptool.decode.kernels.codes import (
    AT,
    E_LENGTH,
    E_VERSION,
    END,
    LINK_DST,
    LINK_SRC,
    LLC,
    NEXT,
    NONE,
    PADDED,
    RADIOTAP,
    WIRE,
    WLAN,
)
from pcaptool.decode.kernels.cursor import fail, has, mac_number, name_pair
from pcaptool.engine.loads import le16, le32

__all__ = ["radiotap", "wlan"]

MAX_PRESENT = 32
FCS, DATA_PAD = 0x10, 0x20  # radiotap's flags
FCS_BYTES = 4
TO_DS, FROM_DS, MORE_FRAGMENTS, PROTECTED, ORDER = 0x01, 0x02, 0x04, 0x40, 0x80
MANAGEMENT, DATA = 0, 2
NO_DATA, QOS = 4, 8  # bits of a data frame's subtype
AGGREGATE = 0x80  # of the QoS control field


def radiotap(data: Any, s: Any) -> None:
    """Its length leads behind it; its flags say whether a frame check sequence ends the frame."""
    if not has(s, RADIOTAP, 8):
        return
    at = s[AT]
    size = le16(data, at + 2)
    if data[at] != 0:
        fail(s, RADIOTAP, E_VERSION, 8, s[END] - at)
        return
    if size < 8:
        fail(s, RADIOTAP, E_LENGTH, 8, size)
        return
    if not has(s, RADIOTAP, size):
        return
    flags = radiotap_flags(data, at, at + size)
    if flags & FCS:
        s[WIRE] = max(s[WIRE] - FCS_BYTES, at + size)
        s[END] = min(s[END], s[WIRE])
    s[PADDED] = 1 if flags & DATA_PAD else 0
    s[AT] = at + size
    s[NEXT] = WLAN


def radiotap_flags(data: Any, at: int, end: int) -> int:
    """The Flags field, 0 where there is none: second of the fields, behind all words that say which there are."""
    present = le32(data, at + 4)
    here = at + 8
    word = present
    for _ in range(MAX_PRESENT):
        if not word & 0x80000000 or here + 4 > end:
            break
        word = le32(data, here)
        here += 4
    if not present & 2:
        return 0
    if present & 1:  # the time of arrival, aligned to its size
        here = at + ((here - at + 7) & -8) + 8
    return data[here] if here < end else 0


def wlan(data: Any, s: Any, names: Any) -> None:
    """Frame control, addresses, and for data what lies between them and the LLC header."""
    if not has(s, WLAN, 10):
        return
    at = s[AT]
    kind = (data[at] >> 2) & 3
    subtype = data[at] >> 4
    flags = data[at + 1]
    s[NEXT] = NONE
    if data[at] & 3:
        fail(s, WLAN, E_VERSION, 10, s[END] - at)
        return
    if kind not in (MANAGEMENT, DATA):
        s[AT] = at + 10
        return
    size = 24
    joined = 0  # whether the body is an aggregate
    if kind == DATA:
        size += 6 if flags & TO_DS and flags & FROM_DS else 0
        if subtype & QOS:
            if not has(s, WLAN, size + 2):
                return
            joined = data[at + size] & AGGREGATE
            size += 2
    if flags & ORDER and (kind == MANAGEMENT or subtype & QOS):
        size += 4
    if not has(s, WLAN, size):
        return
    addresses(data, s, names, kind, flags)
    s[AT] = at + ((size + 3) & -4 if s[PADDED] else size)
    if kind == MANAGEMENT or subtype & NO_DATA or flags & (PROTECTED | MORE_FRAGMENTS) or joined:
        return
    if le16(data, at + 22) & 15 == 0:  # else a later fragment
        s[NEXT] = LLC


def addresses(data: Any, s: Any, names: Any, kind: int, flags: int) -> None:
    """Who sends to whom: which of three or four addresses it is depends on the distribution system's bits."""
    at = s[AT]
    dst = at + 16 if kind == DATA and flags & TO_DS else at + 4
    src = at + 10
    if kind == DATA and flags & FROM_DS:
        src = at + 24 if flags & TO_DS else at + 16
    to = mac_number(data, dst, names)
    of = mac_number(data, src, names)
    if s[LINK_SRC] < 0:
        s[LINK_SRC] = of
        s[LINK_DST] = to
    name_pair(s, of, to)
