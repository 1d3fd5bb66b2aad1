"""Proof 1: a capture against itself, and against copies that are equal in the relation meant.

Proof 4 is the copy `segmented`: what a segmenting device makes of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.proof.frames import Packets, is_partial, moved, number, pieces, repair

CLIENT, SERVER = bytes((192, 0, 2, 2)), bytes((192, 0, 2, 1))
_NEW = {CLIENT: bytes((10, 0, 0, 9)), SERVER: bytes((10, 0, 0, 1))}
SEGMENT = 536


def itself(packets: Packets) -> Packets:
    return packets


def segmented(packets: Packets) -> Packets:
    return [piece for p in packets for piece in pieces(p, SEGMENT)]


def shifted(packets: Packets) -> Packets:
    return [moved(p, 12_345_678_901) for p in packets]


def skewed(packets: Packets) -> Packets:
    """Another clock: shifted, and 50 parts in a million faster."""
    start = packets[0].sec * 10**9 + packets[0].frac if packets else 0
    return [moved(p, 987_654_321 + (p.sec * 10**9 + p.frac - start) * 50 // 10**6) for p in packets]


def readdressed(packets: Packets) -> Packets:
    """Other addresses for both hosts, in ARP as well."""
    out = []
    for p in packets:
        raw = bytearray(p.raw)
        if raw[12:14] == b"\x08\x06":
            raw[28:32], raw[38:42] = (_NEW.get(bytes(raw[a : a + 4]), raw[a : a + 4]) for a in (28, 38))
            out.append(replace(p, raw=bytes(raw)))
        elif p.is_tcp:
            partial = is_partial(p)
            raw[26:30], raw[30:34] = (_NEW.get(bytes(raw[a : a + 4]), raw[a : a + 4]) for a in (26, 30))
            out.append(repair(replace(p, raw=bytes(raw)), partial=partial))
        else:
            out.append(p)
    return out


def reported(packets: Packets) -> Packets:
    """Another port for each client; where both ends open the connection, neither port is one that nobody chose."""
    out = []
    opened = {p.raw[26:34] for p in packets if p.is_tcp and p.flags & 0x12 == 0x02}
    together = any(ends[4:] + ends[:4] in opened for ends in opened)
    for p in packets:
        if not p.is_tcp or together:
            out.append(p)
            continue
        raw, partial = bytearray(p.raw), is_partial(p)
        at = p.tcp_at if p.raw[26:30] == CLIENT else p.tcp_at + 2
        raw[at : at + 2] = number(p, at, 2, 77)
        out.append(repair(replace(p, raw=bytes(raw)), partial=partial))
    return out


# Copy, and the relations in which it is the same.
COPIES: dict[str, tuple[Callable[[Packets], Packets], tuple[str, ...]]] = {
    "itself": (itself, ("model", "path", "exact")),
    "segmented": (segmented, ("path",)),
    "shifted": (shifted, ("model", "path")),
    "skewed": (skewed, ("path",)),
    "readdressed": (readdressed, ("model",)),
    "reported": (reported, ("model",)),
}
