"""Single parts of the stack: timers, buffers, options, receive queue, congestion control, Nagle."""

from __future__ import annotations

from dataclasses import replace

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcaptool.sim.events import Simulator
from pcaptool.stack.skbuff import TRUESIZE_OVERHEAD, SendBuffer, SkBuff
from pcaptool.stack.stages import Stages
from pcaptool.stack.tcp.options import encode_options
from pcaptool.stack.tcp.receive_queue import ReceiveQueue
from pcaptool.stack.tcp.sock import near, wire_seq
from pcaptool.stack.timers import Jiffies, KernelTimer, wheel_expiry
from pcaptool.tables import STAGE_NAMES
from pcaptool.wire.tcp import TcpOptions, parse_options


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_timer_never_fires_early_and_at_most_an_eighth_late(now, delta):
    fires = wheel_expiry(now + delta, now)
    assert fires > now + delta or fires == now + delta
    assert fires - (now + delta) <= max(1, delta // 7 + 1)


def test_a_forty_millisecond_timer_fires_after_40_to_44_ms():
    jiffies = Jiffies(250)
    for phase_ms in range(8):
        sim, fired = Simulator(phase_ms * 1_000_000), []
        timer = KernelTimer(sim, jiffies, lambda sim=sim, fired=fired: fired.append(sim.now_ns))
        timer.mod(jiffies.at(sim.now_ns) + 10)
        sim.run()
        assert 40_000_000 <= fired[0] - phase_ms * 1_000_000 <= 44_000_000


def test_a_timer_that_is_set_again_fires_once():
    sim, fired = Simulator(), []
    timer = KernelTimer(sim, Jiffies(250), lambda: fired.append(1))
    timer.mod(5)
    timer.mod(9)
    sim.run()
    assert fired == [1]
    assert not timer.pending


@given(st.integers(0, 2**34), st.integers(-(2**31) + 1, 2**31 - 1))
def test_sequence_numbers_unwrap_to_the_nearest(expected, distance):
    value = expected + distance
    assert near(wire_seq(value), expected) == value


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=30), st.data())
def test_a_send_buffer_gives_the_bytes_that_were_put_in(chunks, data):
    whole = b"".join(chunks)
    buffer = SendBuffer(1000)
    for chunk in chunks:
        buffer.append(memoryview(chunk))
    start = data.draw(st.integers(0, len(whole)))
    size = data.draw(st.integers(0, len(whole) - start))
    assert bytes(buffer.view(1000 + start, size)) == whole[start : start + size]
    buffer.release(1000 + start)
    assert bytes(buffer.view(1000 + start, size)) == whole[start : start + size]


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=20), st.lists(st.integers(1, 30), max_size=20))
def test_a_receive_queue_keeps_bytes_and_frees_all_memory(chunks, sizes):
    queue, out = ReceiveQueue(), b""
    for chunk in chunks:
        queue.add(SkBuff(1, 1, length=len(chunk), payload=memoryview(chunk)))
    for size in sizes:
        out += b"".join(queue.read(size))
    out += b"".join(queue.read(10**6))
    assert out == b"".join(chunks)
    assert (len(queue), queue.charged) == (0, 0)


def test_a_buffer_that_the_sender_still_shares_is_not_merged_into():
    queue, original = ReceiveQueue(), SkBuff(1, 1)
    queue.add(SkBuff(2, 1, length=4, payload=memoryview(b"abcd"), clone_of=original))
    queue.add(SkBuff(3, 3, length=4, payload=memoryview(b"efgh")))
    assert queue.charged == 8 + 2 * TRUESIZE_OVERHEAD
    queue.add(SkBuff(4, 4, length=4, payload=memoryview(b"ijkl")))
    assert queue.charged == 12 + 2 * TRUESIZE_OVERHEAD


OPTIONS = st.builds(
    TcpOptions,
    mss=st.none() | st.integers(0, 65535),
    window_scale=st.none() | st.integers(0, 14),
    sack_permitted=st.booleans(),
    timestamps=st.none() | st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
)
COOKIES = st.sampled_from((0, *range(4, 17, 2))).flatmap(lambda size: st.binary(min_size=size, max_size=size))


@given(OPTIONS)
def test_options_survive_encoding_and_fill_words(options):
    raw = encode_options(options)
    assert len(raw) % 4 == 0
    assert parse_options(raw) == options


@given(OPTIONS, COOKIES, st.booleans())
def test_fast_open_options_survive_too_and_dpkt_reads_them(options, cookie, experimental):
    options = replace(options, fast_open=cookie, fast_open_experimental=experimental)
    raw = encode_options(options)
    assert len(raw) % 4 == 0
    assert parse_options(raw) == options
    read = dict(dpkt.tcp.parse_opts(raw))
    assert read[254 if experimental else 34] == (b"\xf9\x89" if experimental else b"") + cookie


@pytest.mark.parametrize(
    "raw", ["2203aa", "2205aabbcc", "2207aabbccddee", "fe04f98a", "fe06f989aabb", "fe03f9"]
)
def test_what_is_no_cookie_is_passed_over(raw):
    assert parse_options(bytes.fromhex(raw)).fast_open is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # Fact 14: the order on a SYN, with everything and with parts switched off.
        ({"mss": 1460, "sack_permitted": True, "timestamps": (0, 0), "window_scale": 10}, "02 04 08 01 03"),
        ({"mss": 1460, "timestamps": (0, 0), "window_scale": 10}, "02 01 01 08 01 03"),
        ({"mss": 1460, "sack_permitted": True, "window_scale": 10}, "02 01 01 04 01 03"),
        ({"mss": 1460, "sack_permitted": True, "timestamps": (0, 0)}, "02 04 08"),
        ({"mss": 1460}, "02"),
    ],
)
def test_option_order_is_the_kernels(options, expected):
    raw, at, kinds = encode_options(TcpOptions(**options)), 0, []
    while at < len(raw):
        kinds.append(raw[at])
        at += 1 if raw[at] == 1 else raw[at + 1]
    assert " ".join(f"{kind:02x}" for kind in kinds) == expected


def test_stage_rows_use_the_tables_names():
    stages = Stages("server")
    stages.pass_buffer(None, SkBuff(1, 1, length=5), "tcp_write_xmit", 9)
    assert [row.stage for row in stages.rows] == ["sys_enter_sendto", "tcp_sendmsg_locked", "tcp_write_xmit"]
    assert {row.stage for row in stages.rows} <= set(STAGE_NAMES)
