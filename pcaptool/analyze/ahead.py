"""An iteration that runs ahead of who uses it, in a thread of its own.

Knows: threads. Must not know: what is handed over.
Worth it where both sides spend their time in kernels, which do not hold the interpreter's lock.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ["ahead"]

_Item = TypeVar("_Item")


def ahead(source: Iterator[_Item], most: int = 2) -> Iterator[_Item]:
    """The same items in the same order; at most so many are made before they are asked for.

    Parameters
    ----------
    source : iterator
        Used by another thread only, from now on until the end of this one. Its items must stay valid when the
        next are made.
    most : int

    Raises
    ------
    BaseException
        What the source raises, after the items before it.

    Examples
    --------
    >>> list(ahead(iter("abc")))
    ['a', 'b', 'c']
    """
    line = _Ahead(source, most)
    line.start()
    try:
        yield from line
    finally:
        line.stop()


class _Ahead(Generic[_Item]):
    def __init__(self, source: Iterator[_Item], most: int) -> None:
        self._source, self._most = source, most
        self._made: deque[_Item] = deque()
        self._changed = threading.Condition()
        self._done = self._stopped = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="pcaptool-ahead", daemon=True)
        self.start = self._thread.start

    def __iter__(self) -> Iterator[_Item]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._made or self._done)
                if not self._made:
                    break
                item = self._made.popleft()
                self._changed.notify_all()
            yield item
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End the thread; what it has made and nobody took is dropped."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        try:
            for item in self._source:
                with self._changed:
                    self._changed.wait_for(lambda: len(self._made) < self._most or self._stopped)
                    if self._stopped:
                        break
                    self._made.append(item)
                    self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001 - raised again where the items are used
            self._error = error
        with self._changed:
            self._done = True
            self._changed.notify_all()
