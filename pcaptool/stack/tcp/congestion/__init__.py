"""Congestion controls: how much may be in flight, and how fast (struct tcp_congestion_ops).

Knows: the registry of controls; each is one file with one class of the interface `CongestionControl`.
Must not know: anything of the connection beyond its window, round trip and delivery counters.

    base     the interface, slow start and the additive increase that Reno and CUBIC share
    reno     RFC 5681
    cubic    RFC 9438, with HyStart
    bbr      BBR version 1
"""

from __future__ import annotations

from pcaptool.stack.tcp.congestion.base import CongestionControl
from pcaptool.stack.tcp.congestion.bbr import Bbr
from pcaptool.stack.tcp.congestion.cubic import Cubic
from pcaptool.stack.tcp.congestion.reno import Reno

__all__ = ["CONTROLS", "Bbr", "CongestionControl", "Cubic", "Reno"]

CONTROLS: dict[str, type[CongestionControl]] = {"reno": Reno, "cubic": Cubic, "bbr": Bbr}
