"""The way of one buffer: the right rows, in order, with the time of each step."""

from __future__ import annotations

import polars as pl

from pcaptool.report.stages import example_buffer, way_of_a_buffer
from pcaptool.report.words import captured
from pcaptool.scenario import Scenario
from pcaptool.stack.run import run_scenario
from pcaptool.tables import STAGE_NAMES


def stages():
    rows = run_scenario(Scenario()).stages
    names = ("skb", "origin", "host", "stage", "payload_bytes", "len_bytes", "headers")
    frame = pl.DataFrame({name: [getattr(r, name) for r in rows] for name in names})
    return frame.with_columns(ts=pl.Series([r.time_ns for r in rows]))


def test_a_response_passes_the_stages_in_the_order_of_the_path():
    frame = stages()
    grid = way_of_a_buffer(frame, example_buffer(frame))
    shown = [cell.plain for cell in grid.columns[0]._cells]
    assert shown == [name for name in STAGE_NAMES if name in shown]
    assert shown[0] == "sys_enter_sendto"
    assert shown[-1] == "wire"
    assert next(iter(grid.columns[2]._cells)) == "-"


def test_no_example_where_nothing_was_sent():
    assert example_buffer(stages(), host="nobody") is None


def test_headers_are_shown_escaped():
    assert captured("eth\x1b").plain == "eth\\x1b"
