"""What people look at while a command runs: the console, and a progress line.

Knows: whether someone is looking (a terminal) or not (a pipe, a file).
Must not know: any command.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, TextIO

from pcaptool.errors import OutputError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "Progress",
    "answer",
    "command_line",
    "console",
    "first_interrupt",
    "make_folder",
    "progress",
    "status",
]

# Called with bytes read, bytes there are (None: not known), packets decoded.
Progress = Callable[[int, int | None, int], None]
_PIPE_WIDTH = 120


def _silence(stream: TextIO) -> None:
    """What is written from now on goes nowhere, and what waits to be written, too."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def answer(text: str) -> None:
    """A line of a command whose exit code says something: that stays if nobody reads the line (| head)."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        _silence(sys.stdout)


def command_line() -> str:
    """The command as the user gave it, for a report to remember."""
    return shlex.join(["pcaptool", *sys.argv[1:]])


def make_folder(path: Path) -> None:
    """A folder for output, with those above it.

    Raises
    ------
    OutputError
        It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot be made: {(error.strerror or str(error)).lower()}", path=path) from error


def console(*, error: bool = False) -> Console:
    """The console for stdout, or for stderr; plain text of a fixed width where no terminal is."""
    from rich.console import Console

    class Told(Console):
        """One that goes on in silence when its reader has gone (| head): the exit code is the command's."""

        def on_broken_pipe(self) -> None:
            _silence(stream)

    stream = sys.stderr if error else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else _PIPE_WIDTH
    return Told(stderr=error, width=width, highlight=False, emoji=False, markup=True)


@contextmanager
def progress(what: str) -> Iterator[Progress | None]:
    """A progress line on stderr while the block runs; None where nobody looks.

    Examples
    --------
    >>> with progress("reading") as tell:
    ...     if tell is not None:
    ...         tell(1, 10, 3)
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[packets]:,} packets"),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=console(error=True), transient=True) as bar, _engine_told(bar.console):
        task = bar.add_task(what, total=None, packets=0)

        def tell(done: int, total: int | None, packets: int) -> None:
            bar.update(task, completed=done, total=total, packets=packets)

        yield tell


@contextmanager
def first_interrupt() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed within the block: the first says so, the second interrupts as ever.

    Examples
    --------
    >>> with first_interrupt() as pressed:
    ...     pressed()
    False
    """
    seen: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        seen.append(number)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(seen)
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def status(what: str) -> Iterator[Callable[[str], None] | None]:
    """A line on stderr that says what is done now; None where nobody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    shown = console(error=True)
    with shown.status(what) as line, _engine_told(shown):
        yield line.update


@contextmanager
def _engine_told(shown: Console) -> Iterator[None]:
    """What the engine says that it does, in lines that stay: the first long capture on a machine waits for it."""
    import logging

    from rich.text import Text

    class Shown(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            shown.print(Text(f"pcaptool: {record.getMessage()}", style="dim"))

    log, handler = logging.getLogger("pcaptool.engine"), Shown()
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)
