"""Transport conversations."""

from __future__ import annotations

from pcaptool.tables.definition import Column, Table
from pcaptool.tables.tcp_analysis import TCP_CONVERSATION

__all__ = ["FLOWS"]

FLOWS = Table(
    name="flows",
    version=1,
    row="transport conversation",
    doc=(
        "TCP and UDP conversations, both directions. `fwd` is from the originator: who sent the first"
        " packet, or whom a SYN-ACK answers if that came first; `rev` the other way. A SYN with another"
        " sequence number on a known four-tuple begins a new flow, as in Wireshark; addresses and ports"
        " alone tell flows apart, not VLANs or interfaces."
    ),
    columns=(
        Column("flow", "u32", "number in order of appearance, 0-based, over TCP and UDP"),
        Column("protocol", "text", "tcp or udp"),
        Column("src", "text", "originator's address"),
        Column("srcport", "u16", "originator's port"),
        Column("dst", "text", "responder's address"),
        Column("dstport", "u16", "responder's port"),
        Column("first_n", "u32", "first packet"),
        Column("last_n", "u32", "last packet"),
        Column("first_ts", "time", "time of the first packet"),
        Column("last_ts", "time", "time of the last packet"),
        Column("packets_fwd", "u32", "packets from the originator"),
        Column("packets_rev", "u32", "packets from the responder"),
        Column("bytes_fwd", "u64", "bytes on the wire from the originator, headers included"),
        Column("bytes_rev", "u64", "bytes on the wire from the responder, headers included"),
        Column("payload_bytes_fwd", "u64", "transport payload from the originator, repeats included"),
        Column("payload_bytes_rev", "u64", "transport payload from the responder, repeats included"),
        Column("syn_n", "u32", "last SYN of the handshake", nullable=True),
        Column("synack_n", "u32", "last SYN-ACK of the handshake", nullable=True),
        Column(
            "handshake_rtt_ns",
            "i64",
            "from that SYN to the first segment with ACK and neither SYN nor RST",
            nullable=True,
        ),
        Column("mss_fwd", "u16", "MSS that the originator announced", nullable=True),
        Column("mss_rev", "u16", "MSS that the responder announced", nullable=True),
        Column("wscale_fwd", "u8", "originator's window scale", nullable=True),
        Column("wscale_rev", "u8", "responder's window scale", nullable=True),
        Column("sack_permitted", "bool", "both sides permitted SACK"),
        Column("timestamps", "bool", "both sides sent timestamps in the handshake"),
        Column("fin_fwd_n", "u32", "originator's first FIN", nullable=True),
        Column("fin_rev_n", "u32", "responder's first FIN", nullable=True),
        Column("rst_n", "u32", "first RST", nullable=True),
        Column(
            "end",
            "text",
            "fin (both sides), half (one FIN), rst (before both), timeout (none, and the capture goes on for 5"
            " minutes, of UDP for one), open",
        ),
        Column(
            "ended_by",
            "text",
            "fwd or rev: who sent the first FIN, or the RST that ended it; null where neither came",
            nullable=True,
        ),
        Column(
            "conn_state",
            "text",
            "Zeek's summary of the connection: S0 S1 SF REJ S2 S3 RSTO RSTR RSTOS0 RSTRH SH SHR OTH",
        ),
        Column(
            "history",
            "text",
            "Zeek's letters in order: s SYN, h SYN-ACK, a pure ACK, d data, f FIN, r RST, i FIN and RST, q SYN and"
            " FIN or RST, each first one; t payload again, w window closed, g bytes acknowledged and never seen, the"
            " first, 10th, 100th; upper case from the originator; ^ the first packet is the responder's",
        ),
        *TCP_CONVERSATION,
    ),
)
