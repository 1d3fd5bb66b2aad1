"""Queueing disciplines on their own: what goes in comes out, in time, in order, or is dropped and said so."""

from __future__ import annotations

from math import isqrt
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcaptool.scenario.queueing import DISCIPLINES, parse_qdisc
from pcaptool.stack.qdisc import QDISCS, NetXmit, Surroundings, make_qdisc, packet_bytes
from pcaptool.stack.queue_limits import QueueLimits
from pcaptool.stack.skbuff import Datagram, SkBuff, SkBuffIds, TcpHeader
from pcaptool.wire.tcp import TcpOptions

WORDS = {
    "pfifo": "pfifo limit 7",
    "bfifo": "bfifo limit 9000b",
    "pfifo_fast": "pfifo_fast",
    "tbf": "tbf rate 8mbit burst 4000b limit 20000b",
    "fq": "fq limit 12 flow_limit 5",
    "fq_codel": "fq_codel limit 9 flows 4",
    "netem": "netem delay 3ms 1ms loss 10% duplicate 10% reorder 20% rate 10mbit limit 9",
}


def make(words, freed=None, mtu=1500):
    gone = freed if freed is not None else []
    around = Surroundings(mtu, Random(3), SkBuffIds(), lambda skb, why, _now: gone.append((skb, why)))
    return make_qdisc(words, around)


def buffer(number, size=1448, port=1, tos=0, segments=1):
    skb = SkBuff(number, number, length=size, payload=memoryview(bytes(size)))
    skb.tcp = TcpHeader(port, 80, 1, 1, 0x10, 64, TcpOptions(), b"")
    skb.ip = Datagram(bytes(4), b"\1\1\1\1", 6, tos=tos)
    skb.gso_segs, skb.gso_size = segments, (-(-size // segments) if segments > 1 else 0)
    return skb


def drain(qdisc, now):
    """Everything that comes out from now on, each with its time."""
    out = []
    while True:
        skb = qdisc.dequeue(now)
        if skb is not None:
            out.append((now, skb))
            continue
        due = qdisc.watchdog_ns(now)
        if due is None:
            return out
        assert due > now, "asked for a time at which there was nothing"
        now = due


def test_each_discipline_of_the_grammar_exists():
    assert set(QDISCS) == set(DISCIPLINES) == set(WORDS) | {"noqueue"}


@pytest.mark.parametrize("name", ["noqueue", "pfifo", "bfifo", "pfifo_fast", "fq_codel"])
def test_an_empty_one_is_bypassed_where_the_kernels_is(name):
    qdisc = make(WORDS.get(name, name))
    assert qdisc.bypass
    assert (qdisc.dequeue(0), len(qdisc), qdisc.watchdog_ns(0)) == (None, 0, None)


@pytest.mark.parametrize("name", ["tbf", "fq", "netem"])
def test_those_that_hold_back_are_never_bypassed(name):
    assert not make(WORDS[name]).bypass


@settings(max_examples=60)
@given(
    st.sampled_from(sorted(WORDS)),
    st.lists(st.tuples(st.integers(0, 4_000_000), st.integers(1, 1448), st.integers(1, 6)), max_size=40),
)
def test_nothing_is_lost_silently_and_nothing_twice(name, arrivals):
    freed, qdisc, now, taken, refused, out = [], None, 0, set(), set(), []
    qdisc = make(WORDS[name], freed)
    for number, (gap, size, port) in enumerate(arrivals, 1000):
        now += gap
        skb = buffer(number, size, port)
        (refused if qdisc.enqueue(skb, now) is NetXmit.DROP else taken).add(number)
        while (skb := qdisc.dequeue(now)) is not None:
            out.append((now, skb))
    out += drain(qdisc, now)
    assert len(qdisc) == 0
    numbers = [skb.number for _, skb in out]
    gone = {skb.number for skb, _ in freed}
    twins = {n for n in numbers if n < 1000}  # netem's duplicates have numbers of their own
    assert len(numbers) == len(set(numbers))
    assert set(numbers) - twins | gone == taken
    assert not gone & set(numbers)
    assert not refused & (set(numbers) | gone)
    assert twins == set() or name == "netem"
    assert [t for t, _ in out] == sorted(t for t, _ in out)


def test_pfifo_fast_serves_low_delay_first():
    qdisc, plain, urgent = make("pfifo_fast"), buffer(1), buffer(2, tos=0x10)
    assert qdisc.enqueue(plain, 0) is qdisc.enqueue(urgent, 0) is NetXmit.SUCCESS
    assert not qdisc.bypass
    assert [qdisc.dequeue(0), qdisc.dequeue(0), qdisc.dequeue(0)] == [urgent, plain, None]


@given(st.lists(st.tuples(st.integers(0, 5_000_000), st.integers(60, 1400)), min_size=2, max_size=60))
def test_tbf_never_lets_more_pass_than_its_rate_and_bucket(arrivals):
    qdisc, now, out = make("tbf rate 8mbit burst 3000b limit 1000kb"), 0, []
    for number, (gap, size) in enumerate(arrivals):
        now += gap
        qdisc.enqueue(buffer(number, size), now)
        while (skb := qdisc.dequeue(now)) is not None:
            out.append((now, packet_bytes(skb)))
    out += [(t, packet_bytes(skb)) for t, skb in drain(qdisc, now)]
    for i in range(len(out)):
        passed = 0
        for t, size in out[i:]:
            passed += size
            # 8 Mbit/s are a byte each microsecond; a nanosecond of rounding for each packet
            assert passed * 1000 <= 3000 * 1000 + (t - out[i][0]) + len(out)


def test_tbf_cuts_what_its_bucket_could_never_hold_and_charges_the_rest_whole():
    qdisc = make("tbf rate 8mbit burst 4000b limit 100kb")
    assert qdisc.enqueue(buffer(1, 2896, segments=2), 0) is NetXmit.SUCCESS
    assert len(qdisc) == 1
    whole = qdisc.dequeue(0)
    assert (whole.gso_segs, packet_bytes(whole)) == (2, 2896 + 2 * 54)
    assert qdisc.enqueue(buffer(2, 5792, segments=4), 0) is NetXmit.SUCCESS
    pieces = [skb for _, skb in drain(qdisc, 0)]
    assert [p.length for p in pieces] == [1448] * 4
    assert {p.origin for p in pieces} == {2}


def test_fq_serves_flows_in_turn_and_holds_what_is_not_due():
    qdisc = make("fq quantum 1502b initial_quantum 1502b")
    for number, port in enumerate((1, 1, 1, 2, 2)):
        qdisc.enqueue(buffer(number, port=port), 0)
    late = buffer(9, port=3)
    late.departure_ns = 7_000_000
    qdisc.enqueue(late, 0)
    out = drain(qdisc, 1)
    assert [skb.tcp.srcport for _, skb in out] == [1, 2, 1, 2, 1, 3]
    assert out[-1][0] == 7_000_000


def test_fq_holds_a_socket_without_stamps_to_its_pacing_rate():
    class Owner:
        wmem_alloc, pacing_rate, paced_below = 0, 1_502_000, False

    owner, qdisc = Owner(), make("fq quantum 1502b initial_quantum 1502b")
    for number in range(5):
        skb = buffer(number)
        skb.owner = owner
        qdisc.enqueue(skb, 0)
    times = [t for t, _ in drain(qdisc, 1)]
    assert owner.paced_below
    assert [b - a for a, b in zip(times, times[1:], strict=False)] == [1_000_000] * 4


def test_codel_drops_by_its_control_law():
    freed, now = [], 0
    qdisc = make("fq_codel target 5ms interval 100ms noecn limit 10000", freed)
    for number in range(4000):
        qdisc.enqueue(buffer(number), 0)
    times = []
    while now < 1_500_000_000:
        before = len(freed)
        qdisc.dequeue(now)
        times += [now] * (len(freed) - before)
        now += 1_000_000
    # First drop an interval after the queue was found too long, then each interval / sqrt(count) (RFC 8289 5.3).
    assert abs(times[0] - 105_000_000) <= 6_000_000
    for count, (a, b) in enumerate(zip(times[:12], times[1:12], strict=False), 1):
        assert abs((b - a) - 100_000_000 * 1000 // isqrt(count * 1_000_000)) <= 2_000_000
    assert {why for _, why in freed} == {"QDISC_CONGESTED"}


def test_codel_marks_instead_of_dropping_where_the_sender_can_read_it():
    freed = []
    qdisc, now, marked = make("fq_codel target 5ms interval 100ms", freed), 0, 0
    for number in range(400):
        qdisc.enqueue(buffer(number, tos=2), 0)
    while (skb := qdisc.dequeue(now)) is not None:
        marked += skb.ip.tos & 3 == 3
        now += 1_000_000
    assert marked >= 3
    assert not freed


def test_a_full_fq_codel_drops_from_the_fattest_flow():
    freed = []
    qdisc = make("fq_codel limit 20 flows 1024", freed)
    for number in range(18):
        qdisc.enqueue(buffer(number, port=1), 0)
    verdicts = [qdisc.enqueue(buffer(100 + n, port=2), 0) for n in range(3)]
    assert verdicts == [NetXmit.SUCCESS] * 3
    assert {skb.tcp.srcport for skb, _ in freed} == {1}
    assert len(freed) == 9


def test_netem_delays_loses_and_doubles_by_its_shares():
    freed = []
    qdisc = make("netem delay 10ms loss 10% duplicate 5% limit 100000", freed)
    for number in range(1000, 11000):
        qdisc.enqueue(buffer(number, 10), 0)
    out = drain(qdisc, 0)
    assert {t for t, _ in out} == {10_000_000}
    twins = sum(skb.number < 1000 for _, skb in out)
    assert 900 <= len(freed) <= 1100
    assert len(out) == 10_000 - len(freed) + twins
    assert 400 <= twins <= 600
    assert {why for _, why in freed} == {"NETEM_LOSS"}


def test_netem_lets_one_in_four_overtake():
    qdisc = make("netem delay 10ms reorder 25%")
    for number in range(400):
        qdisc.enqueue(buffer(number), 0)
    first = sum(t == 0 for t, _ in drain(qdisc, 0))
    assert 70 <= first <= 130


def test_netems_rate_spaces_frames():
    qdisc = make("netem rate 12mbit")
    for number in range(5):
        qdisc.enqueue(buffer(number, 1446), 0)  # 1500 bytes: 1 ms each
    assert [t for t, _ in drain(qdisc, 0)] == [n * 1_000_000 for n in range(1, 6)]


def test_a_byte_limit_finds_what_keeps_the_card_busy():
    """A card that sends 10,000 bytes between two completions: the limit settles between one and two of those."""
    limits, waiting = QueueLimits(250), 0
    for jiffies in range(1, 4001):
        while limits.available:
            limits.queued(1500)
            waiting += 1500
        sent = min(waiting, 10_500)
        waiting -= sent
        limits.completed(sent, jiffies)
    assert 10_500 <= limits.limit <= 2 * 10_500 + 1500


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        ("tbf rate 1gbit burst 1mb latency 50ms", "burst", 1 << 20),
        ("tbf rate 125kbps burst 10k limit 1m", "rate", 1_000_000),
        ("netem delay 100us", "delay", 100_000),
        ("netem delay 100", "delay", 100_000),
        ("netem loss random 0.5%", "loss", 5_000_000),
        ("fq maxrate 10.5mbit", "maxrate", 10_500_000),
    ],
)
def test_tcs_units(words, name, value):
    assert parse_qdisc(words)[name] == value
