"""A capture's runs of packets to batches of columns.

Knows: which kernels fill which table. Must not know: conversations.
Memory: one run of at most BATCH_PACKETS, its rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np

from pcaptool.decode import build
from pcaptool.decode.batch import Batch
from pcaptool.decode.datagrams import Datagrams
from pcaptool.decode.dictionary import Dictionary, address_text, path_text
from pcaptool.decode.kernels.codes import CURSOR_SIZE, MEMO_SIZE, ROW_SIZES, T_FRAGMENT, TABLE_COUNT
from pcaptool.decode.layers import MAX_LAYERS
from pcaptool.decode.step import Step
from pcaptool.engine import Engine
from pcaptool.file.model import Run
from pcaptool.file.reader import CaptureReader
from pcaptool.tables import TABLES
from pcaptool.tables.columns import Columns

__all__ = ["BATCH_PACKETS", "DECODED", "Decoder", "decoded_columns"]

# Not a power of two: columns of a power of two of elements would all lie in the same few lines of the cache.
BATCH_PACKETS = 16_160

# Table name to the function that makes its columns.
_BUILDERS: dict[str, Callable[[Step], Columns]] = {
    "packets": build.packets,
    "link": build.link,
    "arp": build.arp,
    "ip": build.ip,
    "icmp": build.icmp,
    "igmp": build.igmp,
    "tcp": build.tcp,
    "udp": build.udp,
}

# Tables that decoding fills, in the order of the layers.
DECODED: tuple[str, ...] = tuple(_BUILDERS)


# Columns of every table that has them: what finds a header's packet and the headers around it.
_ALWAYS = ("n", "depth", "quoted")


def _every(wanted: Iterable[str] | Mapping[str, Iterable[str]]) -> dict[str, frozenset[str]]:
    """Table name to its wanted columns."""
    if isinstance(wanted, Mapping):
        return {table: frozenset((*names, *_ALWAYS)) for table, names in wanted.items()}
    return {table: frozenset(TABLES[table].names) for table in wanted}


def _rows(capacity: int) -> tuple[Any, ...]:
    """Room for what the walk writes of each header."""
    return tuple(np.empty((capacity, size), np.int64) for size in ROW_SIZES)


@cache
def decoded_columns(table: str) -> tuple[str, ...]:
    """Columns of a table that decoding alone fills; the others are the analyses'.

    Examples
    --------
    >>> "flow" in decoded_columns("tcp"), "len" in decoded_columns("tcp")
    (False, True)
    """
    engine = Engine("plain")
    nothing = np.empty(0, np.int64)
    run = Run(1, np.empty(0, np.uint8), *[nothing] * 7)  # type: ignore[arg-type]
    step = Step(
        run=run,
        first=0,
        end=0,
        rows=_rows(0),
        sizes=[0] * TABLE_COUNT,
        packets=build.packet_arrays(0),
        links=build.link_arrays(0),
        names=Dictionary(address_text, 1),
        paths=Dictionary(path_text, 1),
        kernels=build.kernels(engine),
        wanted=_every((table,)),
    )
    return tuple(_BUILDERS[table](step))


class Decoder:
    """Decodes the packets of one or several captures, one after the other.

    Parameters
    ----------
    engine : Engine
    wanted : iterable of str or mapping, optional
        Tables to fill, or table name to names of the columns to fill (and which packet, how deep, and whether quoted);
        all that decoding knows without. Where nothing is wanted but what the file says of each packet, no header is
        read; where their status is not, transport checksums are not computed.

    Examples
    --------
    >>> import io
    >>> from pcaptool.file.reader import open_capture
    >>> header = bytes.fromhex("d4c3b2a1 0200 0400 00000000 00000000 00000400 01000000")
    >>> packet = bytes.fromhex("00000000 00000000 0e000000 0e000000 020000000001 020000000002 0806")
    >>> engine = Engine("plain")
    >>> with open_capture(io.BytesIO(header + packet)) as capture:
    ...     [batch] = Decoder(engine).batches(capture)
    >>> batch.tables["packets"]["err_need_bytes"].values.tolist()
    [8]
    """

    def __init__(
        self, engine: Engine, wanted: Iterable[str] | Mapping[str, Iterable[str]] | None = None
    ) -> None:
        self._engine = engine
        self._wanted = _every(DECODED if wanted is None else wanted)
        self._records = self._wanted.keys() == {"packets"} and not build.walked(self._wanted)
        self._builders = {name: make for name, make in _BUILDERS.items() if name in self._wanted}
        self._chain = engine.flat("pcaptool.decode.kernels.chain", "chain")
        self._kernels = build.kernels(engine)
        self._capacity = BATCH_PACKETS + 4 * MAX_LAYERS
        # A row of any table can name two addresses; ARP rows four.
        self._names = Dictionary(address_text, 16 * self._capacity)
        self._paths = Dictionary(path_text, self._capacity)
        self._rows = _rows(self._capacity)
        self._cursor, self._memo = np.zeros(CURSOR_SIZE, np.int64), np.zeros(MEMO_SIZE, np.int64)

    def batches(self, capture: CaptureReader, before: int = 0) -> Iterator[Batch]:
        """All packets of a capture as batches; their `data` is overwritten by the next.

        Parameters
        ----------
        capture : CaptureReader
        before : int
            Packets of earlier captures: numbers go on behind them.
        """
        datagrams = Datagrams(self._walk_datagrams)
        for run in capture.runs(BATCH_PACKETS):
            run.first_n += before
            first = 0
            if self._records:
                yield self._recorded(run)
                first = len(run)
            while first < len(run):
                self._names.begin_batch()
                self._paths.begin_batch()
                step = self._walk(run, first, self._rows)
                yield self._batch(step, datagrams)
                first = step.end
            self._engine.passed(len(run), int(run.cap_len.sum()))

    def _recorded(self, run: Run) -> Batch:
        step = Step(run, 0, len(run), (), [], (), (), self._names, self._paths, self._kernels, self._wanted)
        tables = {"packets": build.records(step)}
        return Batch(run.first_n, len(run), tables, run.data, run.offsets)

    def _walk_datagrams(self, run: Run) -> Step:
        """Reassembled datagrams, into rows of their own."""
        room = len(run) + 2 * MAX_LAYERS
        rows = _rows(MAX_LAYERS * room)
        return self._walk(run, 0, rows)

    def _walk(self, run: Run, first: int, rows: tuple[Any, ...]) -> Step:
        sizes = np.zeros(TABLE_COUNT, np.int64)
        walked = build.walked(self._wanted)
        packets = build.packet_arrays(len(run) if walked else 0)
        links = build.link_arrays(len(run) if "link" in self._wanted else 0)
        arrays = (run.offsets, run.cap_len, run.orig_len, run.linktype)
        done = self._chain(
            run.data,
            first,
            arrays,
            rows,
            sizes,
            self._names.table,
            self._paths.table,
            self._cursor,
            self._memo,
            packets,
            links,
        )
        return Step(
            run=run,
            first=first,
            end=int(done),
            rows=rows,
            sizes=sizes.tolist(),
            packets=tuple(column[first:done] for column in packets),
            links=tuple(column[first:done] for column in links),
            names=self._names,
            paths=self._paths,
            kernels=self._kernels,
            wanted=self._wanted,
        )

    def _build(self, step: Step) -> dict[str, Columns]:
        return {name: make(step) for name, make in self._builders.items()}

    def _batch(self, step: Step, datagrams: Datagrams) -> Batch:
        tables = self._build(step)
        payloads = datagrams.add(step, tables, self._build) if step.sizes[T_FRAGMENT] else {}
        step.names.refresh()
        return Batch(
            first_n=step.run.first_n + step.first,
            count=step.end - step.first,
            tables=tables,
            data=step.run.data,
            offsets=step.run.offsets[step.first : step.end],
            reassembled=payloads,
        )
