"""TCP (RFC 9293): header, flags, options, sequence arithmetic.

Knows: the 20-byte header, the options that Linux writes and how any option list is walked.
Must not know: state, timers, or when an option is sent.
Options: MSS, NOP, EOL (RFC 9293 3.2), window scale and timestamps (RFC 7323), SACK (RFC 2018), Fast Open (RFC 7413).
Options of other kinds are kept as raw bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from pcaptool.wire.layout import Field, Layout

__all__ = [
    "FAST_OPEN_MAGIC",
    "SEQ_MASK",
    "TCP",
    "TcpFlag",
    "TcpOption",
    "TcpOptions",
    "pad_options",
    "parse_options",
    "seq_add",
    "seq_before",
    "seq_diff",
    "walk_options",
]

SEQ_MASK = 0xFFFFFFFF
FAST_OPEN_MAGIC = b"\xf9\x89"  # of Fast Open in an experimental option (RFC 7413 appendix A, RFC 6994)

TCP = Layout(
    "tcp",
    "RFC 9293 section 3.1",
    (
        Field("srcport", 16, "source port", "tcp.srcport"),
        Field("dstport", 16, "destination port", "tcp.dstport"),
        Field("seq", 32, "sequence number", "tcp.seq_raw"),
        Field("ack", 32, "acknowledgement number", "tcp.ack_raw"),
        Field("data_offset", 4, "header length in 32-bit words", "tcp.hdr_len"),
        Field("flags", 12, "reserved bits, AE and eight flags", "tcp.flags"),
        Field("window", 16, "receive window, not scaled", "tcp.window_size_value"),
        Field("checksum", 16, "checksum", "tcp.checksum"),
        Field("urgent_pointer", 16, "urgent pointer", "tcp.urgent_pointer"),
    ),
)


class TcpFlag:
    """The flag bits, as in the 12-bit field that Wireshark calls tcp.flags.

    Plain integers, no `IntFlag`: the stack tests them several times a segment, and an enum's operators are slow.
    """

    FIN: Final = 0x001
    SYN: Final = 0x002
    RST: Final = 0x004
    PSH: Final = 0x008
    ACK: Final = 0x010
    URG: Final = 0x020
    ECE: Final = 0x040
    CWR: Final = 0x080
    AE: Final = 0x100


class TcpOption(IntEnum):
    """IANA option kinds that are named in this house."""

    EOL = 0
    NOP = 1
    MSS = 2
    WINDOW_SCALE = 3
    SACK_PERMITTED = 4
    SACK = 5
    TIMESTAMPS = 8
    MD5 = 19
    TCP_AO = 29
    MPTCP = 30
    FAST_OPEN = 34
    EXPERIMENT = 254


def seq_add(seq: int, count: int) -> int:
    """Sequence number `count` bytes further, modulo 2**32."""
    return (seq + count) & SEQ_MASK


def seq_diff(a: int, b: int) -> int:
    """Signed distance from `b` to `a`, -2**31 to 2**31 - 1.

    Examples
    --------
    >>> seq_diff(5, 0xFFFFFFFE)
    7
    """
    return ((a - b + 0x80000000) & SEQ_MASK) - 0x80000000


def seq_before(a: int, b: int) -> bool:
    """Whether `a` lies before `b` in sequence space (the kernel's before())."""
    return ((a - b) & SEQ_MASK) >= 0x80000000 and a != b


@dataclass(slots=True, unsafe_hash=True)
class TcpOptions:
    """The option values of one segment; None or empty where an option is absent.

    Nobody changes one; not frozen, because the stack makes one a segment and freezing triples what that costs.

    Parameters
    ----------
    mss : int or None
    window_scale : int or None
        Shift count.
    sack_permitted : bool
    timestamps : tuple of int or None
        TSval, TSecr.
    sack_blocks : tuple of (int, int)
        Left and right edge of each block, in wire order.
    fast_open : bytes or None
        Fast Open cookie; empty asks for one.
    fast_open_experimental : bool
        Whether that is in the experimental option that came before RFC 7413.
    """

    mss: int | None = None
    window_scale: int | None = None
    sack_permitted: bool = False
    timestamps: tuple[int, int] | None = None
    sack_blocks: tuple[tuple[int, int], ...] = ()
    fast_open: bytes | None = None
    fast_open_experimental: bool = False


def pad_options(raw: bytes) -> bytes:
    """Options filled up with EOL to whole 32-bit words."""
    return raw + bytes(-len(raw) % 4)


def walk_options(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and value of each option, in wire order; ends at EOL or at the first damaged length.

    Examples
    --------
    >>> [(k, v.hex()) for k, v in walk_options(bytes.fromhex("020405b40101080a00000001000000020000"))]
    [(2, '05b4'), (1, ''), (1, ''), (8, '0000000100000002'), (0, '')]
    """
    at = 0
    while at < len(raw):
        kind = raw[at]
        if kind in (TcpOption.EOL, TcpOption.NOP):
            yield kind, b""
            if kind == TcpOption.EOL:
                return
            at += 1
            continue
        if at + 2 > len(raw):
            return
        size = raw[at + 1]
        if size < 2 or at + size > len(raw):
            return
        yield kind, raw[at + 2 : at + size]
        at += size


def parse_options(raw: bytes) -> TcpOptions:
    """The options that Linux acts on; the last occurrence of a kind counts, as in tcp_parse_options."""
    mss: int | None = None
    scale: int | None = None
    permitted = False
    stamps: tuple[int, int] | None = None
    blocks: tuple[tuple[int, int], ...] = ()
    cookie: bytes | None = None
    experimental = False
    for kind, value in walk_options(raw):
        size = len(value)
        if kind == TcpOption.MSS and size == 2:
            mss = int.from_bytes(value, "big")
        elif kind == TcpOption.WINDOW_SCALE and size == 1:
            scale = value[0]
        elif kind == TcpOption.SACK_PERMITTED and size == 0:
            permitted = True
        elif kind == TcpOption.TIMESTAMPS and size == 8:
            stamps = (int.from_bytes(value[:4], "big"), int.from_bytes(value[4:], "big"))
        elif kind == TcpOption.SACK and size and size % 8 == 0:
            edges = [int.from_bytes(value[i : i + 4], "big") for i in range(0, size, 4)]
            blocks = tuple(zip(edges[::2], edges[1::2], strict=True))
        elif kind == TcpOption.FAST_OPEN and _is_cookie(value):
            cookie, experimental = value, False
        elif kind == TcpOption.EXPERIMENT and value[:2] == FAST_OPEN_MAGIC and _is_cookie(value[2:]):
            cookie, experimental = value[2:], True
    return TcpOptions(mss, scale, permitted, stamps, blocks, cookie, experimental)


def _is_cookie(value: bytes) -> bool:
    """Whether this is a Fast Open cookie, or the wish for one: 4 to 16 bytes, evenly (RFC 7413 section 4.1.1)."""
    return not value or (4 <= len(value) <= 16 and len(value) % 2 == 0)
