"""The next block of a stream, read by another thread while this one is used.

Knows: threads. Must not know: what is in the block, where it goes.
Worth it where the stream is expanded: that takes longer than decoding, and neither holds the interpreter's lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ReadAhead"]

Bytes = npt.NDArray[np.uint8]


class ReadAhead:
    """One order at a time: fill an array from some place on.

    Parameters
    ----------
    fill : callable
        Array and place to the place behind the last byte that was read. Used by another thread only, until `stop`.

    Examples
    --------
    >>> def fill(array, at):
    ...     array[at:] = 7
    ...     return len(array)
    >>> ahead = ReadAhead(fill)
    >>> ahead.order(np.zeros(3, np.uint8), 1)
    >>> array, end = ahead.result()
    >>> ahead.stop()
    >>> array.tolist(), end
    ([0, 7, 7], 3)
    """

    def __init__(self, fill: Callable[[Bytes, int], int]) -> None:
        self._fill = fill
        self._orders: SimpleQueue[tuple[Bytes, int] | None] = SimpleQueue()
        self._done: SimpleQueue[tuple[Bytes, int] | BaseException] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="pcaptool-read-ahead", daemon=True)
        self._thread.start()

    def order(self, array: Bytes, at: int) -> None:
        """Begin to fill an array, whose result must be asked for before the next order."""
        self._orders.put((array, at))

    def result(self) -> tuple[Bytes, int]:
        """The array, and the place behind its last byte.

        Raises
        ------
        BaseException
            What `fill` raised.
        """
        found: Any = self._done.get()
        if isinstance(found, BaseException):
            raise found
        filled: tuple[Bytes, int] = found
        return filled

    def stop(self) -> None:
        """End the thread; an order under way is waited for."""
        self._orders.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            array, at = order
            try:
                self._done.put((array, self._fill(array, at)))
            except BaseException as error:  # noqa: BLE001 - raised again where the block is wanted
                self._done.put(error)
