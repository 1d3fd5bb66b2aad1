"""A capture or a report becomes a `Side`.

Knows: which tables and columns the diff reads, and how they are decoded in one pass with the fingerprints.
Must not know: what is compared.
Memory: the rows of the packets (about 0.5 kB each), never their bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pcaptool.analyze.registry import wanted
from pcaptool.analyze.selection import select
from pcaptool.decode.batch import Analysis, Batch
from pcaptool.decode.decoder import Decoder
from pcaptool.diff import print_kernel
from pcaptool.diff.arrays import Ints
from pcaptool.diff.fingerprint import UDP_HEADER_BYTES, fingerprint, mask_udp_header, masked_prints
from pcaptool.diff.inner_link import inner_links
from pcaptool.diff.side import EXCHANGES, PRINTS_SCHEMA, TABLES_READ, Side
from pcaptool.diff.stage_times import COLUMNS
from pcaptool.diff.units import columns_read
from pcaptool.engine import Engine
from pcaptool.errors import ReportError
from pcaptool.file import open_capture
from pcaptool.tables import TABLES
from pcaptool.tables.columns import Columns, Masked, row_count, to_arrow
from pcaptool.tables.report import open_report

__all__ = ["kept", "load_side", "packets_of", "prints_of", "stages_beside", "whole_frame"]

_ICMPV6, _UDP = 58, 17


def load_side(source: str | Path | Side, engine: Engine | None = None) -> Side:
    """Loads a capture file or a report folder.

    Parameters
    ----------
    source : str, Path or Side
        A capture, a report folder, or a side that is loaded already.
    engine : Engine, optional
        How kernels run.

    Raises
    ------
    CaptureError
        Not a capture, or it cannot be read.
    ReportError
        A folder that is not a whole report.
    """
    if isinstance(source, Side):
        return source
    path = Path(source)
    if path.is_dir():
        return _report(path)
    return _capture(path, engine or Engine())


def _report(folder: Path) -> Side:
    report = open_report(folder)
    partial = [name for name in TABLES_READ if name in report.tables and not report.whole(name)]
    if partial:
        raise ReportError(
            f"table {partial[0]} has some of its columns only", path=folder, hint="make it with all"
        )
    if "packets" not in report.tables:
        raise ReportError("the report has no packets table", path=folder, hint="make it with all tables")
    frames = {
        name: report[name].select(columns_read(TABLES[name])).collect()
        for name in (*TABLES_READ, EXCHANGES)
        if name in report.tables and (name != EXCHANGES or report.whole(name))
    }
    stages = report["stages"].collect() if "stages" in report.tables and report.whole("stages") else None
    return Side(str(folder), frames, stages=stages)


def _read_stages(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ReportError("not a readable Parquet file", path=path) from error


def stages_beside(capture: Path) -> pl.DataFrame | None:
    """Stages of the run that a capture is of: what `generate` (OUT.stages.parquet) or `lab run` left beside it.

    Raises
    ------
    ReportError
        A file of that name that is no such table.
    """
    for name in (f"{capture.stem}.stages.parquet", "stages.parquet"):
        path = capture.with_name(name)
        if path.is_file():
            found = _read_stages(path)
            if not set(found.columns) >= COLUMNS:
                raise ReportError("no table of stages", path=path, hint="make it anew, or move it away")
            return found
    return None


def _capture(path: Path, engine: Engine) -> Side:
    analyses: list[Analysis] = [entry.make(engine) for entry in wanted(select((*TABLES_READ, EXCHANGES)))]
    parts: dict[str, list[pl.DataFrame]] = {name: [] for name in (*TABLES_READ, EXCHANGES)}
    prints: list[pl.DataFrame] = []
    inner: list[pl.DataFrame] = []
    kernel = engine.flat(print_kernel.__name__, "prints")
    with open_capture(path, engine) as capture:
        for batch in Decoder(engine).batches(capture):
            done = [analysis.feed(batch) for analysis in analyses]
            kept(parts, [batch.tables, *done])
            prints.append(prints_of(batch, kernel))
            inner.append(inner_links(batch))
        kept(parts, [analysis.finish() for analysis in analyses])
        notes = [str(capture.cut)] if capture.cut is not None else []
    frames = {name: pl.concat(found) for name, found in parts.items() if found}
    if "packets" not in frames:
        frames["packets"] = whole_frame("packets")
    whole = pl.concat(prints) if prints else pl.DataFrame(schema=PRINTS_SCHEMA)

    def reread(numbers: list[int]) -> dict[int, bytes]:
        return packets_of(path, engine, set(numbers))

    known = path.is_file()
    return Side(
        str(path),
        frames,
        whole,
        notes,
        reread if known else None,
        stages_beside(path) if known else None,
        pl.concat(inner) if inner else None,
    )


def kept(parts: dict[str, list[pl.DataFrame]], found: Iterable[dict[str, Columns]]) -> None:
    """Adds the rows of some tables to those that are wanted."""
    for tables in found:
        for name, columns in tables.items():
            if name in parts and columns and row_count(next(iter(columns.values()))):
                parts[name].append(_frame(name, columns))


def whole_frame(name: str) -> pl.DataFrame:
    """A table without rows."""
    return pl.DataFrame(pl.from_arrow(TABLES[name].arrow_schema.empty_table()))


def _frame(name: str, columns: Columns) -> pl.DataFrame:
    table = TABLES[name]
    wanted_ = set(columns_read(table))
    made = pl.from_arrow(to_arrow(table, {name: c for name, c in columns.items() if name in wanted_}))
    assert isinstance(made, pl.DataFrame)  # noqa: S101 - a record batch becomes a frame
    # Dictionary columns of different batches have different dictionaries.
    texts = [c for c, kind in made.schema.items() if isinstance(kind, (pl.Categorical, pl.Enum))]
    return made.with_columns(pl.col(texts).cast(pl.String))


def prints_of(batch: Batch, kernel: Callable[..., None]) -> pl.DataFrame:
    """Fingerprints of a batch's packets."""
    packets = batch.tables["packets"]
    starts = np.ascontiguousarray(batch.offsets[: batch.count], dtype=np.int64)
    sizes, places, lengths = (_ints(packets[c]) for c in ("cap_len", "payload_offset", "payload_bytes"))
    frame, payload, captured = (np.zeros(batch.count, np.int64) for _ in range(3))
    kernel(batch.data, (starts, sizes, places, lengths), (frame, payload, captured))
    masked = payload.copy()
    begins = starts + np.minimum(places, sizes)
    for row, value in masked_prints(batch.data.data, begins, begins + captured):
        masked[row] = value
    for row in _first_fragments(batch, lengths):
        held = bytes(batch.data[begins[row] : begins[row] + captured[row]])
        masked[row] = fingerprint(mask_udp_header(held))
    return pl.DataFrame(
        {
            "n": np.arange(batch.first_n, batch.first_n + batch.count),
            "frame_print": frame,
            "payload_print": payload,
            "masked_print": masked,
            "payload_captured": captured,
            "icmpv6_type": _icmpv6_types(batch, starts, sizes),
        }
    ).cast(PRINTS_SCHEMA)  # type: ignore[arg-type]


def _first_fragments(batch: Batch, lengths: Ints) -> list[int]:
    """Rows of packets whose payload begins with a UDP header: first fragments of datagrams."""
    ip = batch.tables["ip"]
    mine = (_ints(ip["depth"]) == 0) & (_ints(ip["proto"]) == _UDP) & (_ints(ip["frag_offset"]) == 0)
    if not mine.any():
        return []
    rows = np.setdiff1d(_ints(ip["n"])[mine], _ints(batch.tables["udp"]["n"])) - batch.first_n
    return [row for row in rows.tolist() if lengths[row] >= UDP_HEADER_BYTES]


def _icmpv6_types(batch: Batch, starts: Ints, sizes: Ints) -> Ints:
    """Type of each packet's ICMPv6 behind the link header and the outermost IP header; -1 where there is none."""
    ip, link = batch.tables["ip"], batch.tables["link"]
    out = np.full(batch.count, -1, np.int64)
    if not row_count(ip["n"]):
        return out
    begins = np.zeros(batch.count, np.int64)
    begins[_ints(link["n"]) - batch.first_n] = _ints(link["hdr_bytes"])
    mine = (_ints(ip["depth"]) == 0) & (_ints(ip["proto"]) == _ICMPV6)
    rows = (_ints(ip["n"]) - batch.first_n)[mine]
    at = begins[rows] + _ints(ip["hdr_len"])[mine]
    there = at < sizes[rows]
    rows, at = rows[there], at[there]
    out[rows] = batch.data[starts[rows] + at]
    return out


def _ints(column: Any) -> Ints:
    values = column.values if isinstance(column, Masked) else column
    return np.ascontiguousarray(values, dtype=np.int64)


def packets_of(path: Path, engine: Engine, numbers: set[int]) -> dict[int, bytes]:
    """Captured bytes of some packets: the capture is read once more, up to the last of them."""
    out: dict[int, bytes] = {}
    with open_capture(path, engine) as capture:
        for run in capture.runs():
            for n in [n for n in numbers if run.first_n <= n < run.first_n + len(run)]:
                at = int(run.offsets[n - run.first_n])
                out[n] = run.data[at : at + int(run.cap_len[n - run.first_n])].tobytes()
            if len(out) == len(numbers):
                break
    return out
