"""The packets of a capture for replaying: runs, each with the side that every packet comes from.

Knows: reading a capture; which packets come from clients and which from servers, by the capture's own conversations.
Must not know: what is done with the packets.

A packet of a conversation comes from its originator (client) or its responder (server), as `flows` says. One without
(ARP, ICMP, neighbour discovery) comes from the side that its source MAC has in conversations seen so far, its own run
included; else from the other side than its destination MAC's; else it counts as the client's, and is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from pcaptool.analyze.flows import FlowAnalysis
from pcaptool.analyze.take import integers
from pcaptool.decode.batch import Batch
from pcaptool.decode.decoder import Decoder
from pcaptool.engine import Engine
from pcaptool.file import CaptureReader, Run, open_capture
from pcaptool.wire.linktype import LinkType

__all__ = ["CLIENT", "SERVER", "Packets", "Source"]

CLIENT, SERVER = 0, 1
Ints = npt.NDArray[np.int64]


class Packets(NamedTuple):
    """Consecutive packets, and the side that each comes from (None: not asked for)."""

    run: Run
    sides: Ints | None


@dataclass(slots=True)
class Source:
    """A capture that may be read several times.

    Parameters
    ----------
    path : path or binary file
        A binary file can be read once.
    split : bool
        Whether sides are wanted.
    engine : Engine

    Attributes
    ----------
    unsided : int
        Packets of whose side nothing tells.
    cut : str
        Why reading ended before the end of the file, or empty.
    """

    path: str | Path | BinaryIO
    split: bool
    engine: Engine
    unsided: int = 0
    cut: str = ""
    _sides: dict[bytes, Counter[int]] = field(default_factory=dict)

    def packets(self) -> Iterator[Packets]:
        """All packets, from the first one on."""
        self.unsided = 0
        with open_capture(self.path, self.engine) as capture:
            if self.split:
                yield from self._split(capture)
            else:
                for run in capture.runs():
                    yield Packets(run, None)
                    self.engine.passed(len(run))
            self.cut = str(capture.cut) if capture.cut is not None else ""

    def _split(self, capture: CaptureReader) -> Iterator[Packets]:
        flows, runs = FlowAnalysis(self.engine), _Remembered(capture)
        starters: dict[int, tuple[str, int]] = {}
        tables = ("packets", "ip", "tcp", "udp")
        for batch in Decoder(self.engine, tables).batches(runs):  # type: ignore[arg-type]
            flows.feed(batch)
            first = batch.first_n - runs.run.first_n
            run = _part(runs.run, first, first + batch.count)
            sides = _flow_sides(batch, starters)
            self._by_mac(run, sides)
            yield Packets(run, sides)

    def _by_mac(self, run: Run, sides: Ints) -> None:
        """Give a side to packets without conversation; learn whose MAC is on which side."""
        if not np.any(run.linktype == LinkType.ETHERNET):
            self.unsided += int(np.count_nonzero(sides < 0))
            sides[sides < 0] = CLIENT
            return
        macs = [run.data[at : at + 12].tobytes() for at in run.offsets.tolist()]
        for mac, side in zip(macs, sides.tolist(), strict=True):
            if side >= 0:
                self._sides.setdefault(mac[6:], Counter())[side] += 1
        for i in np.flatnonzero(sides < 0).tolist():
            source, target = self._sides.get(macs[i][6:]), self._sides.get(macs[i][:6])
            if source:
                sides[i] = source.most_common(1)[0][0]
            elif target:
                sides[i] = 1 - target.most_common(1)[0][0]
            else:
                sides[i] = CLIENT
                self.unsided += 1


class _Remembered:
    """Hands on a capture's runs, and remembers the one that is being decoded."""

    def __init__(self, capture: CaptureReader) -> None:
        self._capture = capture
        self.run: Run

    def runs(self, limit: int) -> Iterator[Run]:
        for run in self._capture.runs(limit):
            self.run = run
            yield run


def _part(run: Run, first: int, end: int) -> Run:
    names = ("offsets", "ts_ns", "cap_len", "orig_len", "interface", "linktype", "flags")
    arrays: dict[str, Any] = {name: getattr(run, name)[first:end] for name in names}
    return Run(first_n=run.first_n + first, data=run.data, **arrays)


def _flow_sides(batch: Batch, starters: dict[int, tuple[str, int]]) -> Ints:
    """Sides of packets that belong to a conversation, -1 for others."""
    sides = np.full(batch.count, -1, np.int64)
    if batch.tables.get("tcp"):
        tcp = batch.tables["tcp"]
        known = integers(tcp, "flow") >= 0
        sides[integers(tcp, "n")[known] - batch.first_n] = 1 - integers(tcp, "fwd")[known]
    if batch.tables.get("udp"):
        udp, ip = batch.tables["udp"], batch.tables["ip"]
        source: Any = ip["src"]
        address = dict(zip(integers(ip, "n").tolist(), source.codes.tolist(), strict=True))
        rows = (integers(udp, name).tolist() for name in ("n", "flow", "srcport"))
        for n, flow, port in zip(*rows, strict=True):
            if flow >= 0:
                sender = (source.words[address[n]], port)
                sides[n - batch.first_n] = int(starters.setdefault(flow, sender) != sender)
    return sides
