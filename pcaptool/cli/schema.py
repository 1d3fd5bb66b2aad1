"""`pcaptool schema`: the tables of a report, and their columns."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from pcaptool.cli.terminal import console
from pcaptool.errors import UsageError
from pcaptool.tables import STAGE_NAMES, TABLES, Table
from pcaptool.tables.definition import KINDS

__all__ = ["schema"]


def schema(
    table: Annotated[str | None, typer.Argument(help="A table; all of them are listed without it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON.")] = False,
) -> None:
    """Tables, columns, types, units and Wireshark names of a report."""
    if table is not None and table not in TABLES:
        raise UsageError(f"there is no table {table!r}", hint=f"tables: {', '.join(TABLES)}")
    if as_json:
        what: Any = [_as_dict(t) for t in TABLES.values()] if table is None else _as_dict(TABLES[table])
        typer.echo(json.dumps(what, indent=1))
    elif table is None:
        _list_tables()
    else:
        _show_table(TABLES[table])


def _as_dict(table: Table) -> dict[str, Any]:
    return {
        "name": table.name,
        "version": table.version,
        "row": table.row,
        "doc": table.doc,
        "columns": [
            {
                "name": c.name,
                "type": str(table.arrow_schema.field(c.name).type),
                "nullable": c.nullable,
                "wireshark": c.wireshark or None,
                "doc": c.doc,
            }
            for c in table.columns
        ],
    }


def _list_tables() -> None:
    from rich.table import Table as Grid

    grid = Grid("table", "one row per", "columns", "version", box=None, pad_edge=False)
    for t in TABLES.values():
        grid.add_row(t.name, t.row, str(len(t.columns)), str(t.version))
    out = console()
    out.print(grid)
    out.print("\nA report is a folder with one Parquet file per table. More: pcaptool schema TABLE")


def _show_table(table: Table) -> None:
    from rich.markup import escape
    from rich.table import Table as Grid

    out = console()
    out.print(f"[bold]{table.name}[/bold], version {table.version}: one row per {table.row}")
    out.print(escape(table.doc) + "\n")
    grid = Grid("column", "type", "null", "Wireshark", "meaning", box=None, pad_edge=False)
    for c in table.columns:
        grid.add_row(c.name, c.kind, "yes" if c.nullable else "", c.wireshark, escape(c.doc))
    out.print(grid)
    used = {c.kind for c in table.columns}
    out.print("\nTypes: " + "; ".join(f"{k}: {KINDS[k][1]}" for k in KINDS if k in used))
    if table.name == "stages":
        out.print("\nStages, in the order of the path:")
        for name, what in STAGE_NAMES.items():
            out.print(f"  {name:20} {escape(what)}")
