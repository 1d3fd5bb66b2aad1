"""Segments that arrived before their turn, and the SACK blocks that say so (tcp_data_queue_ofo, tcp_sack_new_ofo_skb).

Knows: the out-of-order queue, the order in which blocks are reported, D-SACK.
Must not know: when an ACK is sent (`input`).
Sources: RFC 2018 section 4 (the block that grew last comes first), RFC 2883; fact 69.
Complexity: O(segments in the queue) for each arrival; a window holds few super-packets.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pcaptool.stack.skbuff import TRUESIZE_OVERHEAD, SkBuff

__all__ = ["OutOfOrder"]

MAX_BLOCKS = 4  # TCP_NUM_SACKS


@dataclass(slots=True)
class OutOfOrder:
    """What a receiver holds beyond a hole.

    Examples
    --------
    >>> queue = OutOfOrder()
    >>> queue.add(SkBuff(1, 1, length=10, seq=20, payload=memoryview(bytes(10))))
    >>> queue.add(SkBuff(2, 2, length=10, seq=40, payload=memoryview(bytes(10))))
    >>> queue.blocks
    [(40, 50), (20, 30)]
    >>> queue.add(SkBuff(3, 3, length=10, seq=30, payload=memoryview(bytes(10))))
    >>> queue.blocks
    [(20, 50)]
    >>> [skb.seq for skb in queue.take(20)], queue.blocks
    ([20, 30, 40], [])
    """

    buffers: list[SkBuff] = field(default_factory=list)
    blocks: list[tuple[int, int]] = field(default_factory=list)
    dsack: tuple[int, int] | None = None

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self.buffers)

    @property
    def charged(self) -> int:
        """Memory that the buffers cost."""
        return sum(skb.length + TRUESIZE_OVERHEAD for skb in self.buffers) if self.buffers else 0

    def add(self, skb: SkBuff) -> None:
        """Keep a segment; one whose bytes are all there already is reported as a D-SACK and dropped."""
        left, right = skb.seq, skb.end_seq
        for held in self.buffers:
            if held.seq <= left and right <= held.end_seq:
                self.dsack = (left, right)
                return
        self.buffers = [held for held in self.buffers if not (left <= held.seq and held.end_seq <= right)]
        self.buffers.append(skb)
        self.buffers.sort(key=lambda held: held.seq)
        self._report(left, right)

    def _report(self, left: int, right: int) -> None:
        """The block that holds the newest segment moves to the front; blocks that touch become one."""
        for old_left, old_right in list(self.blocks):
            if left <= old_right and old_left <= right:
                left, right = min(left, old_left), max(right, old_right)
                self.blocks.remove((old_left, old_right))
        self.blocks = [(left, right), *self.blocks][:MAX_BLOCKS]

    def take(self, expected: int) -> list[SkBuff]:
        """Segments that are in sequence now; what was received twice is cut off. Blocks below go away."""
        out: list[SkBuff] = []
        while self.buffers and self.buffers[0].seq <= expected:
            skb = self.buffers.pop(0)
            if skb.end_seq <= expected:
                self.dsack = (skb.seq, skb.end_seq)
                continue
            out.append(skb)
            expected = skb.end_seq
        self.blocks = [(left, right) for left, right in self.blocks if right > expected]
        return out
