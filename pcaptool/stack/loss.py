"""Losses and delays of single frames: exact ones, as the scenario counts them, and random ones, by its seed.

Knows: which kinds a frame belongs to, and which frame of its kind it is.
Must not know: where on the way a frame is lost (`device`: on a delayed link before the receiver's tap, between two
namespaces behind it, as nftables' ingress hook does).
A super-packet counts as one frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from pcaptool.scenario import Drop, Late
from pcaptool.stack.skbuff import SkBuff
from pcaptool.wire.tcp import TcpFlag

__all__ = ["ARRIVES", "Fate", "FrameRules", "frame_kinds"]

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Fate:
    """What the link does with a frame."""

    lost: bool = False
    extra_ns: int = 0


ARRIVES = Fate()


def frame_kinds(skb: SkBuff) -> set[str]:
    """The kinds that a frame belongs to, in the scenario's words.

    Examples
    --------
    >>> sorted(frame_kinds(SkBuff(1, 1)))
    ['any', 'other']
    """
    if skb.tcp is None:
        return {"any", "other"}
    flags, kinds = skb.tcp.flags, {"any", "tcp"}
    if flags & TcpFlag.SYN:
        kinds.add("synack" if flags & TcpFlag.ACK else "syn")
    if skb.length:
        kinds.add("data")
    if flags & TcpFlag.FIN:
        kinds.add("fin")
    if flags & TcpFlag.RST:
        kinds.add("rst")
    if not skb.length and not flags & (TcpFlag.SYN | TcpFlag.FIN | TcpFlag.RST):
        kinds.add("ack")
    return kinds


@dataclass(slots=True)
class FrameRules:
    """The rules of one direction.

    Parameters
    ----------
    rules : sequence of Drop or Late
        Those of this direction.
    loss_ppm : int
        Frames of a million that are lost at random.
    chance : Random, optional
        Where that chance comes from.
    """

    rules: tuple[Drop | Late, ...] = ()
    loss_ppm: int = 0
    chance: Random | None = None
    _seen: list[int] = field(default_factory=list)

    @property
    def counts(self) -> bool:
        """Whether anything may happen to a frame at all."""
        return bool(self.rules) or self.loss_ppm > 0

    def judge(self, skb: SkBuff) -> Fate:
        """Count a frame and say what happens to it."""
        lost = (
            bool(self.loss_ppm) and self.chance is not None and self.chance.randrange(MILLION) < self.loss_ppm
        )
        if not self.rules:
            return Fate(lost) if lost else ARRIVES
        if not self._seen:
            self._seen = [0] * len(self.rules)
        kinds, extra_ns = frame_kinds(skb), 0
        for index, rule in enumerate(self.rules):
            if rule.match not in kinds:
                continue
            self._seen[index] += 1
            if self._seen[index] in rule.nth:
                if isinstance(rule, Late):
                    extra_ns += rule.extra_ns
                else:
                    lost = True
        return Fate(lost, extra_ns)

    def unused(self) -> list[str]:
        """Rules that never met their frame, as a person reads them."""
        seen = self._seen or [0] * len(self.rules)
        return [
            f"{'late' if isinstance(rule, Late) else 'drop'} {rule.direction} {rule.match}"
            f" {', '.join(map(str, missed))}: only {count} such frames passed"
            for rule, count in zip(self.rules, seen, strict=True)
            if (missed := [n for n in rule.nth if n > count])
        ]
