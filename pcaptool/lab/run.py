"""One scenario on the real kernel, between two namespaces.

Knows: the order of things, and which files a run leaves.
Must not know: how each thing is done.

The link is a veth pair; where the scenario asks for a delay, a rate, a queue or late frames, netem between two of them,
or a relay in user space where netem is missing or cannot do it.
Both programs run on one processor by default: then runs are more alike, and the kernel does what the model does.
Files appear in the folder when the run is over, or not at all:

    server.pcap, client.pcap    tcpdump at both ends, with nanoseconds
    scenario.toml               as it was run
    run.json                    kernel, sysctls, offloads, programs' versions, what the client saw, notes
    stages.parquet              when each buffer passed each tracepoint (only where tracing is possible)
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pcaptool.errors import OutputError
from pcaptool.lab.commands import need
from pcaptool.lab.namespaces import namespaces, remove_leftovers, require_root
from pcaptool.lab.only_model import refuse_what_only_the_model_can
from pcaptool.lab.owner import is_leftover, own_name
from pcaptool.lab.programs import CLIENTS, SERVERS
from pcaptool.lab.session import Session, needs_relay
from pcaptool.scenario import Hosts, Scenario, dump_scenario, load_scenario

__all__ = ["LabRun", "hold_session", "lab_run"]

_PROGRAMS = ("ip", "tc", "ethtool", "sysctl", "setpriv", "prlimit", "taskset", "tcpdump")


@dataclass(frozen=True, slots=True)
class LabRun:
    """What a run left.

    Parameters
    ----------
    folder : Path
    server, client : Path
        Captures.
    stages : Path or None
        None where nothing was traced.
    packets : dict
        Tap name to packets in its capture.
    notes : tuple of str
        What was not as the scenario wants it.
    """

    folder: Path
    server: Path
    client: Path
    stages: Path | None
    packets: dict[str, int]
    notes: tuple[str, ...]


def lab_run(
    scenario: Scenario | str | Path,
    out: str | Path,
    *,
    trace: bool = True,
    functions: bool = False,
    cpu: int | None = 0,
    timeout_s: float = 60,
    max_bytes: int = 1 << 31,
    progress: Callable[[str], None] | None = None,
) -> LabRun:
    """Run a scenario on this machine's kernel.

    Parameters
    ----------
    scenario : Scenario or path
    out : path
        Folder for the files; made where it is missing.
    trace : bool
        Record tracepoints where the kernel allows it.
    functions : bool
        Kernel functions between the tracepoints as well, by bpftrace, where the kernel allows it.
    cpu : int or None
        Processor of both programs; None: wherever the scheduler puts them.
    timeout_s : float
        The client is ended after this time.
    max_bytes : int
        Of each capture.
    progress : callable, optional
        Told what happens now.

    Raises
    ------
    SystemRefusedError
        Not root, a program is missing, the kernel refused a setting.
    ScenarioError, OutputError
        As their names say.
    """
    plan = scenario if isinstance(scenario, Scenario) else load_scenario(scenario, model=False)
    refuse_what_only_the_model_can(plan)
    require_root()
    losses = bool(plan.link.drops) and not needs_relay(plan)
    server, client = SERVERS[plan.server.profile], CLIENTS[plan.client.program]
    need([*_PROGRAMS, *(["nft"] if losses else []), *server.needs, *client.needs])
    server.check()
    plan, notes = _with_versions(plan)
    say = progress or (lambda _text: None)
    remove_leftovers()
    with _folder(Path(out)) as work, namespaces() as pair:
        lab = Session(
            _with_own_devices(plan) if trace else plan, work, pair, cpu=cpu, max_bytes=max_bytes, say=say
        )
        lab.notes += notes
        lab.build()
        traced = lab.conduct(timeout_s, trace=trace, functions=functions)
        (work / "scenario.toml").write_text(dump_scenario(plan))
        names = [
            "server.pcap",
            "client.pcap",
            "scenario.toml",
            "run.json",
            *(["stages.parquet"] if traced else []),
        ]
        final = Path(out)
        with contextlib.suppress(FileNotFoundError):
            (final / "stages.parquet").unlink()  # of an earlier run: it would not belong to these captures
        for name in names:
            (work / name).replace(final / name)
    return LabRun(
        folder=final,
        server=final / "server.pcap",
        client=final / "client.pcap",
        stages=final / "stages.parquet" if traced else None,
        packets=lab.packets,
        notes=tuple(lab.notes),
    )


def _with_versions(plan: Scenario) -> tuple[Scenario, list[str]]:
    """The versions of the installed programs in the scenario, where it says none; notes where it says others."""
    server, client, notes = plan.server, plan.client, []
    for name, given, found in (
        (server.profile, server.version, SERVERS[server.profile].version()),
        (client.program, client.version, CLIENTS[client.program].version()),
    ):
        if given and found and given != found:
            notes.append(f"{name} is {found} here, not {given}")
    if found := SERVERS[server.profile].version():
        server = replace(server, version=found)
    if found := CLIENTS[client.program].version():
        client = replace(client, version=found)
    return replace(plan, server=server, client=client), notes


@contextlib.contextmanager
def hold_session(plan: Scenario, work: Path, *, cpu: int | None) -> Iterator[Session]:
    """A session that is built, for who wants to see more of it than its files; nothing of it is left afterwards.

    Parameters
    ----------
    plan : Scenario
    work : Path
        An empty folder.
    cpu : int or None
        Processor of both programs.

    Raises
    ------
    SystemRefusedError
        Not root, a program is missing, the kernel refused a setting.
    """
    require_root()
    need([*_PROGRAMS, *SERVERS[plan.server.profile].needs, *CLIENTS[plan.client.program].needs])
    remove_leftovers()
    with namespaces() as pair:
        lab = Session(_with_own_devices(plan), work, pair, cpu=cpu, max_bytes=1 << 31, say=lambda _text: None)
        lab.build()
        yield lab


def _with_own_devices(plan: Scenario) -> Scenario:
    """Device names that no other namespace has: tracepoints tell a device by its name alone."""
    names = (f"srv{os.getpid()}", f"cli{os.getpid()}")
    server, client = (
        replace(host, device=name)
        for host, name in zip((plan.host.server, plan.host.client), names, strict=True)
    )
    return replace(plan, host=Hosts(server=server, client=client))


@contextlib.contextmanager
def _folder(out: Path) -> Iterator[Path]:
    """A folder of our own inside `out` for files that are not whole yet; those of killed runs are removed."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for entry in out.iterdir():
            if entry.is_dir() and is_leftover(entry.name):
                shutil.rmtree(entry)
        work = out.resolve() / f".{own_name()}"
        work.mkdir()
    except OSError as error:
        raise OutputError(f"cannot be made: {(error.strerror or str(error)).lower()}", path=out) from error
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
