"""Which way kernels run now, and when to change.

Knows: how many packets have passed. Must not know: what kernels do.

Plain Python begins at once but takes some 100 us a packet; machine code takes some 20 ms to bring into memory, or many
seconds to compile if this machine has not done so yet. So a capture begins in plain Python and goes on compiled when it
turns out to be long: after `LOAD_AFTER` packets where machine code is at hand, after `COMPILE_AFTER` where it is not.
Where its size says that it is long, machine code at hand is taken at once, and compiled soon where it is not.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from pcaptool.engine import sources

__all__ = ["COMPILE_AFTER", "LOAD_AFTER", "Engine", "kernel_for"]

_log = logging.getLogger(__name__)

LOAD_AFTER = 256
COMPILE_AFTER = 40_000
LOAD_FROM_BYTES = 1 << 16

# Packets after which most kernels that a capture needs have been called.
_SEEN_AFTER = 1_024

# The kernel that is asked whether machine code is at hand, where nobody says which.
_WITNESS = "pcaptool.decode.kernels.chain"


class Engine:
    """Hands out kernels in the way of the moment.

    Parameters
    ----------
    mode : {"auto", "plain", "compiled"}
        "auto" switches from plain to compiled in mid-capture. With NUMBA_DISABLE_JIT=1 all modes are plain.
    witness : str
        The kernel module that is asked whether machine code is at hand.
    compile_after : int
        Packets after which it is compiled where it is not.

    Examples
    --------
    >>> engine = Engine("plain")
    >>> checksum = engine.function("pcaptool.engine.loads", "be16")
    >>> checksum(b"ab", 0) == 0x6162
    True
    """

    def __init__(
        self,
        mode: Literal["auto", "plain", "compiled"] = "auto",
        witness: str = _WITNESS,
        compile_after: int = COMPILE_AFTER,
    ) -> None:
        self._witness = witness
        self._compile_after = compile_after
        self._packets = self._bytes = self._size_bytes = 0
        self._seen: dict[tuple[str, str], str] = {}
        self._allowed = mode != "plain" and os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")
        self._switch_at = 0 if mode == "compiled" else -1
        self.compiled = False
        if mode == "compiled":
            self.passed(0)

    def passed(self, packets: int, size_bytes: int = 0) -> None:
        """So many more packets were decoded, and of so many bytes if it is known: perhaps the time to switch."""
        self._packets += packets
        self._bytes += size_bytes
        if self.compiled or not self._allowed:
            return
        if self._switch_at < 0:
            if self._packets < LOAD_AFTER:
                return  # asking for the cache reads all kernels' sources
            if sources.cached(self._witness):
                self._switch_at = LOAD_AFTER
            else:
                self._switch_at = _SEEN_AFTER if self._long() else self._compile_after
        if self._packets >= self._switch_at:
            if self._seen and not sources.cached(self._witness):
                from pcaptool.engine.beside import Wanted, compile_all  # noqa: PLC0415 - once on a machine

                _log.info("compiling for this machine, once: some 10 to 20 seconds")
                compile_all(Wanted(module, name, kinds) for (module, name), kinds in self._seen.items())
            self.compiled = True

    def expect(self, size_bytes: int | None) -> None:
        """A capture of this size begins (None: not known)."""
        self._size_bytes = size_bytes or 0
        if self.compiled or not self._allowed or size_bytes is None or size_bytes < LOAD_FROM_BYTES:
            return
        self.compiled = sources.cached(self._witness)

    def _long(self) -> bool:
        """Whether the rest of the capture, if its packets are like those before, is worth compiling for."""
        return self._bytes > 0 and self._packets * self._size_bytes >= 2 * self._compile_after * self._bytes

    @property
    def left(self) -> int:
        """Packets until the switch, at least 1: no plain step should be longer."""
        if self.compiled or not self._allowed:
            return 1 << 62
        return max(1, (self._switch_at if self._switch_at >= 0 else LOAD_AFTER) - self._packets)

    def function(self, module: str, name: str) -> Callable[..., Any]:
        """A kernel function that follows the switch. Arrays are passed as they are."""
        plain = getattr(importlib.import_module(module), name)
        fast: list[Any] = []

        def call(*args: Any) -> Any:
            if not self.compiled:
                self._see(module, name, args)
                return plain(*args)
            if not fast:
                from pcaptool.engine.machine import kernel  # noqa: PLC0415 - llvmlite only when needed

                fast.append(kernel(module, name))
            return fast[0](*args)

        return call

    def flat(self, module: str, name: str) -> Callable[..., Any]:
        """The same for kernels that only read and write single elements.

        Plain Python then sees memoryviews instead of arrays: elements are Python integers, much faster.
        """
        plain = getattr(importlib.import_module(module), name)
        call = self.function(module, name)

        def convert(*args: Any) -> Any:
            if self.compiled:
                return call(*args)
            self._see(module, name, args)
            return plain(*map(_view, args))

        return convert

    def _see(self, module: str, name: str, args: tuple[Any, ...]) -> None:
        """Which kernels a long capture needs, while it is not known yet to be long enough."""
        if self._switch_at > LOAD_AFTER and (module, name) not in self._seen:
            from pcaptool.engine.calls import kinds_of  # noqa: PLC0415 - not for small captures

            self._seen[module, name] = kinds_of(args)


def kernel_for(module: str, name: str, packets: int, compile_from: int = COMPILE_AFTER) -> Callable[..., Any]:
    """A flat kernel that is called once, for so many packets.

    Compiled where machine code of it is at hand, or where plain Python would take longer than compiling does.

    Parameters
    ----------
    module, name : str
    packets : int
    compile_from : int
        How many are worth compiling it.

    Examples
    --------
    >>> kernel_for("pcaptool.engine.loads", "be16", 1)(b"ab", 0) == 0x6162
    True
    """
    fast = packets >= compile_from or (packets >= LOAD_AFTER and sources.cached(module, name))
    return Engine("compiled" if fast else "plain").flat(module, name)


def _view(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.data
    return tuple(map(_view, value)) if isinstance(value, tuple) else value
