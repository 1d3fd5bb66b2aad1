"""Any plan over a scanned capture equals the same plan over the eager table, on both engines."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pcaptool.analyze.pipeline import frames
from pcaptool.errors import CaptureError, UsageError
from pcaptool.scan import scan_pcap
from pcaptool.tables import TABLES
from pcaptool.tables.polars_frames import polars_schema

CAPTURE = Path(__file__).resolve().parents[2] / "fixtures" / "captures" / "lab" / "concurrent-4.server.pcap"
EAGER = frames(CAPTURE, ["packets", "tcp"])
STEPS = {
    "head": lambda f: f.head(7),
    "short": lambda f: f.head(1),
    "slice": lambda f: f.slice(3, 20),
    "tail": lambda f: f.tail(5),
    "filter": lambda f: f.filter(pl.col("srcport") == 80),
    "even": lambda f: f.filter(pl.col("n") % 2 == 0),
    "sort": lambda f: f.sort("n", descending=True),
    "more": lambda f: f.with_columns(twice=pl.col("n") * 2),
}


# Rows that a step leaves at most, of so many.
AT_MOST = {
    "head": lambda rows: min(rows, 7),
    "short": lambda rows: min(rows, 1),
    "slice": lambda rows: min(max(rows - 3, 0), 20),
    "tail": lambda rows: min(rows, 5),
}


def is_empty_by_plan(steps):
    """Whether slices of slices leave nothing: polars 2.1 panics if such a plan also sorts (also without us)."""
    rows = 1 << 32
    for step in steps:
        rows = AT_MOST.get(step, lambda rows: rows)(rows)
    return rows == 0


@pytest.mark.parametrize("name", TABLES)
def test_types_are_those_that_polars_makes_of_arrow(name):
    """Frames that do without Arrow have its types."""
    table = TABLES[name]
    empty = pa.Table.from_batches([], table.arrow_schema)
    assert polars_schema(table) == pl.DataFrame(empty).schema


@given(
    st.sampled_from(["packets", "tcp"]),
    st.lists(st.sampled_from(sorted(STEPS)), max_size=4),
    st.sampled_from(["in-memory", "streaming"]),
    st.booleans(),
)
@settings(max_examples=120)
def test_any_plan_equals_the_eager_one(table, steps, engine, select):
    assume(not is_empty_by_plan(steps))
    lazy, eager = scan_pcap(CAPTURE, table), EAGER[table].lazy()
    for step in steps:
        lazy, eager = STEPS[step](lazy), STEPS[step](eager)
    if select:
        lazy, eager = lazy.select("srcport", "n"), eager.select("srcport", "n")
    assert lazy.collect(engine=engine).rows() == eager.collect().rows()


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
def test_a_row_count_needs_no_analysis(engine):
    assert scan_pcap(CAPTURE).select(pl.len()).collect(engine=engine).item() == 54


def test_faults_are_said_at_once(tmp_path):
    with pytest.raises(UsageError, match="no table 'x'"):
        scan_pcap(CAPTURE, "x")
    with pytest.raises(CaptureError):
        scan_pcap(tmp_path / "none.pcap")
