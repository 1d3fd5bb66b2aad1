"""What `pcaptool info` says: the file, its interfaces, its traffic, its top flows, its trouble.

Knows: layout, and what is summed up on the way. Must not know: how a file is read.
Memory: what is shown; rows pass by once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from pcaptool.report.conversations import flow_table
from pcaptool.report.rows import Row, largest
from pcaptool.report.summary import carried
from pcaptool.report.traffic import FAULTS, TRAFFIC, Faults, Traffic
from pcaptool.report.words import captured, count, grid

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["COLUMNS", "CaptureInfo"]

_FLOW = (
    *(
        "flow",
        "protocol",
        "src",
        "srcport",
        "dst",
        "dstport",
        "first_ts",
        "last_ts",
        "handshake_rtt_ns",
        "end",
    ),
    *(f"{name}_{side}" for name in ("packets", "bytes", "payload_bytes") for side in ("fwd", "rev")),
    *(f"{name}_{side}" for name in ("retransmissions", "out_of_order") for side in ("fwd", "rev")),
    *(f"{name}_{side}" for name in ("lost_segments", "zero_windows") for side in ("fwd", "rev")),
)
# What it needs of a capture, as "table.column".
COLUMNS = (
    *(f"packets.{name}" for name in dict.fromkeys((*TRAFFIC, *FAULTS))),
    *(f"flows.{name}" for name in _FLOW),
)


class CaptureInfo:
    """A capture at a glance.

    Parameters
    ----------
    parts : iterable of (str, pyarrow.RecordBatch)
        Table and rows, with the columns COLUMNS; flows behind all packets.
    rows : int
        Flows and kinds of trouble to show.
    """

    def __init__(self, parts: Iterable[tuple[str, pa.RecordBatch]], rows: int = 10) -> None:
        self.traffic, self._faults, self._rows = Traffic(), Faults(), rows
        self._top: list[Row]
        self._top, self.flows = largest(self._flows_of(parts), carried, rows)

    def _flows_of(self, parts: Iterable[tuple[str, pa.RecordBatch]]) -> Iterator[pa.RecordBatch]:
        for name, batch in parts:
            if name == "packets":
                self.traffic.add(batch)
                self._faults.add(batch)
            else:
                yield batch

    def shown(self, about: Sequence[tuple[str, object]]) -> RenderableType:
        """For people; `about` has names and values of the file, which are escaped."""
        parts: list[RenderableType] = [
            grid([(name, captured(value)) for name, value in about]),
            self.traffic.shown(),
        ]
        if self.flows:
            title = f"Flows: biggest {len(self._top)} of {count(self.flows)}"
            parts += [Text(""), flow_table(self._top, title)]
        trouble = self._faults.shown(self._rows)
        if trouble is not None:
            parts += [Text(""), trouble]
        return Group(*parts)

    def as_dict(self, about: Sequence[tuple[str, object]]) -> dict[str, Any]:
        """For programs."""
        traffic = self.traffic
        return {
            "about": [{"name": name, "value": value} for name, value in about],
            "packets": traffic.packets,
            "flows": self.flows,
            "captured_bytes": traffic.captured_bytes,
            "original_bytes": traffic.original_bytes,
            "first_ns": traffic.first_ns,
            "last_ns": traffic.last_ns,
            "undecoded": traffic.undecoded,
        }
