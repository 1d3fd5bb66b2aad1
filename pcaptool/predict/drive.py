"""The driven run: the client's recorded frames against the modelled server.

Knows: how one modelled host is fed from a capture, and how its program repeats what was inferred.
Must not know: how anything is inferred (`infer`).
The server's random choices (initial sequence number, timestamp offset, first IPv4 ID, flow label) are taken from the
capture, so that the client's recorded frames fit.
How long the server's processor took is taken from the capture, too (`recording`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Literal

from pcaptool.errors import CaptureError
from pcaptool.file import CaptureWriter, Interface, open_writer
from pcaptool.file.packet_flags import Direction
from pcaptool.generate.files import write_stages
from pcaptool.generate.records import tap_record, write_frames
from pcaptool.predict.calls import Program, Write
from pcaptool.predict.clock import clock_phase_ns, cookie_phase_ns, timestamp_offset
from pcaptool.predict.framing import Framing
from pcaptool.predict.guesses import Assumptions, most_likely
from pcaptool.predict.held import Held, own_copy
from pcaptool.predict.infer import ALWAYS_COOKIES, infer_assumptions, infer_program, way_down_ns
from pcaptool.predict.neighbours import known_neighbours
from pcaptool.predict.observe import Connection, Frame, Observation, observe
from pcaptool.predict.order import InOrder
from pcaptool.predict.recording import Recording
from pcaptool.predict.schedule import MOST_RUNS, Question, Schedule, Sent, search
from pcaptool.predict.ticks import tick_phase_ns
from pcaptool.scenario import Costs, Scenario, load_costs
from pcaptool.scenario import Host as HostSettings
from pcaptool.sim.chance import Chance
from pcaptool.sim.events import RunQueue, Simulator, Sleep, Step
from pcaptool.sim.processor import Processor
from pcaptool.stack.host import Host, KnownSocket
from pcaptool.stack.run import RunResult
from pcaptool.stack.skbuff import SkBuff, SkBuffIds, TcpHeader
from pcaptool.stack.syscalls import Socket, SocketError
from pcaptool.stack.tap import Frames, Tap
from pcaptool.wire.linktype import LinkType

__all__ = ["Prediction", "predict"]

LINGER_NS = 10_000_000  # behind the last captured frame: a timer's tick, and what a model may be late
READ_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Prediction:
    """What `predict` made.

    Parameters
    ----------
    capture : Path
        What the server's tap would have seen.
    stages : Path
    settings : Host
        The server's settings as they were run.
    programs : tuple of Program
        What the program did on each connection.
    packets : int
    notices : tuple of str
    chosen : tuple of Question
        Orders of work on the server that were taken from what it sent (`schedule`).
    guessed : tuple of str
        Settings that no frame tells and that were kept because what was sent fits them (`guesses`).
    """

    capture: Path
    stages: Path
    settings: HostSettings
    programs: tuple[Program, ...]
    packets: int
    notices: tuple[str, ...]
    chosen: tuple[Question, ...] = ()
    guessed: tuple[str, ...] = ()


def predict(
    capture: str | Path,
    out: str | Path,
    *,
    base: HostSettings | None = None,
    settings: Callable[[HostSettings], HostSettings] | None = None,
    costs: Costs | str | Path | None = None,
    unseen: Container[int] = (),
    format: Literal["pcap", "pcapng"] | None = None,  # noqa: A002 - the word people use
    most_runs: int = MOST_RUNS,
) -> Prediction:
    """Predict what a Linux server would have sent, given exactly the client's packets of a capture.

    Parameters
    ----------
    capture : path
        Taken at the server, with the handshake.
    out : path
        The capture to write; stages go beside it.
    base : Host, optional
        Settings that the capture does not tell (congestion control, sysctls).
    settings : callable, optional
        Changes the inferred settings.
    costs : Costs or path, optional
        Of each step; a file as `pcaptool lab calibrate` writes it.
    unseen : container of int
        Numbers of packets that tcpdump saw arrive and a filter behind it dropped: the server never got them.
    format : {"pcap", "pcapng"}, optional
        Without: by the name.
    most_runs : int
        How many orders of the server's work are tried where the first does not send what was recorded; 1: none other.

    Raises
    ------
    CaptureError
        The capture cannot be read or holds no handshake.

    Examples
    --------
    >>> import tempfile
    >>> made = predict("fixtures/captures/lab/size-1354.server.pcap", Path(tempfile.mkdtemp()) / "x.pcapng")
    >>> made.packets, made.settings.mtu, len(made.programs[0].writes)
    (12, 1500, 1)
    """
    seen = observe(capture, unseen)
    if not seen.connections:
        raise CaptureError("no connection with a captured handshake", path=capture)
    plan = Scenario(family=4 if len(seen.server) == 4 else 6)
    if costs is not None:
        plan = replace(plan, costs=costs if isinstance(costs, Costs) else load_costs(costs))
    recorded = _recorded(seen)
    wanted = Counter(sent for _, sent in recorded)

    def make_with(
        assumed: Assumptions, schedule: Schedule
    ) -> tuple[tuple[_DrivenRun, RunResult], list[Sent]]:
        run = _DrivenRun(seen, assumed, plan, unseen, schedule)
        return (run, run.run()), run.sent

    def alike(sent: list[Sent]) -> int:
        return (Counter(sent) & wanted).total()

    override = settings or _as_inferred
    assumed = infer_assumptions(seen, base or plan.host.server)
    assumed = replace(assumed, settings=override(assumed.settings))
    guessed: tuple[str, ...] = ()
    schedule, (run, result) = search(partial(make_with, assumed), recorded, most_runs)
    if alike(run.sent) < len(recorded):
        other, words = most_likely(
            seen, assumed, override, lambda known: alike(make_with(known, Schedule())[1]), len(recorded)
        )
        if words:
            searched, made = search(partial(make_with, other), recorded, most_runs)
            if alike(made[0].sent) > alike(run.sent):
                assumed, guessed, schedule, (run, result) = other, words, searched, made
    host_settings = assumed.settings
    path, stages = Path(out), Path(out).with_name(f"{Path(out).name.split('.pcap')[0]}.stages.parquet")
    chosen = format or ("pcap" if path.name.endswith(".pcap") else "pcapng")
    with open_writer(path, chosen, [Interface(seen.framing.linktype, name=host_settings.device)]) as writer:
        _write(writer, result.frames["server"], seen.framing)
    write_stages(stages, result, plan)
    return Prediction(
        capture=path,
        stages=stages,
        settings=host_settings,
        programs=tuple(run.programs),
        packets=len(result.frames["server"]),
        notices=(
            *result.notices,
            *(f"guessed, as it fits: {words}" for words in guessed),
            *_chosen(schedule),
        ),
        chosen=tuple(sorted(schedule.otherwise)),
        guessed=guessed,
    )


class _DrivenRun:
    """One modelled host, fed from a capture."""

    def __init__(
        self,
        seen: Observation,
        assumed: Assumptions,
        plan: Scenario,
        unseen: Container[int],
        schedule: Schedule,
    ) -> None:
        settings = assumed.settings
        self.assumed = assumed
        self.schedule = schedule
        self.sent: list[Sent] = []
        self.seen = seen
        self.unseen = unseen
        self.costs = plan.costs
        self.queued = settings.qdisc.startswith("tbf")
        start_ns = min(f.time_ns for f in seen.to_server) - 1_000_000
        self.simulator = Simulator(start_ns)
        self.processor = Processor(self.simulator)
        self.host = Host(
            name="server",
            settings=settings,
            family=plan.family,
            simulator=self.simulator,
            processor=self.processor,
            run_queue=RunQueue(),
            chance=Chance(plan.seed),
            costs=plan.costs,
            buffers=SkBuffIds(),
            tick_phase_ns=tick_phase_ns(seen.connections, settings.hz),
        )
        phase_ns = clock_phase_ns(seen.connections)
        cookies = settings.tcp_syncookies == ALWAYS_COOKIES
        self.host.clock_phase_ns = cookie_phase_ns(seen.connections, phase_ns) if cookies else phase_ns
        self.tap = Tap("server", snaplen=seen.snaplen)
        self.host.device.taps.append(self.tap)
        scales = {(*c.server, *c.client): _window_scale(c) for c in seen.connections}
        self.held = Held(self.simulator, self._deliver, schedule)
        self.in_order = InOrder(self.host, self.held.arrive, scales)
        self.host.device.taps.append(self.in_order.sent)
        self.host.device.taps.append(self._note)
        self.programs: list[Program] = []
        self._by_client = {c.client: c for c in seen.connections}

    def run(self) -> RunResult:
        """Play the capture to its end."""
        for entry in known_neighbours(self.seen):
            self.host.neighbours.know(entry.address, entry.mac, permanent=entry.permanent)
        for connection in self.seen.connections:
            self._know(connection)
            self.programs.append(
                infer_program(connection, self.costs, queued=self.queued, assumed=self.assumed)
            )
        ports = {c.server[1] for c in self.seen.connections}
        for port in ports:
            self.host.spawn(self._listen(port))
        for frame in self.seen.to_server:
            # The tap saw it at its recorded time, whatever else the processor has to do.
            self.simulator.at(frame.time_ns, partial(self.tap, frame.time_ns, frame.skb, leaving=False))
            if frame.n not in self.unseen:
                self.simulator.at(frame.time_ns, self.in_order.arrive, frame)
        # What the server sent after the capture had ended nobody knows.
        last_ns = max(
            f.time_ns
            for frames in (self.seen.to_server, *(c.from_server for c in self.seen.connections))
            for f in frames
        )
        self.simulator.run(last_ns + LINGER_NS)
        notices = []
        if self.in_order.held:
            notices.append(
                f"{self.in_order.held} times the model sent later than the client had acknowledged"
            )
        if self.seen.skipped:
            notices.append(f"{self.seen.skipped} connections without a captured handshake were left out")
        return RunResult(
            frames={"server": self.tap.frames},
            noted=sorted(self.host.stages.noted, key=itemgetter(4)),
            events=self.simulator.events_run,
            end_ns=self.simulator.now_ns,
            notices=tuple(notices),
        )

    def _note(self, _time_ns: int, skb: SkBuff, leaving: bool) -> None:
        if leaving and skb.tcp is not None and skb.length:
            self.sent.append(_sent(skb.tcp, skb.length))

    def _deliver(self, frame: Frame, time_ns: int) -> None:
        arrive = partial(self.host.device.receive, own_copy(frame.skb), tapped=True)
        self.processor.raise_softirq(time_ns, arrive)

    def _know(self, connection: Connection) -> None:
        """What the kernel drew at random for this connection."""
        synack = connection.from_server[0]
        first_id = next(
            (
                f.skb.ip.identification
                for f in connection.from_server[1:]
                if f.skb.ip and f.skb.ip.identification
            ),
            0,
        )
        recording = Recording(connection, way_down_ns(self.costs), self.schedule, queued=self.queued)
        self.held.recordings[connection.client] = recording
        self.host.known[(*connection.server, *connection.client)] = KnownSocket(
            isn=synack.tcp.seq,
            ts_offset=timestamp_offset(connection, self.host.clock_phase_ns),
            inet_id=first_id,
            flow_label=synack.skb.ip.flow_label if synack.skb.ip else 0,
            recording=recording,
            fast_open=connection.cookie,
        )

    def _listen(self, port: int) -> Step:
        listening = Socket(self.host)
        if self.assumed.rcvbuf:
            listening.set_receive_buffer(self.assumed.rcvbuf)
        if self.assumed.sndbuf:
            listening.set_send_buffer(self.assumed.sndbuf)
        listening.listen(port)
        while True:
            socket = yield from listening.accept()
            connection = self._by_client.get(socket.sk.remote)
            if connection is None:
                continue
            program = self.programs[self.seen.connections.index(connection)]
            if program.watch is not None:
                watch = program.watch
                socket.set_keepalive(idle_ms=1000 * watch.idle_s, interval_ms=1000 * watch.interval_s)
            self.host.simulator.spawn(self._read(socket))
            self.host.simulator.spawn(self._write(socket, program))

    def _read(self, socket: Socket) -> Step:
        """Read what comes, for as long as something comes."""
        try:
            while (yield from socket.recv(READ_BYTES)):
                pass
        except SocketError:
            return

    def _write(self, socket: Socket, program: Program) -> Step:
        """Repeat the program's calls at their times."""
        try:
            if program.nodelay:
                yield from socket.set_nodelay(on=True)
            for write in program.writes:
                yield Sleep(max(0, write.time_ns - self.simulator.now_ns))
                yield from self._call(socket, write)
        except SocketError:
            return
        if program.close_ns is not None:
            yield Sleep(max(0, program.close_ns - self.simulator.now_ns))
            if program.reset:
                socket.set_linger_zero()
            yield from socket.close()

    def _call(self, socket: Socket, write: Write) -> Step:
        """One call; a non-blocking one with those that take the rest when there is room again."""
        data = write.data
        match write.call:
            case "send":
                yield from socket.send(data)
            case "cork" | "uncork":
                yield from socket.set_cork(on=write.call == "cork")
            case "nodelay":
                yield from socket.set_nodelay(on=True)
            case "send_some" | "sendfile":
                while data:
                    call = socket.sendfile if write.call == "sendfile" else socket.send_some
                    taken = yield from call(data)
                    data = data[taken:]
                    if data:
                        yield from socket.wait_writable()


def _as_inferred(settings: HostSettings) -> HostSettings:
    return settings


def _recorded(seen: Observation) -> list[tuple[int, Sent]]:
    """The data frames of the server, in the order of time."""
    frames = [f for c in seen.connections for f in c.from_server if f.skb.length]
    return sorted((f.time_ns, _sent(f.tcp, f.skb.length)) for f in frames)


def _sent(header: TcpHeader, length: int) -> Sent:
    """What of a data frame is compared while orders of work and guesses are tried."""
    echoed = header.options.timestamps[1] if header.options.timestamps else 0
    return header.dstport, header.seq, length, header.flags, echoed


def _write(writer: CaptureWriter, frames: Frames, framing: Framing) -> None:
    """As a tap of the same kind as the captured one would have written them."""
    if framing.linktype == LinkType.ETHERNET:
        write_frames(writer, frames)
        return
    for record in map(tap_record, frames):
        leaving = record.flags is not None and record.flags & 3 == Direction.OUTBOUND
        data = framing.write(record.data, leaving=leaving)
        longer = len(data) - len(record.data)
        writer.write(replace(record, data=data, orig_len=record.orig_len + longer))


def _chosen(schedule: Schedule) -> tuple[str, ...]:
    """What to say of answers that are not the usual ones."""
    count = len(schedule.otherwise)
    which = (
        f"{count} of {len(schedule.asked)} unknown orders of the server's work were taken from what it sent"
    )
    return (which,) if count else ()


def _window_scale(connection: Connection) -> int:
    """What the client's windows are shifted by; nothing unless both ends asked for it (RFC 7323)."""
    asked, granted = (f[0].tcp.options.window_scale for f in (connection.from_client, connection.from_server))
    return asked or 0 if granted is not None else 0


def with_congestion(name: str) -> Callable[[HostSettings], HostSettings]:
    """A change of settings: another congestion control."""
    return lambda host: replace(host, congestion=name)
