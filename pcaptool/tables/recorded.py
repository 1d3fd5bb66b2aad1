"""A recorded `stages` table, as columns.

Knows: how a Parquet file becomes `tables.columns`. Must not know: what stages mean.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pcaptool.errors import ReportError
from pcaptool.tables.columns import Columns, Masked, Texts
from pcaptool.tables.definition import KINDS, arrow_type
from pcaptool.tables.stages import STAGES

__all__ = ["read_stages"]


def read_stages(path: str | Path) -> Columns:
    """The columns of a `stages` file, as `generate`, `predict` and `lab run` write it.

    Raises
    ------
    ReportError
        Missing, not such a file, or of another version.
    """
    import pyarrow as pa  # noqa: PLC0415 - only when stages are read
    import pyarrow.parquet as pq  # noqa: PLC0415

    file = Path(path)
    if not file.is_file():
        raise ReportError(
            "there is no such file", path=file, hint="lab run, generate and predict write stages"
        )
    try:
        found = pq.ParquetFile(file).read()
    except (OSError, pa.ArrowException) as error:
        raise ReportError("not a readable Parquet file", path=file) from error
    about = {k.decode(): v.decode("utf-8", "replace") for k, v in (found.schema.metadata or {}).items()}
    if about.get("pcaptool.table") != STAGES.name:
        raise ReportError(
            "holds no table stages", path=file, hint="lab run, generate and predict write stages"
        )
    if about.get("pcaptool.table_version") != str(STAGES.version):
        raise ReportError(
            f"has version {about.get('pcaptool.table_version')}, this pcaptool reads {STAGES.version}",
            path=file,
        )
    names = [name for name in STAGES.names if name in found.column_names]
    missing = [c.name for c in STAGES.columns if c.name not in names and not c.nullable]
    wrong = [name for name in names if found.schema.field(name).type != arrow_type(STAGES[name].kind)]
    if missing or wrong:
        raise ReportError(f"lacks the column {(missing + wrong)[0]}, or it is of another type", path=file)
    return {name: _column(STAGES[name].kind, found.column(name)) for name in names}


def _column(kind: str, column: Any) -> Any:
    rows: list[Any] = (column.cast("int64") if kind == "time" else column).to_pylist()
    if kind == "text":
        number = {word: code for code, word in enumerate(dict.fromkeys(rows))}
        return Texts(np.array([number[row] for row in rows], np.int32), list(number))
    dtype = KINDS[kind][0]
    valid = np.array([v is not None for v in rows], np.bool_)
    plain = np.array([0 if v is None else v for v in rows], dtype)
    return plain if valid.all() else Masked(plain, valid)
