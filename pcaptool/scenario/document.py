"""The page about scenario files, made from the model's keys.

Knows: how a table of keys is laid out in Markdown.
Must not know: any key.

`make docs` writes the page to docs/scenario.md; a test compares it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from pcaptool.scenario.capabilities import CAPABILITIES
from pcaptool.scenario.keys import Key, Section, Sections, keys_of
from pcaptool.scenario.kinds import Kind
from pcaptool.scenario.model import Scenario

__all__ = ["scenario_page"]

_INTRODUCTION = """\
# Scenario files

Made by `make docs` from the keys in `pcaptool/scenario/`; a test compares it. Do not edit.

A scenario says what to run: two programs (server and client), two hosts, one link. It is a TOML file; every
key has a default, so the empty file is a scenario, too: one request for 1,024 bytes over a veth-like link.

    [client]
    requests = ["/bytes/0", "/bytes/10240"]

    [host.server]
    mtu = 9000

* Times are given in milliseconds (`_ms`), with a decimal fraction where needed, down to a nanosecond.
* Sysctls have the kernel's names and defaults (Linux 6.18), offloads ethtool's, queueing disciplines tc's.
* An unknown key, a wrong type, an impossible value and keys that contradict each other are refused with file,
  line, key and what is allowed. So is what the modelled stack cannot do yet ([below](#not-available-yet)):
  nothing is ignored.
* The same scenario and seed give the same bytes.
"""


def scenario_page() -> str:
    """The whole page as Markdown."""
    lines = [_INTRODUCTION, "## Top level", "", *_table(Scenario()), *_sections(Scenario(), "")]
    lines += ["## Not available yet", "", "What can be said, but not be run by the modelled stack:", ""]
    lines += [f"* `{c.key}`: {_gist(c.says)}" for c in CAPABILITIES]
    return "\n".join(lines) + "\n"


def _gist(says: str) -> str:
    """The list's form of a refusal."""
    return says.removeprefix("{value} is not available in the modelled stack yet ").strip("()")


def _sections(model: object, path: str) -> Iterator[str]:
    for k in keys_of(model):
        if isinstance(k.kind, Section):
            yield from _section(k, k.default, f"[{path}{k.name}]")
            yield from _sections(k.default, f"{path}{k.name}.")
        elif isinstance(k.kind, Sections):
            yield from _section(k, k.kind.of(), f"[[{path}{k.name}]]")


def _section(k: Key, model: object, header: str) -> Iterator[str]:
    table = list(_table(model))
    yield from (f"## {header}", "", k.doc, "")
    yield from table


def _table(model: object) -> Iterator[str]:
    """The plain keys of one table; nothing where there are none."""
    rows = [_row(k) for k in keys_of(model) if isinstance(k.kind, Kind)]
    if rows:
        yield from ("| key | default | allowed | meaning |", "| --- | --- | --- | --- |", *rows, "")


def _row(k: Key) -> str:
    if not isinstance(k.kind, Kind):
        raise TypeError(k.name)
    default = "" if k.default is None else f"`{k.kind.write(k.default)}`"
    cells = (f"`{k.name}`", default, k.kind.allowed, k.doc)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    sys.stdout.write(scenario_page())
