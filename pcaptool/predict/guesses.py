"""What the handshake and single frames of a capture leave open about a server, as guesses that a run tries.

Knows: which settings change what leaves though no header tells them (congestion control, initial window, SO_SNDBUF,
offloads of a server that sent nothing large), and that a corked program leaves frames that look like others' calls.
Must not know: how a run is done (`drive`), or orders of work (`schedule`).
The best guess is kept if with it the model sends at least half of those recorded frames that it did not send without
it: what chance changes is less. Then the others are tried on top of it. Where all that was recorded is sent, none is.
Leaves out: SO_SNDBUF of other sizes than programs usually ask for, guesses that help only together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from pcaptool.predict.observe import Connection, Observation
from pcaptool.scenario import Host
from pcaptool.stack.tcp.congestion import CONTROLS
from pcaptool.stack.tcp.sock import near
from pcaptool.wire.tcp import TcpFlag

__all__ = ["Assumptions", "first_flight", "guesses", "most_likely"]

SEND_BUFFERS = (4096, 8192, 16384, 32768, 65536, 131072, 262144)
MOST_FRAMES = 30_000  # of all runs together


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What a driven run is made with.

    Parameters
    ----------
    settings : Host
    rcvbuf, sndbuf : int or None
        SO_RCVBUF, SO_SNDBUF of the listening socket.
    corked : bool
        Whether the program set TCP_CORK around each answer.
    lone_calls : bool
        Whether full segments that left one by one are calls of their own; with a small window they are not.
    frame_calls : bool
        Whether each frame that no ACK let go is a call of its own.
    nodelay : bool
        Whether the program set TCP_NODELAY though no lone short segment shows it.
    """

    settings: Host
    rcvbuf: int | None = None
    sndbuf: int | None = None
    corked: bool = False
    lone_calls: bool = True
    frame_calls: bool = False
    nodelay: bool = False


def guesses(seen: Observation) -> Iterator[tuple[str, Callable[[Assumptions], Assumptions]]]:
    """Each guess in words, and the change that it is."""

    def host(**values: object) -> Callable[[Assumptions], Assumptions]:
        return lambda known: replace(known, settings=replace(known.settings, **values))  # type: ignore[arg-type]

    yield (
        "TSO is on",
        lambda known: replace(
            known, settings=replace(known.settings, offload=replace(known.settings.offload, tso=True))
        ),
    )
    flights = {first_flight(connection) for connection in seen.connections}
    for segments in sorted(flight for flight in flights if flight):
        small = host(initial_cwnd=segments)
        yield (
            f"the initial window is {segments} segments",
            lambda known, small=small: replace(small(known), lone_calls=False),  # type: ignore[misc]
        )
    yield "the program sets TCP_NODELAY", lambda known: replace(known, nodelay=True)
    yield "each frame that no ACK let go is a call", lambda known: replace(known, frame_calls=True)
    yield "the program corks", lambda known: replace(known, corked=True, lone_calls=False)
    yield "SYN-ACKs are cookies", host(tcp_syncookies=2)
    for name in CONTROLS:
        yield f"congestion control is {name}", host(congestion=name)
    for size in SEND_BUFFERS:
        yield f"SO_SNDBUF is {size}", lambda known, size=size: replace(known, sndbuf=size)  # type: ignore[misc]


def first_flight(connection: Connection) -> int:
    """Segments that the server sent before any of its data was acknowledged; 0 where nothing followed them.

    Examples
    --------
    >>> from pcaptool.predict.observe import observe
    >>> [first_flight(observe(f"fixtures/captures/lab/{name}.server.pcap").connections[0])
    ...     for name in ("loss-acks", "size-1354")]
    [10, 0]
    """
    base = connection.from_server[0].tcp.seq + 1
    acks = [
        f for f in connection.from_client[1:] if f.tcp.flags & TcpFlag.ACK and near(f.tcp.ack, base) > base
    ]
    if not acks:
        return 0
    data = [f for f in connection.from_server if f.skb.length]
    ends = [near(f.tcp.seq, base) + f.skb.length - base for f in data]
    before = [end for end, f in zip(ends, data, strict=True) if f.time_ns < acks[0].time_ns]
    if not before or max(ends) <= max(before):
        return 0
    return sum(-(-f.skb.length // connection.segment_bytes) for f in data[: len(before)])


def most_likely(
    seen: Observation,
    assumed: Assumptions,
    override: Callable[[Host], Host],
    count_alike: Callable[[Assumptions], int],
    recorded: int,
) -> tuple[Assumptions, tuple[str, ...]]:
    """The assumptions with which a run sends most of what was recorded, and the guesses among them.

    Parameters
    ----------
    seen : Observation
    assumed : Assumptions
        What is inferred without trying, or insisted on.
    override : callable
        What the caller insists on: guesses about that are not tried.
    count_alike : callable
        Makes a run, and says how many recorded frames it sent.
    recorded : int
        How many there are.
    """
    kept: list[str] = []
    known, alike = assumed, count_alike(assumed)
    left = MOST_FRAMES // max(1, recorded)
    while alike < recorded:
        best, best_alike, best_words = known, alike, ""
        for words, change in guesses(seen):
            changed = change(known)
            changed = replace(changed, settings=override(changed.settings))
            if changed == known or left <= 0 or best_alike == recorded:
                continue
            left -= 1
            changed_alike = count_alike(changed)
            if changed_alike > best_alike:
                best, best_alike, best_words = changed, changed_alike, words
        if best_alike == alike or 2 * (best_alike - alike) < recorded - alike:
            break
        known, alike = best, best_alike
        kept.append(best_words)
    return known, tuple(kept)
