"""What each step of the path costs on this machine: a few runs of the laboratory, traced, to a file of `[costs]`.

Knows: which scenarios show which costs; how samples become one number a key (the median; of the way from the copy to
the device a straight line over the bytes); the file.
Must not know: tracepoints (`gaps`).

How good the costs are is measured, too: a further run with sizes that no other run had (`_HELD_OUT`), whose steps are
held against these costs and the defaults. sendfile()'s cost per KiB is that of nginx, where it is installed.

Measured twice, with tcpdump on both ends and without: the model predicts what tcpdump sees, so that the file is that of
the first; the other stands beside it. A tracepoint costs some 100 ns itself, which is in the numbers. The six stages
between tcp_sendmsg_locked and net_dev_queue have no tracepoints: they share the measured sum as the defaults do.
"""

from __future__ import annotations

import math
import os
import platform
import shutil
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pcaptool.errors import SystemRefusedError
from pcaptool.lab.gaps import EVENTS, Gaps, measure
from pcaptool.lab.owner import scratch_folder
from pcaptool.lab.run import hold_session
from pcaptool.scenario import Client, Costs, Host, Hosts, Nginx, Request, Scenario, dump_scenario

__all__ = ["Calibration", "HeldOut", "calibrate", "costs_of", "held_out", "page"]

_SIZES = (0, 1000, 4000, 8000, 12000)  # at most the initial window: one call, no waiting
_HELD_OUT = (500, 2500, 7000, 10_000, 13_000)
_FILES = (4000, 6000, 8000, 12_000)  # full segments leave at once, whatever Nagle says
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
class HeldOut:
    """A step of the run that no cost was made of: its median, and what costs and defaults say, in nanoseconds.

    Parameters
    ----------
    step : str
    samples, measured_ns, calibrated_ns, default_ns : int
    """

    step: str
    samples: int
    measured_ns: int
    calibrated_ns: int
    default_ns: int


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
    checks : tuple of HeldOut
        Of a run with tcpdump.
    """

    costs: Costs
    bare: Costs
    with_tcpdump: Gaps
    without: Gaps
    notes: tuple[str, ...]
    checks: tuple[HeldOut, ...] = ()

    def off_by(self, *, default: bool = False) -> float:
        """By which factor a step's time is off on average (geometric mean); of the defaults with `default`."""
        pairs = [
            (check.default_ns if default else check.calibrated_ns, check.measured_ns) for check in self.checks
        ]
        logs = [abs(math.log(max(1, said) / max(1, was))) for said, was in pairs]
        return math.exp(statistics.mean(logs)) if logs else math.nan


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
    plan = _plan(requests, _SIZES)
    found = []
    for words, capture in (("with tcpdump", True), ("without tcpdump", False)):
        say(f"measuring {words}")
        gaps = _gaps(plan, capture=capture, cpu=cpu)
        say(f"measuring a queue, {words}")
        queued = _gaps(_queued(plan), capture=capture, cpu=cpu)
        for name in _QUEUED:
            gaps.steps[name] = queued.steps[name]
        found.append(gaps)
    if shutil.which("nginx"):
        say("measuring sendfile() of nginx")
        files = _gaps(_with_files(_plan(requests // 2, _FILES)), capture=True, cpu=cpu)
        found[0].spliced = found[1].spliced = files.spliced
    (costs, notes), (bare, more) = costs_of(found[0]), costs_of(found[1])
    say("measuring what the costs were not made of")
    checks = held_out(_gaps(_plan(requests, _HELD_OUT), capture=True, cpu=cpu), costs)
    notes += [n for n in more if n not in notes]
    return Calibration(costs, bare, found[0], found[1], tuple(notes), tuple(checks))


def _plan(requests: int, sizes: Sequence[int]) -> Scenario:
    """Requests for these sizes in turn, on connections that do not meet."""
    each = max(len(sizes), requests // _CONNECTIONS)
    paths = tuple(Request("GET", f"/bytes/{sizes[n % len(sizes)]}") for n in range(each))
    client = Client(requests=paths, connections=_CONNECTIONS, stagger_ns=400_000_000, pause_ns=2_000_000)
    return Scenario(name="calibrate", client=client)


def _with_files(plan: Scenario) -> Scenario:
    """The same from files: nginx's head leaves in a call of its own, then sendfile() hands over the pages."""
    return replace(plan, server=replace(plan.server, profile="nginx", nginx=Nginx(tcp_nopush=False)))


def held_out(gaps: Gaps, costs: Costs) -> list[HeldOut]:
    """Steps of a run against what these costs and the defaults say of them.

    Examples
    --------
    >>> [check] = held_out(Gaps({"net_dev_xmit": [800] * 30}), Costs(net_dev_xmit_ns=820))
    >>> check.measured_ns, check.calibrated_ns, check.default_ns
    (800, 820, 690)
    """
    out = []
    for name, samples in sorted(gaps.steps.items()):
        if len(samples) >= _LEAST and name not in _QUEUED:
            said = (getattr(which, f"{name}_ns") for which in (costs, Costs()))
            out.append(HeldOut(name, len(samples), round(statistics.median(samples)), *said))
    sizes: dict[int, list[int]] = {}
    for size, time_ns in gaps.down:
        sizes.setdefault(size, []).append(time_ns)
    for size, samples in sorted(sizes.items()):
        if len(samples) >= _LEAST // 2:
            said = (_way_down_ns(which, size) for which in (costs, Costs()))
            out.append(
                HeldOut(f"to device, {size} B", len(samples), round(statistics.median(samples)), *said)
            )
    return out


def _way_down_ns(costs: Costs, size: int) -> int:
    fixed_ns: int = sum(getattr(costs, name) for name in _SHARED)
    return fixed_ns + (size * costs.copy_per_kib_ns >> 10)


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
    (700, 1024, 10)
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
    if len(gaps.spliced) >= _LEAST:
        costs = replace(costs, splice_per_kib_ns=max(0, round(_line(gaps.spliced)[0] * 1024)))
    else:
        notes.append(
            f"splice_per_kib: {len(gaps.spliced)} samples are too few (is nginx there?); the default stays"
        )
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
    if found.checks:
        lines += _check_lines(found)
    body = dump_scenario(Scenario(costs=costs), full=True)
    return "\n".join([*lines, "", "[costs]", *_costs_lines(body)]) + "\n"


def _check_lines(found: Calibration) -> list[str]:
    """How well the costs, measured with tcpdump, tell a run that they were not made of."""
    off, standard = found.off_by(), found.off_by(default=True)
    return [
        "#",
        "# A further run, of other sizes, with tcpdump: medians, and what the costs and the defaults say of them.",
        f"# On average a step is off by a factor of {off:.2f}; by the defaults of {standard:.2f}.",
        "# step                     n  measured  these costs  defaults",
        *(
            f"# {c.step:<20}{c.samples:>6}{c.measured_ns:>10}{c.calibrated_ns:>13}{c.default_ns:>10}"
            for c in found.checks
        ),
    ]


def _costs_lines(text: str) -> list[str]:
    after = text.partition("[costs]\n")[2]
    return after.partition("\n\n")[0].splitlines()


def _quantiles(samples: Sequence[int]) -> str:
    if not samples:
        return f"{0:>5}{'-':>7}{'-':>8}{'-':>8}"
    ordered = sorted(samples)
    low, middle, high = (ordered[min(len(ordered) - 1, int(len(ordered) * q))] for q in (0.1, 0.5, 0.95))
    return f"{len(ordered):>5}{low:>7}{middle:>8}{high:>8}"
