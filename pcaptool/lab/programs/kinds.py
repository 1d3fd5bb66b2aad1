"""What a program of the laboratory is.

Knows: the two interfaces, and what several programs share: the answers to the paths of a scenario.
Must not know: any program.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcaptool.scenario import Scenario, find_route

__all__ = ["ClientProgram", "ServerProgram", "answers", "url"]


def _nothing() -> str:
    return ""


def _no_check() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProgram:
    """A server that can be started.

    Parameters
    ----------
    needs : tuple of str
        Programs that must be installed.
    command : callable
        From the scenario, the scenario's file and an empty folder to the command.
    version : callable
        What it tells in its Server field; "" where it tells none.
    check : callable
        Raises SystemRefusedError where something beside `needs` is missing.
    """

    needs: tuple[str, ...]
    command: Callable[[Scenario, Path, Path], list[str]]
    version: Callable[[], str] = _nothing
    check: Callable[[], None] = _no_check


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientProgram:
    """A client that can be started.

    Parameters
    ----------
    needs : tuple of str
        Programs that must be installed.
    commands : callable
        From the scenario, its file and the seconds that it may take to the commands, one a process, each with the
        nanoseconds after which it is started.
    read : callable
        From what a process printed to what it says.
    version : callable
        What it tells in its User-Agent field; "" where it tells none.
    """

    needs: tuple[str, ...]
    commands: Callable[[Scenario, Path, float], list[tuple[int, list[str]]]]
    read: Callable[[str], list[dict[str, Any]]]
    version: Callable[[], str] = _nothing


def answers(plan: Scenario) -> dict[str, dict[str, Any]]:
    """What the server answers to each path that the client asks for.

    Examples
    --------
    >>> answers(Scenario())
    {'/bytes/1024': {'bytes': 1024, 'text': None, 'status': 200, 'reason': 'OK', 'think_ms': 0.0}}
    """
    out = {}
    for request in plan.client.requests:
        found = find_route(plan.server, request.path)
        if found is None:
            continue
        route, size = found
        status, _, reason = route.status.partition(" ")
        out[request.path] = {
            "bytes": size,
            "text": route.body,
            "status": int(status),
            "reason": reason,
            "think_ms": route.think_time_ns / 1e6,
        }
    return out


def url(plan: Scenario, path: str) -> str:
    """A path as a URL.

    Examples
    --------
    >>> url(Scenario(family=6), "/x")
    'http://[2001:db8::1]/x'
    """
    return f"http://{plan.authority}{path}"
