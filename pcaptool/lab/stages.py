"""Trace events and captures of a run to the `stages` table: when each frame passed each tracepoint.

Knows: the order of the egress tracepoints; how events belong to a frame: the n-th net_dev_start_xmit of a device is
the n-th frame that its tcpdump saw leave (lengths are compared).
Must not know: how events were recorded.

`skb` is the kernel's address of the buffer, which is used again and again; `origin` is a number of its own for what
passed net_dev_queue together. A frame has sys_enter_sendto and tcp_sendmsg_locked where it left during that call of the
program, not in a softirq that interrupted it: whichever call it was (writev, sendfile, setsockopt for TCP_CORK ...),
the stage is called sys_enter_sendto. The stages between tcp_sendmsg_locked and net_dev_queue are functions without
tracepoints: they are in the table only where bpftrace recorded them (`functions`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pcaptool._version import __version__
from pcaptool.file import Record
from pcaptool.lab.frames import headers_of, tcp_frame
from pcaptool.lab.ring_buffer import Event
from pcaptool.lab.trace import CALLS
from pcaptool.tables import STAGES
from pcaptool.tables.columns import Columns, Masked, Texts, to_arrow

__all__ = [
    "Joined",
    "StageRow",
    "Transmission",
    "join_frames",
    "stage_columns",
    "transmissions",
    "write_stages",
]

_IN_SOFTIRQ = 0x10  # TRACE_FLAG_SOFTIRQ of common_flags
_LARGEST_SHIFT = 8
_ETHERNET_BYTES = 14
_ENTER, _EXIT = ({f"sys_{edge}_{call}" for call in CALLS} for edge in ("enter", "exit"))


@dataclass(slots=True)
class Transmission:
    """What one net_dev_start_xmit is known to have passed: (stage, time), and its size.

    `before` are calls of the program, `above` functions between them and the device (`functions`), `times` the device.
    """

    skb: int
    origin: int
    len_bytes: int
    gso_segs: int
    before: list[tuple[str, int]]
    times: list[tuple[str, int]] = field(default_factory=list)
    above: list[tuple[str, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class StageRow:
    """A row of the table."""

    host: str
    skb: int
    origin: int
    stage: str
    time_ns: int
    n: int | None
    seq: int | None
    payload_bytes: int
    len_bytes: int
    gso_segs: int
    headers: str


@dataclass(frozen=True, slots=True)
class Joined:
    """Rows of one host, and how many transmissions have no frame of the same length."""

    rows: list[StageRow]
    unmatched: int


@dataclass(slots=True)
class _Call:
    entered_ns: int
    copied_ns: int | None = None


def transmissions(events: Iterable[Event], device: str, *, first_origin: int = 1) -> list[Transmission]:
    """The transmissions of a device, in order.

    Parameters
    ----------
    events : iterable of Event
        In the order of time.
    device : str
    first_origin : int
        Number of the first buffer.
    """
    calls: dict[int, _Call] = {}
    queued: dict[int, Transmission] = {}
    latest: Transmission | None = None
    out: list[Transmission] = []
    origin = first_origin
    for event in events:
        v, now = event.values, event.time_ns
        match event.name:
            case name if name in _ENTER:
                calls[v["common_pid"]] = _Call(now)
            case name if name in _EXIT:
                calls.pop(v["common_pid"], None)
            case "tcp_sendmsg_locked":
                if v["common_pid"] in calls:
                    calls[v["common_pid"]].copied_ns = now
            case "net_dev_queue" if v["name"] == device:
                call = None if v["common_flags"] & _IN_SOFTIRQ else calls.get(v["common_pid"])
                latest = Transmission(v["skbaddr"], origin, v["len"], 1, _before(call))
                latest.times.append((event.name, now))
                queued[v["skbaddr"]] = latest
                origin += 1
            case "qdisc_enqueue" | "qdisc_dequeue" if v["skbaddr"] in queued:
                queued[v["skbaddr"]].times.append((event.name, now))
            case "net_dev_start_xmit" if v["name"] == device:
                sent = queued.pop(v["skbaddr"], None)
                if sent is not None:
                    latest = None
                else:
                    # A segment that was cut in software: its buffer is new. What the uncut one passed stands
                    # with the first segment.
                    sent = Transmission(v["skbaddr"], latest.origin if latest else 0, v["len"], 1, [])
                    if latest is not None and latest.times:
                        sent.before, sent.times = latest.before, list(latest.times)
                        queued.pop(latest.skb, None)
                        latest.times.clear()
                sent.gso_segs = max(1, v["gso_segs"])
                sent.times.append((event.name, now))
                out.append(sent)
            case "net_dev_xmit" if v["name"] == device:
                for sent in out[-1:-9:-1]:
                    if sent.skb == v["skbaddr"] and sent.times[-1][0] == "net_dev_start_xmit":
                        sent.times.append((event.name, now))
                        break
    return out


def _before(call: _Call | None) -> list[tuple[str, int]]:
    if call is None:
        return []
    found = [("sys_enter_sendto", call.entered_ns)]
    return found if call.copied_ns is None else [*found, ("tcp_sendmsg_locked", call.copied_ns)]


def join_frames(host: str, sent: Sequence[Transmission], frames: Sequence[tuple[int, Record]]) -> Joined:
    """Transmissions of a host with the frames that its tcpdump saw leave.

    Parameters
    ----------
    host : str
        Its name in the table.
    sent : sequence of Transmission
    frames : sequence of (int, Record)
        (Packet number, record) of the frames that left.
    """
    shift = _shift([s.len_bytes for s in sent], [record.orig_len for _, record in frames])
    rows: list[StageRow] = []
    unmatched = 0
    for index, transmission in enumerate(sent):
        at = index - shift
        found = frames[at] if 0 <= at < len(frames) else None
        if found is None or found[1].orig_len != transmission.len_bytes:
            unmatched += 1
            found = None
        rows += _rows(host, transmission, found)
    return Joined(rows, unmatched)


def _shift(lengths: Sequence[int], frames: Sequence[int]) -> int:
    """How many transmissions came before the capture's first frame; below 0: frames before the trace began.

    The one with which most lengths agree, nearest to 0.
    """

    def agreeing(shift: int) -> tuple[int, int]:
        pairs = zip(lengths[max(0, shift) :], frames[max(0, -shift) :], strict=False)
        return sum(a == b for a, b in pairs), -abs(shift)

    return max(range(-_LARGEST_SHIFT, _LARGEST_SHIFT + 1), key=agreeing)


def _rows(host: str, sent: Transmission, found: tuple[int, Record] | None) -> Iterator[StageRow]:
    tcp = tcp_frame(found[1].data) if found else None
    headers = headers_of(found[1].data) if found else "eth"
    payload = tcp.payload_bytes if tcp else 0
    n, seq = found[0] if found else None, tcp.seq if tcp else None
    for stage, time_ns in sent.before if payload else ():
        yield StageRow(
            host, sent.skb, sent.origin, stage, time_ns, n, seq, payload, payload, sent.gso_segs, ""
        )
    for stage, time_ns in sent.above if found else ():
        size, names = _so_far(stage, sent.len_bytes, payload, headers)
        yield StageRow(
            host, sent.skb, sent.origin, stage, time_ns, n, seq, payload, size, sent.gso_segs, names
        )
    for stage, time_ns in sent.times:
        yield StageRow(
            host,
            sent.skb,
            sent.origin,
            stage,
            time_ns,
            n,
            seq,
            payload,
            sent.len_bytes,
            sent.gso_segs,
            headers,
        )


def _so_far(stage: str, len_bytes: int, payload: int, headers: str) -> tuple[int, str]:
    """Bytes and headers of a buffer at a function, once that has written its header; as the model has them.

    Examples
    --------
    >>> _so_far("__tcp_transmit_skb", 1514, 1448, "eth:ip:tcp"), _so_far("ip_output", 1514, 1448, "eth:ip:tcp")
    ((1480, 'tcp'), (1500, 'ip:tcp'))
    """
    inside = headers.removeprefix("eth:")
    match stage:
        case "tcp_write_xmit":
            return payload, ""
        case "__tcp_transmit_skb":
            ip_bytes = 20 if inside.startswith("ip:") else 40
            return len_bytes - _ETHERNET_BYTES - ip_bytes, inside.rpartition(":")[2]
        case "neigh_output":
            return len_bytes, headers
        case _:
            return len_bytes - _ETHERNET_BYTES, inside


def stage_columns(rows: Sequence[StageRow]) -> Columns:
    """Columns of the `stages` table."""
    return {
        "skb": np.array([row.skb for row in rows], "u8"),
        "origin": np.array([row.origin for row in rows], "u8"),
        "host": _texts([row.host for row in rows]),
        "stage": _texts([row.stage for row in rows]),
        "ts": np.array([row.time_ns for row in rows], "i8"),
        "n": _masked([row.n for row in rows]),
        "seq_raw": _masked([row.seq for row in rows]),
        "payload_bytes": np.array([row.payload_bytes for row in rows], "u4"),
        "len_bytes": np.array([row.len_bytes for row in rows], "u4"),
        "gso_segs": np.array([row.gso_segs for row in rows], "u2"),
        "headers": _texts([row.headers for row in rows]),
    }


def write_stages(path: Path, rows: Iterable[StageRow], scenario: str) -> None:
    """The table as Parquet, in the order of time."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - only where a table is written

    batch = to_arrow(STAGES, stage_columns(sorted(rows, key=lambda row: row.time_ns)))
    about: dict[Any, Any] = {"pcaptool.version": __version__, "pcaptool.scenario": scenario}
    schema = batch.schema.with_metadata({**batch.schema.metadata, **about})
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        writer.write_batch(batch.cast(schema))


def _masked(values: Sequence[int | None]) -> Masked:
    return Masked(np.array([v or 0 for v in values], "u4"), np.array([v is not None for v in values], "?"))


def _texts(values: Sequence[str]) -> Texts:
    words = sorted(set(values))
    codes = {word: code for code, word in enumerate(words)}
    return Texts(np.array([codes[value] for value in values], "i4"), words)
