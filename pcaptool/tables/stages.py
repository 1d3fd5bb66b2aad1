"""Egress stages: when each socket buffer passed each point between send() and the wire."""

from __future__ import annotations

from pcaptool.tables.definition import Column, Table

__all__ = ["STAGES", "STAGE_NAMES"]

# In the order of the path. Names are the kernel's functions and tracepoints; `wire` is the last bit sent.
STAGE_NAMES: dict[str, str] = {
    "sys_enter_sendto": "the program calls send() (or writev(), sendfile() ...): syscalls:sys_enter_sendto",
    "tcp_sendmsg_locked": "bytes are copied into the buffer at the tail of the write queue",
    "udp_sendmsg": "UDP makes a datagram of the program's bytes",
    "udp_send_skb": "the datagram has its UDP and IP headers",
    "tcp_write_xmit": "TCP decides that this buffer may leave now: windows, Nagle, pacing, size",
    "__tcp_transmit_skb": "the buffer's clone gets its TCP header and options",
    "__ip_queue_xmit": "the IP header is written: ID, TTL, DF, checksum",
    "ip_output": "behind the output hook, on the way to the device",
    "neigh_output": "the link header is written from the neighbour entry",
    "net_dev_queue": "handed to the device's queueing discipline (net:net_dev_queue)",
    "qdisc_enqueue": "put into the queueing discipline (qdisc:qdisc_enqueue)",
    "qdisc_dequeue": "taken out of it (qdisc:qdisc_dequeue)",
    "net_dev_start_xmit": "handed to the driver (net:net_dev_start_xmit); tcpdump has seen it just before",
    "net_dev_xmit": "the driver has taken it (net:net_dev_xmit)",
    "wire": "the last bit has left",
    "nf_inet_local_out": "netfilter's output hook (where a scenario has a rule there; so for all hooks)",
    "nf_inet_post_routing": "netfilter's postrouting hook",
    "sch_handle_egress": "tc's egress hook, before the queueing discipline and the taps",
    "bpf_prog_run_xdp": "an XDP program, on a frame that came in",
    "sch_handle_ingress": "tc's ingress hook, on a frame that came in, behind the taps",
    "nf_inet_pre_routing": "netfilter's prerouting hook",
    "nf_inet_local_in": "netfilter's input hook",
    "kfree_skb": "dropped on this host before it left (skb:kfree_skb)",
}

STAGES = Table(
    name="stages",
    version=1,
    row="socket buffer at a stage",
    doc=(
        "When each socket buffer (struct sk_buff) passed each stage of the egress path: from the model's run or"
        " from the kernel's tracepoints. Buffers that carry one frame's bytes are joined by `origin`."
    ),
    columns=(
        Column("skb", "u64", "buffer: a number in the model, the kernel's address in a trace"),
        Column("origin", "u64", "buffer it was cloned or cut from, itself where it was not", nullable=True),
        Column("host", "text", "which host's path"),
        Column(
            "stage",
            "text",
            "kernel function or tracepoint, see `pcaptool schema stages`",
        ),
        Column("ts", "time", "when it passed"),
        Column("n", "u32", "its packet at the sender's tap", nullable=True),
        Column("flow", "u32", "its conversation in the sender's tap", nullable=True),
        Column("seq_raw", "u32", "TCP sequence number of its first byte", nullable=True),
        Column("payload_bytes", "u32", "transport payload it holds"),
        Column("len_bytes", "u32", "bytes it holds, headers included"),
        Column("gso_segs", "u16", "wire segments it stands for"),
        Column("headers", "text", "headers written so far, outermost first"),
    ),
)
