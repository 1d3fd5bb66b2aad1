"""What a scenario can say and the modelled stack cannot do (yet).

Knows: one table, key by key. Who teaches the stack something removes or widens its line here.
Must not know: how the stack works.

A scenario that asks for more is refused, not run as if it had asked for less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pcaptool.scenario.keys import walk
from pcaptool.scenario.kinds import Kind, shown
from pcaptool.scenario.model import Scenario

__all__ = ["CAPABILITIES", "Capability", "lacking"]


@dataclass(frozen=True, slots=True)
class Capability:
    """What the model does of one key.

    Parameters
    ----------
    key : str
        The key, or array of tables, without indices; "host.*" stands for both hosts.
    can : callable
        Whether the model can do a value (the model's value: nanoseconds, tuples).
    says : str
        What the refusal says; "{value}" stands for the value.
    """

    key: str
    can: Callable[[Any], bool]
    says: str


def _only(key: str, *values: object) -> Capability:
    words = ", ".join("not given" if v is None else shown(v) for v in values)
    return Capability(
        key, values.__contains__, f"{{value}} is not available in the modelled stack yet (available: {words})"
    )


CAPABILITIES: tuple[Capability, ...] = (
    _only("client.program", "reference", "curl"),
    _only("host.*.tcp_recovery", 1, 3, 5, 7),
    _only("host.*.tcp_notsent_lowat", 4294967295),
    _only("host.*.tcp_pingpong_thresh", 1),
    _only("host.*.wmem_max", 4194304),
)


def lacking(scenario: Scenario) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What the model cannot do of a scenario: (place, sentence); empty where it can do everything.

    Examples
    --------
    >>> from pcaptool.scenario import Host, Hosts
    >>> list(lacking(Scenario(host=Hosts(server=Host(tcp_recovery=0)))))
    [(('host', 'server', 'tcp_recovery'), '0 is not available in the modelled stack yet (available: 1, 3, 5, 7)')]
    """
    table = {c.key: c for c in CAPABILITIES}
    for path, k in walk(scenario):
        capability = table.get(_pattern(path)) or table.get(_pattern(path[:-1]))
        if capability is not None and not capability.can(k.default):
            value = k.kind.write(k.default) if isinstance(k.kind, Kind) else ""
            place = path if capability.key == _pattern(path) else path[:-1]
            yield place, capability.says.format(value=value)


def _pattern(path: tuple[str | int, ...]) -> str:
    words = [p for p in path if isinstance(p, str)]
    if words[:1] == ["host"]:
        words[1:2] = ["*"]
    return ".".join(words)
