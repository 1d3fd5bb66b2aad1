"""`pcaptool query`: SQL over the tables of a report or a capture."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pcaptool.cli.terminal import console, status
from pcaptool.errors import UsageError, printable
from pcaptool.tables import OF_NO_CAPTURE, TABLES

if TYPE_CHECKING:
    import polars as pl

__all__ = ["query"]

# Names of columns that SQL has another use for, without their quotes: the parser's own message misleads.
_RESERVED = re.compile(r"(?<![\"\w])(end)(?![\"\w])", re.IGNORECASE)


def query(
    sql: Annotated[str, typer.Argument(help="A SELECT; tables by their names: see pcaptool schema.")],
    source: Annotated[
        Path,
        typer.Argument(
            help="A report folder, a capture, or a table (x.stages.parquet).", metavar="CAPTURE|REPORT|TABLE"
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Rows as JSON, one object a line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Rows as CSV; lists as JSON.")] = False,
    rows: Annotated[int, typer.Option(min=1, help="Rows to show at most (not with --json, --csv).")] = 100,
) -> None:
    """SQL over the tables of a report or a capture (polars' SQL)."""
    if os.path.exists(sql):  # noqa: PTH110 - a query may be longer than names can be: Path.exists raises
        raise UsageError(
            f"{printable(sql)} is a file, not a query", hint="the query comes first, then its source"
        )
    import polars as pl

    if source.suffix == ".parquet":
        frames = _table(source)
    else:
        frames = _report(source) if source.is_dir() else _capture(source, sql)
    try:
        with status("asking"):
            found = pl.SQLContext(frames).execute(sql).collect()
    except pl.exceptions.PolarsError as error:
        said = printable(str(error).strip().splitlines()[0])
        word = _RESERVED.search(sql)
        hint = (
            f'"{word[1]}" needs its quotes: it is a word of SQL, too'
            if word
            else "columns: pcaptool schema TABLE"
        )
        raise UsageError(f"the query fails: {said}", hint=hint) from error
    found = _exact(found)
    if as_json:
        for row in found.iter_rows(named=True):
            typer.echo(json.dumps(row, default=str))
    elif as_csv:
        typer.echo(_csv(found), nl=False)
    else:
        _show(found, rows)


def _exact(found: pl.DataFrame) -> pl.DataFrame:
    """Times as text with all nine digits, spans as nanoseconds, decimals as floats: Python's own have microseconds."""
    import polars as pl
    import polars.selectors as cs

    return found.with_columns(
        cs.datetime(time_zone="*").dt.strftime("%Y-%m-%dT%H:%M:%S%.9f%:z"),
        cs.datetime(time_zone=None).dt.strftime("%Y-%m-%dT%H:%M:%S%.9f"),
        cs.duration().dt.total_nanoseconds(),
        cs.decimal().cast(pl.Float64),
    )


def _csv(found: pl.DataFrame) -> str:
    """Lists as JSON; on a terminal, captured control characters as escapes."""
    import polars as pl

    flat = {
        name: pl.Series(
            [None if value is None else json.dumps(value) for value in found[name].to_list()], dtype=pl.String
        )
        for name, kind in found.schema.items()
        if kind.is_nested()
    }
    text = found.with_columns(**flat).write_csv()
    return "".join(f"{printable(line)}\n" for line in text.split("\n")[:-1]) if sys.stdout.isatty() else text


def _report(folder: Path) -> dict[str, pl.LazyFrame]:
    from pcaptool.tables.report import open_report

    report = open_report(folder)
    return {name: report[name] for name in report.tables}


def _table(path: Path) -> dict[str, pl.LazyFrame]:
    """One table of its own, such as the stages of a run (x.stages.parquet), by the last word of its name."""
    import polars as pl

    if not path.is_file():
        raise UsageError(f"{printable(str(path))} is no file", hint="give a report, a capture or a table")
    return {path.stem.rsplit(".", 1)[-1]: pl.scan_parquet(path)}


def _capture(path: Path, sql: str) -> dict[str, pl.LazyFrame]:
    """The tables that the query names; what it selects reaches the decoder."""
    from pcaptool.scan import scan_pcap

    there = [name for name in TABLES if name not in OF_NO_CAPTURE]
    named = [name for name in there if re.search(rf"\b{name}\b", sql, re.IGNORECASE)]
    return {name: scan_pcap(path, name) for name in named or there}  # none: SHOW TABLES


def _show(found: pl.DataFrame, rows: int) -> None:
    from rich.text import Text

    from pcaptool.report.words import captured, table

    numbers = {name for name, kind in found.schema.items() if kind.is_numeric()}
    grid = table("", *((name, "right" if name in numbers else "left") for name in found.columns))
    for row in found.head(rows).iter_rows():
        grid.add_row(*(Text("") if value is None else captured(value) for value in row))
    out = console()
    out.print(grid)
    if found.height > rows:
        out.print(f"{found.height - rows:,} more rows: --rows, --csv or --json shows them")
