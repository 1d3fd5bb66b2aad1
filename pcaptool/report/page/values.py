"""Values of any table as JSON holds them: safe text, whole numbers as text where JavaScript would round them.

Knows: kinds of values. Must not know: tables.
"""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from pcaptool.errors import printable

__all__ = ["rows_within", "shown_value"]

CELL = 300
_ESCAPED = 5  # bytes that a `<` takes more, once a page has escaped it
_EXACT = 1 << 53  # JavaScript's numbers hold integers up to here


def shown_value(value: Any) -> Any:
    r"""One cell.

    Examples
    --------
    >>> shown_value("a\x1b[2J"), shown_value(2**60), shown_value([b"a".decode(), 3]), shown_value(None)
    ('a\\x1b[2J', '1152921504606846976', 'a, 3', None)
    """
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        return value if -_EXACT < value < _EXACT else str(value)
    if isinstance(value, list):
        value = ", ".join(str(v) for v in value[:CELL])
    text = printable(str(value)[: 2 * CELL])
    return text if len(text) <= CELL else text[: CELL - 1] + "…"


def rows_within(frame: pl.DataFrame, limit_bytes: int) -> list[list[Any]]:
    """As many of the first rows as fit into so many bytes of JSON, as a page escapes it.

    Times become text with all nine digits, in UTC.

    Examples
    --------
    >>> rows_within(pl.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]}), 20)
    [[1, 'x'], [2, 'y']]
    """
    times = [name for name, kind in frame.schema.items() if kind == pl.Datetime]
    frame = frame.with_columns(pl.col(name).dt.strftime("%Y-%m-%d %H:%M:%S%.9f") for name in times)
    rows: list[list[Any]] = []
    for row in frame.iter_rows():
        cells = [shown_value(value) for value in row]
        text = json.dumps(cells, ensure_ascii=False, separators=(",", ":"))
        limit_bytes -= len(text.encode()) + _ESCAPED * text.count("<") + 1
        if limit_bytes < 0:
            break
        rows.append(cells)
    return rows
