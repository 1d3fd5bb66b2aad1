"""The stage rows of a run as columns of the `stages` table.

Knows: how a buffer is joined to its packet in the sender's capture: frames that leave carry their buffer's number.
Must not know: files.
Rows come in the order of time. A buffer of the write queue has the packet of its first clone; a buffer that is cut in
software has the packet of its first segment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter

import numpy as np

from pcaptool.stack.stages import Noted, StageRow
from pcaptool.stack.tap import Frames
from pcaptool.tables.columns import Columns, Masked, Texts

__all__ = ["stage_columns"]


def stage_columns(rows: Sequence[Noted], sent: Mapping[str, Frames]) -> Columns:
    """Columns of the `stages` table.

    Parameters
    ----------
    rows : sequence of tuple
        Values of stage rows, in the order of time.
    sent : dict
        Host name to the frames of the tap on that host. Hosts without a tap get no packet numbers.
    """
    # Turned once: from here on each column is a tuple.
    turned = zip(*rows, strict=True) if rows else ((),) * len(StageRow._fields)
    skb, origin, host, stage, time_ns, seq, payload, length, segs, headers = turned
    return {
        "skb": np.array(skb, "u8"),
        "origin": np.array(origin, "u8"),
        "host": _texts(host),
        "stage": _texts(stage),
        "ts": np.array(time_ns, "i8"),
        "n": _masked(_packet_numbers(host, skb, origin, sent)),
        "seq_raw": _masked(seq),
        "payload_bytes": np.array(payload, "u4"),
        "len_bytes": np.array(length, "u4"),
        "gso_segs": np.array(segs, "u2"),
        "headers": _texts(headers),
    }


def _packet_numbers(
    hosts: Sequence[str],
    skbs: Sequence[int],
    origins: Sequence[int],
    sent: Mapping[str, Frames],
) -> Sequence[int | None]:
    """For each row the 1-based number that its buffer's packet has in the capture of its host's tap."""
    if not sent:
        return [None] * len(skbs)
    packet: dict[str, dict[int, int]] = {}
    origin_of = dict(zip(skbs, origins, strict=True))  # numbers of buffers are unique in a run
    for host, frames in sent.items():
        numbers: dict[int, int] = {}
        packet[host] = numbers
        for n, skb in frames.left():
            numbers.setdefault(skb, n)
        # From the frame back to the buffers it came from: segment, clone, write-queue buffer.
        for skb, n in sorted(numbers.items(), key=itemgetter(1)):
            here = skb
            while (origin := origin_of.get(here, here)) != here:
                numbers.setdefault(origin, n)
                here = origin
    nowhere: dict[int, int] = {}
    return [packet.get(host, nowhere).get(skb) for host, skb in zip(hosts, skbs, strict=True)]


def _masked(values: Sequence[int | None]) -> Masked:
    if values and values.count(None) == len(values):
        return Masked(np.zeros(len(values), "u4"), np.zeros(len(values), "?"))
    valid = np.array([value is not None for value in values], "?")
    return Masked(np.array([value or 0 for value in values], "u4"), valid)


def _texts(values: Sequence[str]) -> Texts:
    words = sorted(set(values))
    codes = {word: code for code, word in enumerate(words)}
    return Texts(np.fromiter(map(codes.__getitem__, values), "i4", len(values)), words)
