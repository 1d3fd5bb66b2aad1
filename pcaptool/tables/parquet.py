"""Writing a report: one Parquet file a table, in a folder that appears whole or not at all.

Knows: row groups, encodings, the metadata that says where a report comes from.
Must not know: how columns are computed.

Files are deterministic: the same columns in the same order make the same bytes, whatever the batches were.
zstd 1, row groups of 65,536 rows (8,192 of tables with lists of texts), dictionaries only for texts (numbers of few
distinct values become no smaller by them, and take twice the time, as measured); of packet numbers and times the
differences are kept.
Memory: one row group of each table, and those that wait for an encoding thread.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pcaptool._version import __version__
from pcaptool.errors import OutputError, ReportError, printable
from pcaptool.tables.columns import Columns, row_count
from pcaptool.tables.definition import Column, Table
from pcaptool.tables.encoder import Encoder
from pcaptool.tables.pieces import row_group
from pcaptool.tables.report import read_about

__all__ = ["ROW_GROUP_ROWS", "ReportWriter", "writer"]

ROW_GROUP_ROWS = 65_536
# Of tables with lists of texts: such a row is a hundred objects until it is encoded, some 3 KiB.
LISTS_GROUP_ROWS = 8192

# Columns whose least and greatest value of a row group lets a reader skip it. Those of the others cost a fifth of
# the time of encoding, and hardly ever exclude anything.
_ORDERED = frozenset({"n", "flow", "stream", "first_n", "last_n", "request_first_n"})
_WRITE_BATCH_ROWS = 65_536  # pyarrow's 1,024 costs another fifth


# Those that ascend row by row, and times: their differences are encoded, in half the time and a tenth of the bytes.
_ASCENDING = frozenset({"n", "first_n"})


def _ascends(column: Column) -> bool:
    return column.name in _ASCENDING or column.kind == "time"


def writer(table: Table, path: Path) -> Any:
    """A pyarrow.parquet.ParquetWriter for a table: how its columns are encoded and compressed."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - only when a report is made

    return pq.ParquetWriter(
        path,
        table.arrow_schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=[c.name for c in table.columns if c.kind == "text"],
        column_encoding={c.name: "DELTA_BINARY_PACKED" for c in table.columns if _ascends(c)},
        write_statistics=[c.name for c in table.columns if c.name in _ORDERED or c.kind == "time"],
        write_batch_size=_WRITE_BATCH_ROWS,
        store_schema=True,
    )


class ReportWriter:
    """A report that is being written.

    Parameters
    ----------
    path : path
        Folder to make; an earlier report of pcaptool there is replaced.
    tables : iterable of Table
        Each gets a file, also if it has no rows.

    Raises
    ------
    OutputError
        Something else stands at that place, or it cannot be written.

    Examples
    --------
    >>> import numpy as np
    >>> from pcaptool.tables import ARP
    >>> folder = Path(tempfile.mkdtemp()) / "report"
    >>> with ReportWriter(folder, [ARP]) as out:
    ...     out.finish({"command": "example"})
    >>> [p.name for p in folder.iterdir()]
    ['arp.parquet']
    """

    def __init__(self, path: str | Path, tables: Iterable[Table]) -> None:
        self.path = Path(path)
        self._tables = {table.name: table for table in tables}
        self.rows = dict.fromkeys(self._tables, 0)
        self._waiting: dict[str, list[Columns]] = {name: [] for name in self._tables}
        self._waiting_rows = dict.fromkeys(self._tables, 0)
        self._most_rows = {name: _group_rows(table) for name, table in self._tables.items()}
        check_place(self.path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._aside = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=self.path.parent))
            self._aside.chmod(0o755)
        except OSError as error:
            raise _refused(self.path, error) from error
        self._about: dict[str, Any] = {}
        try:
            self._encoder = Encoder(
                {name: writer(table, self._aside / f"{name}.parquet") for name, table in self._tables.items()}
            )
        except BaseException:  # also an interrupt: the block that would clean up has not begun
            shutil.rmtree(self._aside, ignore_errors=True)
            raise

    def __enter__(self) -> Self:
        """Write within the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The folder appears, unless the block failed."""
        if kind is not None:
            self.discard()
            return
        try:
            self._commit()
        except OSError as fault:
            self.discard()
            raise _refused(self.path, fault) from fault
        except BaseException:
            self.discard()
            raise

    def add(self, name: str, columns: Columns) -> None:
        """Rows of a table, behind those it has.

        Columns that can be null may be missing. Buffers are kept until they are encoded.
        """
        if not columns:
            return
        rows = row_count(next(iter(columns.values())))
        if not rows:
            return
        self._waiting[name].append(columns)
        self._waiting_rows[name] += rows
        self.rows[name] += rows
        most = self._most_rows[name]
        while self._waiting_rows[name] >= most:
            self._flush(name, most)

    def _flush(self, name: str, rows: int) -> None:
        pieces, rest = row_group(self._waiting[name], rows)
        self._waiting[name] = rest
        self._waiting_rows[name] -= rows
        self._encoder.put(name, self._tables[name], pieces)

    def finish(self, about: Mapping[str, Any]) -> None:
        """What the files' metadata say of their origin; called once, at the end."""
        self._about = dict(about)

    def _commit(self) -> None:
        for name, rows in self._waiting_rows.items():
            if rows:
                self._flush(name, rows)
        about = {
            "pcaptool.version": __version__,
            "pcaptool.about": json.dumps(self._about, sort_keys=True, ensure_ascii=True),
        }
        self._encoder.close(about)
        replace_folder(self._aside, self.path)

    def discard(self) -> None:
        """Leave nothing behind."""
        self._encoder.abandon()
        shutil.rmtree(self._aside, ignore_errors=True)


def _group_rows(table: Table) -> int:
    """How many rows are written at once."""
    lists = any(column.kind == "text_list" for column in table.columns)
    return LISTS_GROUP_ROWS if lists else ROW_GROUP_ROWS


def check_place(path: Path) -> None:
    """Whether a report may be put there.

    Raises
    ------
    OutputError
        A file, or a folder that holds anything but a report.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise OutputError("is a file; a report is a folder", path=path, hint="choose another name")
    for entry in path.iterdir():
        if not _is_table(entry):
            raise OutputError(
                f"the folder holds something else than a report: {printable(entry.name)}",
                path=path,
                hint="choose another name, or empty it",
            )


def _is_table(path: Path) -> bool:
    try:
        read_about(path)
    except ReportError:
        return False
    return True


def replace_folder(new: Path, path: Path) -> None:
    """Give a folder its name; what had that name before is removed afterwards."""
    if not path.exists():
        new.rename(path)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".old", dir=path.parent))
    path.rename(old / "report")
    try:
        new.rename(path)
    except OSError:
        (old / "report").rename(path)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _refused(path: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot be written: {(error.strerror or str(error)).lower()}", path=path)
