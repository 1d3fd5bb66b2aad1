"""TCP options in Linux's order (tcp_options_write).

Knows: which options a SYN, a SYN-ACK and every later segment carries, and how they are padded (facts 14, 15).
Must not know: when a segment is sent.
Sources: RFC 9293 section 3.2, RFC 7323, RFC 2018, RFC 2883, RFC 7413.
"""

from __future__ import annotations

from struct import Struct, pack
from typing import TYPE_CHECKING

from pcaptool.wire.tcp import FAST_OPEN_MAGIC, SEQ_MASK, TcpOption, TcpOptions

if TYPE_CHECKING:
    from pcaptool.stack.tcp.sock import TcpSock

__all__ = ["encode_options", "established_options", "sack_blocks"]

_NOP = bytes((TcpOption.NOP,))
_TIMESTAMPS = pack("!BB", TcpOption.TIMESTAMPS, 10)
_STAMPED = Struct("!4sII")
_STAMPED_FRONT = _NOP * 2 + _TIMESTAMPS


def encode_options(options: TcpOptions) -> bytes:
    """Option bytes in the kernel's order and with its padding.

    SACK-permitted takes the place of the two NOPs in front of the timestamps; every other option is aligned by NOPs
    in front of it, the Fast Open cookie by NOPs behind.

    Examples
    --------
    >>> encode_options(TcpOptions(mss=1460, sack_permitted=True, timestamps=(1, 0), window_scale=10)).hex()
    '020405b40402080a00000001000000000103030a'
    >>> encode_options(TcpOptions(timestamps=(1, 2))).hex()
    '0101080a0000000100000002'
    >>> encode_options(TcpOptions(fast_open=b"")).hex()
    '22020101'
    """
    out = b""
    if options.mss is not None:
        out += pack("!BBH", TcpOption.MSS, 4, options.mss)
    if options.timestamps is not None:
        front = pack("!BB", TcpOption.SACK_PERMITTED, 2) if options.sack_permitted else _NOP * 2
        out += front + _TIMESTAMPS + pack("!II", *options.timestamps)
    elif options.sack_permitted:
        out += _NOP * 2 + pack("!BB", TcpOption.SACK_PERMITTED, 2)
    if options.window_scale is not None:
        out += _NOP + pack("!BBB", TcpOption.WINDOW_SCALE, 3, options.window_scale)
    if options.sack_blocks:
        out += _NOP * 2 + pack("!BB", TcpOption.SACK, 2 + 8 * len(options.sack_blocks))
        out += b"".join(pack("!II", *block) for block in options.sack_blocks)
    if options.fast_open is not None:
        value = (FAST_OPEN_MAGIC if options.fast_open_experimental else b"") + options.fast_open
        kind = TcpOption.EXPERIMENT if options.fast_open_experimental else TcpOption.FAST_OPEN
        out += pack("!BB", kind, 2 + len(value)) + value
        out += _NOP * (-len(out) % 4)
    return out


def sack_blocks(sk: TcpSock) -> tuple[tuple[int, int], ...]:
    """The SACK blocks of a segment that leaves now: a D-SACK first, as many as fit into 40 bytes of options."""
    if not sk.sack:
        return ()
    queue = sk.out_of_order
    repeated = [queue.dsack] if queue.dsack is not None and sk.host.settings.tcp_dsack else []
    blocks = repeated + queue.blocks
    room = (40 - (12 if sk.timestamps else 0) - 4) // 8
    return tuple((left & SEQ_MASK, right & SEQ_MASK) for left, right in blocks[:room])


def established_options(sk: TcpSock) -> tuple[TcpOptions, bytes]:
    """Options of a segment after the handshake: timestamps, and SACK blocks where there are some."""
    queue = sk.out_of_order
    if sk.timestamps and not queue and queue.dsack is None:
        # Most segments: timestamps alone.
        stamps = (sk.ts_clock(), sk.ts_recent)
        return TcpOptions(None, None, False, stamps), _STAMPED.pack(_STAMPED_FRONT, *stamps)  # noqa: FBT003
    options = TcpOptions(
        timestamps=(sk.ts_clock(), sk.ts_recent) if sk.timestamps else None,
        sack_blocks=sack_blocks(sk),
    )
    return options, encode_options(options)
