"""The packet list."""

from __future__ import annotations

from pcaptool.tables.definition import Column, Table

__all__ = ["PACKETS"]

PACKETS = Table(
    name="packets",
    version=1,
    row="packet",
    doc="The packet list: every record of the capture, in file order. All other tables join it by `n`.",
    columns=(
        Column("n", "u32", "packet number, 1-based, as in Wireshark", "frame.number"),
        Column("ts", "time", "capture time", "frame.time_epoch"),
        Column("interface", "u16", "interface, counted through all sections"),
        Column("linktype", "u16", "LINKTYPE_ of the interface"),
        Column("cap_len", "u32", "bytes captured", "frame.cap_len"),
        Column("len", "u32", "bytes on the wire", "frame.len"),
        Column("flags", "u32", "pcapng packet flags", nullable=True),
        Column("comment", "string", "pcapng comments, joined by line feeds", nullable=True),
        Column("protocol", "text", "name of the innermost decoded protocol"),
        Column("protocols", "text", "all decoded layers from the outside, colon-separated"),
        Column("src", "text", "source: innermost network address, else link address", nullable=True),
        Column("dst", "text", "destination: innermost network address, else link address", nullable=True),
        Column("srcport", "u16", "transport source port", nullable=True),
        Column("dstport", "u16", "transport destination port", nullable=True),
        Column("flow", "u32", "transport conversation, row of `flows`", nullable=True),
        Column("payload_offset", "u32", "where the innermost payload begins in the captured bytes"),
        Column("payload_bytes", "u32", "length of that payload by its headers, captured or not"),
        Column("err_layer", "text", "layer that could not be decoded further", nullable=True),
        Column("err_kind", "text", "why: truncated, length, version, limit, options", nullable=True),
        Column("err_need_bytes", "u32", "bytes that layer needed", nullable=True),
        Column("err_have_bytes", "u32", "bytes there were", nullable=True),
    ),
)
