"""One of the two things that are compared: the tables of a capture, and a fingerprint of each packet's bytes.

Knows: the names of the tables that the diff reads, and the fingerprint columns.
Must not know: how a capture or a report is read (`load`), or what is compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import polars as pl

__all__ = ["EXCHANGES", "PRINTS_SCHEMA", "TABLES_READ", "Side"]

TABLES_READ = ("packets", "link", "arp", "ip", "tcp", "udp", "flows")
# Read, too, where it is there; packets do not go by it.
EXCHANGES = "http"

# One row a packet; fingerprints as `diff.fingerprint` makes them. icmpv6_type is -1 where there is none.
PRINTS_SCHEMA: dict[str, type[pl.DataType]] = {
    "n": pl.UInt32,
    "frame_print": pl.UInt64,
    "payload_print": pl.UInt64,
    "masked_print": pl.UInt64,
    "payload_captured": pl.UInt32,
    "icmpv6_type": pl.Int16,
}


@dataclass(frozen=True, slots=True)
class Side:
    """A loaded capture or report.

    Parameters
    ----------
    name : str
        What to call it, usually its path.
    frames : dict of str to polars.DataFrame
        The report's tables by name; one that is absent has no rows.
    prints : polars.DataFrame or None
        Columns of `PRINTS_SCHEMA`; None where the bytes are not at hand (a report), so that payload is
        compared by length only.
    notes : list of str
        What the reader had to say, for example that the capture is cut.
    reread : callable or None
        Captured bytes of some packets by number; None where the capture cannot be read once more.
    stages : polars.DataFrame or None
        The `stages` table of the run that it was captured in, where there is one.
    inner : polars.DataFrame or None
        Link headers inside tunnels, as `inner_link` finds them; None where the bytes are not at hand.
    """

    name: str
    frames: dict[str, pl.DataFrame]
    prints: pl.DataFrame | None = None
    notes: list[str] = field(default_factory=list)
    reread: Callable[[list[int]], dict[int, bytes]] | None = None
    stages: pl.DataFrame | None = None
    inner: pl.DataFrame | None = None

    def lean(self) -> Side:
        """The same without its tables: what is still asked once units are made."""
        kept = {"packets": self.frames["packets"].select("n")}
        if EXCHANGES in self.frames:
            kept[EXCHANGES] = self.frames[EXCHANGES]
        return replace(self, frames=kept, prints=None, inner=None)

    @property
    def packets(self) -> int:
        """Number of packets."""
        return self.frames["packets"].height
