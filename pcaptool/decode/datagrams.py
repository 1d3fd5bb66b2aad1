"""What reassembled datagrams hold, put into the batch that completed them.

Knows: how fragments' rows become datagrams, how a datagram is decoded like a packet, and how its rows join
those of the packet that completed it, as Wireshark shows them.
Must not know: header layouts beyond the IP header that is put in front.

The bytes of a datagram are in several packets, so its `payload_offset` is the captured length of the packet
that completed it: none of the payload is there. What UDP carried is handed on beside the tables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pcaptool.decode.kernels.codes import (
    R_A,
    R_AT,
    R_B,
    R_C,
    R_DEPTH,
    R_END,
    R_IP,
    R_PACKET,
    R_WIRE,
    T_FRAGMENT,
    T_IP,
)
from pcaptool.decode.kernels.names import number_of
from pcaptool.decode.layers import LAYER_BITS
from pcaptool.decode.reassembly import Fragment, Reassembler
from pcaptool.decode.step import Step
from pcaptool.file.model import Run
from pcaptool.tables.columns import Columns, Masked, Texts
from pcaptool.tables.pieces import join, take
from pcaptool.wire.linktype import LinkType

__all__ = ["Datagrams"]

_TABLES = ("ip", "icmp", "igmp", "tcp", "udp")


@dataclass(frozen=True, slots=True)
class _Target:
    """Where datagrams go: rows of the batch, depth of their IP header; the batch's first number and sizes."""

    rows: npt.NDArray[np.int64]
    depths: npt.NDArray[np.uint8]
    first_n: int
    captured: npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class _Whole:
    packet: int  # row of the batch that completed it
    depth: int  # of its IP header
    version: int
    packed: bytes  # an IP header without fragmentation, and the payload


class Datagrams:
    """Reassembles and decodes datagrams of one capture.

    Parameters
    ----------
    walk : callable
        Run to Step: the decoder's own walk.
    """

    def __init__(self, walk: Callable[[Run], Step]) -> None:
        self._walk = walk
        self._hold = Reassembler()

    def add(
        self, step: Step, tables: dict[str, Columns], build: Callable[[Step], dict[str, Columns]]
    ) -> dict[int, bytes]:
        """Put what a step's fragments completed into its tables; number of each such packet and its UDP payload."""
        whole = self._whole(step)
        if not whole:
            return {}
        inner = self._walk(_as_run(whole))
        found = build(inner)
        target = _Target(
            np.array([w.packet for w in whole], np.int64),
            np.array([w.depth for w in whole], np.uint8),
            step.run.first_n + step.first,
            step.run.cap_len[step.first : step.end],
        )
        for name in _TABLES:
            if name in tables and name in found:
                rows = _rows(found[name], name, target)
                tables[name] = _merge(tables[name], rows)
        if len(step.packets[0]):
            _describe(step, inner, tables["packets"], found["packets"], target)
        udp = found.get("udp", {})
        return _payloads(whole, udp, target) if udp.keys() >= set(_PLACE) else {}

    def _whole(self, step: Step) -> list[_Whole]:
        out = []
        data = step.run.data
        rows = step.rows[T_FRAGMENT][: step.sizes[T_FRAGMENT]]
        for row in rows.tolist():
            at, end = row[R_AT], row[R_END]
            if end < row[R_WIRE]:
                continue  # cut: nobody knows the rest
            header = step.rows[T_IP][row[R_IP]]
            start = int(header[R_AT])
            version = int(data[start]) >> 4
            fixed = data[start : start + (20 if version == 4 else 40)].tobytes()
            protocol = int(header[R_C])
            key = fixed[4:6] + fixed[9:10] + fixed[12:20]
            if version == 6:
                key = data[at - 4 : at].tobytes() + fixed[8:40]
            fragment = Fragment(key, row[R_A], bool(row[R_B]), data[at:end].tobytes(), protocol)
            done = self._hold.push(fragment)
            if done is not None:
                packed = _packed(version, fixed, *done)
                out.append(_Whole(row[R_PACKET] - step.first, row[R_DEPTH], version, packed))
        return out


_PLACE = ("n", "payload_offset", "payload_bytes", "quoted")
_FROM_DATAGRAM = (
    *("src", "dst", "srcport", "dstport", "payload_bytes"),
    *("err_layer", "err_kind", "err_need_bytes", "err_have_bytes"),
)


def _packed(version: int, fixed: bytes, protocol: int, payload: bytes) -> bytes:
    """The datagram as if it had never been cut; a length that does not fit is 0: to the end."""
    if version == 4:
        size = 20 + len(payload)
        length = (size if size <= 65_535 else 0).to_bytes(2, "big")
        return (
            b"\x45"
            + fixed[1:2]
            + length
            + fixed[4:6]
            + b"\0\0"
            + fixed[8:9]
            + bytes([protocol])
            + fixed[10:]
            + payload
        )
    return fixed[:4] + len(payload).to_bytes(2, "big") + bytes([protocol]) + fixed[7:] + payload


def _as_run(whole: list[_Whole]) -> Run:
    sizes = np.array([len(w.packed) for w in whole], np.int64)
    count = len(whole)
    links = [LinkType.IPV4 if w.version == 4 else LinkType.IPV6 for w in whole]
    return Run(
        first_n=1,
        data=np.frombuffer(bytearray(b"".join(w.packed for w in whole)), np.uint8),
        offsets=np.cumsum(sizes) - sizes,
        ts_ns=np.zeros(count, np.int64),
        cap_len=sizes.astype(np.uint32),
        orig_len=sizes.astype(np.uint32),
        interface=np.zeros(count, np.uint16),
        linktype=np.array(links, np.uint16),
        flags=np.full(count, -1, np.int64),
    )


def _rows(columns: Columns, name: str, target: _Target) -> Columns:
    """Rows of the datagrams' headers as rows of the packets that completed them."""
    row: Any = columns["n"]
    which = row.astype(np.int64) - 1
    out = dict(columns)
    if name == "ip":
        depth: Any = columns["depth"]
        out["depth"] = (depth + target.depths[which]).astype(np.uint8)
        inner = depth > 0  # the header that was put in front is in the table already
        out = {key: take(value, np.flatnonzero(inner)) for key, value in out.items()}
        which = which[inner]
    out["n"] = (target.rows[which] + target.first_n).astype(np.uint32)
    if "payload_offset" in out:
        out["payload_offset"] = target.captured[target.rows[which]]
    return out


def _payloads(whole: list[_Whole], udp: Columns, target: _Target) -> dict[int, bytes]:
    names: Any = [udp[name] for name in _PLACE]
    out = {}
    for n, offset, size, quoted in zip(*(column.tolist() for column in names), strict=True):
        if not quoted:
            place = int(target.rows[n - 1]) + target.first_n
            out[place] = whole[n - 1].packed[offset : offset + size]
    return out


def _merge(table: Columns, rows: Columns) -> Columns:
    added: Any = rows["n"]
    if not len(added):
        return table
    both = {name: join([table[name], rows[name]]) for name in table}
    n: Any = both["n"]
    order = np.argsort(n, kind="stable")
    return {name: take(values, order) for name, values in both.items()}


def _describe(step: Step, inner: Step, packets: Columns, found: Columns, target: _Target) -> None:
    """What the packet list says of the packets that completed a datagram."""
    path, paths, rows = step.packets[0], step.paths, target.rows
    for i, row in enumerate(rows.tolist()):
        path[row] = _joined(paths, int(path[row]), int(inner.packets[0][i]))
    words = paths.refresh()
    if "protocols" in packets:
        packets["protocols"] = Texts(path, words)
    names: Any = packets.get("protocol")
    if names is not None:
        last = [words[code].rpartition(":")[2] for code in path[rows].tolist()]
        names.codes[rows] = [names.words.index(name) for name in last]
    for name in found.keys() & set(_FROM_DATAGRAM):
        _assign(packets[name], rows, found[name])
    offsets: Any = packets.get("payload_offset")
    if offsets is not None:
        offsets[rows] = target.captured[rows]


def _assign(target: Any, rows: npt.NDArray[np.int64], values: Any) -> None:
    match target:
        case Masked():
            target.values[rows] = values.values
            target.valid[rows] = values.valid
        case Texts():
            target.codes[rows] = values.codes
        case _:
            target[rows] = values


def _joined(paths: Any, outer: int, inner: int) -> int:
    """Number of the layers of the packet followed by those of the datagram, without its IP header."""
    keys, slots, counts = paths.table
    high, low, _ = keys[inner].tolist()
    layers = high << 60 | low
    size = -(-layers.bit_length() // LAYER_BITS) * LAYER_BITS
    behind = layers & ((1 << max(size - LAYER_BITS, 0)) - 1)
    high, low, _ = keys[outer].tolist()
    value = ((high << 60 | low) << max(size - LAYER_BITS, 0) | behind) & ((1 << 120) - 1)
    return int(number_of(value >> 60, value & ((1 << 60) - 1), 1, keys, slots, counts))
