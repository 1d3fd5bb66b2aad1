"""Tables that take themselves in to the width there is."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pcaptool.report.fitting import FittingTable

NUMBERS = st.integers(0, 10**12).map(str)
TEXTS = st.text("abc 本", max_size=40)


def shown(table, width):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(table)
    return console.file.getvalue().splitlines()


def made(rows, spare=("n1", "n2", "n3")):
    table = FittingTable("", spare)
    for heading in ("n1", "n2", "n3", "n4"):
        table.add_column(heading, justify="right", no_wrap=True, overflow="ellipsis")
    for heading in ("t1", "t2"):
        table.add_column(heading, justify="left", no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*row)
    return table


@given(
    st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS, TEXTS, TEXTS), min_size=1, max_size=5),
    st.integers(60, 160),
)
def test_no_number_is_ever_cut(rows, width):
    table = made(rows)
    kept = [column.header for column in table.fitted(width).columns]
    assert "n4" in kept
    lines = shown(table, width)
    assert max(len(line) for line in lines) <= width
    for row in rows:
        for heading, value in zip(("n1", "n2", "n3", "n4"), row, strict=False):
            assert heading not in kept or any(value in line for line in lines)


def test_what_went_is_named_and_the_table_can_be_shown_again():
    rows = [("1" * 12, "2" * 12, "-", "4" * 12, "five " * 8, "six " * 8)]
    table = made(rows)
    wide, narrow = "\n".join(shown(table, 160)), "\n".join(shown(table, 75))
    assert "too narrow" not in wide
    assert "too narrow for: n3, n1" in narrow
    assert ("2" * 12 in narrow, "1" * 12 in narrow) == (True, False)
    assert "\n".join(shown(table, 160)) == wide
