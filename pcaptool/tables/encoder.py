"""Encoding row groups beside the thread that makes them.

Knows: threads, the order of row groups within a table. Must not know: what the columns mean.
Row groups of one table are encoded in order, those of different tables side by side; who produces faster than
is encoded waits. pyarrow encodes without holding the interpreter's lock.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

from pcaptool.tables.columns import Columns, to_arrow
from pcaptool.tables.definition import Table
from pcaptool.tables.pieces import join

__all__ = ["Encoder"]

_WAITING = 3  # row groups that may wait: some 20 MB each at most


class Encoder:
    """Two threads that write row groups to open ParquetWriters.

    Parameters
    ----------
    writers : mapping
        Table name to ParquetWriter.
    threads : int, optional
        By default one for each processor but at most 2.
    """

    def __init__(self, writers: Mapping[str, Any], threads: int | None = None) -> None:
        self._writers = dict(writers)
        self._jobs: deque[tuple[str, Table, list[Columns]]] = deque()
        self._busy: set[str] = set()
        self._changed = threading.Condition()
        self._closing = False
        self._error: BaseException | None = None
        self._count = min(2, os.cpu_count() or 1) if threads is None else threads
        self._threads: list[threading.Thread] = []

    def put(self, name: str, table: Table, pieces: list[Columns]) -> None:
        """Encode some batches as one row group of a table, soon.

        Raises
        ------
        Exception
            Whatever an earlier row group failed with.
        """
        if not self._threads:
            self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self._count)]
            for thread in self._threads:
                thread.start()
        with self._changed:
            self._changed.wait_for(lambda: len(self._jobs) < _WAITING or self._error is not None)
            self._raise()
            self._jobs.append((name, table, pieces))
            self._changed.notify_all()

    def close(self, about: Mapping[str, str]) -> None:
        """Encode what waits, then end all files with these metadata."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._raise()
        for writer in self._writers.values():
            writer.add_key_value_metadata(dict(about))
            writer.close()

    def abandon(self) -> None:
        """Stop, whatever waits."""
        with self._changed:
            self._jobs.clear()
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        for writer in self._writers.values():
            writer.close()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _next(self) -> tuple[str, Table, list[Columns]] | None:
        """The first job whose table nobody writes to; None at the end."""
        with self._changed:
            while True:
                for i, job in enumerate(self._jobs):
                    if job[0] not in self._busy:
                        del self._jobs[i]
                        self._busy.add(job[0])
                        self._changed.notify_all()
                        return job
                if self._closing and not self._jobs:
                    return None
                self._changed.wait()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            name, table, pieces = job
            try:
                if self._error is None:
                    names = list(pieces[0])
                    columns = {column: join([piece[column] for piece in pieces]) for column in names}
                    self._writers[name].write_batch(to_arrow(table, columns, complete=True))
            except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
                self._error = error
            with self._changed:
                self._busy.discard(name)
                self._changed.notify_all()
