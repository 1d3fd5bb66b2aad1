"""Which link addresses the server knew before the capture began.

Knows: that a frame to somebody whose address nobody told in the capture went to an address that was known, and that
a capture without any such message was filtered (`tcpdump tcp port 80`), or taken where there are none (on loopback).
Must not know: states of the neighbour cache (`stack.neighbour`).
Leaves out: how old an entry was.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pcaptool.predict.observe import Frame, Observation
from pcaptool.stack.resolution import RESOLUTIONS

__all__ = ["Known", "known_neighbours"]


class Known(NamedTuple):
    """An entry of the cache; a permanent one is never asked for."""

    address: bytes
    mac: bytes
    permanent: bool


def known_neighbours(seen: Observation) -> list[Known]:
    """The entries that the server's frames to its clients show.

    Examples
    --------
    >>> from pcaptool.predict.observe import observe
    >>> known_neighbours(observe("fixtures/captures/lab/size-1.server.pcap"))  # the client asked first
    []
    """
    told = list(_told(seen.to_server, len(seen.server)))
    found: dict[bytes, Known] = {}
    for connection in sorted(seen.connections, key=lambda each: each.from_server[0].time_ns):
        first, address = connection.from_server[0], connection.client[0]
        if address in found or any(who == address and at <= first.time_ns for who, at in told):
            continue
        found[address] = Known(address, first.skb.destination_mac, permanent=not told)
    return list(found.values())


def _told(frames: list[Frame], address_bytes: int) -> Iterator[tuple[bytes, int]]:
    """Whose address a message told, and when."""
    way = RESOLUTIONS[address_bytes]
    for frame in frames:
        skb = frame.skb
        if skb.tcp is None and skb.ip is None and skb.ethertype == way.ethertype:
            lesson = way.read(skb.payload)
            if lesson is not None:
                yield lesson.address, frame.time_ns
