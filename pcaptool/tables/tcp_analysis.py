"""Columns of the tcp table that need the conversation, not just the header.

Knows: their names, meaning and Wireshark names. `tables.headers` appends them to the header's columns;
`analyze` fills them. Rules: Wireshark 4.0's.
"""

from __future__ import annotations

from pcaptool.tables.definition import Column

__all__ = ["TCP_NUMBERS"]

TCP_NUMBERS: tuple[Column, ...] = (
    Column("stream", "u32", "number of its conversation among the TCP ones", "tcp.stream", nullable=True),
    Column("fwd", "bool", "sent by the flow's originator", nullable=True, low_cardinality=True),
    Column("seq", "u32", "sequence number relative to its side's first", "tcp.seq", nullable=True),
    Column("ack", "u32", "acknowledgement relative to the other side's first", "tcp.ack", nullable=True),
)
