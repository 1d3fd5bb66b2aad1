"""What people look at while a command runs: the console, and a progress line.

Knows: whether someone is looking (a terminal) or not (a pipe, a file).
Must not know: any command.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Progress", "console", "progress", "status"]

# Called with how much is done and how much there is (0: not known).
Progress = Callable[[int, int], None]
_PIPE_WIDTH = 120


def console(*, error: bool = False) -> Console:
    """The console for stdout, or for stderr; plain text of a fixed width where no terminal is."""
    from rich.console import Console

    stream = sys.stderr if error else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else _PIPE_WIDTH
    return Console(stderr=error, width=width, highlight=False, emoji=False, markup=True)


@contextmanager
def progress(what: str) -> Iterator[Progress | None]:
    """A progress line on stderr while the block runs; None where nobody looks.

    Examples
    --------
    >>> with progress("reading") as tell:
    ...     if tell is not None:
    ...         tell(1, 10)
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=console(error=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


@contextmanager
def status(what: str) -> Iterator[Callable[[str], None] | None]:
    """A line on stderr that says what is done now; None where nobody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    with console(error=True).status(what) as line:
        yield line.update
