"""Which way a comparison goes, decided before anything large is imported; the quick way's reading begins meanwhile.

Knows: what the quick way asks of its sources and settings, threads.
Must not know: what is compared. Must not load polars: importing it takes as long as reading a capture of 100 MB, and
both happen at the same time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pcaptool.diff.room import Room, letting_go
from pcaptool.diff.rules import OF_ALL_PACKETS, rules_in_force
from pcaptool.diff.skim import Skim, skim
from pcaptool.engine import Engine

if TYPE_CHECKING:
    from pcaptool.diff.result import Diff
    from pcaptool.diff.settings import Relation, Which

__all__ = ["QUICK_BYTES", "Skimming", "quickly", "worthwhile"]

# Captures of less are decoded whole as fast.
QUICK_BYTES = 24 << 20

Skimming = tuple[Future[Skim], Future[Skim]]


def worthwhile(a: object, b: object) -> bool:
    """Whether two sources are captures long enough, and can be read more than once."""
    if not all(isinstance(x, (str, Path)) and Path(x).is_file() for x in (a, b)):
        return False
    return sum(Path(x).stat().st_size for x in (a, b) if isinstance(x, (str, Path))) >= QUICK_BYTES


def quickly(
    a: str | Path,
    b: str | Path,
    *,
    relation: Relation | None = None,
    rules: Mapping[str, bool] | None = None,
    tolerances: Mapping[str, str | float] | None = None,
    side: Which | None = None,
    engine: Engine | None = None,
    room: Room | None = None,
) -> Diff | None:
    """Compare two captures; None where that needs everything decoded. Parameters as `pcaptool.diff.diff`.

    `room` is where columns go; without, long ones to files.
    """
    if relation == "model" or rules_in_force(relation or "path", rules) & OF_ALL_PACKETS:
        return None
    engine = engine or Engine("compiled")
    with letting_go(), _skimming(Path(a), Path(b), engine, room or Room()) as begun:
        import pyarrow as pa  # noqa: F401, PLC0415 - while the captures are read

        from pcaptool.diff.quick import diff_quickly  # noqa: PLC0415

        return diff_quickly(
            begun, relation=relation, rules=rules, tolerances=tolerances, side=side, engine=engine
        )


@contextmanager
def _skimming(a: Path, b: Path, engine: Engine, room: Room) -> Iterator[Skimming]:
    """Both captures are being read, each by a thread of its own, which ends with the block at the latest.

    Kernels leave the interpreter to others: to the other capture, and to whoever imports what comes next.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(2, "pcaptool-skim") as pool:
        try:
            yield pool.submit(skim, a, engine, room, stop), pool.submit(skim, b, engine, room, stop)
        finally:
            stop.set()
