"""The stage rows of a run as columns of the `stages` table.

Knows: how a buffer is joined to its packet in the sender's capture: frames that leave carry their buffer's number.
Must not know: files.
Rows come in the order of time. A buffer of the write queue has the packet of its first clone; a buffer that is cut in
software has the packet of its first segment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pcaptool.stack.stages import StageRow
from pcaptool.stack.tap import TapFrame
from pcaptool.tables.columns import Columns, Masked, Texts

__all__ = ["stage_columns"]


def stage_columns(rows: Sequence[StageRow], sent: Mapping[str, Sequence[TapFrame]]) -> Columns:
    """Columns of the `stages` table.

    Parameters
    ----------
    rows : sequence of StageRow
        In the order of time.
    sent : dict
        Host name to the frames of the tap on that host. Hosts without a tap get no packet numbers.
    """
    packet = _packet_numbers(rows, sent)
    numbers = [packet.get((row.host, row.skb)) for row in rows]
    seqs = [row.seq for row in rows]
    return {
        "skb": np.array([row.skb for row in rows], "u8"),
        "origin": np.array([row.origin for row in rows], "u8"),
        "host": _texts([row.host for row in rows]),
        "stage": _texts([row.stage for row in rows]),
        "ts": np.array([row.time_ns for row in rows], "i8"),
        "n": _masked(numbers),
        "seq_raw": _masked(seqs),
        "payload_bytes": np.array([row.payload_bytes for row in rows], "u4"),
        "len_bytes": np.array([row.len_bytes for row in rows], "u4"),
        "gso_segs": np.array([row.gso_segs for row in rows], "u2"),
        "headers": _texts([row.headers for row in rows]),
    }


def _packet_numbers(
    rows: Sequence[StageRow], sent: Mapping[str, Sequence[TapFrame]]
) -> dict[tuple[str, int], int]:
    """(host, buffer) to its 1-based packet number in the capture of that host's tap."""
    out: dict[tuple[str, int], int] = {}
    for host, frames in sent.items():
        for n, frame in enumerate(frames, 1):
            if frame.leaving:
                out.setdefault((host, frame.skb), n)
    # From the frame back to the buffers it came from: segment, clone, write-queue buffer.
    origins = {(row.host, row.skb): row.origin for row in rows}
    for key, n in sorted(out.items(), key=lambda item: item[1]):
        host, skb = key
        while (origin := origins.get((host, skb), skb)) != skb:
            out.setdefault((host, origin), n)
            skb = origin
    return out


def _masked(values: list[int | None]) -> Masked:
    return Masked(
        np.array([value or 0 for value in values], "u4"),
        np.array([value is not None for value in values], "?"),
    )


def _texts(values: list[str]) -> Texts:
    words = sorted(set(values))
    codes = {word: code for code, word in enumerate(words)}
    return Texts(np.array([codes[value] for value in values], "i4"), words)
