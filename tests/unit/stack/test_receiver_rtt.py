"""The receiver's round trip, on which its buffer's growth depends (tcp_rcv_rtt_measure, tcp_rcv_rtt_measure_ts)."""

from __future__ import annotations

import pytest

from pcaptool.stack.lone import LoneHost
from pcaptool.stack.syscalls import Socket
from pcaptool.wire.tcp import TcpFlag, TcpOptions

SEGMENT = bytes(1460)


@pytest.fixture
def lone():
    return LoneHost()


def arrive(lone, sk, count, gap_ns):
    """Full segments, `gap_ns` from one to the next, and a reader that takes all of them."""
    socket = Socket(lone.host, sk)
    for _ in range(count):
        lone.inject(lone.segment(TcpFlag.ACK | TcpFlag.PSH, payload=SEGMENT), settle_ns=gap_ns)
        lone.spawn(socket.recv(65536))
        lone.run(0)


def test_the_time_a_window_takes_to_come_is_a_round_trip(lone):
    sk = lone.established()
    window = sk.rcv_wnd
    first = -(-window // len(SEGMENT))
    arrive(lone, sk, first, 100_000)
    assert sk.rcv_rtt8_us == 0  # the window that is timed begins behind the first segment
    arrive(lone, sk, 1, 100_000)
    assert sk.rcv_rtt8_us >> 3 == pytest.approx(100 * first, rel=0.02)


def test_only_a_faster_window_counts(lone):
    sk = lone.established()
    sk.rcvbuf_locked = True  # so that a window stays as long
    arrive(lone, sk, 100, 100_000)
    slow_us = sk.rcv_rtt8_us >> 3
    arrive(lone, sk, 150, 300_000)
    assert sk.rcv_rtt8_us >> 3 == slow_us
    arrive(lone, sk, 150, 10_000)
    assert 0 < sk.rcv_rtt8_us >> 3 < slow_us


def test_stamps_of_this_millisecond_are_no_sample_and_older_ones_are_smoothed(lone):
    options = TcpOptions(mss=1460, sack_permitted=True, window_scale=7, timestamps=(1000, 0))
    sk = lone.established(options=options)

    def echo(age_ms):
        stamps = TcpOptions(timestamps=(lone.stamped().timestamps[0], (sk.ts_clock() - age_ms) & 0xFFFFFFFF))
        lone.inject(lone.segment(TcpFlag.ACK, payload=bytes(1448), options=stamps), settle_ns=0)
        lone.run(2_000_000)

    echo(0)
    assert sk.rcv_rtt8_us == 0
    echo(40)
    assert sk.rcv_rtt8_us >> 3 == 40_000
    echo(80)  # nobody has read: a slow reader is no long way
    assert sk.rcv_rtt8_us >> 3 == 40_000
    echo(10)
    assert sk.rcv_rtt8_us >> 3 == 10_000
