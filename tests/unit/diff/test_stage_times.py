"""Times from stage to stage: what is compared where both sides have stages."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from pcaptool.diff import diff
from pcaptool.diff.stage_times import stage_distributions, stage_steps
from pcaptool.errors import ReportError
from pcaptool.generate import generate
from pcaptool.report.diff import diff_text
from pcaptool.scenario import load_scenario

ROOT = Path(__file__).resolve().parents[3]
SCENARIO = ROOT / "fixtures" / "scenarios" / "lab" / "size-10240.toml"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run, and the same one with half a microsecond more between two stages of the server."""
    folder = tmp_path_factory.mktemp("stages")
    a, b = folder / "a.pcapng", folder / "b.pcapng"
    generate(load_scenario(SCENARIO), a)
    shutil.copy(a, b)
    stages = pl.read_parquet(folder / "a.stages.parquet")
    late = (pl.col("host") == "server") & pl.col("stage").is_in(["net_dev_xmit", "wire"])
    later = pl.when(late).then(pl.col("ts") + pl.duration(nanoseconds=500)).otherwise("ts")
    stages.with_columns(ts=later).write_parquet(folder / "b.stages.parquet")
    return a, b


def test_a_slower_step_is_told_as_that_step_and_no_other(runs):
    found = diff(*runs)
    steps = {d.stage: d for d in found.distributions if d.stage}
    assert len(steps) > 15
    moved = {name for name, d in steps.items() if d.quantiles_a != d.quantiles_b}
    assert moved == {"server: net_dev_start_xmit to net_dev_xmit"}
    slow = steps[moved.pop()]
    assert slow.quantiles_b[2] - slow.quantiles_a[2] == 500
    assert slow.distance == 1.0
    assert slow.probability < 0.01
    assert found.exit_code == 0  # times are told, they do not count


def test_the_steps_of_a_buffer_are_the_differences_of_its_own_rows(runs):
    stages = pl.read_parquet(runs[0].with_name("a.stages.parquet"))
    steps = stage_steps(stages)
    one = stages.filter(pl.col("skb") == 5)["ts"].cast(pl.Int64).diff().drop_nulls().to_list()
    assert len(one) > 5
    every = steps["took_ns"].to_list()
    assert all(value in every for value in one)
    # A clone goes on where its origin was: tcp_write_xmit of the origin, __tcp_transmit_skb of the clone.
    assert steps.filter(before="tcp_write_xmit", stage="__tcp_transmit_skb").height > 0
    assert (steps["took_ns"] >= 0).all()


def test_the_terminal_and_json_tell_them(runs):
    found = diff(*runs)
    text = diff_text(found)
    assert "Times from stage to stage in us" in text
    assert "server: net_dev_start_xmit to net_dev_xmit" in text
    told = json.loads(found.to_json())["distributions"]
    assert "stage server: ip_output to neigh_output" in {d["what"] for d in told}


def test_one_side_without_stages_says_nothing(runs, tmp_path):
    alone = tmp_path / "a.pcapng"
    shutil.copy(runs[0], alone)
    assert not any(d.stage for d in diff(runs[0], alone).distributions)
    assert stage_distributions(None, None) == []


def test_a_file_of_that_name_that_is_something_else_is_one_line(runs, tmp_path):
    alone = tmp_path / "a.pcapng"
    shutil.copy(runs[0], alone)
    (tmp_path / "a.stages.parquet").write_bytes(b"no parquet")
    with pytest.raises(ReportError, match="not a readable Parquet file"):
        diff(alone, runs[0])
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "a.stages.parquet")
    with pytest.raises(ReportError, match="no table of stages"):
        diff(alone, runs[0])
