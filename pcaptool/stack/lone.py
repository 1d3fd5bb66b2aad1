"""One modelled host and whoever injects packets into it: no peer, no link.

Knows: how a host stands alone, how crafted segments reach it, what it sent and when.
Must not know: where the packets come from (a test, a script).
The peer is a pair of address and port; its segments are built by `segment`, with sequence numbers as they stand in
headers. Neighbours answer at once. Time passes only in `run`.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import partial

from pcaptool.scenario import Costs, Scenario
from pcaptool.scenario import Host as HostSettings
from pcaptool.sim.chance import Chance
from pcaptool.sim.events import RunQueue, Simulator, Step
from pcaptool.sim.processor import Processor
from pcaptool.stack.host import Host
from pcaptool.stack.neighbour import NudState
from pcaptool.stack.skbuff import Datagram, SkBuff, SkBuffIds, TcpHeader
from pcaptool.stack.syscalls import Socket
from pcaptool.stack.tcp.options import encode_options
from pcaptool.stack.tcp.sock import TcpSock
from pcaptool.wire.ethernet import EtherType
from pcaptool.wire.ip import IpProtocol
from pcaptool.wire.tcp import SEQ_MASK, TcpFlag, TcpOptions, seq_diff

__all__ = ["LoneHost", "Sent"]

PEER_PORT = 40000
SERVER_PORT = 80


@dataclass(frozen=True, slots=True)
class Sent:
    """A segment that the host sent: when, and the buffer with its headers."""

    time_ns: int
    skb: SkBuff

    @property
    def tcp(self) -> TcpHeader:
        """Its TCP header.

        Raises
        ------
        ValueError
            It has none.
        """
        if self.skb.tcp is None:
            raise ValueError("not a TCP segment")
        return self.skb.tcp


class LoneHost:
    """A host without a peer.

    Parameters
    ----------
    settings : Host, optional
        Its sysctls.
    seed : int
    costs : Costs, optional
        Without: as in a scenario.

    Examples
    --------
    >>> lone = LoneHost()
    >>> sk = lone.established()
    >>> lone.inject(lone.segment(TcpFlag.PSH | TcpFlag.ACK, payload=b"hello"))
    >>> [(sent.tcp.flags, sent.tcp.ack == lone.peer_seq) for sent in lone.take()]
    [(16, True)]
    """

    def __init__(
        self, settings: HostSettings | None = None, *, seed: int = 1, costs: Costs | None = None
    ) -> None:
        plan = Scenario()
        self.simulator = Simulator(plan.start_time_ns)
        self.host = Host(
            name="server",
            settings=settings or plan.host.server,
            family=4,
            simulator=self.simulator,
            processor=Processor(self.simulator),
            run_queue=RunQueue(),
            chance=Chance(seed),
            costs=costs or plan.costs,
            buffers=SkBuffIds(),
        )
        self.address = self.host.ip.address
        self.peer = ipaddress.ip_address(plan.host.client.ipv4).packed
        self.mac = bytes.fromhex(plan.host.client.mac.replace(":", ""))
        entry = self.host.neighbours._entry(self.peer)  # noqa: SLF001 - a neighbour that is known from the start
        entry.state, entry.mac = NudState.REACHABLE, self.mac
        self.peer_seq = 1_000_000
        self.peer_ack = 0
        self.stamp = 1000
        self.listening: Socket | None = None
        self._sent: list[Sent] = []
        self.host.device.taps.append(self._tap)

    def _tap(self, time_ns: int, skb: SkBuff, leaving: bool) -> None:
        if leaving and skb.tcp is not None:
            self._sent.append(Sent(time_ns, skb))

    # --- time

    def run(self, duration_ns: int) -> None:
        """Let time pass."""
        self.simulator.run(self.simulator.now_ns + duration_ns)

    def take(self) -> list[Sent]:
        """What was sent since the last time, in order; the peer's ACK number follows it."""
        sent, self._sent = self._sent, []
        for one in sent:
            end = one.tcp.seq + one.skb.length + (one.tcp.flags & 3 > 0)
            if one.tcp.flags & TcpFlag.SYN or seq_diff(end & SEQ_MASK, self.peer_ack) > 0:
                self.peer_ack = end & SEQ_MASK
        return sent

    def spawn(self, program: Step) -> None:
        """Start a program."""
        self.host.spawn(program)

    # --- packets

    def segment(
        self,
        flags: int,
        *,
        seq: int | None = None,
        ack: int | None = None,
        payload: bytes = b"",
        window: int = 512,
        options: TcpOptions | None = None,
        tos: int = 0,
        port: int = PEER_PORT,
    ) -> SkBuff:
        """A segment of the peer; without `seq` the next one, which then counts, without `ack` of all that was taken."""
        if seq is None:
            seq = self.peer_seq
            syn_or_fin = bool(flags & TcpFlag.SYN) + bool(flags & TcpFlag.FIN)
            self.peer_seq = (self.peer_seq + len(payload) + syn_or_fin) & SEQ_MASK
        options = options if options is not None else TcpOptions()
        skb = SkBuff(0, 0, length=len(payload), payload=memoryview(payload), seq=seq)
        skb.ethertype = EtherType.IPV4
        skb.destination_mac, skb.source_mac = self.host.neighbours.mac, self.mac
        skb.ip = Datagram(source=self.peer, destination=self.address, protocol=IpProtocol.TCP, tos=tos)
        skb.tcp = TcpHeader(
            port,
            SERVER_PORT,
            seq,
            self.peer_ack if ack is None else ack,
            int(flags),
            window,
            options,
            encode_options(options),
        )
        return skb

    def stamped(self, *, back_ms: int = 0, blocks: tuple[tuple[int, int], ...] = ()) -> TcpOptions:
        """Options of an ordinary segment of this peer: a stamp of now, less `back_ms`, and SACK blocks."""
        now_ms = self.simulator.now_ns // 1_000_000 & SEQ_MASK
        return TcpOptions(timestamps=((self.stamp + now_ms - back_ms) & SEQ_MASK, 0), sack_blocks=blocks)

    def inject(self, skb: SkBuff, *, settle_ns: int = 1_000_000) -> None:
        """A packet arrives now; returns when the host has had `settle_ns` to react."""
        arrive = partial(self.host.device.receive, skb, tapped=True)
        self.host.processor.raise_softirq(self.simulator.now_ns, arrive)
        self.run(settle_ns)

    # --- connections

    def established(
        self, *, options: TcpOptions | None = None, flags: int = TcpFlag.SYN, window: int = 65535
    ) -> TcpSock:
        """A connection that the peer opened, accepted by a program that does nothing with it."""
        if self.listening is None:
            self.listening = Socket(self.host)
            self.listening.listen(SERVER_PORT)
        offer = options if options is not None else TcpOptions(mss=1460, sack_permitted=True, window_scale=7)
        self.inject(self.segment(flags, options=offer, window=window, ack=0))
        self.take()
        stamps = self.stamped() if offer.timestamps else None
        self.inject(self.segment(TcpFlag.ACK, options=stamps))
        key = (self.address, SERVER_PORT, self.peer, PEER_PORT)
        return self.host.tcp.established[key]
