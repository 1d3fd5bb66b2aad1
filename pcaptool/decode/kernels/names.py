"""Kernel: distinct keys to small numbers, in order of appearance.

Knows: an open hash table. A key is two 64-bit integers and a family; its number indexes a list of texts that is
made outside. `seeds` are random, so nobody can choose addresses that all fall into one place.
"""

from __future__ import annotations

from typing import Any

from pcaptool.engine.loads import hot

__all__ = ["number_of"]


@hot
def number_of(high: int, low: int, family: int, keys: Any, slots: Any, counts: Any) -> int:
    """The number of a key; a new one is entered.

    Parameters
    ----------
    keys : (capacity, 3) int64 array
        The caller sees to it that there is room.
    slots : int32 array
        Number + 1, or 0; a power of two, at least twice the capacity.
    counts : (4,) int64 array
        Keys entered; three odd random seeds below 2**31.
    """
    mask = len(slots) - 1
    h = low * counts[1] + (high ^ family) * counts[2]
    h ^= h >> 32
    at = (((h & 0xFFFFFFFF) * counts[3]) >> 15) & mask
    while True:
        known: int = slots[at]
        if known == 0:
            break
        if keys[known - 1, 1] == low and keys[known - 1, 0] == high and keys[known - 1, 2] == family:
            return known - 1
        at = (at + 1) & mask
    number: int = counts[0]
    keys[number, 0] = high
    keys[number, 1] = low
    keys[number, 2] = family
    slots[at] = number + 1
    counts[0] = number + 1
    return number
