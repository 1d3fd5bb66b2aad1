"""Fragments to datagrams (RFC 791 section 3.2, RFC 8200 section 4.5).

Knows: what belongs together, when a datagram is whole, what may be held. Must not know: columns.

Where fragments overlap, those with the lower offset win, as in Wireshark, and what reaches beyond the end is cut
off. A datagram is given up if its fragments reach beyond 65,535 bytes, contradict each other about its end, or
do not make it whole in TRIES tries although they hold enough bytes.
Memory: at most HOLD_BYTES and HOLD_DATAGRAMS, the oldest goes first. Time: O(log fragments) a fragment on average.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["HOLD_BYTES", "HOLD_DATAGRAMS", "Fragment", "Reassembler"]

HOLD_BYTES = 16 << 20
HOLD_DATAGRAMS = 4096
TRIES = 16
_LONGEST = 65_535


@dataclass(frozen=True, slots=True)
class Fragment:
    """One fragment.

    Parameters
    ----------
    key : bytes
        Addresses, identification and, for IPv4, protocol.
    offset : int
        Of its first byte in the datagram.
    more : bool
        Whether further ones follow it.
    data : bytes
        All of its payload.
    protocol : int
        Protocol of the datagram, as the fragment at offset 0 says it.
    """

    key: bytes
    offset: int
    more: bool
    data: bytes
    protocol: int


@dataclass(slots=True)
class _Partial:
    parts: dict[tuple[int, int], bytes] = field(default_factory=dict)
    have: int = 0
    tries: int = 0
    total: int = -1
    protocol: int = -1


class Reassembler:
    """Holds fragments until their datagram is whole.

    Examples
    --------
    >>> hold = Reassembler()
    >>> hold.push(Fragment(b"k", 8, False, b"rest", 17))
    >>> hold.push(Fragment(b"k", 0, True, b"8 bytes.", 17))
    (17, b'8 bytes.rest')
    """

    def __init__(self) -> None:
        self._partial: dict[bytes, _Partial] = {}
        self._bytes = 0

    def push(self, fragment: Fragment) -> tuple[int, bytes] | None:
        """Protocol and payload of the datagram that this fragment completes, if it does."""
        partial = self._partial.get(fragment.key)
        if partial is None:
            partial = self._partial[fragment.key] = _Partial()
        end = fragment.offset + len(fragment.data)
        wrong_end = not fragment.more and partial.total not in (-1, end)
        if end > _LONGEST or wrong_end:
            self._drop(fragment.key)
            return None
        if fragment.offset == 0:
            partial.protocol = fragment.protocol
        if not fragment.more:
            partial.total = end
        place = (fragment.offset, len(fragment.data))
        if place not in partial.parts and fragment.data:
            partial.parts[place] = fragment.data
            partial.have += len(fragment.data)
            self._bytes += len(fragment.data)
        self._bound()
        if partial.total < 0 or partial.have < partial.total or partial.protocol < 0:
            return None
        whole = _assembled(partial)
        partial.tries += 1
        if whole is not None or partial.tries >= TRIES:
            self._drop(fragment.key)
        return None if whole is None else (partial.protocol, whole)

    def _drop(self, key: bytes) -> None:
        partial = self._partial.pop(key, None)
        if partial is not None:
            self._bytes -= partial.have

    def _bound(self) -> None:
        while self._bytes > HOLD_BYTES or len(self._partial) > HOLD_DATAGRAMS:
            self._drop(next(iter(self._partial)))


def _assembled(partial: _Partial) -> bytes | None:
    """The datagram's payload, None if a byte is missing."""
    out = bytearray()
    for (offset, _), data in sorted(partial.parts.items()):
        if offset > len(out):
            return None
        out += data[len(out) - offset :]
    return bytes(out[: partial.total]) if len(out) >= partial.total else None
