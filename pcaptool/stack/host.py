"""A modelled host: one of each layer, wired together.

Knows: which parts a host has.
Must not know: what they do.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Protocol

from pcaptool.scenario import Costs, Hook
from pcaptool.scenario import Host as HostSettings
from pcaptool.scenario import Link as LinkSettings
from pcaptool.sim.chance import Chance
from pcaptool.sim.events import RunQueue, Simulator, Step
from pcaptool.sim.processor import Processor
from pcaptool.stack.device import Device
from pcaptool.stack.hooks import Hooks
from pcaptool.stack.icmp import IcmpProtocol
from pcaptool.stack.ip import IpLayer
from pcaptool.stack.neighbour import Neighbours
from pcaptool.stack.skbuff import SkBuffIds
from pcaptool.stack.stages import Stages
from pcaptool.stack.tcp.protocol import TcpProtocol
from pcaptool.stack.timers import Jiffies
from pcaptool.stack.udp import UdpProtocol

__all__ = ["Host", "KnownSocket", "Recorded"]


class Recorded(Protocol):
    """When the processor of a recorded host did something; sequence numbers are those of headers."""

    one_machine: bool

    def queue_full(self, now_ns: int) -> bool:
        """Whether too many connections waited for accept() to let this one in."""
        ...

    def left_ns(self, seq: int, now_ns: int) -> int:
        """When the frame that begins with this byte could be sent; not before `now_ns`."""
        ...

    def fired_ns(self, seq: int, due_ns: int) -> int:
        """When a timer that was due then let this byte go."""
        ...

    def resumed_ns(self, seq: int, now_ns: int) -> int:
        """When a writer that is woken now went on with this byte."""
        ...

    def defers(self, seq: int, early_ns: int, now_ns: int) -> bool:
        """Whether a buffer waits for the next ACK, if that is due so much later than one waits for."""
        ...

    def answered_ns(self, begin: int, end: int, now_ns: int) -> int:
        """When a peer on the same machine had answered the frame with these bytes that leaves now."""
        ...


@dataclass(frozen=True, slots=True)
class KnownSocket:
    """What a host would draw at random for a connection, given from outside (a driven run).

    Parameters
    ----------
    isn, ts_offset, inet_id, flow_label : int
    recording : Recorded or None
        When the recorded host did what.
    fast_open : bytes or None
        The Fast Open cookie of the client.
    """

    isn: int
    ts_offset: int
    inet_id: int
    flow_label: int
    recording: Recorded | None = None
    fast_open: bytes | None = None


class Host:
    """A Linux host of the model.

    Parameters
    ----------
    name : str
        "server" or "client", as in the `stages` table.
    settings : pcaptool.scenario.Host
        Addresses, sysctls, offloads, queueing discipline.
    family : int
        4 or 6.
    simulator : Simulator
    processor : Processor
        Runs this host's softirqs; two hosts joined by veth share one.
    run_queue : RunQueue
        Runs this host's programs; two hosts joined by veth share one: a program is woken where the packet was
        received, and that is where the sending program runs (wake affinity).
    chance : Chance
        Randomness of this host.
    costs : Costs
    buffers : SkBuffIds
        Numbers for buffers, one series for both hosts.
    tick_phase_ns : int
        How far into a tick time 0 lies; two namespaces of one machine share its ticks.
    hooks : tuple of Hook
        Rules and programs at the hooks of its path.
    """

    def __init__(
        self,
        *,
        name: str,
        settings: HostSettings,
        family: int,
        simulator: Simulator,
        processor: Processor,
        run_queue: RunQueue,
        chance: Chance,
        costs: Costs,
        buffers: SkBuffIds,
        tick_phase_ns: int = 0,
        hooks: tuple[Hook, ...] = (),
    ) -> None:
        self.name = name
        self.settings = settings
        self.simulator = simulator
        self.processor = processor
        self.run_queue = run_queue
        self.chance = chance
        self.costs = costs
        self.buffers = buffers
        self.jiffies = Jiffies(settings.hz, tick_phase_ns)
        self.stages = Stages(name)
        self.hooks = Hooks(self.stages, hooks)
        self.clock_phase_ns = 0  # of the monotonic clock, at the simulator's whole milliseconds
        self.frames_sent = 0
        self.annotate = False  # whether buffers carry notes of what was done with them
        self.softirq_follows = False
        self.known: dict[tuple[bytes, int, bytes, int], KnownSocket] = {}
        address = ipaddress.ip_address(settings.ipv4 if family == 4 else settings.ipv6).packed
        self.device = Device(self, settings)
        self.neighbours = Neighbours(self, bytes.fromhex(settings.mac.replace(":", "")))
        self.ip = IpLayer(self, address, settings.mtu, settings.ttl)
        self.tcp = TcpProtocol(self)
        self.udp = UdpProtocol(self)
        self.icmp = IcmpProtocol(self)

    @property
    def now_ns(self) -> int:
        """Time as the code that runs now on this host sees it."""
        processor = self.processor
        return processor.simulator.now_ns + processor.lead_ns

    def tcp_clock_ms(self, time_ns: int) -> int:
        """tcp_clock_ms: what timestamps count, less a connection's offset."""
        return (time_ns + self.clock_phase_ns) // 1_000_000

    def spawn(self, program: Step, delay_ns: int = 0) -> None:
        """Start a program, or a thread of one."""
        self.simulator.spawn(program, delay_ns, self.run_queue, self.name)

    def forget_what_was_seen(self) -> None:
        """Let go of taps and stage rows: hosts refer to each other, and would keep them until the collector comes."""
        self.stages.noted = []
        self.device.taps.clear()
        self.device.wire_taps.clear()

    def connect_link(self, peer: Host, link: LinkSettings) -> None:
        """Join this host's device to a peer's, in one direction."""
        self.device.peer = peer.device
        direction = self.device.link
        direction.delay_ns, direction.rate_bps = link.delay_ns, link.rate_bps
        self.device.link_mtu = link.mtu
        direction.spacing_ns, direction.queue_packets = link.spacing_ns, link.queue_packets
        self.softirq_follows = self.processor is peer.processor
