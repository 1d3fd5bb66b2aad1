"""Spark reads a report, as docs/recipes.md says; needs pyspark and Java, which `make test` does not install."""

from __future__ import annotations

import shutil

import pytest

from pcaptool.analyze.pipeline import analyze

pytestmark = [pytest.mark.spark, pytest.mark.slow]


def test_spark_reads_every_table(lab_captures, tmp_path):
    sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed")
    if shutil.which("java") is None:
        pytest.skip("there is no Java")
    report = analyze(lab_captures / "loss-mid-cubic.server.pcap", tmp_path / "r")
    spark = (
        sql.SparkSession.builder.master("local[1]")
        .config("spark.sql.legacy.parquet.nanosAsLong", "true")
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
    try:
        for name, rows in report.counts.items():
            assert spark.read.parquet(str(tmp_path / "r" / f"{name}.parquet")).count() == rows, name
        tcp = spark.read.parquet(str(tmp_path / "r" / "tcp.parquet"))
        assert tcp.where("analysis_retransmission").count() == 1
    finally:
        spark.stop()
