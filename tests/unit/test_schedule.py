"""Orders of work that a capture does not tell: how they are searched for, and what holding an ACK back means."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from pcaptool.predict.held import Held
from pcaptool.predict.observe import observe
from pcaptool.predict.schedule import MOST_RUNS, Schedule, search
from pcaptool.sim.events import Simulator
from pcaptool.wire.tcp import TcpFlag


def machine(truth, runs):
    """A made-up server whose frame n depends on the answers to the questions up to n."""

    def make(schedule):
        runs.append(schedule)
        answers = [schedule.choose(("q", 1, n), 10 * n, usual=False) for n in range(len(truth))]
        return answers, [(1, n, sum(answers[: n + 1]), 0, 0) for n in range(len(truth))]

    def recorded():
        return [(10 * n + 5, (1, n, sum(truth[: n + 1]), 0, 0)) for n in range(len(truth))]

    return make, recorded()


@given(st.lists(st.booleans(), max_size=12))
def test_the_order_that_explains_every_frame_is_found(truth):
    runs = []
    make, recorded = machine(truth, runs)
    schedule, answers = search(make, recorded)
    assert answers == truth
    assert {n for _, _, n in schedule.otherwise} == {n for n, other in enumerate(truth) if other}
    assert len(runs) <= MOST_RUNS


def test_a_run_that_sends_what_was_recorded_is_the_only_one():
    runs = []
    make, recorded = machine([False] * 5, runs)
    schedule, _ = search(make, recorded)
    assert len(runs) == 1
    assert not schedule.otherwise
    assert len(schedule.asked) == 5


def test_what_no_order_explains_is_left_as_it_is():
    runs = []
    make, recorded = machine([False] * 100, runs)
    recorded.append((2000, (1, 1000, 1448, 0, 0)))
    schedule, _ = search(make, recorded)
    assert not schedule.otherwise
    assert 1 < len(runs) <= MOST_RUNS


def test_an_answer_that_looked_right_at_first_gives_way_to_another():
    """Question 2 explains what question 1 does, and spoils what comes behind it; both together explain nothing."""

    def make(schedule):
        first, second = (schedule.choose(("q", 1, n), n, usual=False) for n in (1, 2))
        early = [(1, n, int(first != second), 0, 0) for n in range(4)]
        return (first, second), [*early, (1, 9, int(first and not second), 0, 0)]

    recorded = [(10 + n, (1, n, 1, 0, 0)) for n in range(4)] + [(20, (1, 9, 1, 0, 0))]
    _, answers = search(make, recorded)
    assert answers == (True, False)


def test_long_captures_and_one_run_are_bounded():
    for truth, most in (([True], 1), ([True] + [False] * 70_000, MOST_RUNS)):
        runs = []
        make, recorded = machine(truth, runs) if len(truth) == 1 else long_machine(runs, len(truth))
        search(make, recorded, most)
        assert len(runs) == 1


def long_machine(runs, count):
    def make(schedule):
        runs.append(schedule)
        return None, [(1, n, schedule.choose(("q", 1, 0), 0, usual=False), 0) for n in range(count)]

    return make, [(n, (1, n, True, 0)) for n in range(count)]


def delivered(holds, fixtures, next_ns=20_000):
    """Three pure ACKs at 0, 1 and 2 us, of which some begin a batch; what is delivered when."""
    seen = observe(fixtures / "captures" / "lab" / "size-100k.server.pcap").connections[0]
    first = next(
        f for f in seen.from_client if not f.skb.length and f.tcp.flags == TcpFlag.ACK and f.tcp.window > 70
    )
    frames = [
        replace(first, skb=replace(first.skb, tcp=replace(first.tcp, ack=first.tcp.ack + n)))
        for n in range(3)
    ]
    simulator, log = Simulator(), []
    schedule = Schedule(frozenset(("held", seen.client[1], frames[n].tcp.ack) for n in holds))
    held = Held(simulator, lambda frame, at: log.append((at, frame.tcp.ack - first.tcp.ack)), schedule)
    held.recordings[seen.client] = SimpleNamespace(next_ns=lambda _: next_ns)
    for n, frame in enumerate(frames):
        simulator.at(n * 1000, held.arrive, frame, n * 1000)
    simulator.run()
    assert [f.tcp.ack - first.tcp.ack for f in frames] == [
        0,
        1,
        2,
    ]  # the capture's own frames are as they were
    return log


def test_acks_that_are_held_become_one_until_another_batch_begins(fixtures):
    assert delivered([], fixtures) == [(0, 0), (1000, 1), (2000, 2)]
    assert delivered([0], fixtures) == [(20_000, 2)]
    assert delivered([1], fixtures) == [(0, 0), (20_000, 2)]
    assert delivered([0, 2], fixtures) == [(20_000, 1), (20_000, 2)]


def test_an_ack_is_not_held_where_no_frame_shows_until_when(fixtures):
    late = [(0, 0), (1000, 1), (2000, 2)]
    assert delivered([0, 1, 2], fixtures, next_ns=None) == late
    assert delivered([0, 1, 2], fixtures, next_ns=400_000) == late
