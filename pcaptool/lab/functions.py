r"""Function probes by bpftrace: the program's text, its output, and the stages that it adds. Without I/O.

Knows: which kernel function is which stage, and where its buffer stands among the arguments; bpftrace's language.
Must not know: how bpftrace is run (`bpftrace`), tracepoints but for net_dev_queue.

| function (Linux 6.12, net/ipv4, net/ipv6) | stage | buffer |
| --- | --- | --- |
| tcp_write_xmit | tcp_write_xmit | none: the last call of that thread before the buffer |
| __tcp_transmit_skb | __tcp_transmit_skb | the original, of which the next function's is the clone |
| __ip_queue_xmit, ip6_xmit | __ip_queue_xmit | the one that net_dev_queue names |
| ip_output, ip6_output | ip_output | the same |
| ip_finish_output2, ip6_finish_output2 | neigh_output | the same |

Times are those of the functions' beginnings. A buffer that tcp_write_xmit sends as the second of one call has no
tcp_write_xmit of its own. Only calls of the two programs are recorded, so a buffer that a softirq sent (on an ACK, by a
timer) has these stages only where it interrupted one of them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pcaptool.lab.stages import Transmission

__all__ = ["FUNCTIONS", "Call", "Function", "add_functions", "parse_calls", "program"]

READY = "ready"
_WITHIN_NS = 5_000_000  # from a function to net_dev_queue
_LINE = re.compile(r"([a-z0-9_]+) ([0-9]{1,19}) ([0-9]{1,9}) ([0-9a-f]{1,16})")
_LOST = re.compile(r"Lost ([0-9]{1,18}) events")


class Function(NamedTuple):
    """A kernel function: its stage, and the number of its argument that is the buffer (None: it has none)."""

    name: str
    stage: str
    buffer: int | None


FUNCTIONS: tuple[Function, ...] = (
    Function("tcp_write_xmit", "tcp_write_xmit", None),
    Function("__tcp_transmit_skb", "__tcp_transmit_skb", 1),
    Function("__ip_queue_xmit", "__ip_queue_xmit", 1),
    Function("ip6_xmit", "__ip_queue_xmit", 1),
    Function("ip_output", "ip_output", 2),
    Function("ip6_output", "ip_output", 2),
    Function("ip_finish_output2", "neigh_output", 2),
    Function("ip6_finish_output2", "neigh_output", 2),
)
_STAGES = {function.name: function.stage for function in FUNCTIONS}
_SAME_BUFFER = ("neigh_output", "ip_output", "__ip_queue_xmit")  # backwards from net_dev_queue
_BEFORE = ("__tcp_transmit_skb", "tcp_write_xmit")


class Call(NamedTuple):
    """A function was entered."""

    time_ns: int  # CLOCK_MONOTONIC, or as `add_functions` is told
    stage: str
    thread: int
    skb: int


def program(functions: Sequence[Function], programs: Sequence[str]) -> str:
    r"""The text for `bpftrace -e`: a line for each call of these functions by one of the programs.

    Examples
    --------
    >>> print(program(FUNCTIONS[1:2], ["nginx"]))
    BEGIN { printf("ready\n"); }
    kprobe:__tcp_transmit_skb /comm == "nginx"/ { printf("__tcp_transmit_skb %llu %d %llx\n", nsecs, tid, arg1); }
    """
    for name in programs:
        if not re.fullmatch(r"[!#-.0-\[\]-~]{1,15}", name):
            raise ValueError(f"{name!r} is not the name of a program as the kernel keeps it")
    condition = " || ".join(f'comm == "{name}"' for name in programs)
    lines = [f'BEGIN {{ printf("{READY}\\n"); }}']
    for name, _, buffer in functions:
        argument = "(uint64)0" if buffer is None else f"arg{buffer}"
        lines.append(
            f'kprobe:{name} /{condition}/ {{ printf("{name} %llu %d %llx\\n", nsecs, tid, {argument}); }}'
        )
    return "\n".join(lines)


def parse_calls(text: str) -> tuple[list[Call], int]:
    r"""What bpftrace wrote: calls in the order of time, and how many events it lost.

    A last line that is cut, and words of bpftrace's own, are passed over.

    Examples
    --------
    >>> parse_calls("ready\nip_output 17 5 ffff8881\nLost 3 events\nip_outp")
    ([Call(time_ns=17, stage='ip_output', thread=5, skb=4294936705)], 3)
    """
    calls, lost = [], 0
    for line in text.splitlines():
        if (found := _LINE.fullmatch(line)) and found[1] in _STAGES:
            calls.append(Call(int(found[2]), _STAGES[found[1]], int(found[3]), int(found[4], 16)))
        elif found := _LOST.match(line):
            lost += int(found[1])
    return sorted(calls), lost


def add_functions(sent: Iterable[Transmission], calls: Sequence[Call], ahead_ns: int) -> int:
    """Put stages before net_dev_queue; how many transmissions got some.

    Parameters
    ----------
    sent : iterable of Transmission
        Their `above` is filled.
    calls : sequence of Call
        In the order of time.
    ahead_ns : int
        How far the clock of `sent` is ahead of that of `calls`.
    """
    by_buffer: dict[int, list[Call]] = defaultdict(list)
    by_thread: dict[int, list[Call]] = defaultdict(list)
    for call in calls:
        by_thread[call.thread].append(call)
        if call.stage in _SAME_BUFFER:
            by_buffer[call.skb].append(call)
    count = 0
    for one in sent:
        queued = next((time for stage, time in one.times if stage == "net_dev_queue"), None)
        if queued is None:
            continue
        found = _of_buffer(by_buffer[one.skb], queued - ahead_ns)
        if found:
            earliest = min(found.values())
            found |= _before(by_thread[earliest.thread], earliest)
        one.above = sorted(
            ((stage, call.time_ns + ahead_ns) for stage, call in found.items()), key=lambda p: p[1]
        )
        count += bool(found)
    return count


def _of_buffer(calls: Sequence[Call], until_ns: int) -> dict[str, Call]:
    """The last call of each stage for a buffer before a moment; the address may have been another's before."""
    found: dict[str, Call] = {}
    for call in reversed(calls):
        if until_ns - _WITHIN_NS <= call.time_ns <= until_ns:
            found.setdefault(call.stage, call)
    return found


def _before(calls: Sequence[Call], first: Call) -> dict[str, Call]:
    """What the thread did for the same buffer before: back to the one that it sent before this."""
    found: dict[str, Call] = {}
    for call in reversed(calls[: calls.index(first)]):
        if call.stage in _SAME_BUFFER or call.time_ns < first.time_ns - _WITHIN_NS or call.stage in found:
            break
        found[call.stage] = call
    return found
