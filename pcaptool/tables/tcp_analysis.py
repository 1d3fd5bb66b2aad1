"""Columns of the tcp table that need the conversation, not just the header.

Knows: their names, meaning and Wireshark names. `tables.headers` appends them to the header's columns;
`analyze` fills them. Values with Wireshark names are Wireshark 4.0's, in one pass; times are in nanoseconds.
"""

from __future__ import annotations

from pcaptool.tables.definition import Column

__all__ = ["CAUSES", "TCP_ANALYSIS", "TCP_CONVERSATION", "TCP_FLAGS", "TCP_NUMBERS", "TCP_SENDER"]


def _flag(name: str, doc: str) -> Column:
    return Column(f"analysis_{name}", "bool", doc, f"tcp.analysis.{name}")


def _value(name: str, kind: str, doc: str, suffix: str = "") -> Column:
    return Column(f"analysis_{name}{suffix}", kind, doc, f"tcp.analysis.{name}", nullable=True)


TCP_NUMBERS: tuple[Column, ...] = (
    Column("stream", "u32", "number of its conversation among the TCP ones", "tcp.stream", nullable=True),
    Column("fwd", "bool", "sent by the flow's originator", nullable=True),
    Column("seq", "u32", "sequence number relative to its side's first", "tcp.seq", nullable=True),
    Column("ack", "u32", "acknowledgement relative to the other side's first", "tcp.ack", nullable=True),
    Column(
        "window_size", "u32", "window in bytes, where its scale is known", "tcp.window_size", nullable=True
    ),
    Column(
        "window_size_scalefactor",
        "i32",
        "factor of the window; -1 not known, -2 not used; null in a SYN",
        "tcp.window_size_scalefactor",
        nullable=True,
    ),
    Column(
        "completeness",
        "u8",
        "seen before this packet: SYN 1, SYN-ACK 2, ACK 4, data 8, FIN 16, RST 32",
        "tcp.completeness",
        nullable=True,
    ),
)

# In the order of the kernel's bits (`analyze.tcp_kernel`), lowest first.
TCP_FLAGS: tuple[Column, ...] = (
    _flag("retransmission", "repeats old data, of whichever kind"),
    _flag("fast_retransmission", "repeats what duplicate ACKs asked for"),
    _flag("spurious_retransmission", "repeats what was acknowledged"),
    _flag("out_of_order", "comes after later data, too soon to be a repetition"),
    _flag("lost_segment", "a segment before it was not captured"),
    _flag("ack_lost_segment", "acknowledges what was not captured"),
    _flag("duplicate_ack", "acknowledges the same again"),
    _flag("keep_alive", "one byte or none before what is expected"),
    _flag("keep_alive_ack", "answers a keep-alive"),
    _flag("zero_window", "its sender takes no more data"),
    _flag("zero_window_probe", "one byte into a closed window"),
    _flag("zero_window_probe_ack", "answers a probe"),
    _flag("window_update", "changes nothing but the window"),
    _flag("window_full", "fills the receiver's window"),
    _flag("reused_ports", "begins a new conversation on a known four-tuple"),
)

TCP_ANALYSIS: tuple[Column, ...] = (
    *TCP_FLAGS,
    _value("duplicate_ack_num", "u32", "how many times it was repeated"),
    _value("duplicate_ack_frame", "u32", "packet that acknowledged it first"),
    _value("bytes_in_flight", "u32", "sent and not acknowledged, this segment included"),
    _value("push_bytes_sent", "u32", "payload since the last PSH, this segment included"),
    _value("acks_frame", "u32", "packet whose end it acknowledges"),
    _value("ack_rtt", "i64", "time since that packet", "_ns"),
    _value("initial_rtt", "i64", "from the last SYN to the first ACK, on packets with any analysis", "_ns"),
    _value("rto", "i64", "of a retransmission: how long the oldest data waited", "_ns"),
    _value("rto_frame", "u32", "packet that began to wait then"),
)

# Ours, in the order of the kernel's causes (`analyze.sender_kernel`), the first being 1.
CAUSES = ("rto", "fast", "tlp", "after_rto")

TCP_SENDER: tuple[Column, ...] = (
    Column(
        "retransmission_cause",
        "text",
        "why its sender repeats it: rto (timer), fast (SACK, duplicate ACKs), tlp (loss probe), after_rto"
        " (clocked by ACKs behind one); estimated",
        nullable=True,
    ),
    Column(
        "needless_n",
        "u32",
        "packet whose repetition this ACK shows to have been needless, by D-SACK or timestamps",
        nullable=True,
    ),
    Column(
        "cwnd_estimate_bytes",
        "u32",
        "most that its sender let fly in this or the last round trip: a lower bound of its congestion window; null"
        " while repetitions are on their way",
        nullable=True,
    ),
    Column(
        "pacing_gap_ns",
        "i64",
        "time since the data packet before it, for each wire segment of that one; null after an idle time",
        nullable=True,
    ),
    Column(
        "gso_segments",
        "u16",
        "wire segments that its payload makes, by the MSS of the handshake",
        nullable=True,
    ),
)

# Columns of the flows table.
TCP_CONVERSATION: tuple[Column, ...] = tuple(
    Column(f"{name}_{side}", kind, f"{doc} the {who}", nullable=nullable)
    for name, kind, doc, nullable in (
        ("retransmissions", "u32", "retransmitted segments from", False),
        ("retransmitted_bytes", "u64", "payload of retransmitted segments from", False),
        (
            "goodput_bytes_per_s",
            "u64",
            "payload less retransmitted payload, for each second between the flow's first and last packet, from",
            True,
        ),
        ("out_of_order", "u32", "segments out of order from", False),
        ("out_of_order_bytes", "u64", "payload of segments out of order from", False),
        ("lost_segments", "u32", "holes in what was captured of", False),
        ("duplicate_acks", "u32", "duplicate ACKs from", False),
        ("zero_windows", "u32", "segments with a closed window from", False),
        ("zero_window_ns", "i64", "how long the window was closed, all in all, of", False),
        ("rtts", "u32", "measured times between a segment and its ACK, data of", False),
        ("rtt_min_ns", "i64", "shortest of these, data of", True),
        ("rtt_mean_ns", "i64", "mean of these, data of", True),
        ("rtt_median_ns", "i64", "median of these (of more than 8 within 1/16), data of", True),
        ("rtt_p95_ns", "i64", "what 95 % of these do not exceed (likewise), data of", True),
        ("rtt_max_ns", "i64", "longest of these, data of", True),
        ("rtos", "u32", "repetitions of data by the timer (estimated) from", False),
        ("fast_retransmissions", "u32", "repetitions by SACK or duplicate ACKs (estimated) from", False),
        ("tlps", "u32", "repetitions as a loss probe (estimated) from", False),
        ("needless_retransmissions", "u32", "repetitions that ACKs show to be needless, from", False),
        ("idle_ns", "i64", "time with nothing in flight before more was sent, of", False),
        ("application_limited_ns", "i64", "time in which all that was written was in flight, of", False),
        ("rwnd_limited_ns", "i64", "time in which the receive window held back (estimated)", False),
        ("cwnd_limited_ns", "i64", "time in which congestion window or pacing held back (estimated)", False),
        ("limited_by", "text", "what took the most of these times: idle, application, rwnd, cwnd; of", True),
    )
    for side, who in (("fwd", "originator"), ("rev", "responder"))
)
