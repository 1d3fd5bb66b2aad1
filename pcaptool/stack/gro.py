"""Generic receive offload: segments of one poll become one buffer again (net/core/gro.c, tcp_gro_receive).

Knows: which segments may be joined, and what the joint one looks like.
Must not know: when a poll ends (`device`), or what TCP does with the result.
A joined buffer has the partial checksum of the whole (tcp_gro_complete), as a super-packet on its way down has;
fact 75: it restores the sender's super-packets exactly.
Leaves out: UDP GRO, tunnels, joining whole super-packets (as `gso_segs` above 1 arrive).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from pcaptool.stack.skbuff import SkBuff
from pcaptool.wire.tcp import TcpFlag

__all__ = ["join"]

LARGEST_BYTES = 65536  # gro_max_size
_ENDS = int(TcpFlag.FIN | TcpFlag.PSH | TcpFlag.URG | TcpFlag.RST | TcpFlag.SYN)
_MAY_DIFFER = int(TcpFlag.CWR | TcpFlag.FIN | TcpFlag.PSH)


def join(frames: Iterable[SkBuff]) -> Iterator[SkBuff]:
    """The buffers of one poll, in order, neighbouring segments of a stream joined.

    Parameters
    ----------
    frames : iterable of SkBuff
        As they came in, with headers.
    """
    held: dict[tuple[object, ...], list[SkBuff]] = {}
    for skb in frames:
        key = skb.flow_key
        parts = held.get(key)
        if parts is not None and not _continues(parts, skb):
            yield _joined(held.pop(key))
            parts = None
        if parts is None:
            if not _eligible(skb):
                yield skb
                continue
            held[key] = [skb]
            continue
        parts.append(skb)
        if _is_last(parts, skb):
            yield _joined(held.pop(key))
    for parts in held.values():
        yield _joined(parts)


def _eligible(skb: SkBuff) -> bool:
    """Whether others may be joined to it: a plain segment with data, without a flag that ends joining."""
    return _is_plain(skb) and skb.tcp is not None and not skb.tcp.flags & _ENDS


def _is_plain(skb: SkBuff) -> bool:
    return (
        skb.tcp is not None
        and skb.length > 0
        and skb.gso_segs == 1
        and skb.ip is not None
        and not skb.ip.fragment_offset
        and not skb.ip.more_fragments
    )


def _continues(parts: list[SkBuff], skb: SkBuff) -> bool:
    """Whether a segment goes on where the joint one ends."""
    head, tail = parts[0], parts[-1]
    if not _is_plain(skb) or head.tcp is None or skb.tcp is None or tail.tcp is None:
        return False
    if head.ip is None or skb.ip is None or tail.ip is None:
        return False
    version4 = len(skb.ip.source) == 4
    return (
        skb.length <= head.length
        and skb.tcp.seq == (tail.tcp.seq + tail.length) & 0xFFFFFFFF
        and skb.tcp.ack == head.tcp.ack
        and not (skb.tcp.flags ^ head.tcp.flags) & ~_MAY_DIFFER
        and not skb.tcp.flags & TcpFlag.CWR
        and skb.tcp.option_bytes == head.tcp.option_bytes
        and skb.ip.tos == head.ip.tos
        and skb.ip.ttl == head.ip.ttl
        and skb.ip.flow_label == head.ip.flow_label
        and (not version4 or skb.ip.identification == (tail.ip.identification + 1) & 0xFFFF)
        and sum(part.length for part in parts) + skb.length + head.network_bytes <= LARGEST_BYTES
    )


def _is_last(parts: list[SkBuff], skb: SkBuff) -> bool:
    """Flags that end a stream's joining, or a short segment."""
    return skb.tcp is None or bool(skb.tcp.flags & _ENDS) or skb.length < parts[0].length


def _joined(parts: list[SkBuff]) -> SkBuff:
    head = parts[0]
    if len(parts) == 1 or head.tcp is None or head.ip is None:
        return head
    last = parts[-1]
    flags = int(head.tcp.flags) | (int(last.tcp.flags) if last.tcp else 0)
    payload = memoryview(b"".join(part.payload for part in parts))
    return replace(
        head,
        length=len(payload),
        payload=payload,
        flags=last.flags,
        gso_size=head.length,
        gso_segs=len(parts),
        tcp=replace(head.tcp, flags=flags),
        ip=replace(head.ip, partial_checksum=True),
    )
