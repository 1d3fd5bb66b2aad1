"""Bytes of some packets of captures, read again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

__all__ = ["frames_of"]


def frames_of(
    captures: Sequence[str | Path], packet_filter: str | None = None
) -> Callable[[frozenset[int]], Mapping[int, bytes]] | None:
    """What gives the captured bytes of packets by their numbers; None where a capture cannot be read again (a pipe).

    Parameters
    ----------
    captures : sequence of paths
        In the order in which they were analyzed.
    packet_filter : str, optional
        As then: packets that do not fit have no number.
    """
    if not all(Path(path).is_file() for path in captures):
        return None

    def read(wanted: frozenset[int]) -> Mapping[int, bytes]:
        from pcaptool.engine import Engine
        from pcaptool.file import open_capture
        from pcaptool.file.packet_filter import PacketFilter

        only = None if packet_filter is None else PacketFilter(packet_filter)
        left, found, before = sorted(wanted, reverse=True), {}, 0
        engine = Engine()
        for path in captures:
            with open_capture(path, engine, only) as capture:
                engine.expect(capture.size_bytes)
                for run in capture.runs():
                    while left and left[-1] <= before + len(run):
                        n = left.pop()
                        found[n] = run.packet(n - before - 1)
                    before += len(run)
                    if not left:
                        return found
        return found

    return read
