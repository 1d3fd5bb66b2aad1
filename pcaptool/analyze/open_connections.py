"""The connections that one analysis reads: most of them at rest, and no more than may be.

Knows: which were heard of last, how many bytes what they hold takes.
Must not know: what they read (`Connection.rest` gives it as plain values, `wake` takes it up).

A reader is some twenty objects, 5 KiB and more; what it knows between two segments is mostly some hundred bytes. So the
MOST_AWAKE that were heard of last are objects, and all others are one byte string each (`marshal`: of values that this
process made itself), until they are heard of again. Which of the two they are makes no difference to what they say.
All of them together hold at most MOST_BYTES: where they would hold more, those leave that were not heard of for
longest. What leaves depends on how packets come in batches; what stays does not.
Memory: MOST_BYTES, and MOST_AWAKE readers. Time: O(1) a segment, O(bytes of a reader) each time it rests or wakes;
everything is weighed when as many bytes came as there is room for.
"""

from __future__ import annotations

import marshal
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["MOST_AWAKE", "MOST_BYTES", "OpenConnections", "Resting"]

MOST_AWAKE = 2048
MOST_BYTES = 64 << 20
ENTRY_BYTES = 192  # what it takes to find one at rest


class Resting(Protocol):
    """What knows all that it must in plain values."""

    def rest(self) -> tuple[Any, ...]:
        """Numbers, texts, bytes, and tuples and lists of such."""
        ...

    def wake(self, state: tuple[Any, ...]) -> None:
        """Go on where another one was."""
        ...

    def let_go(self) -> None:
        """It is not used any more: what refers to itself must not, or it would stay for long."""
        ...


_Reader = TypeVar("_Reader", bound=Resting)


class OpenConnections(Generic[_Reader]):
    """Readers by flow.

    Parameters
    ----------
    make : callable
        A new reader for a flow.
    most_awake, most_bytes : int
        Bounds.

    Examples
    --------
    >>> from pcaptool.analyze.dns_stream import DnsConnection
    >>> connections = OpenConnections(lambda flow: DnsConnection(), most_awake=1)
    >>> first = connections.begin(7)
    >>> second = connections.begin(8)
    >>> connections.get(7) is first, 7 in connections, connections.flows
    (False, True, [7, 8])
    """

    def __init__(
        self, make: Callable[[int], _Reader], *, most_awake: int | None = None, most_bytes: int | None = None
    ) -> None:
        self._make = make
        self._most_awake = MOST_AWAKE if most_awake is None else most_awake
        self._most_bytes = MOST_BYTES if most_bytes is None else most_bytes
        # Both in the order in which they were heard of last, and all of the second before all of the first.
        self._awake: OrderedDict[int, _Reader] = OrderedDict()
        self._resting: dict[int, bytes] = {}
        self._resting_bytes = 0
        self._heard_bytes = 0  # at most what those awake hold

    def __contains__(self, flow: int) -> bool:
        return flow in self._awake or flow in self._resting

    @property
    def flows(self) -> list[int]:
        """Those that are open, rising."""
        return sorted([*self._awake, *self._resting])

    def get(self, flow: int) -> _Reader | None:
        """The reader of a flow that is heard of now; None where it has none."""
        reader = self._awake.get(flow)
        if reader is not None:
            self._awake.move_to_end(flow)
            return reader
        if flow not in self._resting:
            return None
        reader = self._wake(flow)
        self._add(flow, reader)
        return reader

    def peek(self, flow: int) -> _Reader | tuple[Any, ...] | None:
        """What a flow has, without being heard of: its reader, or what that gave when it lay down."""
        state = self._resting.get(flow)
        return self._awake.get(flow) if state is None else _values(state)

    def begin(self, flow: int) -> _Reader:
        """A new reader for a flow."""
        reader = self._make(flow)
        self._add(flow, reader)
        return reader

    def remove(self, flow: int) -> _Reader:
        """Take a flow's reader away."""
        return self._awake.pop(flow) if flow in self._awake else self._wake(flow)

    def heard(self, size: int) -> bool:
        """So many bytes were given to one; says whether all may hold too much now."""
        self._heard_bytes += size
        return self._heard_bytes + self._resting_bytes > self._most_bytes

    def leaving(self) -> Iterator[tuple[int, _Reader]]:
        """Takes away as many readers as hold too much, and some more, lest this is asked for each segment."""
        for flow in list(self._awake):
            self._lay_down(flow)
        self._heard_bytes = 0
        if self._resting_bytes <= self._most_bytes - (self._most_bytes >> 4):
            return
        too_much, flows = self._resting_bytes - (self._most_bytes - (self._most_bytes >> 3)), []
        for flow, state in self._resting.items():
            if too_much <= 0:
                break
            too_much -= len(state) + ENTRY_BYTES
            flows.append(flow)
        for flow in flows:
            yield flow, self._wake(flow)

    def _add(self, flow: int, reader: _Reader) -> None:
        self._awake[flow] = reader
        for other in list(islice(self._awake, max(len(self._awake) - self._most_awake, 0))):
            self._lay_down(other)

    def _lay_down(self, flow: int) -> None:
        reader = self._awake.pop(flow)
        state = marshal.dumps(reader.rest())
        reader.let_go()
        self._resting[flow] = state
        self._resting_bytes += len(state) + ENTRY_BYTES

    def _wake(self, flow: int) -> _Reader:
        state = self._resting.pop(flow)
        self._resting_bytes -= len(state) + ENTRY_BYTES
        self._heard_bytes += len(state)
        reader = self._make(flow)
        reader.wake(_values(state))
        return reader


def _values(state: bytes) -> tuple[Any, ...]:
    values: tuple[Any, ...] = marshal.loads(state)  # noqa: S302 - only what `_lay_down` made
    return values
