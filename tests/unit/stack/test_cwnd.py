"""What becomes of a congestion window that was not used (tcp_cwnd_restart, tcp_cwnd_application_limited)."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pcaptool.stack.tcp.cwnd import cwnd_validate, idle_check
from pcaptool.stack.tcp.sock import CaState

RTO = 54


def sock(cwnd, idle, **values):
    host = SimpleNamespace(
        settings=SimpleNamespace(tcp_slow_start_after_idle=True, initial_cwnd=10),
        jiffies=SimpleNamespace(at=lambda _now: 1000 + idle),
        now_ns=0,
    )
    defaults = {
        "packets_out": 0, "last_send_jiffies": 1000, "rto_jiffies": RTO, "snd_cwnd": cwnd, "ssthresh": 7,
        "ca_state": CaState.OPEN, "snd_cwnd_used": 3, "snd_cwnd_stamp_jiffies": 1000, "orphan": False,
        "nospace": False, "congestion": SimpleNamespace(takes_control=False), "snd_una": 5, "snd_nxt": 6,
        "cwnd_usage_seq": 5, "is_cwnd_limited": False, "max_packets_out": 0, "in_slow_start": False,
    }  # fmt: skip
    return SimpleNamespace(host=host, **(defaults | values))


@pytest.mark.parametrize(
    ("idle", "expected"),
    [
        (RTO, 40),  # not longer than a timeout
        (RTO + 1, 20),
        (2 * RTO, 20),
        (2 * RTO + 1, 10),
        (50 * RTO, 10),  # the initial window is always allowed
    ],
)
def test_each_timeout_without_data_halves_the_window_once(idle, expected):
    sk = sock(40, idle)
    idle_check(sk)
    assert sk.snd_cwnd == expected
    assert sk.ssthresh == (7 if expected == 40 else 30)  # three quarters of what it was


def test_a_window_smaller_than_the_initial_one_stays():
    sk = sock(4, 50 * RTO)
    idle_check(sk)
    assert sk.snd_cwnd == 4


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, 25),  # half the way to what was used, the initial window at least
        ({"nospace": True}, 40),  # the send buffer was too small for it
        ({"ca_state": CaState.DISORDER}, 40),
        ({"orphan": True}, 40),
    ],
)
def test_a_window_that_the_program_did_not_use_shrinks_unless_something_else_held_it_back(values, expected):
    sk = sock(40, RTO, packets_out=3, **values)
    cwnd_validate(sk, limited=False)
    assert sk.snd_cwnd == expected
    assert sk.snd_cwnd_stamp_jiffies == 1000 + RTO
