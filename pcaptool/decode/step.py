"""What the walk through a run of packets leaves for the tables' columns.

Knows: the shape only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pcaptool.decode.dictionary import Dictionary
from pcaptool.file.model import Run

__all__ = ["Step"]


@dataclass(frozen=True, slots=True)
class Step:
    """A run, the part of it that was walked, and the rows found.

    Parameters
    ----------
    run : Run
    first, end : int
        Packets run[first:end] were walked.
    rows : tuple of (capacity, ROW_SIZES) arrays
        By table of `kernels.codes` (T_IP, ...).
    sizes : list of int
        Rows used of each.
    packets, links : tuple of arrays
        What the kernel wrote of each packet.
    names, paths : Dictionary
    kernels : mapping
        Kernel name to function.
    wanted : mapping
        Table name to names of its columns.
    """

    run: Run
    first: int
    end: int
    rows: tuple[Any, ...]
    sizes: list[int]
    packets: tuple[Any, ...]
    links: tuple[Any, ...]
    names: Dictionary
    paths: Dictionary
    kernels: Mapping[str, Callable[..., Any]]
    wanted: Mapping[str, frozenset[str]]

    @property
    def count(self) -> int:
        """Packets walked."""
        return self.end - self.first
