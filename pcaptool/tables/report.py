"""Reading a report: a folder of Parquet files, one a table.

Knows: what makes a folder a report, versions, where it comes from. Must not know: how it was computed.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcaptool.errors import ReportError, printable
from pcaptool.tables import TABLES

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

__all__ = ["About", "Report", "open_report", "read_about"]


@dataclass(frozen=True, slots=True)
class About:
    """What a table's file says of itself.

    Parameters
    ----------
    table : str
    table_version : int
    version : str
        pcaptool's, that wrote it.
    rows : int
    about : mapping
        Sources, command, notices.
    columns : int
        How many of the table's columns it has.
    """

    table: str
    table_version: int
    version: str
    rows: int
    about: Mapping[str, Any]
    columns: int


def read_about(path: Path) -> About:
    """Metadata of a table's file.

    Raises
    ------
    ReportError
        Not a Parquet file, or not one of pcaptool's.
    """
    import pyarrow as pa  # noqa: PLC0415 - only when a report is read
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        meta = pq.read_metadata(path)
    except (OSError, pa.ArrowException) as error:
        raise ReportError("not a readable Parquet file", path=path) from error
    found = {k.decode(): v.decode("utf-8", "replace") for k, v in (meta.metadata or {}).items()}
    try:
        return About(
            found["pcaptool.table"],
            int(found["pcaptool.table_version"]),
            found["pcaptool.version"],
            meta.num_rows,
            json.loads(found["pcaptool.about"]),
            meta.num_columns,
        )
    except (KeyError, ValueError) as error:
        raise ReportError("a Parquet file that pcaptool has not written", path=path) from error


def open_report(path: str | Path) -> Report:
    """Open a report.

    Raises
    ------
    ReportError
        Missing, not a report, or with tables of another version than this one's.
    """
    folder = Path(path)
    if not folder.is_dir():
        what = "is a file; a report is a folder" if folder.exists() else "there is no such report"
        raise ReportError(what, path=folder)
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise ReportError("the folder holds no tables", path=folder, hint="make one: pcaptool analyze")
    found: dict[str, About] = {}
    for file in files:
        about = read_about(file)
        known = TABLES.get(about.table)
        if known is None or file.stem != about.table:
            raise ReportError(f"holds a table {about.table!r} that is not known under this name", path=file)
        if known.version != about.table_version:
            raise ReportError(
                f"table {about.table} has version {about.table_version}, this pcaptool reads {known.version}",
                path=file,
                hint="analyze the capture again",
            )
        found[about.table] = about
    order = [name for name in TABLES if name in found]
    return Report(folder, {name: found[name] for name in order})


class Report:
    """Tables of a report, as lazy frames: `report.tcp` or `report["tcp"]`.

    Attributes
    ----------
    path : Path
    tables : tuple of str
    counts : dict
        Rows of each table.
    sources : list of dict
        name, size_bytes, sha256, packets of each capture.
    notices : list of str
        What was not complete: cut files, for instance.
    command : str
    tcp_rules : str
        Whose rules made conversations and TCP analysis.
    """

    def __init__(self, path: Path, found: Mapping[str, About]) -> None:
        self.path = path
        self._found = dict(found)

    @property
    def tables(self) -> tuple[str, ...]:
        """Names, in the order of the layers."""
        return tuple(self._found)

    @property
    def counts(self) -> dict[str, int]:
        """Rows of each table."""
        return {name: about.rows for name, about in self._found.items()}

    def whole(self, name: str) -> bool:
        """Whether it has this table with all its columns."""
        return name in self._found and self._found[name].columns == len(TABLES[name].columns)

    def whole_tables(self) -> Report:
        """The same report without tables that have some of their columns only."""
        return Report(self.path, {name: about for name, about in self._found.items() if self.whole(name)})

    @cached_property
    def _about(self) -> Mapping[str, Any]:
        return next(iter(self._found.values())).about

    @property
    def sources(self) -> list[dict[str, Any]]:
        """The captures it was made from."""
        return list(self._about.get("sources", []))

    @property
    def notices(self) -> list[str]:
        """What was not complete."""
        return list(self._about.get("notices", []))

    @property
    def command(self) -> str:
        """The command that made it, as its caller gave it."""
        return str(self._about.get("command", ""))

    @property
    def tcp_rules(self) -> str:
        """The version of Wireshark whose rules made conversations and TCP analysis."""
        return str(self._about.get("tcp_rules", "4.0"))

    @property
    def packet_filter(self) -> str | None:
        """In tcpdump's language: which packets of the captures have numbers; None: all."""
        found = self._about.get("filter")
        return None if found is None else str(found)

    def __iter__(self) -> Iterator[str]:
        """Names of the tables."""
        return iter(self._found)

    def __contains__(self, name: object) -> bool:
        """Whether it has this table."""
        return name in self._found

    def __getitem__(self, name: str) -> pl.LazyFrame:
        """A table as a lazy frame.

        Raises
        ------
        ReportError
            It has no such table.
        """
        import polars as pl  # noqa: PLC0415 - only when a table is read

        if name not in self._found:
            raise ReportError(f"has no table {name!r}, only {', '.join(self._found)}", path=self.path)
        return pl.scan_parquet(self.path / f"{name}.parquet")

    def __getattr__(self, name: str) -> pl.LazyFrame:
        """A table as a lazy frame."""
        if name.startswith("_") or name not in self._found:
            raise AttributeError(f"the report has no table {name!r}")
        return self[name]

    def arrow(self, name: str) -> pa.Table:
        """A table as Arrow, read whole."""
        import pyarrow.parquet as pq  # noqa: PLC0415

        if name not in self._found:
            raise ReportError(f"has no table {name!r}, only {', '.join(self._found)}", path=self.path)
        return pq.read_table(self.path / f"{name}.parquet")

    def batches(self, name: str, columns: Iterable[str] | None = None) -> Iterator[pa.RecordBatch]:
        """A table's rows in order, or some of its columns; one batch at a time is in memory."""
        import pyarrow.parquet as pq  # noqa: PLC0415

        if name not in self._found:
            raise ReportError(f"has no table {name!r}, only {', '.join(self._found)}", path=self.path)
        with pq.ParquetFile(self.path / f"{name}.parquet") as file:
            yield from file.iter_batches(columns=None if columns is None else list(columns))

    def _repr_html_(self) -> str:
        """What a notebook shows: sources, tables and rows, notices; captured text is escaped."""

        def cell(value: object, tag: str = "td") -> str:
            return f"<{tag}>{html.escape(printable(str(value)))}</{tag}>"

        def line(*cells: str) -> str:
            return f"<tr>{''.join(cells)}</tr>"

        sources = ", ".join(str(source.get("name", "")) for source in self.sources)
        rows = [
            line(cell(name), cell(f"{count:,}"), cell(TABLES[name].row), cell(TABLES[name].doc))
            for name, count in self.counts.items()
        ]
        head = line(*(cell(word, "th") for word in ("table", "rows", "a row is", "what it holds")))
        notes = "".join(cell(notice, "p") for notice in self.notices)
        table = f"<table>{head}{''.join(rows)}</table>"
        return f"<p><b>Report</b> {cell(self.path, 'code')}</p>{cell(sources, 'p')}{table}{notes}"

    def __repr__(self) -> str:
        """Folder, tables and rows."""
        rows = ", ".join(f"{name} {count:,}" for name, count in self.counts.items())
        return f"Report({str(self.path)!r}: {rows})"
