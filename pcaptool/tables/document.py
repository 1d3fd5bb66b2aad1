"""The page about the tables of a report, made from their definitions.

Knows: how a table's columns are laid out in Markdown. Must not know: any table.

`make docs` writes the page to docs/tables.md; a test compares it.
"""

from __future__ import annotations

import sys

from pcaptool.tables import TABLES
from pcaptool.tables.definition import KINDS, Column, Table

__all__ = ["tables_page"]

_INTRODUCTION = """\
# Tables of a report

Made by `make docs` from the definitions in `pcaptool/tables/`; a test compares it. Do not edit.

`pcaptool analyze` writes one Parquet file a table. `pcaptool schema` prints the same as this page, with `--json` for
programs.

* A row that has no such field holds null, never a magic value. Names follow Wireshark where it has one; a unit stands
  in the name (`_ns`, `_bytes`).
* Packets are numbered from 1 as in Wireshark: `n` joins the tables. Headers of tunnels stand in rows of their own,
  `depth` counts from the outside.
* A table's version is raised whenever a column is renamed, removed or changes its meaning; new columns do not raise it.
"""


def tables_page() -> str:
    """The whole page as Markdown."""
    lines = [_INTRODUCTION]
    lines += ["| table | one row per | columns |", "| --- | --- | ---: |"]
    lines += [f"| [{t.name}](#{t.name}) | {t.row} | {len(t.columns)} |" for t in TABLES.values()]
    lines += ["", "## Types", "", "| type | values |", "| --- | --- |"]
    lines += [f"| {kind} | {says} |" for kind, (_, says) in KINDS.items()]
    for table in TABLES.values():
        lines += ["", *_section(table)]
    return "\n".join(lines) + "\n"


def _section(table: Table) -> list[str]:
    return [
        f"## {table.name}",
        "",
        f"Version {table.version}; one row per {table.row}. {table.doc}",
        "",
        "| column | type | meaning | Wireshark |",
        "| --- | --- | --- | --- |",
        *(_row(column) for column in table.columns),
    ]


def _row(column: Column) -> str:
    kind = f"{column.kind}, may be null" if column.nullable else column.kind
    names = ", ".join(f"`{name}`" for name in column.wireshark.split())
    return f"| {column.name} | {kind} | {column.doc.replace('|', chr(92) + '|')} | {names} |"


if __name__ == "__main__":
    sys.stdout.write(tables_page())
