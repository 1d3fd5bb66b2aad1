"""What a program writes without holding all of it: a head and as many letters as its body has.

Knows: that a body of letters repeats itself, so that any part of it is a view of a short piece.
Must not know: HTTP, or who reads it.
`send()` takes a run of bytes by its length and by slices; a body of 300 MB would cost as much memory, three times over,
and most of a run's time.
Complexity: O(1) for a slice of letters up to 64 KiB, O(bytes) for a longer one or one that spans head and body.
"""

from __future__ import annotations

from pcaptool.scenario import Route, body

__all__ = ["Content", "route_content"]

_PERIOD = 26  # of `body`
_PIECE = memoryview(body(_PERIOD + 65536))


class Content:
    """Bytes, then letters.

    Parameters
    ----------
    head : bytes
    letters : int
        How many letters follow, as in `body`.

    Examples
    --------
    >>> content = Content(b"head ", 30)
    >>> len(content), bytes(content[3:9]), bytes(content[30:99])
    (35, b'd abcd', b'zabcd')
    """

    __slots__ = ("_head", "_size")

    def __init__(self, head: bytes, letters: int) -> None:
        self._head = head
        self._size = len(head) + letters

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> memoryview:
        first, last, _ = part.indices(self._size)
        if part.step not in {None, 1}:
            raise ValueError("content is read in its order")
        before = len(self._head)
        if first >= before:
            return _letters(first - before, max(first, last) - before)
        if last <= before:
            return memoryview(self._head)[first:last]
        return memoryview(self._head[first:] + _letters(0, last - before))


def route_content(route: Route, size: int) -> bytes | Content:
    """What a route's body is: its text, or `size` letters."""
    return Content(b"", size) if route.body is None else route.body.encode()


def _letters(first: int, last: int) -> memoryview:
    phase = first % _PERIOD
    if last - first <= len(_PIECE) - _PERIOD:
        return _PIECE[phase : phase + last - first]
    return memoryview(body(phase + last - first))[phase:]
