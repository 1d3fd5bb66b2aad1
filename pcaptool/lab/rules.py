"""What the relay does with each frame: the scenario's losses, delays, rate and queue, without I/O.

Knows: the scenario's link.
Must not know: TAP devices, clocks (the time is handed in).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from pcaptool.lab.frames import frame_kinds
from pcaptool.scenario import Drop, Late, Link

__all__ = ["Direction"]


@dataclass(slots=True)
class Direction:
    r"""One direction of the link.

    Parameters
    ----------
    link : Link
    name : str
        "server-to-client" or "client-to-server".
    seed : int
        Of random losses.

    Examples
    --------
    >>> way = Direction(Link(delay_ns=5), "server-to-client")
    >>> way.arrival_ns(bytes(12) + b"\x08\x06" + bytes(28), 100)
    105
    """

    link: Link
    name: str
    seed: int = 0
    _seen: list[int] = field(default_factory=list)
    _free_ns: int = 0
    _chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._chance = random.Random(f"{self.seed} {self.name}")  # noqa: S311 - no secret

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
        if link.loss_ppm and self._chance.randrange(1_000_000) < link.loss_ppm:
            lost = True
        taken_ns = max(link.spacing_ns, len(frame) * 8 * 10**9 // link.rate_bps if link.rate_bps else 0)
        if link.queue_packets and self._free_ns - now_ns > link.queue_packets * taken_ns:
            lost = True
        if lost:
            return None
        self._free_ns = max(now_ns, self._free_ns) + taken_ns
        return self._free_ns + link.delay_ns + late_ns
