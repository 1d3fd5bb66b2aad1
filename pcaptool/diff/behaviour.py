"""How both sides behaved as wholes: measures of each direction, and distributions of times.

Knows: which measures and times are set side by side. Must not know: single differences.
None of this counts as a difference: where behaviour differs, packets do.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from pcaptool.diff import behaviour_kernel as bk
from pcaptool.diff.arrays import Ints
from pcaptool.diff.compare import direction_text
from pcaptool.diff.distributions import Distribution, distribution_of
from pcaptool.diff.numbers_kernel import DATAGRAM, OTHER
from pcaptool.diff.whole import Whole
from pcaptool.engine import kernel_for

__all__ = ["BEHAVIOUR_SCHEMA", "behaviour_of", "distributions_of"]

BEHAVIOUR_SCHEMA: dict[str, type[pl.DataType]] = {
    "direction": pl.String,
    "measure": pl.String,
    "a": pl.Int64,
    "b": pl.Int64,
    "flows": pl.Int64,
    "differing": pl.Int64,
    "flow": pl.Int64,
}
_GREATEST = {"largest burst", "largest flight"}
_GAPS = 200_000


def behaviour_of(a: Whole, b: Whole, pairs: int) -> pl.DataFrame:
    """Measures of both sides over all flow pairs.

    Parameters
    ----------
    a, b : Whole
    pairs : int
        Number of flow pairs.

    Returns
    -------
    polars.DataFrame
        Columns of `BEHAVIOUR_SCHEMA`: sums over all flows (the greatest of bursts and flights), in how many flows
        there is something to measure, in how many it differs, and the first of these.
    """
    if not pairs:
        return pl.DataFrame(schema=BEHAVIOUR_SCHEMA)
    states = [_measured(side, pairs) for side in (a, b)]
    rows = []
    for way in (0, 1):
        x, y = (state[way::2] for state in states)
        spoke = (x[:, bk.SEEN] > 0) | (y[:, bk.SEEN] > 0)
        if not spoke.any():
            continue
        for i, measure in enumerate(bk.MEASURES):
            differs = np.flatnonzero(x[:, i] != y[:, i])
            total = np.max if measure in _GREATEST else np.sum
            first = int(differs[0]) if len(differs) else None
            rows.append(
                (
                    direction_text(way), measure, int(total(x[:, i])), int(total(y[:, i])), int(spoke.sum()),
                    len(differs), first,
                )
            )  # fmt: skip
    return pl.DataFrame(rows, schema=BEHAVIOUR_SCHEMA, orient="row")


def _measured(side: Whole, pairs: int) -> Ints:
    state = np.zeros((2 * pairs, bk.STATE), np.int64)
    kernel = kernel_for(bk.__name__, "behave", side.height, _GAPS)
    packets = (side.group, side.kind, side.start, side.end, side.ack, side.ts)
    kernel(packets, np.argsort(side.n, kind="stable"), state)
    return state


def distributions_of(
    a: Whole, b: Whole, exchanges: tuple[pl.DataFrame, pl.DataFrame], *, gaps: bool
) -> tuple[Distribution, ...]:
    """Times of both sides as distributions.

    Parameters
    ----------
    a, b : Whole
    exchanges : tuple of polars.DataFrame
        What `timing.exchanges_of` finds on both sides.
    gaps : bool
        Whether times between packets are set side by side as well.
    """
    x, y = exchanges
    samples = [(what, x[what].to_numpy(), y[what].to_numpy()) for what in ("server_time", "transfer_time")]
    if gaps and max(a.height, b.height) <= _GAPS:
        samples += [(f"gap_{name}", _gaps(a, way), _gaps(b, way)) for way, name in ((0, "fwd"), (1, "rev"))]
    found = (distribution_of(*sample) for sample in samples)
    return tuple(one for one in found if one is not None)


def _gaps(side: Whole, way: int) -> Ints:
    """Times between TCP packets of one direction, over all matched flows."""
    of_tcp = (side.kind != OTHER) & (side.kind != DATAGRAM)
    some = side.order[((side.way == way) & (side.group >= 0) & of_tcp)[side.order]]
    same = side.group[some][1:] == side.group[some][:-1]
    out: Ints = np.diff(side.ts[some])[same]
    return out
