"""Seeded randomness: one independent stream for each purpose.

Knows: a seed and names.
Must not know: what is drawn.
Each named stream depends on the seed and its name alone, so that a new draw in one place changes no other.
"""

from __future__ import annotations

from hashlib import blake2b
from random import Random

__all__ = ["Chance"]


class Chance:
    """Named random streams of one run.

    Parameters
    ----------
    seed : int

    Examples
    --------
    >>> Chance(7).stream("isn").getrandbits(32) == Chance(7).stream("isn").getrandbits(32)
    True
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._streams: dict[str, Random] = {}

    def stream(self, name: str) -> Random:
        """The stream of that name; the same object at each call."""
        if name not in self._streams:
            self._streams[name] = Random(self.keyed(name, size=16))  # noqa: S311 - a simulation, no secrets
        return self._streams[name]

    def keyed(self, *parts: object, size: int = 8) -> int:
        """A number that depends on the seed and the parts: the kernel's keyed hashes (secure_tcp_seq)."""
        text = "\0".join(map(str, (self.seed, *parts)))
        return int.from_bytes(blake2b(text.encode(), digest_size=size).digest(), "big")
