r"""What the laboratory needs to know of a frame: TCP's flags, where its payload begins, how long it is.

Knows: Ethernet, IPv4, IPv6 without extension headers: what the laboratory's hosts send.
Must not know: anything else of a frame; `decode` is the decoder.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from pcaptool.wire.tcp import TcpFlag

__all__ = ["TcpFrame", "frame_kinds", "headers_of", "tcp_frame"]

_IPV4, _IPV6, _ARP = b"\x08\x00", b"\x86\xdd", b"\x08\x06"


class TcpFrame(NamedTuple):
    """TCP's part of a frame.

    Parameters
    ----------
    flags : int
    seq : int
    payload_bytes : int
        As the IP header says, also where the capture cut the frame.
    """

    flags: int
    seq: int
    payload_bytes: int


def tcp_frame(frame: bytes) -> TcpFrame | None:
    r"""TCP's part of a frame; None where it has none.

    Examples
    --------
    >>> tcp_frame(bytes(12) + b"\x08\x06" + bytes(28)) is None
    True
    """
    if frame[12:14] == _IPV4 and frame[23] == 6:
        tcp, end = 14 + (frame[14] & 15) * 4, 14 + struct.unpack_from("!H", frame, 16)[0]
    elif frame[12:14] == _IPV6 and frame[20] == 6:
        tcp, end = 54, 54 + struct.unpack_from("!H", frame, 18)[0]
    else:
        return None
    (seq,) = struct.unpack_from("!I", frame, tcp + 4)
    return TcpFrame(frame[tcp + 13], seq, end - tcp - (frame[tcp + 12] >> 4) * 4)


def frame_kinds(frame: bytes) -> frozenset[str]:
    r"""The kinds that a frame belongs to, in the scenario's words.

    Examples
    --------
    >>> sorted(frame_kinds(bytes(12) + b"\x08\x06" + bytes(28)))
    ['any', 'other']
    """
    tcp = tcp_frame(frame)
    if tcp is None:
        return frozenset({"any", "other"})
    kinds = {"any", "tcp"}
    if tcp.flags & TcpFlag.SYN:
        kinds.add("synack" if tcp.flags & TcpFlag.ACK else "syn")
    if tcp.payload_bytes:
        kinds.add("data")
    if tcp.flags & TcpFlag.FIN:
        kinds.add("fin")
    if tcp.flags & TcpFlag.RST:
        kinds.add("rst")
    if not tcp.payload_bytes and not tcp.flags & (TcpFlag.SYN | TcpFlag.FIN | TcpFlag.RST):
        kinds.add("ack")
    return frozenset(kinds)


def headers_of(frame: bytes) -> str:
    """Headers of a frame in the words of the `stages` table."""
    if frame[12:14] == _ARP:
        return "eth:arp"
    name = "eth:ip" if frame[12:14] == _IPV4 else "eth:ipv6"
    if tcp_frame(frame) is not None:
        return f"{name}:tcp"
    return f"{name}:icmpv6" if frame[12:14] == _IPV6 else name
