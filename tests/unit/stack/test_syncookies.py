"""What survives in a SYN cookie, and what a listening socket does whose queues are full."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcaptool.generate import generate
from pcaptool.predict.observe import observe
from pcaptool.scenario import parse_scenario
from pcaptool.stack.tcp.handshake import RequestSock
from pcaptool.stack.tcp.syncookies import cookie_clock_ms, forget, remember
from pcaptool.wire.tcp import TcpFlag, TcpOptions

REQUEST = RequestSock(
    local=(bytes(4), 80), remote=(bytes(4), 40000), peer_seq=1, seq=2,
    options=TcpOptions(mss=1460, window_scale=7, sack_permitted=True, timestamps=(1, 0)),
    timestamps=True, sack=True, window_scaling=True, window=65160, wscale=10, ts_offset=0, flow_label=0, mss=1460,
)  # fmt: skip


@given(
    clock_ms=st.integers(64, 1 << 40),
    scale=st.none() | st.integers(0, 14),
    sack=st.booleans(),
    ecn=st.booleans(),
)
def test_the_low_bits_of_the_stamp_hold_the_options_and_it_is_never_ahead(clock_ms, scale, sack, ecn):
    options = replace(REQUEST.options, window_scale=scale)
    request = replace(REQUEST, options=options, window_scaling=scale is not None, sack=sack, ecn_ok=ecn)
    coded = cookie_clock_ms(request, clock_ms)
    assert clock_ms - 64 < coded <= clock_ms
    assert coded & 0xF == (15 if scale is None else scale)
    assert (coded >> 4 & 1, coded >> 5 & 1) == (sack, ecn)


@given(
    mss=st.integers(1, 65535),
    family=st.sampled_from([(4, (536, 1300, 1440, 1460)), (16, (1220, 1420, 1440, 8940))]),
)
def test_the_mss_is_rounded_down_to_one_of_four(mss, family):
    size, table = family
    request = replace(REQUEST, remote=(bytes(size), 1), options=replace(REQUEST.options, mss=mss))
    kept = remember(request, 7)
    assert kept.options.mss in table
    assert kept.options.mss <= mss or kept.options.mss == table[0]
    assert kept.flow_label == 7


def test_without_timestamps_only_the_mss_is_kept():
    bare = replace(REQUEST, timestamps=False, options=replace(REQUEST.options, timestamps=None))
    kept = forget(bare)
    assert (kept.sack, kept.window_scaling, kept.wscale, kept.cookie) == (False, False, 0, True)
    assert kept.options.mss == 1460
    assert forget(REQUEST).sack


def flags(scenario, folder):
    """The server's flags, frame by frame, of each connection."""
    made = generate(parse_scenario(scenario), folder / "x.pcapng", taps=["server"])
    return [[frame.tcp.flags for frame in c.from_server] for c in observe(made.capture).connections], made


BUSY = """
[server]
backlog = 1
accept_pause_ms = 700
[client]
requests = ["/bytes/500"]
connections = 4
stagger_ms = 3
[link]
delay_ms = 10
[host.server]
"""


def test_who_finds_no_place_is_ignored_until_there_is_one(tmp_path):
    answers, _ = flags(BUSY + "tcp_syncookies = 0\n", tmp_path)
    assert len(answers) == 4
    assert all(sent[-1] & TcpFlag.FIN for sent in answers)  # all are served in the end
    assert not any(flag & TcpFlag.RST for sent in answers for flag in sent)


def test_who_finds_no_place_is_reset_where_the_sysctl_says_so(tmp_path):
    answers, _ = flags(BUSY + "tcp_syncookies = 0\ntcp_abort_on_overflow = true\n", tmp_path)
    assert [any(flag & TcpFlag.RST for flag in sent) for sent in answers].count(True) == 1


@pytest.mark.parametrize("lost", ["", '[[link.drop]]\nmatch = "synack"\n'])
def test_a_cookie_is_not_repeated_but_the_same_for_the_same_syn(lost, tmp_path):
    text = f'[client]\nrequests = ["/bytes/3000"]\n[host.server]\ntcp_syncookies = 2\n{lost}'
    answers, made = flags(text, tmp_path)
    synacks = [f for f in observe(made.capture).connections[0].from_server if f.tcp.flags & TcpFlag.SYN]
    assert len(synacks) == (2 if lost else 1)
    assert len({frame.tcp.seq for frame in synacks}) == 1
    assert answers[0][-1] & TcpFlag.FIN


def test_a_repeated_syn_puts_the_synacks_timer_off(tmp_path):
    """The SYN comes again just before the SYN-ACK would have been: one SYN-ACK more, not two."""
    text = '[client]\nrequests = ["/bytes/1"]\n[link]\ndelay_ms = 15\n[[link.drop]]\nmatch = "synack"\n'
    answers, _ = flags(text, tmp_path)
    assert [bool(flag & TcpFlag.SYN) for flag in answers[0]].count(True) == 2
