"""Numbers, times and captured text as people read them.

Knows: units and escaping. Must not know: tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from pcaptool.errors import printable
from pcaptool.report.fitting import FittingTable

__all__ = ["captured", "clock", "count", "duration", "endpoint", "grid", "size", "table"]

NS = 1_000_000_000


def captured(value: object, limit: int = 0, style: str = "") -> Text:
    r"""Captured text, harmless on a terminal, cut to `limit` characters; None is a dash.

    Examples
    --------
    >>> captured("[bold]a\x1b[2Jb", limit=12).plain
    '[bold]a\\x1b…'
    """
    if value is None:
        return Text("-", style="dim")
    shown = printable(str(value))
    if limit and len(shown) > limit:
        shown = shown[: limit - 1] + "…"
    return Text(shown, style=style)


def count(value: int) -> str:
    """A number with its thousands apart.

    Examples
    --------
    >>> count(1234567)
    '1 234 567'
    """
    return f"{value:,}".replace(",", " ")


def size(value: int) -> str:
    """Bytes, in the unit that keeps three or four digits.

    Examples
    --------
    >>> size(999), size(102400), size(3 * 10**9)
    ('999 B', '102.4 kB', '3.0 GB')
    """
    if value < 1000:
        return f"{value} B"
    for unit, factor in (("kB", 10**3), ("MB", 10**6), ("GB", 10**9)):
        if value < 1000 * factor or unit == "GB":
            return f"{value / factor:.1f} {unit}"
    raise AssertionError  # the loop always returns


def duration(ns: int | None) -> str:
    """A span of time with three digits behind the point of its unit.

    Examples
    --------
    >>> duration(107068), duration(0), duration(11_747_543), duration(-2_500_000_000), duration(None)
    ('107.068 µs', '0 ns', '11.748 ms', '-2.500 s', '-')
    """
    if ns is None:
        return "-"
    far = abs(ns)
    if far < 1000:
        return f"{ns} ns"
    for unit, factor in (("µs", 10**3), ("ms", 10**6)):
        if far < 1000 * factor:
            return f"{ns / factor:.3f} {unit}"
    return f"{ns / NS:.3f} s"


def clock(ns: int) -> str:
    """A point of time in UTC with all nine digits.

    Examples
    --------
    >>> clock(1_795_332_755_702_607_646)
    '2026-11-22 07:32:35.702607646 UTC'
    """
    seconds, rest = divmod(ns, NS)
    try:
        day = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):  # a damaged capture may say any year
        return f"{seconds}.{rest:09d} s"
    return f"{day}.{rest:09d} UTC"


def endpoint(address: object, port: object) -> Text:
    """Address and port; an IPv6 address in brackets."""
    shown = captured(address)
    if port is None:
        return shown
    return Text(f"[{shown.plain}]:{port}" if ":" in shown.plain else f"{shown.plain}:{port}")


def table(
    title: str, *columns: tuple[str, str], last_gives_way: bool = False, spare: Sequence[str] = ()
) -> Table:
    """A table with a title; each column is a heading and "left" or "right".

    `last_gives_way`: on a narrow terminal the last column is cut first. `spare`: columns that go there, in order.
    """
    out = FittingTable(title, spare)
    for heading, justify in columns:
        align: Any = justify
        out.add_column(heading, justify=align, no_wrap=True, overflow="ellipsis")
    if last_gives_way:
        out.expand = True
        out.columns[-1].ratio = 1
    return out


def grid(rows: list[tuple[str, Any]]) -> Table:
    """Names and values, one pair a line."""
    out = Table.grid(padding=(0, 2))
    out.add_column(style="dim", no_wrap=True)
    out.add_column()
    for name, value in rows:
        out.add_row(name, value if isinstance(value, Text) else Text(str(value)))
    return out
