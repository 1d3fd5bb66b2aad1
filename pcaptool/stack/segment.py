"""Segmentation: a super-packet as the frames it stands for (net/ipv4/tcp_offload.c, tcp_gso_segment).

Knows: which header fields differ from segment to segment.
Must not know: who cuts (the device in software, a queueing discipline, the card), or why.
Fact 35: sequence numbers and IPv4 IDs count up; FIN and PSH stand only on the last one, CWR only on the first.
"""

from __future__ import annotations

from dataclasses import replace

from pcaptool.stack.skbuff import SkBuff, SkBuffIds
from pcaptool.wire.tcp import TcpFlag

__all__ = ["segment"]

_ONLY_LAST = int(TcpFlag.FIN | TcpFlag.PSH)
_ONLY_FIRST = int(TcpFlag.CWR)


def segment(skb: SkBuff, buffers: SkBuffIds | None = None) -> list[SkBuff]:
    """A super-packet's segments; a buffer of one segment alone.

    Parameters
    ----------
    skb : SkBuff
        With headers.
    buffers : SkBuffIds, optional
        Gives the segments numbers of their own; their memory is charged to the socket instead of the super-packet's.
        Without it they keep the super-packet's number (a card that segments makes no buffers).
    """
    if skb.gso_segs <= 1 or skb.tcp is None or skb.ip is None:
        return [skb]
    out = []
    for index, at in enumerate(range(0, skb.length, skb.gso_size)):
        payload = skb.payload[at : at + skb.gso_size]
        last = at + len(payload) == skb.length
        flags = int(skb.tcp.flags)
        if not last:
            flags &= ~_ONLY_LAST
        if index:
            flags &= ~_ONLY_FIRST
        piece = replace(
            skb,
            number=buffers.take() if buffers else skb.number,
            origin=skb.number,
            length=len(payload),
            payload=payload,
            seq=skb.seq + at,
            flags=skb.flags if last else skb.flags & ~_ONLY_LAST,
            gso_size=0,
            gso_segs=1,
            tcp=replace(skb.tcp, seq=(skb.tcp.seq + at) & 0xFFFFFFFF, flags=flags),
            ip=replace(skb.ip, identification=(skb.ip.identification + index) & 0xFFFF),
            owner=skb.owner if buffers else None,
        )
        out.append(piece)
    if buffers and skb.owner is not None:
        skb.owner.wmem_alloc += sum(piece.truesize for piece in out) - skb.truesize
        skb.owner = None
    return out
