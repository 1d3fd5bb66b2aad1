"""Several scenarios side by side, in one capture: each has hosts and a link of its own, and so may have a processor.

Knows: what would make scenarios depend on each other, how their captures and stages become one, who runs which.
Must not know: how one is run (`run`).

What two connections of one scenario share (the hosts' processors, the queue, the neighbour's entry, random numbers)
makes them one simulation. Two scenarios whose hosts are others share nothing; those that share a host are refused. Each
is run by itself, in this process or in others, and its files are merged in the same way: how many processes there
were cannot be seen in the bytes. Packets come in the order of time, those of equal time in the order of the scenarios.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pcaptool._version import __version__
from pcaptool.errors import OutputError, UsageError
from pcaptool.file import Interface, Record, open_capture, open_writer
from pcaptool.file.aside import write_whole
from pcaptool.generate.run import checked_taps, format_of, generate, settled_plan, stem_of
from pcaptool.scenario import Costs, Scenario, dump_scenario
from pcaptool.wire.linktype import LinkType

__all__ = ["Together", "generate_together", "processors"]


@dataclass(frozen=True, slots=True)
class Together:
    """What `generate_together` made.

    Parameters
    ----------
    captures : dict
        Tap name to the capture file.
    stages : Path
        Parquet file of the `stages` table of all.
    scenario_paths : tuple of Path
        The scenarios as they were run.
    packets : dict
        Tap name to the packets in its capture.
    notices : tuple of str
        What the runs have to say; each begins with the number of its scenario.
    """

    captures: dict[str, Path]
    stages: Path
    scenario_paths: tuple[Path, ...]
    packets: dict[str, int]
    notices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """The files of one scenario's run, and what it said."""

    captures: dict[str, Path]
    stages: Path
    notices: tuple[str, ...]


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def generate_together(
    scenarios: Sequence[Scenario | str | Path],
    out: str | Path,
    *,
    taps: Sequence[str] = ("server",),
    seed: int | None = None,
    costs: Costs | str | Path | None = None,
    format: Literal["pcap", "pcapng"] | None = None,  # noqa: A002 - the word people use
    annotate: bool = False,
    jobs: int | None = None,
) -> Together:
    """Run scenarios that share no host, and write what their taps saw into one capture, by time.

    Parameters
    ----------
    scenarios : sequence of Scenario or path
    out : path
        The capture file; other files get their names from it.
    taps, seed, costs, format, annotate
        As for `generate`.
    jobs : int, optional
        How many processes run them; without: as many as there are processors. The bytes are the same.

    Raises
    ------
    UsageError
        Two of them share an address; what `generate` refuses.
    ScenarioError, OutputError
        As for `generate`.

    Examples
    --------
    >>> from pcaptool.scenario import Host, Hosts
    >>> server = Host(mac="02:00:00:00:01:01", ipv4="192.0.2.11", ipv6="2001:db8::11")
    >>> client = Host(mac="02:00:00:00:01:02", ipv4="192.0.2.12", ipv6="2001:db8::12")
    >>> plans = [Scenario(), Scenario(host=Hosts(server=server, client=client))]
    >>> generate_together(plans, Path(tempfile.mkdtemp()) / "x.pcapng", jobs=1).packets
    {'server': 24}
    """
    path = Path(out)
    names = [one.name if isinstance(one, Scenario) else str(one) for one in scenarios]
    plans = [settled_plan(one, seed=seed, costs=costs) for one in scenarios]
    _refuse_shared(plans, names)
    chosen = format or format_of(path)
    taps = checked_taps(taps, annotate=annotate, format=chosen)
    count = max(1, min(len(plans), jobs if jobs is not None else processors()))
    try:
        folder = tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise OutputError(
            f"cannot be written: {(error.strerror or str(error)).lower()}", path=path
        ) from error
    with folder as work:
        ask = partial(_ask, taps=taps, format=chosen, annotate=annotate)
        wishes = [ask(plan, Path(work) / f"{number}.{chosen}") for number, plan in enumerate(plans, 1)]
        parts = _run_all(wishes, count)
        return _merge(plans, parts, path, chosen)


def _refuse_shared(plans: Sequence[Scenario], names: Sequence[str]) -> None:
    owners: dict[str, str] = {}
    for number, (plan, name) in enumerate(zip(plans, names, strict=True), 1):
        here = f"scenario {number}" + (f" ({name})" if name else "")
        hosts = (plan.host.server, plan.host.client)
        for address in sorted({value for host in hosts for value in (host.mac, host.ipv4, host.ipv6)}):
            if address in owners:
                raise UsageError(
                    f"{owners[address]} and {here} share the address {address}: they would not be independent",
                    hint="give each [host.server] and [host.client] a mac, ipv4 and ipv6 of its own",
                )
        owners |= {value: here for host in hosts for value in (host.mac, host.ipv4, host.ipv6)}


def _ask(plan: Scenario, out: Path, *, taps: Sequence[str], format: str, annotate: bool) -> dict[str, Any]:  # noqa: A002
    return {
        "scenario": dump_scenario(plan),
        "out": str(out),
        "taps": list(taps),
        "format": format,
        "annotate": annotate,
    }


def _run(wish: dict[str, Any]) -> _Part:
    """One scenario, here."""
    run = generate(
        settled_plan(wish["scenario"], text=True),
        wish["out"],
        taps=wish["taps"],
        format=wish["format"],
        annotate=wish["annotate"],
    )
    return _Part(run.captures, run.stages, run.notices)


def work(wish: dict[str, Any]) -> dict[str, Any]:
    """One scenario in a process of its own: what it said, for the one that asked."""
    part = _run(wish)
    return {
        "captures": {tap: str(path) for tap, path in part.captures.items()},
        "stages": str(part.stages),
        "notices": list(part.notices),
    }


def _run_all(wishes: Sequence[dict[str, Any]], count: int) -> list[_Part]:
    """All of them, by this process and `count` - 1 others: each takes the next that is left."""
    waiting = deque(enumerate(wishes))
    parts: dict[int, _Part] = {}
    helpers = [_Helper(waiting, parts) for _ in range(count - 1)]
    try:
        while waiting:
            with contextlib.suppress(IndexError):  # another took the last
                number, wish = waiting.popleft()
                parts[number] = _run(wish)
        for helper in helpers:
            helper.join()
    except BaseException:
        waiting.clear()
        for helper in helpers:
            helper.process.kill()
        raise
    for helper in helpers:
        if helper.wrong:
            raise OutputError(f"a process that ran a scenario failed: {helper.wrong}")
    return [parts[number] for number in range(len(wishes))]


class _Helper(threading.Thread):
    """A process that takes scenarios, and the thread that hands them to it: a line a wish, a line an answer."""

    def __init__(self, waiting: deque[tuple[int, dict[str, Any]]], parts: dict[int, _Part]) -> None:
        super().__init__(daemon=True)
        self.wrong = ""
        self._waiting, self._parts = waiting, parts
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "pcaptool.generate.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.start()

    def run(self) -> None:
        """Until none is left, or one failed."""
        wishes, answers = self.process.stdin, self.process.stdout
        assert wishes is not None and answers is not None  # noqa: S101, PT018 - they were asked for
        with contextlib.suppress(BrokenPipeError, IndexError):
            while True:
                number, wish = self._waiting.popleft()
                wishes.write(f"{json.dumps(wish)}\n")
                wishes.flush()
                if not (line := answers.readline()):
                    break
                answer = json.loads(line)
                captures = {tap: Path(path) for tap, path in answer["captures"].items()}
                self._parts[number] = _Part(captures, Path(answer["stages"]), tuple(answer["notices"]))
        _, said = self.process.communicate()
        if self.process.returncode:
            self._waiting.clear()
            self.wrong = (said.strip().splitlines() or ["it was ended"])[-1]


def _merge(plans: Sequence[Scenario], parts: Sequence[_Part], out: Path, chosen: str) -> Together:
    """One capture a tap, one table of stages."""
    stem, ending = stem_of(out), out.name[len(stem_of(out)) :]
    captures: dict[str, Path] = {}
    packets: dict[str, int] = {}
    numbers: dict[str, list[list[int]]] = {}
    taps = list(parts[0].captures)
    for tap in taps:
        path = out if len(taps) == 1 else out.with_name(f"{stem}.{tap}{ending}")
        interfaces = [
            Interface(LinkType.ETHERNET, name=f"{plan.name or number}:{tap}")
            for number, plan in enumerate(plans, 1)
        ]
        several = chosen == "pcapng"
        numbers[tap] = [[] for _ in parts]
        with open_writer(
            path, "pcapng" if several else "pcap", interfaces if several else interfaces[:1]
        ) as writer:
            sources = [
                _records(part.captures[tap], index, several=several) for index, part in enumerate(parts)
            ]
            for n, (_, index, _, record) in enumerate(heapq.merge(*sources), 1):
                numbers[tap][index].append(n)
                writer.write(record)
        captures[tap], packets[tap] = path, writer.packets
    stages = out.with_name(f"{stem}.stages.parquet")
    _merge_stages([part.stages for part in parts], numbers, stages)
    scenario_paths = []
    for number, plan in enumerate(plans, 1):
        scenario_paths.append(out.with_name(f"{stem}.{number}.scenario.toml"))
        write_whole(scenario_paths[-1], dump_scenario(plan).encode())
    notices = tuple(f"scenario {n}: {words}" for n, part in enumerate(parts, 1) for words in part.notices)
    return Together(captures, stages, tuple(scenario_paths), packets, notices)


def _records(path: Path, index: int, *, several: bool) -> Iterator[tuple[int, int, int, Record]]:
    """(Time, scenario, packet, record) of each packet, with the interface that it will have."""
    interface = index if several else 0
    with open_capture(path) as capture:
        for n, it in enumerate(capture, 1):
            yield it.ts_ns, index, n, Record(it.ts_ns, it.data, it.orig_len, interface, it.flags, it.comments)


def _merge_stages(paths: Sequence[Path], numbers: dict[str, list[list[int]]], out: Path) -> None:
    """All rows by time; buffers get numbers of their own, packets those of the merged capture."""
    import numpy as np  # noqa: PLC0415 - only where a table is written
    import pyarrow as pa  # noqa: PLC0415 - likewise
    import pyarrow.compute as pc  # noqa: PLC0415 - likewise
    import pyarrow.parquet as pq  # noqa: PLC0415 - likewise

    tables, ahead = [], 0
    for index, path in enumerate(paths):
        table = pq.read_table(path)
        hosts = table["host"].cast(pa.string()).to_numpy(zero_copy_only=False)
        n = table["n"].fill_null(0).to_numpy().copy()
        for tap in ("server", "client"):
            if tap in numbers:
                here = (hosts == tap) & (n > 0)
                n[here] = np.array([0, *numbers[tap][index]], "u4")[n[here]]
        placed = pa.array(n, pa.uint32(), mask=n == 0)
        table = table.set_column(table.schema.get_field_index("n"), table.schema.field("n"), placed)
        for name in ("skb", "origin"):
            column = pc.add(table[name], pa.scalar(ahead, pa.uint64()))
            table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), column)
        ahead = pc.max(table["skb"]).as_py() or ahead
        tables.append(table)
    whole = pa.concat_tables(tables)
    order = np.argsort(whole["ts"].cast(pa.int64()).to_numpy(), kind="stable")
    whole = whole.take(pa.array(order)).unify_dictionaries()
    about = {
        key: value for key, value in (whole.schema.metadata or {}).items() if key != b"pcaptool.scenario"
    }
    about[b"pcaptool.version"] = __version__.encode()
    sink = pa.BufferOutputStream()
    pq.write_table(whole.replace_schema_metadata(about), sink, compression="zstd")
    write_whole(out, sink.getvalue().to_pybytes())
