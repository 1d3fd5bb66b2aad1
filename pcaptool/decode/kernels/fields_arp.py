"""Kernel: the columns of the arp table. Knows: RFC 826."""

from __future__ import annotations

from typing import Any

from pcaptool.decode.kernels.codes import F_IPV4, R_AT, R_PACKET
from pcaptool.decode.kernels.cursor import mac_number
from pcaptool.decode.kernels.names import number_of
from pcaptool.engine.loads import be16, be32

__all__ = ["arp_fields"]


def arp_fields(data: Any, first_n: int, count: int, rows: Any, names: Any, columns: Any) -> int:
    """`columns`: n, hw_type, proto_type, opcode, then four numbers of names, -1 where sizes are not 6 and 4."""
    n, hw_type, proto_type, opcode, src_hw, src_ip, dst_hw, dst_ip = columns
    keys, slots, counts = names
    for row in range(count):
        at = rows[row, R_AT]
        n[row] = first_n + rows[row, R_PACKET]
        hw_type[row] = be16(data, at)
        proto_type[row] = be16(data, at + 2)
        opcode[row] = be16(data, at + 6)
        hw_size = data[at + 4]
        ip_size = data[at + 5]
        src_hw[row] = mac_number(data, at + 8, names) if hw_size == 6 else -1
        dst_hw[row] = mac_number(data, at + 8 + hw_size + ip_size, names) if hw_size == 6 else -1
        src_ip[row] = -1
        dst_ip[row] = -1
        if ip_size == 4 and be16(data, at + 2) == 0x0800:
            src_ip[row] = number_of(0, be32(data, at + 8 + hw_size), F_IPV4, keys, slots, counts)
            dst_ip[row] = number_of(0, be32(data, at + 12 + 2 * hw_size), F_IPV4, keys, slots, counts)
    return count
