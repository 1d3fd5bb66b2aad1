"""Texts of addresses and of layer paths, for the numbers that kernels give them.

Knows: the tables of `kernels.names`, and how a key is written. Must not know: packets.
Lists of words only grow, so columns of several batches share one list; when it has become long a new one is
begun between two batches. Memory is bounded by the words one batch can add.
"""

from __future__ import annotations

import random
import socket
from typing import Any

import numpy as np

from pcaptool.decode.kernels.codes import F_IPV4, F_MAC
from pcaptool.decode.layers import LAYER_BITS, LAYER_NAMES

__all__ = ["Dictionary", "address_text", "path_text"]

_RENEW_AFTER = 65_536


def address_text(high: int, low: int, family: int) -> str:
    """An address as Wireshark writes it.

    Examples
    --------
    >>> address_text(0, 0xC0000201, F_IPV4), address_text(0x20010DB8 << 32, 1, 6)
    ('192.0.2.1', '2001:db8::1')
    >>> address_text(0, 0x020000000001, F_MAC)
    '02:00:00:00:00:01'
    """
    if family == F_IPV4:
        return f"{low >> 24}.{low >> 16 & 255}.{low >> 8 & 255}.{low & 255}"
    if family == F_MAC:
        return low.to_bytes(6, "big").hex(":")
    raw = high.to_bytes(8, "big", signed=True) + low.to_bytes(8, "big", signed=True)
    return socket.inet_ntop(socket.AF_INET6, raw)


def path_text(high: int, low: int, _family: int) -> str:
    """Names of layers from the outside, colon-separated.

    Examples
    --------
    >>> path_text(0, 1 << 12 | 4 << 6 | 6, 0)
    'eth:ip:tcp'
    """
    value = high << 60 | low
    names: list[str] = []
    while value:
        names.append(LAYER_NAMES[value & ((1 << LAYER_BITS) - 1)])
        value >>= LAYER_BITS
    return ":".join(reversed(names))


class Dictionary:
    """Numbers and their texts.

    Parameters
    ----------
    text : callable
        Key to text.
    room : int
        Keys that one batch may add.

    Attributes
    ----------
    table : tuple of arrays
        keys, slots, counts of `kernels.names.number_of`.
    words : list of str
        Text of each number; `refresh` brings it up to date.
    """

    def __init__(self, text: Any, room: int) -> None:
        self._text = text
        self._capacity = _RENEW_AFTER + room
        self._generator = random.SystemRandom()
        self.words: list[str] = []
        self.table = self._fresh()

    def _fresh(self) -> tuple[Any, ...]:
        seeds = [self._generator.getrandbits(30) << 1 | 1 for _ in range(3)]
        slots = 1 << (2 * self._capacity - 1).bit_length()
        return (
            np.zeros((self._capacity, 3), np.int64),
            np.zeros(slots, np.int32),
            np.array([0, *seeds], np.int64),
        )

    def begin_batch(self) -> None:
        """Make room; later columns may get another list of words."""
        if len(self.words) > _RENEW_AFTER:
            self.words = []
            self.table = self._fresh()

    def refresh(self) -> list[str]:
        """The words of all numbers given so far."""
        keys, _, counts = self.table
        for high, low, family in keys[len(self.words) : int(counts[0])].tolist():
            self.words.append(self._text(high, low, family))
        return self.words
