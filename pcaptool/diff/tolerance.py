"""How far two values of a field may be apart: `1%`, `2`, `50us`.

Knows: the notation.
Must not know: fields or packets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pcaptool.diff.fields import FIELD_BY_NAME
from pcaptool.errors import UsageError

__all__ = ["Tolerance", "parse_tolerance", "parse_tolerances"]

_UNITS_NS = {"": 1, "ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_FORM = re.compile(r"(\d+(?:\.\d+)?)(%|ns|us|ms|s|)")


@dataclass(frozen=True, slots=True)
class Tolerance:
    """An allowed distance.

    Parameters
    ----------
    amount : Fraction
        Absolute distance (nanoseconds for times), or a ratio.
    is_ratio : bool
        Whether `amount` is a ratio of the larger value.
    """

    amount: Fraction
    is_ratio: bool

    def within(self, x: pl.Series, y: pl.Series) -> npt.NDArray[Any]:
        """Which rows lie within; null is never within."""
        a, b = x.cast(pl.Int64, strict=False), y.cast(pl.Int64, strict=False)
        known = (a.is_not_null() & b.is_not_null()).to_numpy()
        p, q = a.fill_null(0).to_numpy(), b.fill_null(0).to_numpy()
        limit = np.maximum(np.abs(p), np.abs(q)) * float(self.amount) if self.is_ratio else float(self.amount)
        return np.asarray(known & (np.abs(p - q) <= limit))


def parse_tolerance(text: str) -> Tolerance:
    """One tolerance.

    Examples
    --------
    >>> parse_tolerance("50us").amount, parse_tolerance("1%")
    (Fraction(50000, 1), Tolerance(amount=Fraction(1, 100), is_ratio=True))

    Raises
    ------
    UsageError
        Another notation.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"tolerance {text!r} is not understood", hint="write 2, 1% or 50us")
    number, unit = Fraction(match[1]), match[2]
    return (
        Tolerance(number / 100, is_ratio=True)
        if unit == "%"
        else Tolerance(number * _UNITS_NS[unit], is_ratio=False)
    )


def parse_tolerances(given: Mapping[str, str | float] | None) -> dict[str, Tolerance]:
    """Tolerances by field name; `window` is short for `tcp.window_size_value`, `time` is the packet's time.

    Raises
    ------
    UsageError
        A name that is no compared field.
    """
    out = {}
    for name, text in (given or {}).items():
        full = {"window": "tcp.window_size_value", "tcp.window": "tcp.window_size_value"}.get(name, name)
        if full != "time" and full not in FIELD_BY_NAME:
            raise UsageError(
                f"no compared field is called {name!r}", hint="fields are named as in `pcaptool schema`"
            )
        out[full] = parse_tolerance(str(text))
    return out
