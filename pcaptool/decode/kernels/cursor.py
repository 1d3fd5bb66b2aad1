"""Kernel: steps that every layer does with the cursor."""

from __future__ import annotations

from typing import Any

from pcaptool.decode.kernels.codes import (
    AT,
    DST,
    DSTPORT,
    E_LENGTH,
    E_TRUNCATED,
    END,
    ERR_HAVE,
    ERR_KIND,
    ERR_LAYER,
    ERR_NEED,
    F_MAC,
    NEXT,
    NONE,
    PACKET,
    QUOTED,
    R_AT,
    R_DEPTH,
    R_END,
    R_IP,
    R_PACKET,
    R_QUOTED,
    R_WIRE,
    SRC,
    SRCPORT,
    WIRE,
)
from pcaptool.decode.kernels.names import number_of
from pcaptool.engine.loads import be16, be32, hot

__all__ = ["fail", "has", "mac_number", "name_pair", "ports", "put_row"]


@hot
def fail(s: Any, layer: int, kind: int, need: int, have: int) -> None:
    """Stop: the layer cannot be decoded further."""
    s[ERR_LAYER] = layer
    s[ERR_KIND] = kind
    s[ERR_NEED] = need
    s[ERR_HAVE] = have
    s[NEXT] = NONE


@hot
def has(s: Any, layer: int, count: int) -> bool:
    """Whether so many bytes of the header are there; if not, says why not."""
    if s[AT] + count <= s[END]:
        return True
    if s[QUOTED]:  # an ICMP error quotes only the first bytes: no fault of this packet
        s[NEXT] = NONE
        return False
    have = s[END] - s[AT]
    fail(s, layer, E_TRUNCATED if s[AT] + count <= s[WIRE] else E_LENGTH, count, max(0, have))
    return False


@hot
def put_row(s: Any, rows: Any, row: int, depth: int, ip_row: int) -> None:
    """The common fields of a header's row."""
    rows[row, R_PACKET] = s[PACKET]
    rows[row, R_DEPTH] = depth
    rows[row, R_AT] = s[AT]
    rows[row, R_END] = s[END]
    rows[row, R_WIRE] = s[WIRE]
    rows[row, R_IP] = ip_row
    rows[row, R_QUOTED] = s[QUOTED]


@hot
def mac_number(data: Any, at: int, names: Any) -> int:
    """Number of the six-byte address at `at`."""
    keys, slots, counts = names
    return number_of(0, (be16(data, at) << 32) | be32(data, at + 2), F_MAC, keys, slots, counts)


@hot
def name_pair(s: Any, src: int, dst: int) -> None:
    """Innermost source and destination so far."""
    if not s[QUOTED]:
        s[SRC] = src
        s[DST] = dst


@hot
def ports(s: Any, src: int, dst: int) -> None:
    """Innermost ports so far."""
    if not s[QUOTED]:
        s[SRCPORT] = src
        s[DSTPORT] = dst
