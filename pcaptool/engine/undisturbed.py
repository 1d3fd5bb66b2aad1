"""What must not come between while something is compiled.

Knows: the garbage collector, signals. Must not know: what is compiled.
"""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["nothing_collected", "signals_kept"]


@contextmanager
def nothing_collected() -> Iterator[None]:
    """Millions of small objects are made: looking for cycles among them was a tenth of the time.

    Examples
    --------
    >>> with nothing_collected():
    ...     gc.isenabled()
    False
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


@contextmanager
def signals_kept() -> Iterator[None]:
    """LLVM calls Python back, and drops what is raised there: what a signal raised is raised again behind.

    Signals come to the main thread only: elsewhere nothing is dropped.

    Raises
    ------
    BaseException
        What a handler of SIGINT or SIGTERM raised within the block.

    Examples
    --------
    >>> with signals_kept():
    ...     signal.getsignal(signal.SIGINT) is signal.default_int_handler
    False
    """
    raised: list[BaseException] = []

    def kept(handler: Callable[[int, FrameType | None], Any]) -> Callable[[int, FrameType | None], None]:
        def handle(number: int, frame: FrameType | None) -> None:
            try:
                handler(number, frame)
            except BaseException as error:
                raised.append(error)
                raise

        return handle

    before: dict[signal.Signals, tuple[Any, Any]] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if callable(handler):
                before[number] = handler, kept(handler)
    for number, (_, ours) in before.items():
        signal.signal(number, ours)
    try:
        yield
    finally:
        for number, (handler, ours) in before.items():
            if signal.getsignal(number) is ours:  # a handler may have put another one in its place
                signal.signal(number, handler)
    if raised:
        raise raised[0]
