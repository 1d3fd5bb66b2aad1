"""Trace events of a run to samples of what each step cost, without I/O.

Knows: which tracepoints enclose which key of `[costs]`.
Must not know: how events were recorded, what is made of the samples (`calibrate`).

| samples | from | to |
| --- | --- | --- |
| `tcp_sendmsg_locked` | sys_enter_sendto | tcp_sendmsg_locked, same thread of the server |
| `down` | tcp_sendmsg_locked | the first net_dev_queue of that call, with the call's bytes |
| `spliced` | sys_enter_sendfile64 | the first net_dev_queue of that call, with the call's bytes |
| `qdisc_enqueue`, `qdisc_dequeue`, `net_dev_start_xmit`, `net_dev_xmit` | the tracepoint before it | same buffer |
| `netif_receive_skb` | net_dev_xmit | netif_receive_skb of the peer's device, same buffer |
| `tcp_v4_rcv` | netif_receive_skb | sched_waking of a program of ours |
| `wakeup` | sched_waking | sys_exit_recvfrom of that thread |
| `application` | sys_exit_recvfrom | sys_enter_sendto, same thread of the server |
| `accept` | sys_exit_accept4 | sys_enter_recvfrom of a thread that was not there before |

The stages between tcp_sendmsg_locked and net_dev_queue are functions without tracepoints: `down` is their sum. A queue
that buffers wait in (a rate) makes `qdisc_dequeue` that wait; `calibrate` measures it where nothing waits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from pcaptool.lab.ring_buffer import Event

__all__ = ["EVENTS", "Gaps", "measure"]

EVENTS = (
    "syscalls/sys_enter_sendto",
    "syscalls/sys_exit_sendto",
    "syscalls/sys_enter_recvfrom",
    "syscalls/sys_exit_recvfrom",
    "syscalls/sys_exit_accept4",
    "syscalls/sys_enter_sendfile64",
    "syscalls/sys_exit_sendfile64",
    "sched/sched_waking",
    "tcp/tcp_sendmsg_locked",
    "net/net_dev_queue",
    "qdisc/qdisc_enqueue",
    "qdisc/qdisc_dequeue",
    "net/net_dev_start_xmit",
    "net/net_dev_xmit",
    "net/netif_receive_skb",
)
_IN_SOFTIRQ = 0x10  # TRACE_FLAG_SOFTIRQ of common_flags
_BEFORE = {
    "qdisc_enqueue": ("net_dev_queue",),
    "qdisc_dequeue": ("qdisc_enqueue",),
    "net_dev_start_xmit": ("net_dev_queue", "qdisc_dequeue"),
    "net_dev_xmit": ("net_dev_start_xmit",),
    "netif_receive_skb": ("net_dev_xmit",),
}


@dataclass(slots=True)
class Gaps:
    """Samples in nanoseconds.

    Parameters
    ----------
    steps : dict
        Key of `[costs]` to its samples.
    down : list of (int, int)
        (bytes of the call, nanoseconds) from tcp_sendmsg_locked to net_dev_queue.
    spliced : list of (int, int)
        The same of sendfile(), from its begin.
    """

    steps: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    down: list[tuple[int, int]] = field(default_factory=list)
    spliced: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class _Thread:
    """What a thread did last."""

    entered_ns: int = 0
    copied: tuple[int, int] | None = None
    received_ns: int = 0
    woken_ns: int = 0
    splicing_ns: int = 0  # sendfile() began
    spliced_ns: int = 0  # its first buffer reached the device


def measure(events: Iterable[Event], server_device: str, client_device: str, server_pids: set[int]) -> Gaps:
    """Samples of all steps.

    Parameters
    ----------
    events : iterable of Event
        In the order of time, of two hosts and their two programs.
    server_device, client_device : str
    server_pids : set of int
        Processes and threads of the server that are known before; others that accept brings come to them.
    """
    gaps, devices = Gaps(), {server_device, client_device}
    threads: dict[int, _Thread] = defaultdict(_Thread)
    buffers: dict[int, tuple[str, int]] = {}
    server, accepted_ns, arrived_ns = set(server_pids), 0, 0
    for event in events:
        v, now = event.values, event.time_ns
        pid = v["common_pid"]
        match event.name:
            case "sys_enter_sendto":
                thread = threads[pid]
                if thread.received_ns and pid in server:
                    gaps.steps["application"].append(now - thread.received_ns)
                thread.entered_ns, thread.copied, thread.received_ns = now, None, 0
            case "sys_exit_sendto":
                threads[pid].entered_ns = 0
            case "tcp_sendmsg_locked":
                thread = threads[pid]
                if thread.entered_ns and thread.copied is None and pid in server:
                    gaps.steps["tcp_sendmsg_locked"].append(now - thread.entered_ns)
                    thread.copied = now, v["msg_left"]
            case "sys_enter_sendfile64":
                threads[pid].splicing_ns, threads[pid].spliced_ns = now, 0
            case "sys_exit_sendfile64":
                thread = threads[pid]
                if thread.splicing_ns and thread.spliced_ns and v["ret"] > 0:
                    gaps.spliced.append((v["ret"], thread.spliced_ns - thread.splicing_ns))
                thread.splicing_ns = 0
            case "sys_exit_accept4":
                accepted_ns = now
                server.add(pid)
            case "sys_enter_recvfrom":
                if accepted_ns and pid not in threads:
                    gaps.steps["accept"].append(now - accepted_ns)
                    accepted_ns = 0
                    server.add(pid)
                threads[pid].woken_ns = 0
            case "sys_exit_recvfrom":
                thread = threads[pid]
                if thread.woken_ns:
                    gaps.steps["wakeup"].append(now - thread.woken_ns)
                thread.woken_ns, thread.received_ns = 0, now
            case "sched_waking":
                if arrived_ns and v["common_flags"] & _IN_SOFTIRQ:
                    gaps.steps["tcp_v4_rcv"].append(now - arrived_ns)
                    threads[v["pid"]].woken_ns = now
                arrived_ns = 0
            case name:
                if name not in ("qdisc_enqueue", "qdisc_dequeue") and v["name"] not in devices:
                    continue
                if name == "net_dev_queue":
                    _down(gaps, threads[pid], now, in_softirq=bool(v["common_flags"] & _IN_SOFTIRQ))
                else:
                    stage, since_ns = buffers.get(v["skbaddr"], ("", 0))
                    if stage in _BEFORE[name]:
                        gaps.steps[name].append(now - since_ns)
                arrived_ns = now if name == "netif_receive_skb" else 0
                buffers[v["skbaddr"]] = name, now
    return gaps


def _down(gaps: Gaps, thread: _Thread, now_ns: int, *, in_softirq: bool) -> None:
    """The first buffer of a call has reached the device."""
    if in_softirq:
        return
    if thread.splicing_ns and not thread.spliced_ns:
        thread.spliced_ns = now_ns
    if thread.copied is not None and thread.entered_ns:
        since_ns, count = thread.copied
        gaps.down.append((count, now_ns - since_ns))
        thread.entered_ns = 0
