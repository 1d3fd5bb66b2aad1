"""The command `pcaptool`: its commands, and what their ends mean to a shell.

Knows: which commands there are; that errors become one line on stderr and an exit code, only here.
Must not know: what a command does.

Exit codes: 0 done (diff: the same), 1 the comparison found differences, 2 trouble (bad usage, unreadable
input, unwritable output, a bug), 130 interrupted, 143 terminated. Code 1 means nothing but a difference, so
that scripts can rely on it.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterable
from types import FrameType
from typing import Annotated, NoReturn

import typer

from pcaptool._version import __version__
from pcaptool.cli.streams import prepare_streams
from pcaptool.errors import PcapToolError, printable

__all__ = ["COMMANDS", "main", "make_app", "run"]

INTERRUPTED = 130
TERMINATED = 143
TROUBLE = 2

# In the order of the work: make, look, ask. Each is a module of pcaptool.cli, and what it has under its name.
COMMANDS = (
    *("demo", "generate", "predict", "analyze", "diff", "info", "report", "query", "verify", "replay"),
    *("schema", "serve", "lab"),
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pcaptool {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Predict, observe and compare the packets of a Linux web server."""


def make_app(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The command line, with some commands or all.

    Parameters
    ----------
    names : iterable of str
        Some of `COMMANDS`: only their modules are loaded.

    Examples
    --------
    >>> [command.name for command in make_app(["info", "query"]).registered_commands]
    ['info', 'query']
    """
    app = typer.Typer(
        name="pcaptool",
        help="Predict, observe and compare the packets of a Linux web server.",
        epilog="Begin with `pcaptool demo`. Exit codes: 0 done or the same, 1 different, 2 trouble.",
        no_args_is_help=True,
        rich_markup_mode=None,  # plain help: rich's panels would cost half of the time that --help takes
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback()(_options)
    for name in names:
        command = getattr(importlib.import_module(f"pcaptool.cli.{name}"), name)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def run(argv: list[str] | None = None) -> int:
    """Run a command line; never raises.

    Parameters
    ----------
    argv : list of str or None
        Arguments without the program's name; None for those of the process.

    Returns
    -------
    int
        The exit code.

    Examples
    --------
    >>> run(["--version"])  # doctest: +ELLIPSIS
    pcaptool ...
    0
    """
    if argv is None:
        signal.signal(signal.SIGTERM, _terminate)
        _prepare()
    try:
        first = (sys.argv[1:] if argv is None else argv)[:1]
        app = make_app(first if set(first) <= set(COMMANDS) and first else COMMANDS)
        code = app(args=argv, prog_name="pcaptool", standalone_mode=False)
        sys.stdout.flush()
        if code == INTERRUPTED:  # Typer makes Ctrl-C an exit
            raise KeyboardInterrupt  # noqa: TRY301 - said below, like one that Typer has not seen
    except PcapToolError as error:
        return _trouble(str(error))
    except typer.TyperException as error:
        return _usage(error)
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("\npcaptool: interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        # Who read our output has gone (| head): nothing is left to say, and flushing must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _trouble(_os_error(error))
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else TROUBLE
    except MemoryError:
        return _trouble("out of memory")
    except Exception:  # noqa: BLE001 - a bug must not look like "they differ", which is what code 1 says
        traceback.print_exc()
        return _trouble("this is a bug in pcaptool; please report it with the lines above")
    return code if isinstance(code, int) else 0


def _prepare() -> None:
    """Settings of a process that is ours alone."""
    # Modules are thousands of objects that stay: looking through them again and again took a tenth of short runs.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    # Encoding and decoding are threads: who waits for the interpreter's lock waits a tenth as long.
    sys.setswitchinterval(0.0005)
    # numpy's linear algebra is not used: no threads for it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _usage(error: typer.TyperException) -> int:
    """A wrong command line: Typer's own message, which names the command and suggests options."""
    show = getattr(error, "show", None)  # not in Typer's public types
    if callable(show):
        show()
    else:
        sys.stderr.write(f"pcaptool: {error}\n")
    return TROUBLE


def _trouble(what: str) -> int:
    sys.stdout.flush()
    sys.stderr.write(f"pcaptool: {what}\n")
    return TROUBLE


def _os_error(error: OSError) -> str:
    place = f"{printable(str(error.filename))}: " if error.filename else ""
    return f"{place}{error.strerror or error}"


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    """SIGTERM unwinds the stack like Ctrl-C does: whoever writes a file removes what is not whole."""
    raise SystemExit(TERMINATED)


def main() -> NoReturn:
    """The process `pcaptool`: `run`, and then an end without taking the interpreter apart.

    That took a tenth of short runs: modules and arrays are given back one by one to a system that takes back all of
    them at once. What others want done at the end is done before.
    """
    prepare_streams()
    code = run()
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()  # noqa: SLF001 - what the interpreter itself calls
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # who read our output has gone
        pass
    os._exit(code)


if __name__ == "__main__":
    main()
