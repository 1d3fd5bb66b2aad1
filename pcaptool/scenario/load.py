"""A scenario file to a `Scenario`, with every fault named by file, line and key.

Knows: TOML tables against the model's keys; unknown keys, wrong types, impossible values.
Must not know: which keys fit together (`checks`), or what the modelled stack can do (`capabilities`).
"""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from pcaptool.errors import ScenarioError, printable
from pcaptool.scenario.capabilities import lacking
from pcaptool.scenario.checks import contradictions
from pcaptool.scenario.costs import Costs
from pcaptool.scenario.keys import Key, Section, Sections, keys_of
from pcaptool.scenario.kinds import Refused
from pcaptool.scenario.lines import find_lines
from pcaptool.scenario.model import Scenario

__all__ = ["dotted", "load_costs", "load_scenario", "parse_scenario"]

_MAX_BYTES = 1_000_000
_MAX_TABLES = 10_000  # elements of one array of tables
_T = TypeVar("_T")
_Path = tuple[str | int, ...]


def load_scenario(path: str | Path, *, model: bool = True) -> Scenario:
    """Read a scenario file.

    Parameters
    ----------
    path : str or Path
        A TOML file.
    model : bool
        Refuse what the modelled stack cannot do yet. False: everything a scenario can say (the laboratory
        on a real kernel can do more than the model).

    Returns
    -------
    Scenario
        Complete, with defaults; its keys fit together.

    Raises
    ------
    ScenarioError
        With file, line and key. Also for a file that cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ScenarioError(f"cannot read the scenario: {error.strerror}", path=path) from error
    if len(data) > _MAX_BYTES:
        raise ScenarioError(f"a scenario has at most {_MAX_BYTES} bytes", path=path)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ScenarioError(
            "not UTF-8 text", path=path, offset=error.start, hint="a scenario is a TOML file"
        ) from error
    return parse_scenario(text, str(path), model=model)


def load_costs(path: str | Path) -> Costs:
    """Read a file that holds `[costs]` alone, as `pcaptool lab calibrate` writes it.

    Parameters
    ----------
    path : str or Path
        A TOML file.

    Raises
    ------
    ScenarioError
        With file, line and key; also where it holds anything but costs.
    """
    scenario = load_scenario(path, model=False)
    if scenario != replace(Scenario(), costs=scenario.costs):
        raise ScenarioError(
            "a costs file holds [costs] alone", path=path, hint="the rest belongs to a scenario"
        )
    return scenario.costs


def parse_scenario(text: str, name: str = "scenario", *, model: bool = True) -> Scenario:
    r"""Read a scenario from TOML text; `name` stands for the file in messages.

    Examples
    --------
    >>> parse_scenario('client.requests = ["/bytes/0"]').client.requests
    (Request(method='GET', path='/bytes/0'),)
    >>> parse_scenario('[[server.route]]\nwrite = "ones"', "x.toml")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    pcaptool.errors.ScenarioError: x.toml: line 2: server.route[0].write: 'ones' is not one of one, ...
    """
    try:
        raw = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(text, name, str(error)) from None
    except RecursionError:
        raise ScenarioError("not a scenario: nested too deeply", path=name) from None
    reader = _Reader(name, find_lines(text))
    scenario = reader.table(Scenario(), raw, ())
    for place, what in contradictions(scenario):
        raise reader.fault(place, what)
    for place, what in lacking(scenario) if model else ():
        raise reader.fault(place, what)
    return scenario


def dotted(path: _Path) -> str:
    """A place as people write it.

    Examples
    --------
    >>> dotted(("server", "route", 0, "write"))
    'server.route[0].write'
    """
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).removeprefix(".")


def _syntax_error(text: str, name: str, message: str) -> ScenarioError:
    place = re.search(r"\(at line (\d+), column (\d+)\)", message)
    line = int(place.group(1)) if place else text.count("\n") + 1
    what = re.sub(r"\s*\(at .*\)$", "", message)
    column = f", column {place.group(2)}" if place else ""
    return ScenarioError(f"not valid TOML{column}: {printable(what)}", path=name, line=line)


class _Reader:
    """Turns loaded tables into the model; knows the lines for the faults."""

    def __init__(self, name: str, lines: dict[_Path, int]) -> None:
        self.name = name
        self.lines = lines

    def fault(self, path: _Path, what: str, hint: str | None = None) -> ScenarioError:
        """The error for a place: the line of the key, or of the nearest table around it."""
        line = next((self.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.lines), None)
        place = f"{printable(dotted(path))}: " if path else ""
        return ScenarioError(f"{place}{what}", path=self.name, line=line, hint=hint)

    def table(self, defaults: _T, raw: Any, path: _Path) -> _T:
        """A model of the defaults' class; keys that are not given keep the defaults' values."""
        if not isinstance(raw, dict):
            raise self.fault(path, "must be a table")
        keys = {k.name: k for k in keys_of(defaults)}
        given = {}
        for name, value in raw.items():
            if name not in keys:
                raise self._unknown(name, list(keys), path)
            k = keys[name]
            given[k.field] = self._value(k, value, (*path, name))
        return replace(defaults, **given)  # type: ignore[type-var] # each model is a dataclass

    def _value(self, k: Key, raw: Any, path: _Path) -> Any:
        match k.kind:
            case Section():
                return self.table(k.default, raw, path)
            case Sections(of):
                if not isinstance(raw, list) or len(raw) > _MAX_TABLES:
                    raise self.fault(path, f"must be an array of tables: [[{dotted(path)}]]")
                return tuple(self.table(of(), item, (*path, i)) for i, item in enumerate(raw))
            case kind:
                try:
                    return kind.read(raw)
                except Refused as refused:
                    raise self.fault(path, str(refused)) from None

    def _unknown(self, name: str, known: list[str], path: _Path) -> ScenarioError:
        near = difflib.get_close_matches(name, known, 1, cutoff=0.6)
        hint = f"did you mean {near[0]}?" if near else f"keys here: {', '.join(known)}"
        return self.fault((*path, name), "unknown key", hint)
