"""What the relay does with each frame: the scenario's losses, delays, rate and queue, without I/O.

Knows: kinds of frames from their bytes; the scenario's link.
Must not know: TAP devices, clocks (the time is handed in).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from pcaptool.scenario import Drop, Late, Link

__all__ = ["Direction", "frame_kinds"]

_SYN, _RST, _FIN, _ACK = 2, 4, 1, 16


def frame_kinds(frame: bytes) -> frozenset[str]:
    r"""The kinds that a frame belongs to, in the scenario's words.

    Examples
    --------
    >>> sorted(frame_kinds(bytes(12) + b"\x08\x06" + bytes(28)))
    ['any', 'other']
    """
    (ethertype,) = struct.unpack_from("!H", frame, 12)
    if ethertype == 0x0800 and frame[23] == 6:
        tcp, end = 14 + (frame[14] & 15) * 4, 14 + struct.unpack_from("!H", frame, 16)[0]
    elif ethertype == 0x86DD and frame[20] == 6:
        tcp, end = 54, 54 + struct.unpack_from("!H", frame, 18)[0]
    else:
        return frozenset({"any", "other"})
    flags, size = frame[tcp + 13], end - tcp - (frame[tcp + 12] >> 4) * 4
    kinds = {"any", "tcp"}
    if flags & _SYN:
        kinds.add("synack" if flags & _ACK else "syn")
    if size:
        kinds.add("data")
    if flags & _FIN:
        kinds.add("fin")
    if flags & _RST:
        kinds.add("rst")
    if not size and not flags & (_SYN | _FIN | _RST):
        kinds.add("ack")
    return frozenset(kinds)


@dataclass(slots=True)
class Direction:
    r"""One direction of the link.

    Parameters
    ----------
    link : Link
    name : str
        "server-to-client" or "client-to-server".

    Examples
    --------
    >>> way = Direction(Link(delay_ns=5), "server-to-client")
    >>> way.arrival_ns(bytes(12) + b"\x08\x06" + bytes(28), 100)
    105
    """

    link: Link
    name: str
    _seen: list[int] = field(default_factory=list)
    _free_ns: int = 0

    def arrival_ns(self, frame: bytes, now_ns: int) -> int | None:
        """When a frame that was sent now arrives; None where it is lost."""
        link, kinds, late_ns, lost = self.link, frame_kinds(frame), 0, False
        rules: tuple[Drop | Late, ...] = (*link.drops, *link.late)
        self._seen = self._seen or [0] * len(rules)
        for index, rule in enumerate(rules):
            if rule.direction == self.name and rule.match in kinds:
                self._seen[index] += 1
                if self._seen[index] in rule.nth:
                    if isinstance(rule, Late):
                        late_ns += rule.extra_ns
                    else:
                        lost = True
        taken_ns = max(link.spacing_ns, len(frame) * 8 * 10**9 // link.rate_bps if link.rate_bps else 0)
        if link.queue_packets and self._free_ns - now_ns > link.queue_packets * taken_ns:
            lost = True
        if lost:
            return None
        self._free_ns = max(now_ns, self._free_ns) + taken_ns
        return self._free_ns + link.delay_ns + late_ns
