"""The files of a run beside its captures: stages (Parquet) and scenario (TOML), whole or not at all."""

from __future__ import annotations

from pathlib import Path

from pcaptool._version import __version__
from pcaptool.file.aside import write_whole
from pcaptool.generate.stages import stage_columns
from pcaptool.scenario import Scenario, dump_scenario
from pcaptool.stack.run import RunResult
from pcaptool.tables import STAGES
from pcaptool.tables.columns import to_arrow

__all__ = ["write_scenario", "write_stages"]


def write_stages(path: Path, result: RunResult, plan: Scenario) -> None:
    """The `stages` table of a run.

    Raises
    ------
    OutputError
        The place cannot be written.
    """
    import pyarrow as pa  # noqa: PLC0415 - only where a table is written
    import pyarrow.parquet as pq  # noqa: PLC0415 - likewise

    sent = {host: frames for host, frames in result.frames.items() if host != "wire"}
    batch = to_arrow(STAGES, stage_columns(result.noted, sent))
    about = {"pcaptool.version": __version__, "pcaptool.scenario": dump_scenario(plan)}
    schema = batch.schema.with_metadata({**batch.schema.metadata, **about})
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        writer.write_batch(batch.cast(schema))
    write_whole(path, sink.getvalue().to_pybytes())


def write_scenario(path: Path, plan: Scenario) -> None:
    """The scenario as it was run.

    Raises
    ------
    OutputError
        The place cannot be written.
    """
    write_whole(path, dump_scenario(plan).encode())
