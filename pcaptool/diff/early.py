"""Answers in one line: there is nothing to compare, or nothing in common.

Knows: when a comparison field by field would be a wall of differences.
Must not know: fields and rules.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from pcaptool.diff.align import HOW, Alignment
from pcaptool.diff.flows import WEAK
from pcaptool.diff.prepare import Prepared
from pcaptool.diff.recognise import count_text
from pcaptool.diff.result import Diff
from pcaptool.diff.segments import Run
from pcaptool.diff.side import Side

__all__ = ["nothing_in_common", "nothing_to_compare", "strangers"]

# Two strangers still shake hands alike and acknowledge alike here and there.
_ALIKE_ENOUGH = 0.2


def nothing_to_compare(a: Side, b: Side, relation: str) -> Diff | None:
    """The answer where a side holds no packets."""
    if a.packets and b.packets:
        return None
    if not a.packets and not b.packets:
        return Diff(relation, 2, "Neither side holds a packet: there is nothing to compare.", a.name, b.name)
    full, empty = ("B", "A") if b.packets else ("A", "B")
    count = a.packets or b.packets
    return Diff(relation, 1, f"{empty} holds no packets; {full} holds {count}.", a.name, b.name, differing=1)


def nothing_in_common(ready: Prepared, alignment: Alignment, runs: list[Run]) -> bool:
    """Whether no payload is the same although both sides have some, and hardly a packet; or nothing was aligned.

    Captures of other link types without a conversation or a packet in common have nothing in common, too.
    """
    a, b = ready.a, ready.b
    known = ready.known.count if ready.known and not ready.known.units else 0
    if not known and not len(alignment.one_a) and not len(alignment.seg_a):
        return True
    if not known and not ready.flows.matched.height:
        how = HOW.index("content") if _other_links(a, b) else HOW.index("place")
        return not np.count_nonzero(alignment.one_how <= how) and not _same_payload(ready, alignment, "other")
    alike = known + np.count_nonzero(alignment.one_how <= HOW.index("content"))
    if alike >= _ALIKE_ENOUGH * min(ready.whole_a.height, ready.whole_b.height):
        return False
    said = [u.filter((pl.col("payload.bytes") > 0) & (pl.col("proto") != "other")).height for u in (a, b)]
    if not all(said):  # who is silent on one side may be the same host, if the flow or a packet of it is
        return any(said) and not alike and bool(ready.flows.matched["how"].is_in(WEAK).all())
    if not ready.bytes_known or _same_payload(ready, alignment, "tcp", "udp"):
        return False
    return not any(r.bytes_equal(masked=True) for r in runs)


def _same_payload(ready: Prepared, alignment: Alignment, *protocols: str) -> bool:
    """Whether a packet of some protocols has payload, and its counterpart the same."""
    a, b = ready.a, ready.b
    x, y = a["masked_print"].gather(alignment.one_a), b["masked_print"].gather(alignment.one_b)
    sized = (a["payload.bytes"] > 0) & a["proto"].is_in(protocols)
    # Of what was captured up to different places nothing can be said: it may be the same.
    cut = (
        a["payload_captured"]
        .gather(alignment.one_a)
        .ne_missing(b["payload_captured"].gather(alignment.one_b))
    )
    size_a, size_b = a["payload.bytes"].gather(alignment.one_a), b["payload.bytes"].gather(alignment.one_b)
    return bool((((x == y) | (cut & (size_a == size_b))) & sized.gather(alignment.one_a)).any())


def _other_links(a: pl.DataFrame, b: pl.DataFrame) -> bool:
    return not set(a["linktype"].unique().to_list()) & set(b["linktype"].unique().to_list())


def strangers(a: Side, b: Side, relation: str, ready: Prepared) -> Diff:
    """The answer where nothing is in common."""
    matched, lone = ready.flows.matched.height, ready.flows.lone
    flows = [matched + one.height for one in lone]
    first = f"{count_text(ready.whole_a.height, 'packet')} in {count_text(flows[0], 'flow')}"
    verdict = (
        f"Nothing in common: A has {first}, B has"
        f" {ready.whole_b.height} in {flows[1]}, and no flow of one says what a flow of the other says."
    )
    return Diff(relation, 1, verdict, a.name, b.name, differing=1)
