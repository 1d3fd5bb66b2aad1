"""Queueing disciplines (net/sched): what may leave the host now, and in which order.

Knows: the interface that the device drives, and the registry of disciplines.
Must not know: what a buffer holds beyond its priority and size.
A discipline is an object of the small interface `Qdisc`, one file each. Those of the registry hold a buffer only while
the device is busy; the modelled device takes a buffer at once, so nothing ever waits in them (fact 86).
"""

from __future__ import annotations

from pcaptool.stack.qdisc.base import Qdisc
from pcaptool.stack.qdisc.noqueue import NoQueue
from pcaptool.stack.qdisc.pfifo_fast import PfifoFast

__all__ = ["QDISCS", "Qdisc"]

QDISCS: dict[str, type[Qdisc]] = {"noqueue": NoQueue, "pfifo_fast": PfifoFast}
