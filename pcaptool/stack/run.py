"""A scenario in the model: two hosts, a link, two programs; what their taps saw and which stages were passed.

Knows: how a scenario becomes hosts, and when a run is over.
Must not know: files.
Closed run: both ends are modelled. The capture goes on for 300 ms after the client program has ended, as in the lab.
A run keeps its frames in memory; `limits` of the scenario bound time and frames, and the run says when they did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from pcaptool.scenario import Drop, Late, Scenario, settled
from pcaptool.sim.chance import Chance
from pcaptool.sim.events import RunQueue, Simulator
from pcaptool.sim.processor import Processor
from pcaptool.stack.application import SERVERS
from pcaptool.stack.application.client import ClientProgram
from pcaptool.stack.application.dns import DnsClient, dns_responder
from pcaptool.stack.host import Host
from pcaptool.stack.loss import FrameRules
from pcaptool.stack.skbuff import SkBuffIds
from pcaptool.stack.stages import Noted, StageRow
from pcaptool.stack.tap import Frames, Tap

__all__ = ["TAPS", "RunResult", "run_scenario"]

TAPS = ("server", "client", "wire")
LINGER_NS = 300_000_000
SLICE_NS = 50_000_000


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run produced.

    Parameters
    ----------
    frames : dict
        Tap name to its frames, in the order of time.
    noted : list of tuple
        Values of the stage rows of both hosts, in the order of time.
    events : int
        Events that the simulator ran.
    end_ns : int
        Virtual time at the end.
    notices : tuple of str
        What the run has to say: limits reached, connections refused.
    """

    frames: dict[str, Frames]
    noted: list[Noted]
    events: int
    end_ns: int
    notices: tuple[str, ...] = field(default_factory=tuple)

    @property
    def stages(self) -> list[StageRow]:
        """The stage rows of both hosts, in the order of time."""
        return [StageRow(*noted) for noted in self.noted]


def run_scenario(
    scenario: Scenario, taps: Sequence[str] = ("server",), *, annotate: bool = False
) -> RunResult:
    """Run a scenario to its end.

    Parameters
    ----------
    scenario : Scenario
    taps : sequence of str
        Where to capture, of `TAPS`.
    annotate : bool
        Whether frames carry a note of what the stack did with them.

    Raises
    ------
    ValueError
        An unknown tap.

    Examples
    --------
    >>> result = run_scenario(Scenario())
    >>> len(result.frames["server"]), result.notices
    (12, ())
    """
    unknown = [name for name in taps if name not in TAPS]
    if unknown:
        raise ValueError(f"unknown tap {unknown[0]!r}")
    simulator = Simulator(scenario.start_time_ns)
    server, client = _hosts(scenario, simulator)
    server.annotate = client.annotate = annotate
    recorders = _attach(taps, scenario.snaplen, server, client)
    if scenario.server.listen:
        server.spawn(SERVERS[scenario.server.profile](server, scenario))
    program = ClientProgram(client, settled(scenario))
    questions = DnsClient(client, scenario)
    if not scenario.dns.queries:
        program.start()
    else:
        if scenario.dns.listen:
            server.spawn(dns_responder(server, scenario))
        client.spawn(questions.run(then=program.start))
    notices = _run(simulator, scenario, (questions, program), server, client)
    notices += [f"not met: {rule}" for host in (server, client) for rule in host.device.rules.unused()]
    notices += questions.notices
    notices += [f"not met: {rule}" for host in (server, client) for rule in host.hooks.unused()]
    if program.refused:
        notices.append(f"{program.refused} connections were refused: nothing listens on the server's port")
    noted = sorted(server.stages.noted + client.stages.noted, key=itemgetter(4))
    result = RunResult(
        frames={tap.name: tap.frames for tap in recorders},
        noted=noted,
        events=simulator.events_run,
        end_ns=simulator.now_ns,
        notices=tuple(notices),
    )
    for host in (server, client):
        host.forget_what_was_seen()
    return result


def _hosts(scenario: Scenario, simulator: Simulator) -> tuple[Host, Host]:
    buffers = SkBuffIds()
    same_machine = not _apart(scenario)
    shared = Processor(simulator), RunQueue()
    hosts = []
    phases = [Chance(scenario.seed).stream(f"tick phase {index}").randrange(10_000_000) for index in range(2)]
    for index, (name, settings) in enumerate(
        (("server", scenario.host.server), ("client", scenario.host.client))
    ):
        processor, run_queue = shared if same_machine else (Processor(simulator), RunQueue())
        hosts.append(
            Host(
                name=name,
                settings=settings,
                family=scenario.family,
                simulator=simulator,
                processor=processor,
                run_queue=run_queue,
                chance=Chance(scenario.seed * 2 + index),
                costs=scenario.costs,
                buffers=buffers,
                tick_phase_ns=phases[0 if same_machine else index],
                hooks=tuple(hook for hook in scenario.hooks if hook.host == name),
            )
        )
    server, client = hosts
    server.connect_link(client, scenario.link)
    client.connect_link(server, scenario.link)
    for host, direction in ((server, "server-to-client"), (client, "client-to-server")):
        rules: tuple[Drop | Late, ...] = (*scenario.link.drops, *scenario.link.late)
        host.device.rules = FrameRules(
            tuple(rule for rule in rules if rule.direction == direction),
            scenario.link.loss_ppm,
            host.chance.stream("link loss"),
        )
    return server, client


def _apart(scenario: Scenario) -> bool:
    """Whether the hosts are machines of their own: a cable between cards, or the lab's relay between TAP devices."""
    link, hosts = scenario.link, scenario.host
    relay = link.delay_ns or link.rate_bps or link.spacing_ns or link.late
    return bool(relay) or "nic" in {hosts.server.driver, hosts.client.driver}


def _attach(taps: Sequence[str], snaplen: int, server: Host, client: Host) -> list[Tap]:
    recorders = []
    for name in taps:
        tap = Tap(name, wire=name == "wire", snaplen=snaplen)
        if name == "server":
            server.device.taps.append(tap)
        elif name == "client":
            client.device.taps.append(tap)
        else:
            server.device.wire_taps.append(tap)
            client.device.wire_taps.append(tap.from_client)
        recorders.append(tap)
    return recorders


def _run(
    simulator: Simulator,
    scenario: Scenario,
    programs: tuple[DnsClient, ClientProgram],
    server: Host,
    client: Host,
) -> list[str]:
    """Run in slices of virtual time until the client has ended or a limit is reached."""
    limits = scenario.limits
    stop_ns = scenario.start_time_ns + limits.max_time_ns
    ended_ns: int | None = None
    while True:
        simulator.run(min(simulator.now_ns + SLICE_NS, stop_ns, ended_ns or stop_ns))
        if server.frames_sent + client.frames_sent >= limits.max_frames:
            return [f"stopped after {limits.max_frames} frames (limits.max_frames)"]
        if ended_ns is not None and simulator.now_ns >= ended_ns:
            return []
        left = sum(program.left for program in programs)
        if not left and ended_ns is None:
            ended_ns = simulator.now_ns + LINGER_NS
        if simulator.now_ns >= stop_ns:
            return [
                (
                    f"stopped after {limits.max_time_ns // 1_000_000} ms of virtual time (limits.max_time_ms):"
                    f" {left} {'connections or questions' if scenario.dns.queries else 'connections'} had not ended"
                )
            ]
