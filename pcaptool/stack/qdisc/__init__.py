"""Queueing disciplines (net/sched): what may leave the host now, and in which order.

Knows: the registry of disciplines.
Must not know: who drives them (`stack.device`).
A discipline is an object of the small interface `Qdisc` (`base`), made from tc's words (`scenario.queueing`).
"""

from __future__ import annotations

from collections.abc import Callable

from pcaptool.scenario.queueing import QdiscPlan, parse_qdisc
from pcaptool.stack.qdisc.base import NetXmit, Qdisc, Surroundings, packet_bytes
from pcaptool.stack.qdisc.fifo import Bfifo, Pfifo, PfifoFast
from pcaptool.stack.qdisc.fq import Fq
from pcaptool.stack.qdisc.fq_codel import FqCodel
from pcaptool.stack.qdisc.netem import Netem
from pcaptool.stack.qdisc.noqueue import NoQueue
from pcaptool.stack.qdisc.tbf import Tbf

__all__ = ["QDISCS", "NetXmit", "Qdisc", "Surroundings", "make_qdisc", "packet_bytes"]

QDISCS: dict[str, Callable[[QdiscPlan, Surroundings], Qdisc]] = {
    "noqueue": NoQueue,
    "pfifo": Pfifo,
    "bfifo": Bfifo,
    "pfifo_fast": PfifoFast,
    "tbf": Tbf,
    "fq": Fq,
    "fq_codel": FqCodel,
    "netem": Netem,
}


def make_qdisc(words: str, around: Surroundings) -> Qdisc:
    """The discipline that tc's words name.

    Examples
    --------
    >>> from random import Random
    >>> from pcaptool.stack.skbuff import SkBuffIds
    >>> around = Surroundings(1500, Random(1), SkBuffIds(), lambda *_: None)
    >>> make_qdisc("tbf rate 1mbit burst 2kb latency 1s", around).limit_bytes
    127048
    """
    plan = parse_qdisc(words)
    return QDISCS[plan.name](plan, around)
