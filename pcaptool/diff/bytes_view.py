"""Bytes of packets that differ, with their headers' places, for people to look at.

Knows: where headers lie in a packet. Must not know: how bytes are read again (`Side.reread`) or drawn.
Bounded: a few packets, their first bytes.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from pcaptool.diff.listing import Packets
from pcaptool.diff.result import PacketBytes
from pcaptool.diff.side import Side

__all__ = ["bytes_of"]

_PACKETS, _BYTES, _EACH = 60, 512, 8


def bytes_of(differences: pl.DataFrame, sides: tuple[Side, Side], packets: Packets) -> list[PacketBytes]:
    """The first packets of each field that differs; none where a capture is not at hand.

    Parameters
    ----------
    differences : polars.DataFrame
        Most important first.
    sides : tuple of Side
    packets : callable
        Units of some packets.
    """
    if any(side.reread is None for side in sides):
        return []
    told = differences.filter(pl.col("n_a").is_not_null() | pl.col("n_b").is_not_null())
    told = told.filter(pl.int_range(pl.len()).over("field") < _EACH)
    wanted = told.group_by("n_a", "n_b", maintain_order=True).agg(
        pl.col("field").unique(maintain_order=True)
    ).head(_PACKETS)  # fmt: skip
    raw, headers = [], []
    for side, name in zip(sides, ("a", "b"), strict=True):
        numbers = wanted[f"n_{name}"].drop_nulls().unique().to_list()
        assert side.reread is not None  # noqa: S101 - asked above
        raw.append(side.reread(numbers) if numbers else {})
        headers.append({n: _headers(unit) for n, unit in packets(name, numbers).items()})
    return [
        PacketBytes(
            n_a, n_b, tuple(fields),
            raw[0].get(n_a, b"")[:_BYTES], raw[1].get(n_b, b"")[:_BYTES],
            headers[0].get(n_a, ()), headers[1].get(n_b, ()),
        )
        for n_a, n_b, fields in wanted.iter_rows()
    ]  # fmt: skip


def _headers(unit: dict[str, Any]) -> tuple[tuple[str, int, int], ...]:
    """Name and place of the headers of a packet with one network and one transport header."""
    behind = unit["payload.offset"]
    if unit["ip.hdr_len"] is None or behind is None:
        return ()
    name, size = (
        ("tcp", unit["tcp.hdr_len"]) if unit["tcp.hdr_len"] else ("udp", 8 if unit["udp.length"] else 0)
    )
    transport = behind - size
    network = max(0, transport - unit["ip.hdr_len"])
    out = [("link", 0, network), ("ip", network, transport), (name, transport, behind)]
    out.append(("payload", behind, behind + (unit["payload.bytes"] or 0)))
    return tuple(part for part in out if part[2] > part[1])
