"""A replay from beginning to end: plan, send, watch, report.

Knows: the order of things, and what happens at Ctrl-C: sending stops, the report comes.
Must not know: arguments, printing.

Planning runs in this thread, sending in one of its own, each far side in another. The ring between them is filled
before the first deadline, so that planning has a lead; its memory is bounded, so a capture may be larger than memory.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pcaptool.engine import Engine
from pcaptool.errors import CaptureError, UsageError, printable
from pcaptool.file.packet_filter import PacketFilter
from pcaptool.replay.interfaces import in_namespace, look_up, open_receiver, open_sender, require_interface
from pcaptool.replay.outcome import Outcome, Tally
from pcaptool.replay.pace import Pace
from pcaptool.replay.packets import Source
from pcaptool.replay.plan import Planner, Target
from pcaptool.replay.rewriting import Rewriting
from pcaptool.replay.sending import Sender, Thread
from pcaptool.replay.slots import SLOTS, Slot
from pcaptool.replay.watching import Watcher
from pcaptool.tables import REPLAY

__all__ = ["Options", "replay"]

SETTLE_S = 0.3  # the far side has seen all when nothing came for so long
_POLL_S = 0.002

# Told now and then: frames sent or failed, frames planned so far.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Options:
    """Everything about a replay but the capture and the interfaces.

    Parameters
    ----------
    pace : Pace
    rewriting : Rewriting
    only : str
        Filter in tcpdump's language, on the recorded packets; empty: all.
    limit : int or None
        Packets at most, all rounds together.
    rounds : int
        How often the capture is sent.
    verify : tuple of str
        Far sides: an interface each, as for sending; NAMESPACE/INTERFACE where it is in another one.
    thread : Thread
    bypass : bool
        Straight to the driver, past queueing disciplines.
    dry : bool
        Plan only.
    """

    pace: Pace = field(default_factory=Pace)
    rewriting: Rewriting = field(default_factory=Rewriting)
    only: str = ""
    limit: int | None = None
    rounds: int = 1
    verify: tuple[str, ...] = ()
    thread: Thread = field(default_factory=Thread)
    bypass: bool = False
    dry: bool = False


def replay(
    capture: str | Path,
    interfaces: Sequence[str],
    options: Options | None = None,
    *,
    out: str | Path | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
    command: str = "",
) -> Outcome:
    """Send the packets of a capture.

    Parameters
    ----------
    capture : path
    interfaces : sequence of str
        One name; or `client=NAME` and `server=NAME`: packets leave by their side's interface.
    options : Options, optional
    out : path, optional
        Folder for the `replay` table.
    progress, say : callable, optional
        Told how far it is, and what happens now.
    command : str
        Kept in the table's file.

    Raises
    ------
    CaptureError
        The capture cannot be read, or holds no packets.
    UsageError
        Arguments that do not fit, an interface that is not there.
    SystemRefusedError
        No permission, an interface that is down.

    Examples
    --------
    >>> outcome = replay("fixtures/captures/lab/size-1.server.pcap", ["eth0"], Options(dry=True))
    >>> outcome.packets, outcome.planned, outcome.sent, outcome.exit_code
    (12, 12, 0, 0)
    """
    wish = options or Options()
    names = _sides(interfaces, "-i")
    targets = [_target(name, dry=wish.dry) for name in names]
    engine = Engine("auto")
    source = Source(capture, split=len(names) == 2, engine=engine)
    if str(capture) == "-" and wish.rounds > 1:
        raise UsageError("standard input cannot be read twice: --loop needs a file")
    planner = Planner(
        source,
        targets,
        wish.pace,
        wish.rewriting,
        only=PacketFilter(wish.only) if wish.only else None,
        limit=wish.limit,
        rounds=wish.rounds,
        digest=bool(wish.verify),
        keep=0 if wish.dry else SLOTS,
    )
    with _table(out, command) as table:
        tally = Tally(
            names,
            timed=wish.pace.kind != "topspeed",
            keep=bool(wish.verify) and not wish.dry,
            table=table,
            dry=wish.dry,
        )
        if wish.dry:
            slot = Slot.alone()
            while planner.fill(slot):
                tally.add(slot)
        else:
            _Run(names, planner, tally, wish, progress=progress, say=say).run()
    _finish(planner, tally.outcome, source, wish, capture)
    return tally.outcome


def _sides(given: Sequence[str], option: str) -> list[str]:
    """Interface names: one, or the client's and the server's."""
    if len(given) == 1 and "=" not in given[0]:
        return list(given)
    pairs = dict(word.split("=", 1) for word in given if "=" in word)
    if len(given) != 2 or set(pairs) != {"client", "server"}:
        raise UsageError(f"{option}: give one interface, or two as {option} client=NAME {option} server=NAME")
    return [pairs["client"], pairs["server"]]


def _target(name: str, *, dry: bool) -> Target:
    if dry and name not in [known for _, known in socket.if_nameindex()]:
        return Target(name)  # planned for an Ethernet interface of MTU 1500
    facts = look_up(name)
    return Target(facts.name, facts.mtu, facts.ethernet, facts.mac)


@contextlib.contextmanager
def _table(out: str | Path | None, command: str) -> Iterator[Any]:
    """Takes rows of the `replay` table; None where none is wanted."""
    if out is None:
        yield None
        return
    from pcaptool.tables.parquet import ReportWriter  # noqa: PLC0415 - loads Arrow

    with ReportWriter(out, [REPLAY]) as writer:
        yield partial(writer.add, REPLAY.name)
        writer.finish({"command": command})


def _finish(planner: Planner, outcome: Outcome, source: Source, wish: Options, capture: str | Path) -> None:
    """Counts and notes that only the planner knows."""
    counts = planner.counts
    outcome.packets = counts.packets
    outcome.changes = {
        "segmented": counts.segmented,
        "padded": counts.padded,
        "checksums_completed": counts.completed,
        "filtered": counts.filtered,
    }
    if not counts.packets:
        if wish.only:
            raise UsageError(f"nothing to send: no packet fits --filter {printable(wish.only)!r}")
        raise CaptureError("nothing to send: it holds no packets", path=capture)
    if planner.clockwork.reversed:
        outcome.notes.append(
            f"{planner.clockwork.reversed} packets have a time before that of an earlier one: sent at once"
        )
    if source.unsided:
        outcome.notes.append(
            f"{source.unsided} packets belong to no conversation and no known host: sent from the client's side"
        )
    if source.cut:
        outcome.notes.append(source.cut)


class _Run:
    """The sending part."""

    def __init__(
        self,
        names: Sequence[str],
        planner: Planner,
        tally: Tally,
        wish: Options,
        *,
        progress: Progress | None,
        say: Callable[[str], None] | None,
    ) -> None:
        self._names, self._planner, self._tally, self._wish = names, planner, tally, wish
        self._progress, self._say = progress, say or (lambda _text: None)
        self._next_word = 0.0
        self._repeats = False

    def run(self) -> None:
        """Send everything, or as much as can be."""
        wish = self._wish
        with contextlib.ExitStack() as stack:
            handles = [stack.enter_context(open_sender(name, bypass=wish.bypass)) for name in self._names]
            far = _sides(wish.verify, "--verify") if wish.verify else []
            if far and len(far) != len(handles):
                raise UsageError("--verify: give as many interfaces as -i, in the same way")
            self._say("getting ready")
            sender = Sender(handles, wish.thread, Engine("compiled"), timed=wish.pace.kind != "topspeed")
            self._fill(sender)
            watchers = [Watcher(_far_side(name)) for name in far]
            try:
                self._send(sender)
            finally:
                seen = self._settle(watchers)
            if sender.fault() is not None:
                raise sender.fault() or AssertionError
            start_ns = time.time_ns() - time.monotonic_ns() + sender.start_ns
            if far:
                self._tally.far_side(seen, start_ns)

    def _fill(self, sender: Sender) -> bool:
        """Plan as much as there is room for; False where nothing is left."""
        while sender.room:
            slot = sender.next_slot()
            if not (self._planner.repeat(slot) if self._repeats else self._planner.fill(slot)):
                sender.end()
                return False
            sender.put()
            if self._planner.repeats and not self._repeats:
                # The ring holds the whole capture: it stays there, and nothing is planned again.
                self._repeats = True
                sender.keep(self._planner.repeats)
        return True

    def _send(self, sender: Sender) -> None:
        outcome = self._tally.outcome
        try:
            sender.begin()
            more = True
            while sender.alive:
                while (slot := sender.collect()) is not None:
                    self._tally.add(slot)
                if more:
                    more = self._fill(sender)
                self._tell(sender)
                sender.wait(_POLL_S if more else 0.02)
        except KeyboardInterrupt:
            outcome.ended_by = "interrupted"
        except BaseException:
            sender.stop()
            raise
        sender.stop()
        sender.wait(5)
        while (slot := sender.collect(everything=True)) is not None:
            self._tally.add(slot)
        if sender.fatal:
            outcome.ended_by = _why(sender.fatal)
        if sender.retried:
            outcome.notes.append(f"a full buffer made the sender try again {sender.retried:,} times")
        if sender.starved and self._wish.pace.kind != "topspeed":
            outcome.notes.append(
                f"planning did not keep up: the sender waited {sender.starved:,} times for frames"
            )

    def _tell(self, sender: Sender) -> None:
        now = time.monotonic()
        if self._progress is not None and now >= self._next_word:
            self._next_word = now + 0.1
            self._progress(sender.tried, self._planner.counts.packets)

    def _settle(self, watchers: Sequence[Watcher]) -> list[Any]:
        """Wait until nothing more arrives; what did."""
        wanted, before, until = self._tally.outcome.sent, -1, 0.0
        while watchers:
            count = sum(watcher.count for watcher in watchers)
            now = time.monotonic()
            if count != before:
                before, until = count, now + SETTLE_S
            if now > until or (count >= wanted and wanted):
                break
            time.sleep(0.02)
        return [watcher.finish() for watcher in watchers]


def _far_side(name: str) -> socket.socket:
    namespace, slash, interface = name.rpartition("/")
    if slash:
        return in_namespace(namespace, partial(open_receiver, interface))
    require_interface(interface)
    return open_receiver(interface)


def _why(number: int) -> str:
    name = f"{os.strerror(number)} ({errno.errorcode.get(number, number)})"
    if number in (errno.EAGAIN, errno.ENOBUFS):
        return f"the interface took no frame for a second: {name}"
    return f"the interface is gone: {name}"
