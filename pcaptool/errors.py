"""The one family of exceptions.

Knows: what went wrong, where (file, offset, packet, key) and what to do about it.
Must not know: how it is printed or which exit code it becomes (`cli` decides that).

Packet content never raises: what cannot be decoded is said in columns (`tables.packets`: `err_layer`,
`err_kind`, `err_need_bytes`, `err_have_bytes`). Exceptions are for files, arguments and the system.
"""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "CaptureError",
    "OutputError",
    "PcapToolError",
    "ReportError",
    "ScenarioError",
    "SystemRefusedError",
    "UsageError",
]


class PcapToolError(Exception):
    """Base of all exceptions that pcaptool raises on purpose; its text is one line for a person.

    Parameters
    ----------
    what : str
        What is wrong, as a clause without a final stop.
    path : str or Path or None
        The file it is about.
    offset : int or None
        Byte offset in that file.
    packet : int or None
        1-based packet number.
    line : int or None
        1-based line of a text file.
    hint : str or None
        What to do about it.

    Examples
    --------
    >>> print(CaptureError("record length 4294967280 is beyond any limit", path="x.pcap", offset=24,
    ...                    hint="the file is damaged from here on"))
    x.pcap: byte 24: record length 4294967280 is beyond any limit (the file is damaged from here on)
    """

    def __init__(
        self,
        what: str,
        *,
        path: str | Path | None = None,
        offset: int | None = None,
        packet: int | None = None,
        line: int | None = None,
        hint: str | None = None,
    ) -> None:
        self.what = what
        self.path = path
        self.offset = offset
        self.packet = packet
        self.line = line
        self.hint = hint
        super().__init__(what)

    def __str__(self) -> str:
        """Place, fault and advice on one line; control characters of file names are escaped."""
        place = [] if self.path is None else [printable(str(self.path))]
        place += [] if self.line is None else [f"line {self.line}"]
        place += [] if self.packet is None else [f"packet {self.packet}"]
        place += [] if self.offset is None else [f"byte {self.offset}"]
        advice = f" ({self.hint})" if self.hint else ""
        return ": ".join([*place, self.what]) + advice


class CaptureError(PcapToolError):
    """A capture file that cannot be read (further)."""


class ReportError(PcapToolError):
    """A report folder that is missing, incomplete or of another schema version."""


class ScenarioError(PcapToolError):
    """A scenario with an unknown key, a wrong type or an impossible value."""


class OutputError(PcapToolError):
    """An output that cannot be written."""


class UsageError(PcapToolError):
    """Arguments that do not fit together."""


class SystemRefusedError(PcapToolError):
    """The operating system refused: permission, missing program, missing kernel feature."""


def printable(text: str) -> str:
    r"""Text that is safe on a terminal: control and format characters become backslash escapes.

    Examples
    --------
    >>> printable("a\x1b[31mb\u202e")
    'a\\x1b[31mb\\u202e'
    """
    return "".join(
        c if c.isprintable() or c == " " else c.encode("unicode_escape").decode("ascii") for c in text
    )
