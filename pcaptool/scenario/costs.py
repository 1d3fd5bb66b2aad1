"""What each step of the path costs, in nanoseconds of virtual time.

Knows: one key per stage that takes time, and measured defaults.
Must not know: what happens at a stage.

The cost of a stage is the time from the stage before it to this one. Keys are the stages' own names (the
names in `pcaptool schema stages`, which a test compares); attributes have the unit, and no leading
underscores: `costs.tcp_transmit_skb_ns` is the key `__tcp_transmit_skb`.

Defaults of the egress path: medians of kernel tracepoints on Linux 6.18 over veth, and sampling of the
parts between them, scaled to the same sum (send() to `net_dev_queue`: 770 + 1,590 ns for 1 kB). Defaults
of the way up and of the programs: chosen to fit the median gaps between frames of the lab captures; they
were not traced. A cost is a constant: the real ones vary by a factor of two and more.
"""

from __future__ import annotations

from dataclasses import dataclass

from pcaptool.scenario.keys import key, keys_of
from pcaptool.scenario.kinds import Whole

__all__ = ["Costs"]

_NS = Whole(0, 10**10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Nanoseconds of each step.

    Examples
    --------
    >>> Costs().of("__tcp_transmit_skb") == Costs().tcp_transmit_skb_ns
    True
    """

    tcp_sendmsg_locked_ns: int = key(
        770, _NS, "from the system call to the socket's lock", name="tcp_sendmsg_locked"
    )
    copy_per_kib_ns: int = key(
        90, _NS, "copying 1024 bytes between a program and a socket", name="copy_per_kib"
    )
    splice_per_kib_ns: int = key(
        12, _NS, "handing 1024 bytes of a file's pages to a socket (sendfile)", name="splice_per_kib"
    )
    tcp_write_xmit_ns: int = key(770, _NS, "making a buffer and deciding to send it", name="tcp_write_xmit")
    tcp_transmit_skb_ns: int = key(215, _NS, "cloning the buffer", name="__tcp_transmit_skb")
    ip_queue_xmit_ns: int = key(285, _NS, "building the TCP header", name="__ip_queue_xmit")
    ip_output_ns: int = key(160, _NS, "building the IP header", name="ip_output")
    neigh_output_ns: int = key(100, _NS, "finding the neighbour", name="neigh_output")
    net_dev_queue_ns: int = key(60, _NS, "writing the link header", name="net_dev_queue")
    qdisc_enqueue_ns: int = key(310, _NS, "reaching a queueing discipline's queue", name="qdisc_enqueue")
    qdisc_dequeue_ns: int = key(100, _NS, "leaving an empty queue", name="qdisc_dequeue")
    net_dev_start_xmit_ns: int = key(
        410, _NS, "reaching the driver; tcpdump sees the frame", name="net_dev_start_xmit"
    )
    net_dev_xmit_ns: int = key(690, _NS, "the driver's work", name="net_dev_xmit")
    netif_receive_skb_ns: int = key(700, _NS, "from the wire to the receiver's tap", name="netif_receive_skb")
    tcp_v4_rcv_ns: int = key(
        2000, _NS, "from the tap to the end of TCP's input processing", name="tcp_v4_rcv"
    )
    wakeup_ns: int = key(15000, _NS, "waking a program that waits in a system call", name="wakeup")
    application_ns: int = key(
        30000, _NS, "a program's own work from one system call to the next", name="application"
    )
    accept_ns: int = key(40000, _NS, "additionally, between accept() and the first read", name="accept")

    def of(self, stage: str) -> int:
        """The cost of a stage by its key; 0 for a stage that takes no time."""
        for k in keys_of(self):
            if k.name == stage:
                return int(k.default)
        return 0
