"""Where the time of an HTTP exchange went.

Knows: the parts, in the order of time, and which add up to what. Must not know: how they are found.
"""

from __future__ import annotations

from pcaptool.tables.definition import Column, Table

__all__ = ["DELIVERY_PARTS", "LAYERS", "PARTS", "REQUEST_PARTS", "SERVER_PARTS", "TIMINGS", "TRANSFER_PARTS"]

# What the sender of a message waited for, between its first and its last packet.
_WAITS = (
    ("retransmission", "gaps that ended with a repetition, or with what came out of order"),
    ("idle", "nothing was in flight: the sender's program had nothing to send yet"),
    ("application", "all that the sender's program had written was in flight"),
    ("rwnd", "the receive window had no room (estimated)"),
    ("cwnd", "congestion window or pacing held back (estimated)"),
    ("other", "what the packets do not tell"),
)
_SERVER = (
    ("retransmission", "until the request was sent for the last time"),
    (
        "network",
        "to the server and back from where the capture was taken: the least of the connection so far",
    ),
    ("think", "the rest: the server; negative where it answered before the request had ended"),
)

_DELIVERY = (
    ("retransmission", "until any of the response was sent for the last time"),
    ("network", "to the client and back: the least of the connection so far"),
    ("wait", "the rest: a delayed ACK, a busy client, a queue"),
)

REQUEST_PARTS = tuple(f"request_{name}_ns" for name, _ in _WAITS)
SERVER_PARTS = tuple(f"server_{name}_ns" for name, _ in _SERVER)
TRANSFER_PARTS = tuple(f"transfer_{name}_ns" for name, _ in _WAITS)
DELIVERY_PARTS = tuple(f"delivery_{name}_ns" for name, _ in _DELIVERY)
# All that `total_time_ns` consists of, in the order of time.
PARTS = (*REQUEST_PARTS, *SERVER_PARTS, *TRANSFER_PARTS)

# Layer of the sending host -> stages (`tables.stages`) from which on a frame is in it, until its next stage.
LAYERS: dict[str, tuple[str, ...]] = {
    "syscall": ("sys_enter_sendto",),
    "socket": ("tcp_sendmsg_locked",),
    "tcp": ("tcp_write_xmit", "__tcp_transmit_skb"),
    "ip": ("__ip_queue_xmit", "nf_inet_local_out", "ip_output", "nf_inet_post_routing"),
    "neighbour": ("neigh_output",),
    "qdisc": ("sch_handle_egress", "net_dev_queue", "qdisc_enqueue"),
    "driver": ("qdisc_dequeue", "net_dev_start_xmit"),
    "link": ("net_dev_xmit",),
}
_IN_LAYER = {
    "syscall": "entering the system call",
    "socket": "copied, waiting in the write queue",
    "tcp": "TCP",
    "ip": "IP and its hooks",
    "neighbour": "the neighbour entry",
    "qdisc": "the queueing discipline",
    "driver": "the driver",
    "link": "the link",
}


def _part(group: str, name: str, doc: str) -> Column:
    return Column(f"{group}_{name}_ns", "i64", doc, nullable=True)


TIMINGS = Table(
    name="timings",
    version=1,
    row="HTTP exchange",
    doc=(
        "Where the time of each exchange of `http` went, seen from where the capture was taken. Parts add up exactly:"
        " `request_*_ns` to `request_time_ns`, `server_*_ns` to `server_time_ns`, `transfer_*_ns` to"
        " `transfer_time_ns`, and these three to `total_time_ns`. What comes behind, until the client has acknowledged"
        " the response, is `delivery_time_ns`, with parts of its own: in a capture at the server, losses show there. A"
        " time is null where its first or last packet was"
        " not seen. The `first_*_ns` and `frames_*_ns` need the `stages` of the sending host (`analyze --stages`):"
        " how long the response's first frame, and all its frames together, were in each layer before the wire."
    ),
    columns=(
        Column("flow", "u32", "row of `flows`"),
        Column("exchange", "u32", "number on its connection: row of `http`"),
        Column(
            "connect_ns", "i64", "of a connection's first exchange: SYN to the handshake's ACK", nullable=True
        ),
        Column("total_time_ns", "i64", "request's first byte to response's last", nullable=True),
        Column("request_time_ns", "i64", "request's first byte to its last", nullable=True),
        Column("server_time_ns", "i64", "request's last byte to response's first", nullable=True),
        Column("transfer_time_ns", "i64", "response's first byte to its last", nullable=True),
        *(_part("request", name, f"of the request: {doc}") for name, doc in _WAITS),
        *(_part("server", name, doc) for name, doc in _SERVER),
        *(_part("transfer", name, f"of the response: {doc}") for name, doc in _WAITS),
        Column("delivery_time_ns", "i64", "response's last byte to the client's ACK of it", nullable=True),
        *(_part("delivery", name, doc) for name, doc in _DELIVERY),
        Column(
            "longest_part",
            "text",
            "the part of the total with the most time",
            nullable=True,
        ),
        Column(
            "client_rtt_ns",
            "i64",
            "least time to the client and back, on this connection so far",
            nullable=True,
        ),
        Column(
            "server_rtt_ns",
            "i64",
            "least time to the server and back, on this connection so far",
            nullable=True,
        ),
        Column("frames", "u32", "frames of the response that have stages", nullable=True),
        *(_part("first", layer, f"response's first frame: {doc}") for layer, doc in _IN_LAYER.items()),
        *(_part("frames", layer, f"sum over its frames: {doc}") for layer, doc in _IN_LAYER.items()),
    ),
)
