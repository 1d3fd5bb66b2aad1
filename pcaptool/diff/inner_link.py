"""The Ethernet header inside a tunnel: VXLAN (RFC 7348), GENEVE (RFC 8926), GRE of type 0x6558 (RFC 1701, 2784, 2890).

Knows: where it begins behind the outermost IP header (and UDP: ports 4789, 6081, 4754), by a batch's bytes and tables.
Must not know: what is compared.
Leaves out: tunnels inside tunnels, ERSPAN, fragments; frames of which fewer than 14 bytes were captured.
Complexity: a few whole-array steps over the packets of UDP and GRE, text for each different address.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pcaptool.decode.batch import Batch
from pcaptool.diff.arrays import Ints, Mask
from pcaptool.tables.columns import Masked
from pcaptool.wire.ethernet import mac_text

__all__ = ["INNER_SCHEMA", "inner_links"]

INNER_SCHEMA: dict[str, type[pl.DataType]] = {
    "n": pl.UInt32,
    "src": pl.String,
    "dst": pl.String,
    "type": pl.UInt16,
    "vlan_id": pl.UInt16,
}

_UDP, _GRE, _MORE_FRAGMENTS = 17, 47, 1
_VXLAN_PORT, _GENEVE_PORT, _GRE_PORT = 4789, 6081, 4754
# The lower port decides first, if it is a tunnel's (as in `decode.kernels.transport`): also of those that are not ours.
_TUNNEL_PORTS = (1701, 2152, 3544, _GRE_PORT, _VXLAN_PORT, _GENEVE_PORT)
_BRIDGED = 0x6558
_TAGS = (0x8100, 0x88A8)
_MOST_TAGS = 4
_HEADER_BYTES, _TAG_BYTES, _UDP_BYTES = 14, 4, 8


def inner_links(batch: Batch) -> pl.DataFrame:
    """Columns of `INNER_SCHEMA` for the packets of a batch that have such a header."""
    ip, link = batch.tables["ip"], batch.tables["link"]
    whole = (_ints(ip["depth"]) == 0) & (_ints(ip["frag_offset"]) == 0)
    whole &= (_ints(ip["flags"]) & _MORE_FRAGMENTS) == 0
    mine = whole & np.isin(_ints(ip["proto"]), (_UDP, _GRE))
    if not mine.any():
        return pl.DataFrame(schema=INNER_SCHEMA)
    starts = np.ascontiguousarray(batch.offsets[: batch.count], dtype=np.int64)
    front = np.zeros(batch.count, np.int64)
    front[_ints(link["n"]) - batch.first_n] = _ints(link["hdr_bytes"])
    rows = (_ints(ip["n"]) - batch.first_n)[mine]
    view = _View(batch.data, (starts + _ints(batch.tables["packets"]["cap_len"]))[rows])
    behind_ip = starts[rows] + front[rows] + _ints(ip["hdr_len"])[mine]
    at = _frames(view, behind_ip, _ints(ip["proto"])[mine])
    there = view.holds(at, _HEADER_BYTES)
    found = view.part(there)
    return _columns(found, at[there], rows[there] + batch.first_n)


class _View:
    """Bytes of some packets, each with its end; -1 is a place that none has."""

    def __init__(self, data: Any, end: Ints) -> None:
        self._data, self._end = data, end

    def part(self, mask: Mask) -> _View:
        return _View(self._data, self._end[mask])

    def holds(self, at: Ints, size: int) -> Mask:
        return np.asarray((at >= 0) & (at + size <= self._end), dtype=np.bool_)

    def number(self, at: Ints, size: int) -> Ints:
        """Big-endian numbers; 0 where the packet does not reach so far."""
        there = self.holds(at, size)
        place = np.where(there, at, 0)
        out = np.zeros(len(at), np.int64)
        for k in range(size):
            byte = self._data[np.where(there, place + k, 0)].astype(np.int64) if len(at) else out
            out = (out << 8) | byte
        return np.where(there, out, 0)


def _frames(view: _View, at: Ints, proto: Ints) -> Ints:
    """Where the inner frame begins, from behind the IP header on; -1 where there is none."""
    is_udp = proto == _UDP
    ports = np.stack([view.number(at, 2), view.number(at + 2, 2)])
    low = ports.min(axis=0)
    port = np.where(is_udp, np.where(np.isin(low, _TUNNEL_PORTS), low, ports.max(axis=0)), 0)
    at = np.where(is_udp, at + _UDP_BYTES, at)
    options = (view.number(at, 1) & 0x3F) * 4
    geneve = np.where(view.number(at + 2, 2) == _BRIDGED, at + 8 + options, -1)
    out = np.full(len(at), -1, np.int64)
    out = np.where(port == _VXLAN_PORT, at + 8, out)
    out = np.where(port == _GENEVE_PORT, geneve, out)
    return np.where(~is_udp | (port == _GRE_PORT), _behind_gre(view, at), out)


def _behind_gre(view: _View, at: Ints) -> Ints:
    flags = view.number(at, 2)
    optional = ((flags & 0xC000) != 0).astype(np.int64) + ((flags & 0x2000) != 0) + ((flags & 0x1000) != 0)
    plain = ((flags & 7) == 0) & (view.number(at + 2, 2) == _BRIDGED)
    return np.where(plain, at + 4 + 4 * optional, -1)


def _columns(view: _View, at: Ints, numbers: Ints) -> pl.DataFrame:
    vlan, place = np.full(len(at), -1, np.int64), at + 12
    kind = view.number(place, 2)
    for turn in range(_MOST_TAGS):
        tagged = np.isin(kind, _TAGS) & view.holds(place, _TAG_BYTES + 2)
        if turn == 0:
            vlan = np.where(tagged, view.number(place + 2, 2) & 0xFFF, -1)
        place = np.where(tagged, place + _TAG_BYTES, place)
        kind = view.number(place, 2)
    return pl.DataFrame(
        {
            "n": pl.Series(numbers, dtype=pl.UInt32),
            "src": _texts(view.number(at + 6, 6)),
            "dst": _texts(view.number(at, 6)),
            "type": pl.Series(kind, dtype=pl.UInt16),
            "vlan_id": [None if tag < 0 else tag for tag in vlan.tolist()],
        },
        schema=INNER_SCHEMA,
    )


def _texts(addresses: Ints) -> pl.Series:
    different, which = np.unique(addresses, return_inverse=True)
    words = [mac_text(address.to_bytes(6, "big")) for address in different.tolist()]
    return pl.Series(words, dtype=pl.String).gather(which.astype(np.int64))


def _ints(column: Any) -> npt.NDArray[np.int64]:
    values = column.values if isinstance(column, Masked) else column
    return np.ascontiguousarray(values, dtype=np.int64)
