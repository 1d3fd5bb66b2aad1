"""What each step of the path costs on this machine: a few runs of the laboratory, traced, to a file of `[costs]`.

Knows: which scenarios show which costs; how samples become one number a key (the median; of the way from the copy to
the device a straight line over the bytes); the file.
Must not know: tracepoints (`gaps`).

Measured twice, with tcpdump on both ends and without: the model predicts what tcpdump sees, so that the file is that of
the first; the other stands beside it. A tracepoint costs some 100 ns itself, which is in the numbers. The six stages
between tcp_sendmsg_locked and net_dev_queue have no tracepoints: they share the measured sum as the defaults do.
"""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pcaptool.errors import SystemRefusedError
from pcaptool.lab.gaps import EVENTS, Gaps, measure
from pcaptool.lab.owner import scratch_folder
from pcaptool.lab.run import hold_session
from pcaptool.scenario import Client, Costs, Host, Hosts, Request, Scenario, dump_scenario

__all__ = ["Calibration", "calibrate", "costs_of", "page"]

_SIZES = (0, 1000, 4000, 8000, 12000)  # at most the initial window: one call, no waiting
_CONNECTIONS = 10
_LEAST = 20  # samples; a key with fewer keeps its default
_SHARED = (
    "tcp_write_xmit_ns",
    "tcp_transmit_skb_ns",
    "ip_queue_xmit_ns",
    "ip_output_ns",
    "neigh_output_ns",
    "net_dev_queue_ns",
)
# Nothing waits in it, but each buffer is queued.
_QUEUE = "tbf rate 10gbit burst 1mb latency 50ms"
_QUEUED = ("qdisc_enqueue", "qdisc_dequeue")


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was measured.

    Parameters
    ----------
    costs, bare : Costs
        With tcpdump, and without.
    with_tcpdump, without : Gaps
        The samples.
    notes : tuple of str
    """

    costs: Costs
    bare: Costs
    with_tcpdump: Gaps
    without: Gaps
    notes: tuple[str, ...]


def calibrate(
    *, requests: int = 400, cpu: int | None = 0, progress: Callable[[str], None] | None = None
) -> Calibration:
    """Measure this machine.

    Parameters
    ----------
    requests : int
        Of each run, shared by ten connections.
    cpu : int or None
        Processor of both programs; None: wherever the scheduler puts them.
    progress : callable, optional
        Told what happens now.

    Raises
    ------
    SystemRefusedError
        Not root, a program is missing, or the kernel cannot be traced.
    """
    say = progress or (lambda _text: None)
    each = max(len(_SIZES), requests // _CONNECTIONS)
    paths = tuple(Request("GET", f"/bytes/{_SIZES[n % len(_SIZES)]}") for n in range(each))
    plan = Scenario(
        name="calibrate",
        client=Client(requests=paths, connections=_CONNECTIONS, stagger_ns=400_000_000, pause_ns=2_000_000),
    )
    found = []
    for words, capture in (("with tcpdump", True), ("without tcpdump", False)):
        say(f"measuring {words}")
        gaps = _gaps(plan, capture=capture, cpu=cpu)
        say(f"measuring a queue, {words}")
        queued = _gaps(_queued(plan), capture=capture, cpu=cpu)
        for name in _QUEUED:
            gaps.steps[name] = queued.steps[name]
        found.append(gaps)
    (costs, notes), (bare, more) = costs_of(found[0]), costs_of(found[1])
    return Calibration(costs, bare, found[0], found[1], (*notes, *(n for n in more if n not in notes)))


def _queued(plan: Scenario) -> Scenario:
    hosts = Hosts(server=replace(Host(), qdisc=_QUEUE), client=plan.host.client)
    return replace(plan, host=hosts, client=replace(plan.client, connections=2))


def _gaps(plan: Scenario, *, capture: bool, cpu: int | None) -> Gaps:
    with scratch_folder("calibrate") as folder, hold_session(plan, folder, cpu=cpu) as lab:
        lab.conduct(120, trace=True, capture=capture, events=EVENTS)
        if lab.events is None:
            raise SystemRefusedError(next((n for n in lab.notes if n.startswith("no stages")), "no trace"))
        hosts = lab.plan.host
        return measure(lab.events, hosts.server.device, hosts.client.device, lab.server_pids)


def costs_of(gaps: Gaps) -> tuple[Costs, list[str]]:
    """Costs of samples, and notes about keys that had too few.

    Examples
    --------
    >>> line = [(count, 1500 + count) for count in range(0, 8000, 100)]
    >>> costs, notes = costs_of(Gaps({"net_dev_xmit": [700] * 30 + [90_000]}, line))
    >>> costs.net_dev_xmit_ns, costs.copy_per_kib_ns, len(notes)
    (700, 1024, 9)
    """
    costs, notes = Costs(), []
    names = ["tcp_sendmsg_locked", *_QUEUED, "net_dev_start_xmit", "net_dev_xmit", "netif_receive_skb"]
    for name in (*names, "tcp_v4_rcv", "wakeup", "application", "accept"):
        samples = gaps.steps.get(name, [])
        least = _CONNECTIONS // 2 if name == "accept" else _LEAST
        if len(samples) < least:
            notes.append(f"{name}: {len(samples)} samples are too few; the default stays")
            continue
        costs = replace(costs, **{f"{name}_ns": round(statistics.median(samples))})
    if len(gaps.down) < _LEAST:
        notes.append(f"the way from the copy to the device: {len(gaps.down)} samples are too few")
        return costs, notes
    slope, fixed = _line(gaps.down)
    whole = sum(getattr(Costs(), name) for name in _SHARED)
    shares = {name: round(max(0.0, fixed) * getattr(Costs(), name) / whole) for name in _SHARED}
    return replace(costs, copy_per_kib_ns=max(0, round(slope * 1024)), **shares), notes


def _line(points: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Slope and start of a line through the medians of each size: a late sample does not bend it."""
    by_size: dict[int, list[int]] = {}
    for size, time_ns in points:
        by_size.setdefault(size, []).append(time_ns)
    medians = {size: statistics.median(times) for size, times in by_size.items()}
    if len(medians) == 1:
        return Costs().copy_per_kib_ns / 1024, next(iter(medians.values()))
    slope, fixed = statistics.linear_regression(list(medians), list(medians.values()))
    return slope, fixed


def page(found: Calibration, costs: Costs) -> str:
    """The file: `[costs]`, and how it was measured as comments."""
    lines = [
        f"# Measured by `pcaptool lab calibrate` on Linux {platform.release()}, {platform.machine()},",
        f"# {os.cpu_count()} processors, {datetime.now(UTC).isoformat(timespec='seconds')}.",
        "# Medians in nanoseconds; the tracepoints' own cost is in them.",
        "#",
        "#                        with tcpdump                  without",
        "# step                   n   10 %    50 %    95 %      n   10 %    50 %    95 %",
    ]
    for name in sorted(found.with_tcpdump.steps.keys() | found.without.steps.keys()):
        cells = [_quantiles(gaps.steps.get(name, [])) for gaps in (found.with_tcpdump, found.without)]
        lines.append(f"# {name:<19}{'   '.join(cells)}")
    body = dump_scenario(Scenario(costs=costs), full=True)
    return "\n".join([*lines, "", "[costs]", *_costs_lines(body)]) + "\n"


def _costs_lines(text: str) -> list[str]:
    after = text.partition("[costs]\n")[2]
    return after.partition("\n\n")[0].splitlines()


def _quantiles(samples: Sequence[int]) -> str:
    if not samples:
        return f"{0:>5}{'-':>7}{'-':>8}{'-':>8}"
    ordered = sorted(samples)
    low, middle, high = (ordered[min(len(ordered) - 1, int(len(ordered) * q))] for q in (0.1, 0.5, 0.95))
    return f"{len(ordered):>5}{low:>7}{middle:>8}{high:>8}"
