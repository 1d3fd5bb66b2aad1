"""Random scenarios that the model accepts: the same seed gives the same ones.

Knows: which keys are worth varying, in which ranges; each variation has a name (its family).
Must not know: how scenarios are run or compared.
Every scenario has random sizes and up to three families, so that a difference can be told to one of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

from pcaptool.errors import ScenarioError
from pcaptool.scenario import Drop, Host, Late, Nginx, Request, Route, Scenario, dump_scenario, parse_scenario

__all__ = ["FAMILIES", "PROGRAMS", "QUEUES", "Sample", "available", "samples"]

Vary = Callable[[random.Random, Scenario], Scenario]
_MOST_FAMILIES = 3


@dataclass(frozen=True, slots=True)
class Sample:
    """One scenario, and the families that it is of."""

    families: tuple[str, ...]
    scenario: Scenario


def samples(count: int, seed: int, without: Collection[str] = ()) -> Iterator[Sample]:
    """Scenarios one after the other; every family comes up before one comes up again.

    Parameters
    ----------
    count, seed : int
    without : collection of str
        Families that are left out.

    Examples
    --------
    >>> [s.scenario.name for s in samples(3, 1)], len(FAMILIES) >= 40
    (['live-1-1', 'live-1-2', 'live-1-3'], True)
    """
    chance = random.Random(seed)  # noqa: S311 - no secret
    known = [name for name in available() if name not in without]
    waiting: list[str] = []
    made = 0
    while made < count:
        if not waiting:
            waiting = sorted(known)
            chance.shuffle(waiting)
        names = [waiting.pop()]
        others = chance.choices(range(_MOST_FAMILIES), (2, 2, 1))[0]
        names += chance.sample(sorted(set(known) - set(names)), others)
        scenario = _sized(chance)
        for name in names:
            scenario = FAMILIES[name](chance, scenario)
        scenario = replace(scenario, name=f"live-{seed}-{made + 1}")
        if len(PROGRAMS.intersection(names)) > 1 or not _accepted(scenario):
            waiting.insert(0, names[0])  # these do not go together: later again, with others
            continue
        made += 1
        yield Sample(tuple(names), scenario)


def available() -> list[str]:
    """Families that the model accepts by themselves.

    Examples
    --------
    >>> "nginx" in available()
    True
    """
    chance = random.Random(0)  # noqa: S311 - no secret
    return [name for name, vary in FAMILIES.items() if _accepted(vary(chance, Scenario()))]


def _accepted(scenario: Scenario) -> bool:
    try:
        parse_scenario(dump_scenario(scenario))
    except ScenarioError:
        return False
    return True


def _size(chance: random.Random) -> int:
    """Small and large alike; 0 and sizes around one segment more often."""
    return chance.choice([0, 1, chance.randint(1330, 1460), int(10 ** chance.uniform(0, 5.2))])


def _sized(chance: random.Random) -> Scenario:
    sizes = [_size(chance) for _ in range(chance.choice((1, 1, 2, 3)))]
    plan = Scenario(seed=chance.randint(1, 10**6))
    requests = tuple(Request("GET", f"/bytes/{size}") for size in sizes)
    return replace(plan, client=replace(plan.client, requests=requests))


def _route(plan: Scenario, **values: object) -> Scenario:
    route: Route = replace(plan.server.routes[0], **values)  # type: ignore[arg-type] # names are the caller's
    return replace(plan, server=replace(plan.server, routes=(route,)))


def _client(plan: Scenario, **values: object) -> Scenario:
    return replace(plan, client=replace(plan.client, **values))  # type: ignore[arg-type] # as above


def _server(plan: Scenario, **values: object) -> Scenario:
    return replace(plan, server=replace(plan.server, **values))  # type: ignore[arg-type] # as above


def _hosts(plan: Scenario, change: Callable[[Host], Host], *, client: bool = True) -> Scenario:
    host = replace(plan.host, server=change(plan.host.server))
    if client:
        host = replace(host, client=change(host.client))
    return replace(plan, host=host)


def _one_request(plan: Scenario) -> Scenario:
    return _client(plan, requests=plan.client.requests[:1])


def _mtu(chance: random.Random, plan: Scenario) -> Scenario:
    mtu = chance.choice((576, 1280, 1400, 4000, 9000))
    return _hosts(plan, lambda h: replace(h, mtu=mtu))


def _mtu_unlike(chance: random.Random, plan: Scenario) -> Scenario:
    mtu = chance.choice((1280, 1400, 9000))
    return _hosts(plan, lambda h: replace(h, mtu=mtu), client=False)


def _chunks(chance: random.Random, plan: Scenario) -> Scenario:
    largest = max(int(r.path.rsplit("/", 1)[1]) for r in plan.client.requests)
    step = max(chance.choice((100, 1000, 4096, 10000)), largest // 30)
    return _route(plan, write="chunks", chunk_bytes=step)


def _chunks_pause(chance: random.Random, plan: Scenario) -> Scenario:
    plan = _chunks(chance, plan)
    step = max(plan.server.routes[0].chunk_bytes, 4096)
    return _route(plan, chunk_bytes=step, pause_ns=chance.choice((1, 5, 20)) * 10**6)


def _head_body(chance: random.Random, plan: Scenario) -> Scenario:
    return _route(plan, write="head-then-body", more=chance.random() < 0.3)


def _offload(chance: random.Random, plan: Scenario) -> Scenario:
    off = chance.choice(({"tso": False}, {"tx_checksum": False}, {"tso": False, "gso": False}))
    both = chance.random() < 0.5
    return _hosts(plan, lambda h: replace(h, offload=replace(h.offload, **off)), client=both)


def _delay(chance: random.Random, plan: Scenario) -> Scenario:
    return replace(plan, link=replace(plan.link, delay_ns=chance.choice((2, 5, 10, 20, 40)) * 10**6))


def _drop(kind: str, direction: str, last: int) -> Vary:
    def vary(chance: random.Random, plan: Scenario) -> Scenario:
        drop = Drop(direction=direction, match=kind, nth=(chance.randint(1, last),))
        return replace(plan, link=replace(plan.link, drops=(*plan.link.drops, drop)))

    return vary


def _server_end(chance: random.Random, plan: Scenario) -> Scenario:
    plan = _server(
        plan, close="server", close_after=len(plan.client.requests), shutdown=chance.random() < 0.3
    )
    return _client(plan, close="server")


def _several(chance: random.Random, plan: Scenario) -> Scenario:
    return _client(plan, connections=chance.randint(2, 3), stagger_ns=chance.choice((20, 50)) * 10**6)


def _program(name: str) -> Vary:
    def vary(chance: random.Random, plan: Scenario) -> Scenario:
        if name == "nginx":
            nginx = Nginx(sendfile=chance.random() < 0.7, tcp_nopush=chance.random() < 0.7)
            plan = _server(plan, nginx=nginx)
        return _server(plan, profile=name)

    return vary


def _bottleneck(chance: random.Random, plan: Scenario) -> Scenario:
    rate = chance.choice((2, 5, 20)) * 10**6
    link = replace(plan.link, rate_bps=rate, queue_packets=chance.choice((20, 50, 200)))
    return replace(plan, link=replace(link, delay_ns=link.delay_ns or 5_000_000))


def _late(chance: random.Random, plan: Scenario) -> Scenario:
    late = Late(nth=(chance.randint(1, 4),), extra_ns=chance.choice((1, 3, 30)) * 10**6)
    link = replace(plan.link, late=(late,), delay_ns=plan.link.delay_ns or 5_000_000)
    return replace(plan, link=link)


def _queue(*words: str) -> Vary:
    return lambda c, p: _hosts(p, lambda h: replace(h, qdisc=c.choice(words)), client=False)


PROGRAMS = frozenset({"python", "nginx", "node", "express"})  # a scenario has one
# What a kernel may be built without: family to the discipline's words.
QUEUES = {
    "tbf": ("tbf rate 10mbit burst 10kb latency 50ms", "tbf rate 100mbit burst 32kb latency 20ms"),
    "fq": ("fq",),
    "fq_codel": ("fq_codel",),
}
FAMILIES: dict[str, Vary] = {
    **{name: _program(name) for name in sorted(PROGRAMS)},
    **{name: _queue(*words) for name, words in QUEUES.items()},
    "curl": lambda _c, p: _client(p, program="curl"),
    "bottleneck": _bottleneck,
    "late frame": _late,
    "gro": lambda _c, p: _hosts(p, lambda h: replace(h, offload=replace(h.offload, gro=True))),
    "bbr": lambda _c, p: _hosts(p, lambda h: replace(h, congestion="bbr"), client=False),
    "ecn": lambda _c, p: _hosts(p, lambda h: replace(h, tcp_ecn=1)),
    "plain": lambda _c, p: p,
    "ipv6": lambda _c, p: replace(p, family=6),
    "mtu": _mtu,
    "mtu unlike": _mtu_unlike,
    "head, body": _head_body,
    "chunks": _chunks,
    "chunks with pauses": _chunks_pause,
    "nodelay": lambda _c, p: _route(p, nodelay=True),
    "cork": lambda c, p: _route(_head_body(c, p), cork=True, more=False),
    "think time": lambda c, p: _route(p, think_time_ns=c.choice((1, 30, 300)) * 10**6),
    "no sack": lambda _c, p: _hosts(p, lambda h: replace(h, tcp_sack=False)),
    "no timestamps": lambda _c, p: _hosts(p, lambda h: replace(h, tcp_timestamps=0)),
    "no window scaling": lambda _c, p: _hosts(p, lambda h: replace(h, tcp_window_scaling=False)),
    "reno": lambda _c, p: _hosts(p, lambda h: replace(h, congestion="reno")),
    "initial cwnd": lambda c, p: _hosts(p, lambda h: replace(h, initial_cwnd=c.choice((1, 2, 4, 30)))),
    "pfifo_fast": lambda _c, p: _hosts(p, lambda h: replace(h, qdisc="pfifo_fast"), client=False),
    "offload": _offload,
    "sndbuf": lambda c, p: _server(p, sndbuf=c.choice((8192, 16384, 65536))),
    "client rcvbuf": lambda c, p: _client(p, rcvbuf=c.choice((16384, 65536))),
    "connection: close": lambda _c, p: _client(_one_request(p), keepalive=False),
    "server ends": _server_end,
    "client resets": lambda _c, p: _client(p, close="rst"),
    "half close": lambda _c, p: _client(p, half_close=True),
    "pipeline": lambda _c, p: _client(p, pipeline=True),
    "pause": lambda c, p: _client(p, pause_ns=c.choice((10, 60, 400)) * 10**6),
    "several connections": _several,
    "delay": _delay,
    "loss of data": _drop("data", "server-to-client", 3),
    "loss of an ack": _drop("ack", "client-to-server", 3),
    "loss of the request": _drop("data", "client-to-server", 1),
    "loss of the syn": _drop("syn", "client-to-server", 1),
    "loss of the syn-ack": _drop("synack", "server-to-client", 1),
    "loss of the fin": _drop("fin", "server-to-client", 1),
}
