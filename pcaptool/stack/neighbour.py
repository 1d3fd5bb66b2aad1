"""The next hop's link address: the cache of neighbours, and the link header (net/core/neighbour.c).

Knows: the states of a neighbour entry, when it asks, what waits for the answer; Ethernet headers.
Must not know: how one asks (`resolution`), or what the datagrams hold.
Sources: RFC 4861 section 7.3.2 (the states, which the kernel uses for ARP too); facts 1-3.
Leaves out: failure of resolution (the peer always answers), garbage collection.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from pcaptool.stack.resolution import RESOLUTIONS, Message
from pcaptool.stack.skbuff import SkBuff
from pcaptool.stack.timers import KernelTimer

if TYPE_CHECKING:
    from pcaptool.sim.events import Step
    from pcaptool.stack.host import Host

__all__ = ["Neighbour", "Neighbours", "NudState"]

DELAY_PROBE_S = 5  # delay_first_probe_time
RETRANS_MS = 1000  # retrans_time_ms
BASE_REACHABLE_MS = 30_000  # base_reachable_time_ms; the kernel draws 0.5 to 1.5 times that


class NudState(Enum):
    """Neighbour unreachability detection, the kernel's NUD_ states."""

    NONE = "none"
    INCOMPLETE = "incomplete"
    REACHABLE = "reachable"
    STALE = "stale"
    DELAY = "delay"
    PROBE = "probe"
    PERMANENT = "permanent"

    __hash__ = object.__hash__  # there is one of each: by name, as enums do it, costs ten times as much


@dataclass(slots=True)
class Neighbour:
    """One entry of the cache."""

    address: bytes
    timer: KernelTimer
    state: NudState = NudState.NONE
    mac: bytes = b""
    confirmed_jiffies: int = 0
    reachable_jiffies: int = 0
    waiting: list[SkBuff] = field(default_factory=list)


class Neighbours:
    """The neighbour table of a host's device.

    Parameters
    ----------
    host : Host
    mac : bytes
        The host's own link address.
    """

    def __init__(self, host: Host, mac: bytes) -> None:
        self.host = host
        self.mac = mac
        self._table: dict[bytes, Neighbour] = {}

    def _entry(self, address: bytes) -> Neighbour:
        if address not in self._table:
            host = self.host
            timer = KernelTimer(host.simulator, host.jiffies, lambda: self._timer(address))
            self._table[address] = Neighbour(address, timer)
        return self._table[address]

    def _jiffies(self) -> int:
        return self.host.jiffies.at(self.host.now_ns)

    def know(self, address: bytes, mac: bytes, *, permanent: bool) -> None:
        """Enter an address: as an answer does, or as an administrator (`ip neigh add ... nud permanent`)."""
        entry = self._entry(address)
        entry.mac = mac
        if permanent:
            entry.state = NudState.PERMANENT
        else:
            self._reachable(entry)

    # --- down

    def output(self, skb: SkBuff, now_ns: int) -> int:
        """ip_finish_output2 and neigh_output: write the link header, or ask for the address and wait."""
        if skb.ip is None:
            raise ValueError("a buffer without network header reached the neighbour layer")
        entry = self._table.get(skb.ip.destination) or self._entry(skb.ip.destination)
        if skb.confirms_neighbour and entry.state is not NudState.NONE:
            entry.confirmed_jiffies = self._jiffies()
        if entry.state is NudState.REACHABLE or entry.state is NudState.PERMANENT:  # nearly always
            return self._finish(skb, entry, now_ns)
        if entry.state in {NudState.NONE, NudState.INCOMPLETE}:
            entry.waiting.append(skb)
            if entry.state is NudState.NONE:
                entry.state = NudState.INCOMPLETE
                entry.timer.mod(self._jiffies() + self.host.jiffies.from_ms(RETRANS_MS))
                return self._solicit(entry, now_ns)
            return now_ns
        if entry.state is NudState.STALE:
            self._delay(entry)
        return self._finish(skb, entry, now_ns)

    def _delay(self, entry: Neighbour) -> None:
        """A stale address is used: it is asked for soon, unless TCP's progress confirms it."""
        entry.state = NudState.DELAY
        entry.timer.mod(self._jiffies() + DELAY_PROBE_S * self.host.jiffies.hz)

    def _finish(self, skb: SkBuff, entry: Neighbour, now_ns: int) -> int:
        host, costs = self.host, self.host.costs
        skb.destination_mac, skb.source_mac = entry.mac, self.mac
        now = now_ns + costs.neigh_output_ns
        host.stages.pass_frame(skb, "neigh_output", now)
        return host.device.queue_xmit(skb, now + costs.net_dev_queue_ns)

    # --- resolution

    def _solicit(self, entry: Neighbour, now_ns: int) -> int:
        """neigh_probe: ask everybody while the address is unknown, only the neighbour to probe it."""
        known = entry.mac if entry.state is NudState.PROBE else b""
        way = RESOLUTIONS[len(entry.address)]
        return self._send(way.question(self.mac, self.host.ip.address, entry.address, known), now_ns)

    def _send(self, message: Message, now_ns: int) -> int:
        host = self.host
        number = host.buffers.take()
        skb = SkBuff(number, number, length=len(message.packet), payload=memoryview(message.packet))
        skb.ethertype = RESOLUTIONS[len(host.ip.address)].ethertype
        skb.destination_mac, skb.source_mac = message.to_mac, self.mac
        return host.device.queue_xmit(skb, now_ns + host.costs.net_dev_queue_ns)

    def receive(self, skb: SkBuff) -> Step:
        """arp_process, ndisc_rcv: learn the sender, let go what waited, answer a question for our address."""
        host = self.host
        way = RESOLUTIONS[len(host.ip.address)]
        lesson = way.read(skb.payload)
        if lesson is None:
            return
        asked = lesson.question and lesson.target == host.ip.address
        if asked:
            entry = self._entry(lesson.address)
            if entry.state is not NudState.PERMANENT:
                entry.mac = lesson.mac
            if entry.state in {NudState.NONE, NudState.INCOMPLETE}:
                entry.state = NudState.STALE
                if entry.waiting:  # what leaves makes it one that is to be proved
                    self._delay(entry)
        elif (
            not lesson.question
            and lesson.address in self._table
            and self._table[lesson.address].state is not NudState.PERMANENT
        ):
            entry = self._entry(lesson.address)
            entry.mac = lesson.mac
            self._reachable(entry)
        else:
            return
        waiting, entry.waiting = entry.waiting, []
        for held in waiting:
            end_ns = self._finish(held, entry, host.now_ns)
            yield end_ns - host.now_ns
        if asked:
            yield self._send(way.answer(self.mac, host.ip.address, lesson), host.now_ns) - host.now_ns

    def _reachable(self, entry: Neighbour) -> None:
        entry.state = NudState.REACHABLE
        entry.confirmed_jiffies = self._jiffies()
        share = self.host.chance.stream("neighbour").randrange(500, 1500)
        entry.reachable_jiffies = self.host.jiffies.from_ms(BASE_REACHABLE_MS * share // 1000)
        entry.timer.mod(entry.confirmed_jiffies + entry.reachable_jiffies)

    def _timer(self, address: bytes) -> None:
        """neigh_timer_handler, as softirq work."""

        def work() -> Step:
            entry, now = self._table[address], self._jiffies()
            if entry.state is NudState.REACHABLE:
                if now <= entry.confirmed_jiffies + entry.reachable_jiffies:
                    entry.timer.mod(entry.confirmed_jiffies + entry.reachable_jiffies)
                else:
                    entry.state = NudState.STALE
            elif entry.state is NudState.DELAY and now <= entry.confirmed_jiffies + (
                DELAY_PROBE_S * self.host.jiffies.hz
            ):
                self._reachable(entry)
            elif entry.state in {NudState.DELAY, NudState.PROBE, NudState.INCOMPLETE}:
                if entry.state is NudState.DELAY:
                    entry.state = NudState.PROBE
                entry.timer.mod(now + self.host.jiffies.from_ms(RETRANS_MS))
                end_ns = self._solicit(entry, self.host.now_ns)
                yield end_ns - self.host.now_ns

        self.host.processor.raise_softirq(self.host.simulator.now_ns, work)
