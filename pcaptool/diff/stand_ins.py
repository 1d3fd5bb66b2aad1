"""Which value of one side stands for which of the other: a one-to-one map, by majority.

Knows: counting. Must not know: what the values are (link or network addresses).
"""

from __future__ import annotations

import polars as pl

__all__ = ["stand_ins"]


def stand_ins(seen: pl.DataFrame, more: pl.DataFrame | None = None) -> list[tuple[str, str]]:
    """Pairs (x, y), the most frequent first; each x and each y occurs once.

    Parameters
    ----------
    seen : polars.DataFrame
        x, y: values that stood at the same place; null says nothing.
    more : polars.DataFrame, optional
        The same, counted already: x, y, len.

    Examples
    --------
    >>> stand_ins(pl.DataFrame({"x": ["a", "a", "b"], "y": ["p", "p", "p"]}))
    [('a', 'p')]
    """
    counted = seen.drop_nulls().group_by("x", "y").len().cast({"len": pl.Int64})
    if more is not None:
        counted = pl.concat([counted, more.drop_nulls()]).group_by("x", "y").sum()
    counted = counted.sort("len", "x", "y", descending=[True, False, False])
    out: dict[str, str] = {}
    used: set[str] = set()
    for x, y, _ in counted.iter_rows():
        if x not in out and y not in used:
            out[x] = y
            used.add(y)
    return list(out.items())
