"""One run between two namespaces that are there already: hosts, link, captures, programs, trace.

Knows: the order in which things are set up, started, asked and stopped; what `run.json` says.
Must not know: how namespaces come and go, where files end up (`run`).
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pcaptool._version import __version__
from pcaptool.errors import SystemRefusedError, printable
from pcaptool.file import Record, open_capture
from pcaptool.lab import hosts
from pcaptool.lab.between import build_between, can_be_netem, has_netem, netem_words
from pcaptool.lab.bpftrace import FunctionTracer, realtime_ahead_ns
from pcaptool.lab.capture import Capture
from pcaptool.lab.commands import run, spawn, stop
from pcaptool.lab.connecting import set_start
from pcaptool.lab.drops import ruleset
from pcaptool.lab.functions import Call, add_functions
from pcaptool.lab.listening import listens
from pcaptool.lab.namespaces import LINK_ROLE, Namespace
from pcaptool.lab.owner import CLIENT_COMM
from pcaptool.lab.programs import CLIENTS, SERVERS
from pcaptool.lab.ring_buffer import Event
from pcaptool.lab.stages import join_frames, transmissions, write_stages
from pcaptool.lab.trace import EVENTS, Tracer
from pcaptool.scenario import Scenario, dump_scenario

__all__ = ["Session", "needs_relay"]

_LINGER_S = 0.3  # as `stack.run` goes on after the client has ended
_PYTHON = (sys.executable, "-P", "-m")
_START_S = 20  # a program that does not listen until then has failed
_MEET_S = 3  # until then two programs that connect to each other are there
_SETTLE_S = 0.2  # what a server does after it listens and before it waits (node compiles)


def needs_relay(scenario: Scenario) -> bool:
    """Whether a veth pair cannot be this link.

    Examples
    --------
    >>> needs_relay(Scenario())
    False
    """
    link = scenario.link
    return bool(link.delay_ns or link.rate_bps or link.spacing_ns or link.late or link.loss_ppm)


class Session:
    """One run: state that its steps share.

    Parameters
    ----------
    plan : Scenario
        Its devices have names of their own where the run is traced.
    work : Path
        Folder for the files.
    pair : tuple of Namespace
        The server's and the client's.
    cpu : int or None
        Processor of both programs.
    max_bytes : int
        Of each capture.
    say : callable
        Told what happens now.
    """

    def __init__(
        self,
        plan: Scenario,
        work: Path,
        pair: tuple[Namespace, Namespace],
        *,
        cpu: int | None,
        max_bytes: int,
        say: Callable[[str], None],
    ) -> None:
        self.plan, self.work, self.cpu, self.max_bytes, self.say = plan, work, cpu, max_bytes, say
        self.server, self.client = pair
        self.notes: list[str] = []
        self.packets: dict[str, int] = {}
        self.scenario_path = work / "plan.toml"  # what the programs read: devices have names of their own
        self.link = "veth"
        self.relay: subprocess.Popen[str] | None = None
        self.serving: subprocess.Popen[str] | None = None
        self.commands: dict[str, list[str]] = {}
        self.events: list[Event] | None = None
        self._calls: list[Call] = []  # of kernel functions
        self.server_pids: set[int] = set()

    def build(self) -> None:
        """Two hosts and the link."""
        plan, settings = self.plan, self.plan.host
        self.say("building two namespaces")
        self.scenario_path.write_text(dump_scenario(plan))
        both = (
            (self.server, settings.server, settings.client),
            (self.client, settings.client, settings.server),
        )
        for namespace, own, _ in both:
            self.notes += hosts.before_device(namespace, own, plan.family)
        self.link = self._kind_of_link()
        if self.link == "relay":
            self._start_relay()
        elif self.link == "netem":
            words = netem_words(plan.link)
            build_between(plan, Namespace(LINK_ROLE), self.server, self.client, words)
        else:
            run(
                *("ip", "link", "add", settings.server.device, "netns", self.server.name, "type", "veth"),
                *("peer", "name", settings.client.device, "netns", self.client.name),
            )
        for namespace, own, peer in both:
            self.notes += hosts.set_up(namespace, own, peer, plan.family)
        if self.link == "veth":
            self._lose(self.client, settings.client.device, "server-to-client")
            self._lose(self.server, settings.server.device, "client-to-server")
        if plan.link.loss_ppm:
            self.notes.append("frames are lost at random here: others than in the model")
        hz = hosts.kernel_hz()
        if hz is not None and hz != settings.server.hz:
            self.notes.append(f"this kernel has CONFIG_HZ={hz}, not {settings.server.hz}")

    def _kind_of_link(self) -> str:
        """veth; netem where this kernel has it and it can be this link; else the relay."""
        if not needs_relay(self.plan):
            return "veth"
        if not can_be_netem(self.plan.link) or (self.plan.link.drops and shutil.which("nft") is None):
            return "relay"
        return "netem" if has_netem(self.client) else "relay"

    def _start_relay(self) -> None:
        command = [
            *_PYTHON,
            "pcaptool.lab.relay",
            str(self.scenario_path),
            self.server.name,
            self.client.name,
        ]
        self.relay = spawn(command, stdout=subprocess.PIPE)
        assert self.relay.stdout is not None  # noqa: S101 - it was asked for
        if self.relay.stdout.readline().strip() != "ready":
            raise SystemRefusedError(f"the relay did not start: {_last_words(self.relay)}")

    def _lose(self, receiver: Namespace, device: str, direction: str) -> None:
        drops = [drop for drop in self.plan.link.drops if drop.direction == direction]
        if drops:
            receiver.run("nft", "-f", "-", given=ruleset(drops, device, self.plan.family))

    def conduct(
        self,
        timeout_s: float,
        *,
        trace: bool,
        capture: bool = True,
        events: Sequence[str] = EVENTS,
        functions: bool = False,
    ) -> bool:
        """Capture, serve, ask; whether stages were written.

        Parameters
        ----------
        timeout_s : float
            For the client.
        trace : bool
            Record `events`: they are in the attribute of that name afterwards, None where the kernel forbids it.
        capture : bool
            With tcpdump. Without, no stages are written.
        events : sequence of str
            Tracepoints.
        functions : bool
            Kernel functions too, by bpftrace; a note says where that cannot be.
        """
        try:
            captures = self._start_captures() if capture else {}
            if self.plan.server.listen:
                self._start_server()
            with contextlib.ExitStack() as stack:
                tracer = self._start_tracer(stack, events) if trace else None
                probes = self._start_probes(stack) if functions and tracer is not None else None
                happened = self._converse(timeout_s, captures)
                if tracer is not None:
                    tracer.stop()
                    self.say("reading the trace")
                    if probes is not None:
                        self._calls, missed = probes.stop()
                        self.notes += (
                            [f"function stages are incomplete: bpftrace lost {missed}"] if missed else []
                        )
                    if lost := tracer.lost():
                        self.notes.append(f"stages are incomplete: the trace lost {lost} events")
                    self.events = tracer.events()
                    if capture:
                        self._write_stages(self.events)
            (self.work / "run.json").write_text(json.dumps(self._facts() | happened, indent=1) + "\n")
            return tracer is not None
        finally:
            if self.relay is not None:
                stop(self.relay)

    def _start_captures(self) -> dict[str, Capture]:
        plan, settings = self.plan, self.plan.host
        return {
            namespace.role: Capture(
                namespace,
                host.device,
                self.work / f"{namespace.role}.pcap",
                snaplen=plan.snaplen,
                max_frames=plan.limits.max_frames,
                max_bytes=self.max_bytes,
                cpu=_another(self.cpu),
            )
            for namespace, host in ((self.server, settings.server), (self.client, settings.client))
        }

    def _programs(self) -> list[str]:
        """Names of the two programs, as the kernel keeps them."""
        names = {CLIENT_COMM if self.plan.client.program == "reference" else self.plan.client.program}
        if self.serving is not None:
            names.add(Path(f"/proc/{self.serving.pid}/comm").read_text().strip())
        return sorted(names)

    def _start_probes(self, stack: contextlib.ExitStack) -> FunctionTracer | None:
        """None, with a note, where functions cannot be probed."""
        self.say("starting bpftrace")
        try:
            return stack.enter_context(FunctionTracer(self._programs(), self.work))
        except SystemRefusedError as error:
            self.notes.append(f"no function stages: {error}")
            return None

    def _start_tracer(self, stack: contextlib.ExitStack, events: Sequence[str]) -> Tracer | None:
        """None, with a note, where the kernel cannot be traced."""
        devices = " || ".join(f'name == "{h.device}"' for h in (self.plan.host.server, self.plan.host.client))
        programs = " || ".join(f'comm == "{name}"' for name in self._programs())
        filters = {
            "net": devices,
            "syscalls": programs,
            "sched": programs,
            "tcp/tcp_sendmsg_locked": programs,
        }
        try:
            return stack.enter_context(Tracer(filters, events))
        except SystemRefusedError as error:
            self.notes.append(f"no stages: {error}")
            return None

    def _converse(self, timeout_s: float, captures: dict[str, Capture]) -> dict[str, Any]:
        """The client's run from start to end, and what was counted."""
        self.say("running")
        began_ns = time.time_ns()
        events = self._ask(timeout_s)
        time.sleep(_LINGER_S)
        ended_ns = time.time_ns()
        counts = {role: capture.stop() for role, capture in captures.items()}
        self.packets = {role: count.captured for role, count in counts.items()}
        self.notes += [
            f"{role}: tcpdump lost {count.lost} packets" for role, count in counts.items() if count.lost
        ]
        return {
            "began_ns": began_ns,
            "ended_ns": ended_ns,
            "tcpdump": {role: asdict(count) for role, count in counts.items()},
            "client": events,
        }

    def _write_stages(self, events: Sequence[Event]) -> None:
        rows, origin = [], 1
        for role, host in (("server", self.plan.host.server), ("client", self.plan.host.client)):
            sent = transmissions(events, host.device, first_origin=origin)
            origin += len(sent)
            add_functions(sent, self._calls, realtime_ahead_ns())
            joined = join_frames(role, sent, _frames_from(self.work / f"{role}.pcap", host.mac))
            rows += joined.rows
            if joined.unmatched:
                self.notes.append(f"{role}: {joined.unmatched} traced frames are not in the capture")
        write_stages(self.work / "stages.parquet", rows, dump_scenario(self.plan))

    def _start_server(self) -> None:
        plan = self.plan
        folder = self.work / "server"
        folder.mkdir()
        command = SERVERS[plan.server.profile].command(plan, self.scenario_path, folder)
        self.commands["server"] = command
        server = self.serving = self.server.spawn(command, cpu=self.cpu)
        self.server_pids = {server.pid}
        if plan.server.connects:
            set_start(self.work, _MEET_S)
            return
        until = time.monotonic() + _START_S
        while not listens(server.pid, plan.server.port):
            if server.poll() is not None or time.monotonic() > until:
                raise SystemRefusedError(
                    f"the server {plan.server.profile} did not start: {_last_words(server)}"
                )
            time.sleep(0.01)
        time.sleep(_SETTLE_S)

    def _ask(self, timeout_s: float) -> list[dict[str, Any]]:
        program = CLIENTS[self.plan.client.program]
        limit_s = min(timeout_s, self.plan.limits.max_time_ns / 1e9)
        until, began = time.monotonic() + limit_s, time.monotonic()
        started = []
        for after_ns, command in program.commands(self.plan, self.scenario_path, limit_s):
            time.sleep(max(0.0, began + after_ns / 1e9 - time.monotonic()))
            self.commands.setdefault("client", command)
            started.append(self.client.spawn(command, cpu=self.cpu, stdout=subprocess.PIPE))
        events = []
        for number, client in enumerate(started):
            try:
                said, wrong = client.communicate(timeout=max(0.001, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.notes.append(f"the client was ended after {limit_s:g} s")
                return []
            if client.returncode and self.plan.client.program == "reference":
                raise SystemRefusedError(f"the client failed: {printable(' '.join(wrong.split()[-30:]))}")
            if client.returncode:
                said_wrong = printable(" ".join(wrong.split()[:30]))
                self.notes.append(f"{self.plan.client.program} ended with {client.returncode}: {said_wrong}")
            more = program.read(said)
            events += more if len(started) == 1 else [{"connection": number, **event} for event in more]
        return events

    def _facts(self) -> dict[str, Any]:
        plan = self.plan
        return {
            "pcaptool": __version__,
            "scenario": dump_scenario(plan),
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "kernel": platform.release(),
            "machine": platform.machine(),
            "processors": os.cpu_count(),
            "cpu": self.cpu,
            "link": self.link,
            "versions": _versions(),
            "programs": self.commands,
            "server": hosts.facts(self.server, plan.host.server),
            "client_host": hosts.facts(self.client, plan.host.client),
            "lost_by_nft": self._lost(),
            "notes": self.notes,
        }

    def _lost(self) -> dict[str, list[int]]:
        """Packets that each loss rule dropped."""
        if self.link != "veth" or not self.plan.link.drops:
            return {}
        out = {}
        for namespace in (self.server, self.client):
            text = namespace.run("nft", "list", "ruleset", check=False)
            out[f"before {namespace.role}"] = [int(n) for n in re.findall(r"counter packets (\d+)", text)]
        return out


def _frames_from(capture: Path, mac: str) -> list[tuple[int, Record]]:
    """(Packet number, record) of the frames that a host sent."""
    source = bytes.fromhex(mac.replace(":", ""))
    with open_capture(capture) as reader:
        return [(n, record) for n, record in enumerate(reader, 1) if record.data[6:12] == source]


def _another(cpu: int | None) -> int | None:
    """A processor that is not this one, where there is one: each packet wakes tcpdump, which would take its turn there.

    Examples
    --------
    >>> _another(None), _another(0) == 0
    (None, False)
    """
    others = sorted(os.sched_getaffinity(0) - {cpu})
    return others[0] if cpu is not None and others else None


def _last_words(process: subprocess.Popen[str]) -> str:
    process.kill()
    assert process.stderr is not None  # noqa: S101 - spawn pipes it
    return printable(" ".join(process.stderr.read().split()[-30:]))


def _versions() -> dict[str, str]:
    commands = {"tcpdump": ("tcpdump", "--version"), "ip": ("ip", "-V"), "ethtool": ("ethtool", "--version")}
    out = {"python": platform.python_version()}
    for name, command in commands.items():
        out[name] = (run(*command, check=False).splitlines() or [""])[0]
    return out
