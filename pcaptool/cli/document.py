"""The page about the command line, made from the commands' own help.

`make docs` writes the page to docs/cli.md; a test compares it.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys

from pcaptool.cli.main import make_app, run

__all__ = ["cli_page"]

_INTRODUCTION = """\
# Command line

Made by `make docs` from the commands' help; a test compares it. Do not edit.

* Exit codes: 0 done (`diff`: the same), 1 `diff` found differences, 2 trouble (bad usage, unreadable input,
  unwritable output), 130 interrupted. Code 1 means nothing but a difference.
* Trouble is one line on stderr: what, where (file, line or byte or packet), what to do about it.
* Results go to stdout, progress and trouble to stderr; progress shows on a terminal only.
* Output files appear whole or not at all.
* What a capture holds is never printed raw: control characters are escaped.
"""


def cli_page() -> str:
    """The whole page as Markdown."""
    app = make_app()
    parts = [_INTRODUCTION, _block(["--help"])]
    for command in app.registered_commands:
        parts += [f"## pcaptool {command.name}\n", _block([str(command.name), "--help"])]
    for group in app.registered_groups:
        for command in group.typer_instance.registered_commands if group.typer_instance else ():
            words = [str(group.name), str(command.name)]
            parts += [f"## pcaptool {' '.join(words)}\n", _block([*words, "--help"])]
    return "\n".join(parts)


def _block(arguments: list[str]) -> str:
    text = io.StringIO()
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100"
    try:
        with contextlib.redirect_stdout(text):
            run(arguments)
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    lines = [line.rstrip() for line in text.getvalue().strip().splitlines()]
    return "```text\n" + "\n".join(lines) + "\n```\n"


if __name__ == "__main__":
    sys.stdout.write(cli_page())
