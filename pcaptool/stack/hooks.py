"""Programs and rules at the hooks of the path: netfilter's, tc's, XDP (net/netfilter, net/sched/cls_*, net/core/dev.c).

Knows: the points of the path, what a scenario wants there, which frame of its kind passes.
Must not know: what a layer does with a verdict; each layer asks at its own point, and nowhere else.

    point         function              sees
    output        nf_inet_local_out     a datagram of this host with its IP header, before it is cut
    postrouting   nf_inet_post_routing  the same, and nothing but ARP escapes it
    tc-egress     sch_handle_egress     a frame with link header, before the queueing discipline and the taps
    xdp           bpf_prog_run_xdp      a frame that came in, before taps, before GRO
    tc-ingress    sch_handle_ingress    a frame that came in, behind the taps
    prerouting    nf_inet_pre_routing   a datagram that came in, piece by piece
    input         nf_inet_local_in      a whole datagram for this host

Leaves out: connection tracking, address translation, marks, sets; programs are what a scenario can say, no bytecode.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

from pcaptool.stack.loss import frame_kinds
from pcaptool.stack.skbuff import ETHERNET_BYTES
from pcaptool.stack.stages import header_names
from pcaptool.stack.tcp.options import encode_options

if TYPE_CHECKING:
    from pcaptool.scenario import Hook
    from pcaptool.stack.skbuff import SkBuff
    from pcaptool.stack.stages import Stages

__all__ = ["STAGE_OF_POINT", "Hooks", "Verdict"]

STAGE_OF_POINT = {
    "output": "nf_inet_local_out",
    "postrouting": "nf_inet_post_routing",
    "tc-egress": "sch_handle_egress",
    "xdp": "bpf_prog_run_xdp",
    "tc-ingress": "sch_handle_ingress",
    "prerouting": "nf_inet_pre_routing",
    "input": "nf_inet_local_in",
}


class Verdict(Enum):
    """What becomes of a frame."""

    PASS = "pass"  # noqa: S105 - no password
    DROP = "drop"
    REDIRECT = "redirect"


@dataclass(slots=True)
class Hooks:
    """The programs of one host.

    Parameters
    ----------
    stages : Stages
        Where a frame's passing is noted.
    programs : tuple of Hook
    """

    stages: Stages
    programs: tuple[Hook, ...] = ()
    _seen: list[int] = field(default_factory=list)
    _points: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self._seen = [0] * len(self.programs)
        self._points = frozenset(program.at for program in self.programs)

    def at(self, point: str) -> bool:
        """Whether anything is there."""
        return point in self._points

    def run(self, point: str, skb: SkBuff, now_ns: int) -> Verdict:
        """All programs of a point, in the scenario's order, until one takes the frame away."""
        if point not in self._points:
            return Verdict.PASS
        self._note(point, skb, now_ns)
        kinds = frame_kinds(skb)
        for index, program in enumerate(self.programs):
            if program.at != point or program.match not in kinds:
                continue
            self._seen[index] += 1
            if program.nth and self._seen[index] not in program.nth:
                continue
            if program.action == "drop":
                self.stages.drop(skb, f"{STAGE_OF_POINT[point]} drop", now_ns)
                return Verdict.DROP
            if program.action == "redirect":
                return Verdict.REDIRECT
            if program.action == "rewrite":
                _rewrite(skb, program)
        return Verdict.PASS

    def _note(self, point: str, skb: SkBuff, now_ns: int) -> None:
        stage = STAGE_OF_POINT[point]
        if stage.startswith("nf_inet"):  # no link header yet, or no more
            headers = header_names(skb).removeprefix("eth:")
            self.stages.pass_packet(skb, stage, now_ns, headers, skb.header_bytes - ETHERNET_BYTES)
        else:
            self.stages.pass_frame(skb, stage, now_ns)

    def unused(self) -> list[str]:
        """Programs that never met their frame, as a person reads them."""
        return [
            f"hook {program.at} {program.match} {', '.join(map(str, missed)) or 'any'}: only {count} such frames passed"
            for program, count in zip(self.programs, self._seen, strict=True)
            if (missed := [n for n in program.nth if n > count]) or not count
        ]


def _rewrite(skb: SkBuff, program: Hook) -> None:
    """Other values in the headers; checksums follow, as a program that does it right sees to."""
    skb.note += f"; rewritten at {program.at}" if skb.note else ""
    if skb.ip is not None:
        ttl = skb.ip.ttl if program.ttl is None else program.ttl
        tos = skb.ip.tos if program.tos is None else program.tos
        skb.ip = replace(skb.ip, ttl=ttl, tos=tos)
    if skb.tcp is not None and program.mss is not None and skb.tcp.options.mss is not None:
        mss = min(program.mss, skb.tcp.options.mss)  # as TCPMSS does: never more
        options = replace(skb.tcp.options, mss=mss)
        skb.tcp = replace(skb.tcp, options=options, option_bytes=encode_options(options))
