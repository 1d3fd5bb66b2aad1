"""Memory operations of kernels, as plain Python; `engine.compiled` has the same names as machine code.

Knows: byte order, unaligned loads, the ones' complement sum, remainders of long numbers.
`data` is anything with the buffer protocol; `at` a byte position in it. All results are what a signed 64-bit
integer holds.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, TypeVar

from pcaptool.wire.checksum import sum16 as _sum16

__all__ = [
    "PRIME_HIGH",
    "PRIME_LOW",
    "be16",
    "be32",
    "be64",
    "hot",
    "is_hot",
    "le16",
    "le32",
    "prefetch",
    "remainder",
    "sum16",
]

# Safe primes (powers of 256 repeat late) whose products with 32 bits a signed 64-bit integer holds.
PRIME_HIGH, PRIME_LOW = 2147483579, 2147483123

_BE16 = struct.Struct(">H").unpack_from
_BE32 = struct.Struct(">I").unpack_from
_BE64 = struct.Struct(">q").unpack_from
_LE16 = struct.Struct("<H").unpack_from
_LE32 = struct.Struct("<I").unpack_from


_Kernel = TypeVar("_Kernel", bound=Callable[..., Any])


def hot(function: _Kernel) -> _Kernel:
    """Mark a kernel function that is to become part of its callers when it is compiled.

    An array is passed as seven numbers, so calling a function of ten arrays for each packet costs more than most
    such functions do. Others are left to the compiler: it takes longer the more it copies.

    Examples
    --------
    >>> @hot
    ... def half(x):
    ...     return x // 2
    >>> is_hot(half), is_hot(be16), half(8)
    (True, False, 4)
    """
    function.hot = True  # type: ignore[attr-defined]
    return function


def is_hot(function: Callable[..., Any]) -> bool:
    """Whether a function is marked."""
    return getattr(function, "hot", False)


def be16(data: Any, at: int) -> int:
    """Unsigned 16 bits, big-endian."""
    return int(_BE16(data, at)[0])


def be32(data: Any, at: int) -> int:
    """Unsigned 32 bits, big-endian."""
    return int(_BE32(data, at)[0])


def be64(data: Any, at: int) -> int:
    """64 bits, big-endian, as a signed integer."""
    return int(_BE64(data, at)[0])


def le16(data: Any, at: int) -> int:
    """Unsigned 16 bits, little-endian."""
    return int(_LE16(data, at)[0])


def le32(data: Any, at: int) -> int:
    """Unsigned 32 bits, little-endian."""
    return int(_LE32(data, at)[0])


def prefetch(_data: Any, _at: int) -> int:
    """Tell the processor that data[at] will be read soon; there need not be such an element."""
    return 0


def sum16(data: Any, at: int, end: int, start: int) -> int:
    """Folded ones' complement sum of data[at:end] and `start` (`wire.checksum.sum16`).

    Examples
    --------
    >>> hex(sum16(bytes.fromhex("ffff0001"), 2, 4, 1))
    '0x2'
    """
    return _sum16(data[at:end], start)


def remainder(data: Any, at: int, end: int) -> int:
    """The big-endian number that data[at:end] spells, modulo PRIME_HIGH * PRIME_LOW.

    Examples
    --------
    >>> remainder(bytes.fromhex("ff0102"), 1, 3)
    258
    """
    return int.from_bytes(data[at:end], "big") % (PRIME_HIGH * PRIME_LOW)
