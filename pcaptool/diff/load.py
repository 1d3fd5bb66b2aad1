"""A capture or a report becomes a `Side`.

Knows: which tables and columns the diff reads, and how they are decoded in one pass with the fingerprints.
Must not know: what is compared.
Memory: the rows of the packets (about 0.5 kB each), never their bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from pcaptool.analyze.registry import wanted
from pcaptool.decode.batch import Analysis, Batch
from pcaptool.decode.decoder import Decoder
from pcaptool.diff.fingerprint import packet_prints
from pcaptool.diff.side import PRINTS_SCHEMA, TABLES_READ, Side
from pcaptool.engine import Engine
from pcaptool.errors import ReportError
from pcaptool.file import open_capture
from pcaptool.tables import TABLES
from pcaptool.tables.columns import Columns, Masked, row_count, to_arrow
from pcaptool.tables.report import open_report

__all__ = ["load_side"]

_ICMPV6 = 58


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
    if "packets" not in report.tables:
        raise ReportError("the report has no packets table", path=folder, hint="make it with all tables")
    return Side(str(folder), {name: report[name].collect() for name in TABLES_READ if name in report.tables})


def _capture(path: Path, engine: Engine) -> Side:
    analyses: list[Analysis] = [entry.make(engine) for entry in wanted(TABLES_READ)]
    parts: dict[str, list[pl.DataFrame]] = {name: [] for name in TABLES_READ}
    prints: list[pl.DataFrame] = []
    with open_capture(path, engine) as capture:
        for batch in Decoder(engine).batches(capture):
            done = [analysis.feed(batch) for analysis in analyses]
            _keep(parts, [batch.tables, *done])
            prints.append(_prints(batch))
        _keep(parts, [analysis.finish() for analysis in analyses])
        notes = [str(capture.cut)] if capture.cut is not None else []
    frames = {name: pl.concat(found) for name, found in parts.items() if found}
    if "packets" not in frames:
        frames["packets"] = _frame("packets", {})
    whole = pl.concat(prints) if prints else pl.DataFrame(schema=PRINTS_SCHEMA)

    def reread(numbers: list[int]) -> dict[int, bytes]:
        return _packets(path, engine, set(numbers))

    return Side(str(path), frames, whole, notes, reread if path.is_file() else None)


def _keep(parts: dict[str, list[pl.DataFrame]], found: Iterable[dict[str, Columns]]) -> None:
    for tables in found:
        for name, columns in tables.items():
            if name in parts and columns and row_count(next(iter(columns.values()))):
                parts[name].append(_frame(name, columns))


def _frame(name: str, columns: Columns) -> pl.DataFrame:
    table = TABLES[name]
    if not columns:
        return pl.DataFrame(pl.from_arrow(table.arrow_schema.empty_table()))
    made = pl.from_arrow(to_arrow(table, columns))
    assert isinstance(made, pl.DataFrame)  # noqa: S101 - a record batch becomes a frame
    # Dictionary columns of different batches have different dictionaries.
    texts = [c for c, kind in made.schema.items() if isinstance(kind, (pl.Categorical, pl.Enum))]
    return made.with_columns(pl.col(texts).cast(pl.String))


def _prints(batch: Batch) -> pl.DataFrame:
    """Fingerprints of a batch's packets."""
    packets = batch.tables["packets"]
    sizes, starts = _ints(packets["cap_len"]), batch.offsets.tolist()
    places, lengths = _ints(packets["payload_offset"]), _ints(packets["payload_bytes"])
    icmp = _icmpv6_places(batch)
    rows = []
    for i in range(batch.count):
        raw = batch.data[starts[i] : starts[i] + sizes[i]].tobytes()
        at = icmp.get(i, -1)
        kind = raw[at] if 0 <= at < len(raw) else -1
        rows.append((batch.first_n + i, *packet_prints(raw, places[i], lengths[i]), kind))
    return pl.DataFrame(rows, schema=PRINTS_SCHEMA, orient="row")


def _icmpv6_places(batch: Batch) -> dict[int, int]:
    """Where ICMPv6 begins, by row of packets: behind the link header and the outermost IP header."""
    ip = batch.tables["ip"]
    if not row_count(ip["n"]):
        return {}
    link = dict(zip(_ints(batch.tables["link"]["n"]), _ints(batch.tables["link"]["hdr_bytes"]), strict=True))
    columns = (_ints(ip[c]) for c in ("n", "depth", "proto", "hdr_len"))
    return {
        n - batch.first_n: link.get(n, 0) + size
        for n, depth, proto, size in zip(*columns, strict=True)
        if depth == 0 and proto == _ICMPV6
    }


def _ints(column: Any) -> list[int]:
    values: list[int] = (column.values if isinstance(column, Masked) else column).tolist()
    return values


def _packets(path: Path, engine: Engine, numbers: set[int]) -> dict[int, bytes]:
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
