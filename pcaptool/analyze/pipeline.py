"""From captures to a report: one decoding pass feeds all tables.

Knows: the order of things: read, decode, analyze, encode. Must not know: any column's meaning.
Memory: one batch, one row group of each table, and the analyses' state.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pcaptool.analyze.ahead import ahead
from pcaptool.analyze.flows import FlowAnalysis
from pcaptool.analyze.registry import ANALYSES, Entry, wanted
from pcaptool.analyze.selection import TCP_RULES, Selection, select
from pcaptool.decode.batch import Analysis, Batch, InParts
from pcaptool.decode.decoder import DECODED, Decoder, decoded_columns
from pcaptool.engine import Engine
from pcaptool.errors import UsageError
from pcaptool.file.reader import CaptureReader, open_capture
from pcaptool.tables import STAGES, TABLES, TIMINGS
from pcaptool.tables.columns import Columns, row_count, to_arrow
from pcaptool.tables.definition import Table
from pcaptool.tables.parquet import ReportWriter
from pcaptool.tables.recorded import read_stages
from pcaptool.tables.report import Report, open_report

if TYPE_CHECKING:
    import polars as pl

    from pcaptool.analyze.bodies import Bodies
    from pcaptool.analyze.stage_layers import StageLayers
    from pcaptool.file.packet_filter import PacketFilter

__all__ = ["Pass", "analyze", "columns_of", "frames"]

Source = str | Path | BinaryIO

# Larger captures are named without a digest: on two cores it would take longer than analyzing them.
_DIGEST_UP_TO_BYTES = 1 << 26
Progress = Callable[[int, int | None, int], None]


def analyze(
    paths: Source | Sequence[Source],
    out: str | Path,
    *,
    tables: Iterable[str] | None = None,
    columns: Iterable[str] | None = None,
    analyses: Sequence[Entry] | None = None,
    extract: str | Path | None = None,
    progress: Progress | None = None,
    command: str = "",
    engine: Engine | None = None,
    packet_filter: str | None = None,
    stages: str | Path | None = None,
    until: Callable[[], bool] | None = None,
    tcp_rules: str = TCP_RULES[0],
) -> Report:
    """Decode and analyze captures into a report.

    Parameters
    ----------
    paths : path, binary file or sequence of them
        Captures; several are read one after the other as if they were one. `-` is standard input.
    out : path
        Folder of the report.
    tables : iterable of str, optional
        Tables to make; all without, and without `columns`.
    columns : iterable of str, optional
        Columns to make beside whole tables, as "tcp.len". What only others need is not computed.
    analyses : sequence of Entry, optional
        Instead of those registered.
    extract : path, optional
        Folder, new or empty, for the bodies of HTTP messages (`analyze.bodies`).
    progress : callable, optional
        Called now and then with bytes read, bytes there are (None if unknown), packets decoded.
    command : str
        Kept in the report.
    engine : Engine, optional
        How kernels run; by default they are compiled if the capture is long.
    packet_filter : str, optional
        In tcpdump's language: other packets are passed over, as if they were not in the captures.
    stages : path, optional
        Recorded stages of the capture's host (`lab run`, `generate`, `predict` write them): they become a table of
        the report, and columns of `timings`.
    until : callable, optional
        Files are read on as they grow, until this is true.
    tcp_rules : {"4.0", "4.4"}
        The version of Wireshark whose rules make conversations and TCP analysis.

    Returns
    -------
    Report

    Raises
    ------
    CaptureError
        A capture that cannot be read at all; a cut one is read up to the cut (`Report.notices`).
    OutputError
        The folder cannot be made.
    UsageError
        A table or column that is not known, a filter that is not understood.
    ReportError
        A file of stages that is none.
    """
    chosen = _chosen(tables, columns, analyses).by_rules(tcp_rules)
    line = _Line(
        _sources(paths), chosen, analyses, engine, progress, only=_filter(packet_filter), until=until
    )
    if stages is not None and TIMINGS.name not in chosen.tables:
        raise UsageError("stages go with the table timings", hint="make it, too: --tables timings,...")
    if stages is not None:
        from pcaptool.analyze.stage_layers import StageLayers  # noqa: PLC0415 - only with stages

        line.stages = StageLayers(read_stages(stages))
    with contextlib.ExitStack() as stack:
        if extract is not None:
            from pcaptool.analyze.bodies import Bodies  # noqa: PLC0415 - only when bodies are wanted

            line.bodies = stack.enter_context(Bodies(extract))
        made = [chosen.table(name) for name in chosen.tables]
        made += [STAGES] if stages is not None else []
        writer = stack.enter_context(ReportWriter(out, made))
        for part in line.parts():
            for name, found in part.items():
                if name in writer.rows:
                    writer.add(name, chosen.pick(name, found) if name in chosen.tables else found)
        about = {"command": command, "notices": line.notices, "sources": line.sources}
        about |= {} if packet_filter is None else {"filter": packet_filter}
        writer.finish(about if tcp_rules == TCP_RULES[0] else about | {"tcp_rules": tcp_rules})
    return open_report(out)


def frames(
    path: Source,
    tables: Iterable[str] | None = None,
    *,
    columns: Iterable[str] | None = None,
    analyses: Sequence[Entry] | None = None,
    engine: Engine | None = None,
    notices: list[str] | None = None,
    tcp_rules: str = TCP_RULES[0],
) -> dict[str, pl.DataFrame]:
    """The tables of a capture, in memory.

    Parameters
    ----------
    path, tables, columns, analyses, engine, tcp_rules
        As in `analyze`.
    notices : list, optional
        Receives what was not complete.

    Returns
    -------
    dict of polars.DataFrame
        Also tables without rows.
    """
    import polars as pl  # noqa: PLC0415 - only when frames are wanted
    import pyarrow as pa  # noqa: PLC0415

    chosen = _chosen(tables, columns, analyses).by_rules(tcp_rules)
    line = _Line([path], chosen, analyses, engine, None)
    definitions = {name: chosen.table(name) for name in chosen.tables}
    parts: dict[str, list[Any]] = {name: [] for name in chosen.tables}
    for part in line.parts():
        for name, found in part.items():
            if name in parts and found:
                parts[name].append(to_arrow(definitions[name], chosen.pick(name, found), complete=True))
    if notices is not None:
        notices.extend(line.notices)
    out: dict[str, pl.DataFrame] = {}
    for name, batches in parts.items():
        table = pa.Table.from_batches(batches, definitions[name].arrow_schema)
        out[name] = pl.DataFrame(table.unify_dictionaries())
    return out


def columns_of(path: Source, table: str, columns: Sequence[str]) -> Iterator[tuple[Table, Columns]]:
    """Some columns of one table, batch by batch; what they do not need is not computed.

    Returns
    -------
    iterator of (Table, Columns)
        The table with these columns only, in its order.
    """
    chosen = select(columns=[f"{table}.{name}" for name in columns])
    if not columns:
        chosen = Selection({table: ()})
    line = _Line([path], chosen, None, None, None, digest=False)
    definition = chosen.table(table)
    for part in line.parts():
        found = part.get(table)
        if found:
            yield definition, chosen.pick(table, found)


class Pass:
    """Some columns of some tables of one capture, batch by batch: bounded memory, however long it is.

    Parameters
    ----------
    path : path or binary file
    columns : iterable of str
        As in `analyze`.

    Attributes
    ----------
    notices : list of str
        What was not complete; whole when all rows were given out.
    captures : list of CaptureReader
        What was read, likewise: its format and interfaces.
    """

    def __init__(self, path: Source, columns: Iterable[str]) -> None:
        self._chosen = select(columns=columns)
        self._line = _Line([path], self._chosen, None, None, None, digest=False)
        self.notices, self.captures = self._line.notices, self._line.captures

    def rows(self) -> Iterator[tuple[str, Any]]:
        """Name of a table and a pyarrow.RecordBatch of it; once."""
        definitions = {name: self._chosen.table(name) for name in self._chosen.tables}
        for part in self._line.parts():
            for name, found in part.items():
                if name in definitions and found:
                    yield name, to_arrow(definitions[name], self._chosen.pick(name, found), complete=True)


def _filter(expression: str | None) -> PacketFilter | None:
    if expression is None:
        return None
    from pcaptool.file.packet_filter import PacketFilter  # noqa: PLC0415 - loads libpcap

    return PacketFilter(expression)


def _sources(paths: Source | Sequence[Source]) -> list[Source]:
    if isinstance(paths, (str, Path)) or not isinstance(paths, Sequence):
        return [paths]
    if not paths:
        raise UsageError("no capture is given")
    return list(paths)


def _chosen(
    tables: Iterable[str] | None, columns: Iterable[str] | None, analyses: Sequence[Entry] | None
) -> Selection:
    """What is wanted; columns that no analysis fills are none."""
    entries = ANALYSES if analyses is None else analyses
    filled = {name for entry in entries for name in entry.fills}
    possible: dict[str, tuple[str, ...]] = {}
    for name in TABLES:
        if name in filled:
            possible[name] = TABLES[name].names
        elif name in DECODED:
            possible[name] = decoded_columns(name)
    return select(tables, columns, possible)


@dataclass
class _Line:
    """One pass over captures.

    Attributes
    ----------
    notices : list of str
    sources : list of dict
    captures : list of CaptureReader
        All complete when the pass has ended.
    """

    paths: list[Source]
    chosen: Selection
    entries: Sequence[Entry] | None
    engine: Engine | None
    progress: Progress | None
    digest: bool = True
    only: PacketFilter | None = None
    until: Callable[[], bool] | None = None
    notices: list[str] = field(default_factory=list)
    sources: list[dict[str, Any]] = field(default_factory=list)
    captures: list[CaptureReader] = field(default_factory=list)
    bodies: Bodies | None = None
    stages: StageLayers | None = None

    def parts(self) -> Iterator[dict[str, Columns]]:
        """Columns of all tables, batch by batch."""
        engine = self.engine or Engine()
        entries = ANALYSES if self.entries is None else self.entries
        also = () if self.bodies is None else ("http",)
        running = [entry.make(engine, self.chosen) for entry in wanted(self.chosen, entries, also)]
        for analysis in running:
            if isinstance(analysis, FlowAnalysis):
                analysis.alone = len(running) == 1
        if self.bodies is not None or TIMINGS.name in self.chosen.tables:
            self._connect(running)
        decoder = Decoder(engine, self._decoded(running))
        packets = 0
        for path in self.paths:
            digest = _Digest(path if self.digest and self.until is None else "-")
            with open_capture(path, engine, self.only, self.until) as capture:
                engine.expect(capture.size_bytes)
                batches = decoder.batches(capture, packets)
                if running and not any(analysis.reads_bytes for analysis in running):
                    batches = ahead(_prepared(batches, running))
                for batch in batches:
                    finished = [analysis.feed(batch) for analysis in running]
                    yield batch.tables
                    yield from finished
                    if self.progress is not None:
                        self.progress(capture.position, capture.size_bytes, batch.first_n + batch.count - 1)
                packets += capture.packets
                self.captures.append(capture)
                if capture.cut is not None:
                    self.notices.append(str(capture.cut))
                self.sources.append(digest.about(capture.path, capture.packets))
        yield from _rest(running)
        self.notices += (notice for each in running for notice in getattr(each, "notices", ()))
        if self.stages is not None:
            own = self.stages.own()
            if not row_count(own["host"]):
                self.notices.append("stages: no host's frames in them are the capture's")
            yield {STAGES.name: own}

    def _connect(self, running: Sequence[Analysis]) -> None:
        """Tell analyses of each other, and of what was asked for besides tables."""
        from pcaptool.analyze.http import HttpAnalysis  # noqa: PLC0415 - loads the parser
        from pcaptool.analyze.timings import TimingAnalysis  # noqa: PLC0415 - likewise

        http = next((each for each in running if isinstance(each, HttpAnalysis)), None)
        if self.bodies is not None and http is not None:
            http.extract(self.bodies)
        for analysis in running:
            if isinstance(analysis, TimingAnalysis):
                analysis.http, analysis.stages = http, self.stages
                if http is not None:
                    http.then = analysis.follow

    def _decoded(self, running: Sequence[Analysis]) -> dict[str, set[str]]:
        """Columns that decoding must fill: those that are wanted, and those that analyses need for others."""
        columns = {table: set(names) for table, names in self.chosen.columns.items() if table in DECODED}
        for analysis in running:
            for table, names in analysis.needs.items():
                columns.setdefault(table, set()).update(names)
        return columns


def _prepared(batches: Iterable[Batch], running: Sequence[Analysis]) -> Iterator[Batch]:
    """Batches with what analyses can do of them in the thread that decodes."""
    for batch in batches:
        for analysis in running:
            if isinstance(analysis, FlowAnalysis):
                analysis.prepare(batch)
        yield batch


def _rest(running: Sequence[Analysis]) -> Iterator[dict[str, Columns]]:
    """What is left at the end; conversations come last, when what the others held is free."""
    for analysis in sorted(running, key=lambda each: isinstance(each, FlowAnalysis)):
        if isinstance(analysis, InParts):
            yield from analysis.parts()
        else:
            yield analysis.finish()


class _Digest:
    """Size of a file, and SHA-256 of one that is not large, computed beside the decoding."""

    def __init__(self, path: Source) -> None:
        self._path = Path(path) if isinstance(path, (str, Path)) and str(path) != "-" else None
        self._found: dict[str, Any] = {}
        self._thread: threading.Thread | None = None
        size = self._path.stat().st_size if self._path is not None and self._path.is_file() else -1
        if size >= 0:
            self._found["size_bytes"] = size
        if self._path is not None and 0 <= size <= _DIGEST_UP_TO_BYTES:
            self._thread = threading.Thread(target=self._compute, args=(self._path,), daemon=True)
            self._thread.start()

    def _compute(self, path: Path) -> None:
        with path.open("rb") as file:
            self._found["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()

    def about(self, name: str, packets: int) -> dict[str, Any]:
        """What the report says of this source."""
        if self._thread is not None:
            self._thread.join()
        return {"name": Path(name).name, "packets": packets} | self._found
