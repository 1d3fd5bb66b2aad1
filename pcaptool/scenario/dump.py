"""A `Scenario` to TOML text that reads back as the same scenario.

Knows: how the model's values are written (each key's kind), in which order tables stand.
Must not know: files.
"""

from __future__ import annotations

from collections.abc import Iterator

from pcaptool.scenario.keys import Key, Section, Sections, keys_of
from pcaptool.scenario.model import Scenario

__all__ = ["dump_scenario"]


def dump_scenario(scenario: Scenario, *, full: bool = False) -> str:
    """The TOML text of a scenario.

    Parameters
    ----------
    full : bool
        Write every key; else only those that differ from their defaults.

    Examples
    --------
    >>> from pcaptool.scenario.model import Link
    >>> print(dump_scenario(Scenario(seed=7, link=Link(delay_ns=500_000))), end="")
    seed = 7
    <BLANKLINE>
    [link]
    delay_ms = 0.5
    """
    return "".join(f"{line}\n" for line in _tables(scenario, Scenario(), "", full)).lstrip("\n")


def _tables(model: object, defaults: object, path: str, full: bool) -> Iterator[str]:
    """Lines of a table: its own keys first, then the tables in it."""
    pairs = list(zip(keys_of(model), keys_of(defaults), strict=True))
    for k, standard in pairs:
        if not isinstance(k.kind, Section | Sections) and k.default is not None:
            if full or k.default != standard.default:
                yield f"{k.name} = {k.kind.write(k.default)}"
        elif isinstance(k.kind, Sections) and not k.default and standard.default:
            yield f"{k.name} = []"
    for k, standard in pairs:
        if isinstance(k.kind, Section | Sections) and (full or k.default != standard.default):
            yield from _nested(k, standard, f"{path}{k.name}", full)


def _nested(k: Key, standard: Key, path: str, full: bool) -> Iterator[str]:
    if isinstance(k.kind, Section):
        lines = list(_tables(k.default, standard.default, f"{path}.", full))
        if lines and not lines[0].startswith(("\n[", "[")) and lines[0]:
            yield from ("", f"[{path}]")
        yield from lines
    elif isinstance(k.kind, Sections):
        for element in k.default:
            yield from ("", f"[[{path}]]")
            yield from _tables(element, k.kind.of(), f"{path}.", full)
