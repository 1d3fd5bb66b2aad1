"""The receive queue and the memory it is charged with (tcp_queue_rcv, tcp_try_coalesce, sk_rmem_alloc).

Knows: bytes in sequence that no program has read, in the buffers that hold them, and what these cost.
Must not know: windows or ACKs, which are computed from that cost.
A buffer that arrives is merged into the one before it, and then costs only its payload, unless that one is still a
clone: the sender of a veth pair shares its pages and head until it has processed the ACK. Memory of merged
buffers comes free when all of them are read.
Complexity: O(1) for adding, O(bytes) for reading.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from pcaptool.stack.skbuff import SkBuff

__all__ = ["ReceiveQueue"]


@dataclass(slots=True)
class _Held:
    """One buffer of the queue, with what was merged into it."""

    clone_of: SkBuff | None
    charge: int
    parts: deque[memoryview] = field(default_factory=deque)

    @property
    def shared(self) -> bool:
        """Whether the sender still holds the buffer that this one is a clone of."""
        return self.clone_of is not None and not self.clone_of.freed

    def let_go(self) -> None:
        """It leaves the queue."""
        if self.clone_of is not None:
            self.clone_of.unread = False


class ReceiveQueue:
    """Bytes that wait for a reader.

    Examples
    --------
    >>> queue = ReceiveQueue()
    >>> queue.add(SkBuff(1, 1, length=3, payload=memoryview(b"abc")))
    >>> queue.add(SkBuff(2, 2, length=3, payload=memoryview(b"def")))
    >>> queue.charged - SkBuff(1, 1).truesize
    6
    >>> b"".join(queue.read(4)), len(queue), queue.charged > 0
    (b'abcd', 2, True)
    """

    def __init__(self) -> None:
        self._held: deque[_Held] = deque()
        self._size = 0
        self.charged = 0

    def __len__(self) -> int:
        """Bytes that wait."""
        return self._size

    def add(self, skb: SkBuff) -> None:
        """Take a buffer's payload."""
        last = self._held[-1] if self._held else None
        if last is None or last.shared:
            last = _Held(skb.clone_of, 0)
            if skb.clone_of is not None:
                skb.clone_of.unread = True
            self._held.append(last)
            charge = skb.truesize
        else:
            charge = skb.length
        last.charge += charge
        last.parts.append(skb.payload)
        self.charged += charge
        self._size += skb.length

    def read(self, size: int) -> list[memoryview]:
        """Remove at most `size` bytes."""
        out: list[memoryview] = []
        while self._held and size:
            parts = self.read_first(size)
            out += parts
            size -= sum(len(part) for part in parts)
        return out

    def read_first(self, size: int) -> list[memoryview]:
        """Remove at most `size` bytes of the first buffer: of what one step of a reading call copies."""
        out: list[memoryview] = []
        held = self._held[0] if self._held else None
        while held is not None and size:
            part = held.parts[0]
            taken = part[:size]
            out.append(taken)
            size -= len(taken)
            self._size -= len(taken)
            if len(taken) < len(part):
                held.parts[0] = part[len(taken) :]
                break
            held.parts.popleft()
            if not held.parts:
                self._held.popleft().let_go()
                self.charged -= held.charge
                held = None
        return out

    def clear(self) -> None:
        """Forget everything: the socket is closed."""
        for held in self._held:
            held.let_go()
        self._held.clear()
        self._size = self.charged = 0
