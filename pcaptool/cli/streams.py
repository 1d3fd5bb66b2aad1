"""The standard streams of the process, before anything is written to them.

Knows: streams that are closed, and terminals that cannot show all letters. Must not know: what is written.
"""

from __future__ import annotations

import codecs
import io
import os
import sys

__all__ = ["prepare_streams"]

# What stands for the letters of our tables where a stream's encoding has none; each as wide as what it stands for.
_PLAIN = {
    "µ": "u",
    "→": ">",
    "←": "<",
    "⇄": "=",
    "─": "-",
    "│": "|",
    "…": "~",
    "·": ".",
}
_ERRORS = "pcaptool.plain"


def prepare_streams() -> None:
    """Open streams that are closed as the null device, and let none fail at a letter.

    A file that is opened would take the number of a closed stream (`>&-`, some daemons).
    """
    codecs.register_error(_ERRORS, plain)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
        elif number == 1 and isinstance(stream, io.TextIOWrapper):  # stderr escapes what it has no letter for
            stream.reconfigure(errors=_ERRORS)


def plain(error: UnicodeError) -> tuple[str, int]:
    """An error handler of `codecs`: letters that stand for those that cannot be encoded.

    Examples
    --------
    >>> codecs.register_error("example", plain)
    >>> "20 µs → Ω".encode("ascii", "example")
    b'20 us > ?'
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(_PLAIN.get(letter, "?") for letter in letters), error.end
