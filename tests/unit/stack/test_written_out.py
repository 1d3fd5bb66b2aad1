"""What is written out for speed does what the short form does."""

from __future__ import annotations

from dataclasses import fields, replace

from hypothesis import given
from hypothesis import strategies as st

from pcaptool.scenario import body
from pcaptool.sim.events import RunQueue, Simulator, Sleep
from pcaptool.stack.application.content import Content
from pcaptool.stack.skbuff import SkBuff, TcpHeader
from pcaptool.wire.tcp import TcpOptions

AFRESH = {"owner": None, "departure_ns": 0, "enqueued_ns": 0, "note": ""}


def test_a_received_buffer_has_every_field_but_those_that_stay_with_the_sender():
    # A value of its own in each field shows a field that was left out or took another's place.
    skb = SkBuff(*(("field", field.name) for field in fields(SkBuff)))
    skb.tcp = TcpHeader(*(("tcp", field.name) for field in fields(TcpHeader)))
    assert skb.received() == replace(skb, **AFRESH)
    assert skb.received().tcp is not skb.tcp


def test_a_received_headers_values_are_its_own():
    skb = SkBuff(1, 1, tcp=TcpHeader(1, 2, 3, 4, 5, 6, TcpOptions(), b""))
    skb.received().tcp.ack = 9
    assert skb.tcp.ack == 4
    assert SkBuff(1, 1).received().tcp is None


@given(st.binary(max_size=40), st.integers(0, 140_000), st.data())
def test_content_is_its_head_and_letters(head, letters, data):
    whole, content = head + body(letters), Content(head, letters)
    assert len(content) == len(whole)
    first = data.draw(st.integers(0, len(whole)))
    last = data.draw(st.integers(first, len(whole)))
    assert bytes(content[first:last]) == whole[first:last]


@given(
    st.lists(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), max_size=6), max_size=5),
    st.lists(st.integers(0, 12), max_size=6),
    st.lists(st.integers(0, 30), max_size=4),
)
def test_time_that_passes_without_an_event_changes_nothing(programs, calls, stops):
    """Processes that work and sleep, and calls at fixed times: as if each piece of work were an event."""

    def log(hasty):
        sim, seen = Simulator(), []
        processor = RunQueue()
        if not hasty:
            sim.advance = lambda _delay_ns: False

        def program(index, steps):
            for sleeps, duration_ns in steps:
                seen.append((sim.now_ns, index))
                yield Sleep(duration_ns) if sleeps else duration_ns
            seen.append((sim.now_ns, index, "ends"))

        for index, steps in enumerate(programs):
            sim.spawn(program(index, steps), processor=processor if index % 2 else None)
        for time_ns in calls:
            sim.at(time_ns, lambda: seen.append((sim.now_ns, "call")))
        for until_ns in sorted(stops):
            sim.run(until_ns)
            seen.append((sim.now_ns, "stopped"))
        sim.run()
        return seen

    assert log(hasty=True) == log(hasty=False)
