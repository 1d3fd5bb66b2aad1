"""Clock, events, processes, run queues, softirq processor, link."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcaptool.sim.chance import Chance
from pcaptool.sim.events import RESCHEDULE, RunQueue, Simulator, Sleep, WaitQueue
from pcaptool.sim.link import Direction
from pcaptool.sim.processor import Processor


@given(st.lists(st.integers(0, 50), max_size=30))
def test_events_run_in_time_order_and_ties_in_the_order_of_scheduling(times):
    sim, seen = Simulator(), []
    for index, time in enumerate(times):
        sim.at(time, lambda i=index: seen.append((sim.now_ns, i)))
    sim.run()
    assert seen == sorted((t, i) for i, t in enumerate(times))


def test_a_cancelled_event_does_not_run():
    sim, seen = Simulator(), []
    event = sim.after(5, seen.append, 1)
    event.cancel()
    sim.run()
    assert seen == []
    assert not event.pending


def test_run_until_stops_at_the_time_and_keeps_the_rest():
    sim, seen = Simulator(), []
    sim.after(5, seen.append, 5)
    sim.after(9, seen.append, 9)
    sim.run(until_ns=7)
    assert (seen, sim.now_ns) == ([5], 7)
    sim.run()
    assert seen == [5, 9]


def test_processes_of_one_run_queue_do_not_overlap():
    sim, cpu, log = Simulator(), RunQueue(), []

    def program(name):
        log.append((name, "begins", sim.now_ns))
        yield 10
        log.append((name, "ends", sim.now_ns))

    sim.spawn(program("a"), processor=cpu)
    sim.spawn(program("b"), processor=cpu)
    sim.run()
    assert log == [("a", "begins", 0), ("a", "ends", 10), ("b", "begins", 10), ("b", "ends", 20)]


def test_a_sleeper_leaves_the_processor_to_others():
    sim, cpu, log = Simulator(), RunQueue(), []

    def sleeper():
        yield Sleep(100)
        log.append(("sleeper", sim.now_ns))

    def worker():
        yield 30
        log.append(("worker", sim.now_ns))

    sim.spawn(sleeper(), processor=cpu)
    sim.spawn(worker(), processor=cpu)
    sim.run()
    assert log == [("worker", 30), ("sleeper", 100)]


def test_a_woken_process_takes_the_processor_where_the_running_one_offers_it():
    sim, cpu, queue, log = Simulator(), RunQueue(), WaitQueue(), []

    def woken():
        yield queue
        log.append(("woken", sim.now_ns))
        yield 5
        log.append(("woken sleeps", sim.now_ns))

    def running():
        yield 10
        queue.wake(3)
        yield 10
        log.append(("before", sim.now_ns))
        yield RESCHEDULE
        log.append(("after", sim.now_ns))
        yield RESCHEDULE  # nobody was woken: it goes on
        log.append(("end", sim.now_ns))

    sim.spawn(woken(), processor=cpu)
    sim.spawn(running(), processor=cpu)
    sim.run()
    assert log == [("before", 20), ("woken", 23), ("woken sleeps", 28), ("after", 28), ("end", 28)]


def test_a_wait_queue_wakes_all_waiters_once():
    sim, queue, log = Simulator(), WaitQueue(), []

    def waiter(name):
        yield queue
        log.append((name, sim.now_ns))

    sim.spawn(waiter("a"))
    sim.spawn(waiter("b"))
    sim.after(7, queue.wake, 3)
    sim.run()
    assert log == [("a", 10), ("b", 10)]


def test_softirq_work_runs_in_order_and_its_time_adds_up():
    sim, log = Simulator(), []
    processor = Processor(sim)

    def work(name):
        log.append((name, processor.now_ns))
        yield 10
        log.append((name, processor.now_ns))

    processor.raise_softirq(0, lambda: work("a"))
    processor.raise_softirq(3, lambda: work("b"))
    sim.run()
    assert log == [("a", 0), ("a", 10), ("b", 10), ("b", 20)]


def test_a_tasklet_runs_behind_all_packets_that_are_on_their_way():
    sim, log = Simulator(), []
    processor = Processor(sim)

    def work(name, then=None):
        log.append((name, processor.now_ns))
        if then is not None:
            processor.raise_softirq(processor.now_ns + 4, lambda: work(then))
        yield 10

    processor.raise_softirq(0, lambda: work("a", "c"))
    processor.raise_tasklet(1, lambda: work("tasklet"))
    processor.raise_softirq(2, lambda: work("b"))
    sim.run()
    assert [name for name, _ in log] == ["a", "b", "c", "tasklet"]
    processor.raise_tasklet(sim.now_ns + 5, lambda: work("alone"))
    sim.run()
    assert log[-1][0] == "alone"


def test_draining_waits_for_work_that_is_still_on_its_way():
    sim, log = Simulator(), []
    processor = Processor(sim)

    def work():
        yield 10

    def call():
        processor.raise_softirq(5, work)
        yield from processor.drain()
        log.append(sim.now_ns)

    sim.spawn(call())
    sim.run()
    assert log == [15]


def test_a_rate_queues_frames_one_behind_the_other():
    link = Direction(delay_ns=100, rate_bps=1_000_000_000, overhead_bytes=24)
    first = link.send(0, 1476)
    second = link.send(0, 1476)
    assert (first.sent_ns, first.arrived_ns) == (12_000, 12_100)
    assert second.sent_ns == 24_000


@given(st.integers(0, 20), st.integers(1, 50), st.lists(st.integers(0, 30), max_size=40))
def test_a_bounded_queue_never_holds_more_than_it_may(limit, spacing, gaps):
    link, now, times = Direction(delay_ns=0, spacing_ns=spacing, queue_packets=limit), 0, []
    for gap in gaps:
        now += gap
        sent = link.send(now, 60)
        if sent is not None:
            times.append(sent.sent_ns)
            assert not limit or sent.sent_ns - now <= (limit + 1) * spacing
    assert all(b - a >= spacing for a, b in zip(times, times[1:], strict=False))


def test_streams_of_chance_are_independent_of_each_other():
    one, other = Chance(3), Chance(3)
    one.stream("x").random()
    assert one.stream("y").getrandbits(64) == other.stream("y").getrandbits(64)
    assert Chance(4).keyed("x") != Chance(3).keyed("x")


def test_softirq_work_does_not_nest():
    processor = Processor(Simulator())

    def inner():
        yield 1

    def outer():
        processor.run(inner())
        yield 1

    with pytest.raises(RuntimeError, match="does not nest"):
        processor.run(outer())


def _worker(sim, log, name, *steps):
    for step in steps:
        yield step
        log.append((name, sim.now_ns))


def test_a_woken_program_waits_until_the_running_one_sleeps():
    sim, cpu, queue, log = Simulator(), RunQueue(slice_ns=1000), WaitQueue(), []

    def running():
        queue.wake(0)
        yield from _worker(sim, log, "running", 10, RESCHEDULE, 10)

    sim.spawn(_worker(sim, log, "woken", queue), processor=cpu, group="server")
    sim.spawn(running(), processor=cpu, group="client")
    sim.run()
    assert log == [("running", 10), ("running", 10), ("running", 20), ("woken", 20)]


def test_a_program_that_has_used_up_its_slice_lets_a_woken_one_go_first():
    sim, cpu, log = Simulator(), RunQueue(slice_ns=15), []
    sim.spawn(_worker(sim, log, "a", 10, RESCHEDULE, 10, RESCHEDULE, 10), processor=cpu, group="a")
    sim.spawn(_worker(sim, log, "b", 1), processor=cpu, group="b")
    sim.run()
    assert [name for name, _ in log] == ["a", "a", "a", "b", "a", "a"]
    assert log[3] == ("b", 21)


def test_threads_of_the_running_program_go_before_another_program_within_its_slice():
    sim, cpu, log = Simulator(), RunQueue(slice_ns=1000), []
    for name, group in (("a1", "a"), ("b", "b"), ("a2", "a")):
        sim.spawn(_worker(sim, log, name, 10), processor=cpu, group=group)
    sim.run()
    assert [name for name, _ in log] == ["a1", "a2", "b"]
