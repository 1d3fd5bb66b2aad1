"""Tables that stay readable on a narrow terminal: texts are cut, then whole columns go; a number is never cut.

Knows: widths. Must not know: what columns mean; who makes a table says which may go, and in which order.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column, Table
from rich.text import Text

__all__ = ["FittingTable"]

LEAST_TEXT = 16  # a text is not cut below this
_NOTHING = {"", "-"}
_BETWEEN, _AROUND = (
    3,
    4,
)  # blanks between columns, and at both edges (rich leaves room for two more than it shows)


class FittingTable(Table):
    """A table that takes itself in to the width there is.

    Where it is too wide, texts (left-aligned columns) are cut to LEAST_TEXT, the widest first; if that is not enough,
    columns go: those without a value in any row, then `spare` in order. What went is named below the table.

    Parameters
    ----------
    title : str
    spare : sequence of str
        Headings of columns that may go, first to last.

    Examples
    --------
    >>> out = FittingTable("", spare=["b"])
    >>> for heading in "abc":
    ...     out.add_column(heading, no_wrap=True)
    >>> out.add_row("word " * 9, "12345", "1")
    >>> [column.header for column in out.fitted(32).columns], out.fitted(32).caption
    (['a', 'b', 'c'], None)
    >>> [column.header for column in out.fitted(24).columns], out.fitted(24).caption.plain
    (['a', 'c'], 'too narrow for: b')
    """

    def __init__(self, title: str, spare: Sequence[str]) -> None:
        super().__init__(
            title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
        )
        self.caption_justify = "left"
        self._spare = tuple(spare)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from Table.__rich_console__(self.fitted(options.max_width), console, options)

    def fitted(self, width: int) -> Table:
        """The same, no wider than this if that can be."""
        out = copy.copy(self)
        out.columns = [copy.copy(column) for column in self.columns]
        gone: list[str] = []
        while not _cut_texts(out.columns, width):
            going = self._next_to_go(out.columns)
            if going is None:
                break
            out.columns.remove(going)
            gone.append(str(going.header))
        out.columns = [replace(column, _index=k) for k, column in enumerate(out.columns)]
        out.caption = Text(f"too narrow for: {', '.join(gone)}", style="dim") if gone else None
        return out

    def _next_to_go(self, columns: list[Column]) -> Column | None:
        for column in columns:
            if len(columns) > 1 and all(_plain(cell).strip() in _NOTHING for cell in column.cells):
                return column
        by_name = {str(column.header): column for column in columns}
        return next((by_name[name] for name in self._spare if name in by_name), None)


def _plain(cell: Any) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell)


def _width(column: Column) -> int:
    return max(cell_len(_plain(cell)) for cell in (column.header, *column.cells))


def _cut_texts(columns: list[Column], width: int) -> bool:
    """Cut texts until the table fits; whether it does then."""
    widths = [_width(column) for column in columns]
    excess = sum(widths) + _BETWEEN * (len(columns) - 1) + _AROUND - width
    texts = [k for k, column in enumerate(columns) if column.justify == "left"]
    while excess > 0:
        widest = max(texts, key=widths.__getitem__, default=None)
        if widest is None or widths[widest] <= LEAST_TEXT:
            return False
        widths[widest] -= 1
        excess -= 1
        columns[widest].max_width = widths[widest]
    return True
