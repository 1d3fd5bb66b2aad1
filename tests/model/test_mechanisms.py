"""TCP's answers to crafted segments: one host, packets injected, what left is looked at."""

from __future__ import annotations

import contextlib
import itertools
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from pcaptool.scenario import Scenario
from pcaptool.stack.lone import LoneHost
from pcaptool.stack.syscalls import Socket, SocketError
from pcaptool.stack.tcp.info import tcp_info
from pcaptool.stack.tcp.sock import CaState, State
from pcaptool.wire.tcp import SEQ_MASK, TcpFlag, TcpOptions

ACK, SYN, RST, FIN, PSH = TcpFlag.ACK, TcpFlag.SYN, TcpFlag.RST, TcpFlag.FIN, TcpFlag.PSH
ECE, CWR = TcpFlag.ECE, TcpFlag.CWR
WITH_STAMPS = TcpOptions(mss=1460, sack_permitted=True, window_scale=7, timestamps=(1000, 0))
MS = 1_000_000


def lone(**settings):
    return LoneHost(replace(Scenario().host.server, **settings))


def write(host, sk, size, *, more_ms=1):
    """A program writes, all at once."""
    host.spawn(Socket(host.host, sk).send(bytes(size)))
    host.run(more_ms * MS)
    return host.take()


def segments(sent):
    """(relative to nothing) sizes of data."""
    return [s.skb.length for s in sent if s.skb.length]


# --- what is acceptable


def test_a_reset_at_the_expected_number_ends_the_connection():
    host = lone()
    sk = host.established()
    host.inject(host.segment(RST, ack=0))
    assert sk.state is State.CLOSE
    assert host.take() == []


@pytest.mark.parametrize("ahead", [1, 1000, 60_000])
def test_a_reset_elsewhere_in_the_window_is_challenged(ahead):
    host = lone()
    sk = host.established()
    host.inject(host.segment(RST, seq=host.peer_seq + ahead, ack=0))
    assert sk.state is State.ESTABLISHED
    (answer,) = host.take()
    assert (answer.tcp.flags, answer.tcp.ack) == (ACK, host.peer_seq)


def test_a_reset_behind_the_last_block_of_the_queue_counts():
    host = lone()
    sk = host.established()
    host.inject(host.segment(ACK, seq=host.peer_seq + 100, payload=b"x" * 50))
    host.inject(host.segment(RST, seq=host.peer_seq + 150, ack=0))
    assert sk.state is State.CLOSE


def test_a_reset_outside_the_window_is_ignored():
    host = lone()
    sk = host.established()
    host.inject(host.segment(RST, seq=host.peer_seq + 10_000_000, ack=0))
    assert sk.state is State.ESTABLISHED
    assert host.take() == []


def test_a_syn_is_challenged_and_challenges_leave_twice_a_second():
    host = lone()
    host.established()
    for _ in range(5):
        host.inject(host.segment(SYN, seq=7, ack=0), settle_ns=10 * MS)
    assert [s.tcp.flags for s in host.take()] == [ACK]
    host.run(500 * MS)
    host.inject(host.segment(SYN, seq=7, ack=0))
    assert len(host.take()) == 1


def test_paws_refuses_an_old_stamp_and_answers():
    host = lone()
    sk = host.established(options=WITH_STAMPS)
    host.inject(host.segment(ACK | PSH, payload=b"new", options=host.stamped()))
    host.take()
    expected = sk.rcv_nxt
    host.inject(
        host.segment(ACK | PSH, seq=host.peer_seq, payload=b"old", options=host.stamped(back_ms=5000))
    )
    assert sk.rcv_nxt == expected
    (answer,) = host.take()
    assert answer.tcp.ack == expected & SEQ_MASK
    # One tick back may be reordering; a stamp that is no older is taken.
    host.inject(host.segment(ACK | PSH, seq=host.peer_seq, payload=b"now", options=host.stamped()))
    assert sk.rcv_nxt == expected + 3


def test_paws_lets_a_reset_through():
    host = lone()
    sk = host.established(options=WITH_STAMPS)
    host.inject(host.segment(RST, ack=0, options=host.stamped(back_ms=5000)))
    assert sk.state is State.CLOSE


def test_an_ack_far_in_the_past_is_challenged_and_one_of_the_future_ignored():
    host = lone()
    sk = host.established()
    write(host, sk, 1000)
    host.inject(host.segment(ACK))
    host.run(600 * MS)
    host.take()
    host.inject(host.segment(ACK, ack=(host.peer_ack - 100_000) & SEQ_MASK))
    assert len(host.take()) == 1
    host.inject(host.segment(ACK, ack=(host.peer_ack + 1000) & SEQ_MASK))
    assert host.take() == []
    assert sk.snd_una == sk.snd_nxt


def test_bytes_for_a_closed_program_reset_the_connection():
    host = lone()
    sk = host.established()
    host.spawn(Socket(host.host, sk).close())
    host.run(MS)
    assert [s.tcp.flags for s in host.take()] == [FIN | ACK]
    host.inject(host.segment(ACK | PSH, payload=b"too late"))
    assert [s.tcp.flags for s in host.take()] == [RST]
    assert sk.state is State.CLOSE


# --- ECN (RFC 3168)


def ecn_host():
    host = lone(tcp_ecn=1)
    return host, host.established(flags=SYN | ECE | CWR)


def test_ecn_is_agreed_on_in_the_handshake_and_marks_new_data_only():
    host, sk = ecn_host()
    assert sk.ecn.ok
    (data,) = write(host, sk, 1000)
    assert data.skb.ip.tos == 2
    host.run(400 * MS)
    again = host.take()
    assert [(s.skb.length, s.skb.ip.tos) for s in again] == [(1000, 0)]  # a repetition is not capable


def test_no_ecn_where_one_side_does_not_want_it():
    assert not lone(tcp_ecn=0).established(flags=SYN | ECE | CWR).ecn.ok
    assert not lone(tcp_ecn=1).established().ecn.ok
    assert lone(tcp_ecn=2).established(flags=SYN | ECE | CWR).ecn.ok


def test_a_mark_is_echoed_until_the_peer_says_cwr():
    host, sk = ecn_host()
    host.inject(host.segment(ACK | PSH, payload=b"a" * 1460, tos=3))
    assert sk.ecn.demand_cwr
    assert {bool(s.tcp.flags & ECE) for s in host.take()} == {True}
    host.inject(host.segment(ACK | PSH, payload=b"b" * 1460, tos=2))
    assert all(s.tcp.flags & ECE for s in host.take())
    host.inject(host.segment(ACK | PSH | CWR, payload=b"c" * 1460, tos=2))
    last = host.take()[-1]
    assert not last.tcp.flags & ECE


def test_an_echo_cuts_the_window_once_and_the_next_new_data_says_cwr():
    host, sk = ecn_host()
    sent = write(host, sk, 30_000)
    before = sk.snd_cwnd
    assert before == 10
    first_end = (sent[0].tcp.seq + sent[0].skb.length) & SEQ_MASK
    host.inject(host.segment(ACK | ECE, ack=first_end))
    assert sk.ca_state is CaState.CWR
    assert sk.ssthresh == 7  # CUBIC: 0.7 of it
    host.inject(host.segment(ACK | ECE))  # up to what is out
    cwr = [bool(s.tcp.flags & CWR) for s in host.take() if s.skb.length]
    assert cwr[:1] == [True]
    assert not any(cwr[1:])
    assert sk.ssthresh == 7
    assert tcp_info(sk).delivered_ce > 0


# --- loss recovery


def test_limited_transmit_sends_new_data_on_the_first_two_duplicates_without_sack():
    host = lone(tcp_sack=False, congestion="reno")
    sk = host.established(options=TcpOptions(mss=1460, window_scale=7))
    sent = write(host, sk, 40_000, more_ms=5)
    start = sent[0].tcp.seq
    host.take()
    for duplicates in (1, 2):
        host.inject(host.segment(ACK, ack=start), settle_ns=3 * MS)  # within 1 ms TSO would wait for more
        new = host.take()
        assert segments(new) == [1460], duplicates  # RFC 3042
        assert new[0].tcp.seq > start
    host.inject(host.segment(ACK, ack=start))
    assert [s.tcp.seq for s in host.take()][:1] == [start]  # the third: fast retransmit
    assert sk.ca_state is CaState.RECOVERY


def test_a_dsack_for_each_repetition_takes_the_reduction_back():
    host = lone()
    sk = host.established()
    sent = write(host, sk, 14_600)
    start = sent[0].tcp.seq
    blocks = ((start + 1460, start + 4 * 1460),)
    host.inject(host.segment(ACK, ack=start, options=TcpOptions(sack_blocks=blocks)))
    again = host.take()
    assert [(s.tcp.seq, s.skb.length) for s in again][:1] == [(start, 1460)]
    assert sk.ca_state is CaState.RECOVERY
    assert sk.ssthresh == 7
    # The original arrived, and so did the repetition: all is acknowledged, with a D-SACK.
    repeated = TcpOptions(sack_blocks=((start, start + 1460),))
    host.inject(host.segment(ACK, ack=(start + 14_600) & SEQ_MASK, options=repeated))
    assert sk.ca_state is CaState.OPEN
    assert sk.snd_cwnd >= 10
    assert sk.ssthresh > 7
    assert tcp_info(sk).dsack_dups == 1


def test_what_a_receiver_threw_away_after_it_had_sacked_it_is_sent_again():
    host = lone()
    sk = host.established()
    start = write(host, sk, 14_600)[0].tcp.seq
    blocks = ((start + 1460, start + 4 * 1460),)
    host.inject(host.segment(ACK, ack=start, options=TcpOptions(sack_blocks=blocks)))
    assert [s.tcp.seq - start for s in host.take()] == [0]  # recovery
    # The hole is filled, yet the ACK stops before what had been SACKed.
    before = host.simulator.now_ns
    host.inject(host.segment(ACK, ack=start + 1460))
    assert host.take() == []
    assert sk.sacked_out == 3
    host.run(60 * MS)
    again = host.take()
    assert (again[0].tcp.seq - start, again[0].skb.length) == (1460, 1460)
    assert 10 <= (again[0].time_ns - before) / MS <= 22  # at least 10 ms, and the timer wheel's lateness
    assert (sk.ca_state, sk.sacked_out, sk.recovery.reneged) == (CaState.LOSS, 0, True)
    host.inject(host.segment(ACK, ack=(start + 14_600) & SEQ_MASK))
    assert (sk.ca_state, sk.recovery.reneged, sk.packets_out) == (CaState.OPEN, False, 0)


def test_a_receiver_that_still_has_what_it_sacked_is_believed():
    host = lone()
    sk = host.established()
    start = write(host, sk, 14_600)[0].tcp.seq
    blocks = ((start + 1460, start + 4 * 1460),)
    host.inject(host.segment(ACK, ack=start, options=TcpOptions(sack_blocks=blocks)))
    host.take()
    host.inject(host.segment(ACK, ack=start + 1460))
    host.inject(host.segment(ACK, ack=start + 4 * 1460))  # in time: the ACK before was only early
    host.run(60 * MS)
    assert start + 1460 not in [s.tcp.seq for s in host.take()]
    assert not sk.recovery.reneged


def test_an_orphan_gives_up_sooner_than_a_connection_with_a_program():
    kept, orphan = lone(), lone()
    ends = []
    for host, closes in ((kept, False), (orphan, True)):
        sk = host.established()
        write(host, sk, 100)
        if closes:
            host.spawn(Socket(host.host, sk).close())
        start = host.simulator.now_ns
        while sk.state is not State.CLOSE and host.simulator.now_ns - start < 1200 * 10**9:
            host.run(10**9)
        ends.append((host.simulator.now_ns - start) / 1e9)
    assert 900 < ends[0] < 1000  # tcp_retries2 15: 924.6 s at the least timeout
    assert 90 < ends[1] < 120  # eight repetitions


# --- sysctls


@pytest.mark.parametrize("dsack", [True, False])
def test_tcp_dsack_says_whether_repeats_are_told(dsack):
    host = lone(tcp_dsack=dsack)
    host.established()
    first = host.segment(ACK | PSH, payload=b"x" * 100)
    seq = first.seq
    host.inject(first)
    host.take()
    host.inject(host.segment(ACK | PSH, seq=seq, payload=b"x" * 100))
    (answer,) = host.take()
    assert answer.tcp.options.sack_blocks == (((seq, seq + 100),) if dsack else ())


@pytest.mark.parametrize(("early", "first_ms"), [(3, 220), (0, 240)])
def test_tcp_early_retrans_says_whether_a_loss_probe_comes_first(early, first_ms):
    host = lone(tcp_early_retrans=early)
    sk = host.established()
    write(host, sk, 100)
    host.run(first_ms * MS)
    assert len(host.take()) == 1
    assert sk.retransmits == (0 if early == 3 else 1)  # a probe is no timeout


def refused(call):
    """A program that minds no error."""
    with contextlib.suppress(SocketError):
        yield from call


@pytest.mark.parametrize(("linear", "gaps"), [(4, [1, 1, 1, 1, 1, 2]), (1, [1, 1, 2, 4, 8, 16])])
def test_tcp_syn_linear_timeouts_says_when_the_timeout_doubles(linear, gaps):
    host = lone(tcp_syn_linear_timeouts=linear)
    host.spawn(refused(Socket(host.host).connect(host.peer, 80)))
    host.run(60_000 * MS)
    times = [s.time_ns / 1e9 for s in host.take()]
    assert len(times) == 7
    found = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert found == pytest.approx(gaps, rel=0.15)


# --- keepalive


def test_a_silent_peer_is_probed_and_given_up():
    host = lone()
    sk = host.established()
    Socket(host.host, sk).set_keepalive(idle_ms=10_000, interval_ms=3_000, probes=4)
    begin = host.simulator.now_ns
    host.run(60_000 * MS)
    sent = host.take()
    *probes, last = sent
    assert [(s.tcp.flags, s.skb.length, (sk.snd_una - s.tcp.seq) & SEQ_MASK) for s in probes] == [
        (ACK, 0, 1)
    ] * 4
    assert (last.tcp.flags, sk.state, sk.error) == (RST | ACK, State.CLOSE, "ETIMEDOUT")
    times = [(s.time_ns - begin) / 1e9 for s in sent]
    assert times == pytest.approx(
        [10, 13, 16, 19, 22], abs=0.6
    )  # the wheel fires up to a quarter second late


def test_an_answer_puts_the_next_probe_off():
    host = lone()
    sk = host.established()
    Socket(host.host, sk).set_keepalive(idle_ms=1_000, interval_ms=300, probes=2)
    for _ in range(5):
        host.run(1_100 * MS)
        assert len(host.take()) == 1
        host.inject(host.segment(ACK))
    assert (sk.state, tcp_info(sk).probes) == (State.ESTABLISHED, 0)


# --- TCP_INFO


def test_tcp_info_follows_the_connection():
    host = lone()
    sk = host.established(options=WITH_STAMPS)
    info = tcp_info(sk)
    assert (info.state, info.ca_state, info.snd_cwnd, info.options) == (1, 0, 10, 7)
    write(host, sk, 5000)
    info = tcp_info(sk)
    assert (info.unacked, info.bytes_sent, info.data_segs_out, info.notsent_bytes) == (4, 5000, 4, 0)
    host.inject(host.segment(ACK, options=host.stamped()))
    info = tcp_info(sk)
    assert (info.unacked, info.bytes_acked, info.delivered, info.snd_cwnd) == (0, 5000, 5, 10)
    host.inject(host.segment(ACK | PSH, payload=b"x" * 700, options=host.stamped()))
    info = tcp_info(sk)
    assert (info.bytes_received, info.data_segs_in) == (700, 1)


# --- the backlog


def test_acks_of_one_batch_merge_and_those_that_come_while_it_is_processed_do_not():
    """__release_sock takes the list away first (a captured ECN exchange on veth shows it)."""
    from pcaptool.stack.tcp import lock

    host = lone()
    sk = host.established()
    start = write(host, sk, 14_600)[0].tcp.seq
    processed = []

    def process(sk, skb):
        processed.append((skb.tcp.ack - start) & SEQ_MASK)
        if len(processed) == 1:
            lock.add_backlog(sk, host.segment(ACK, ack=start + 4 * 1460))
        yield 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lock, "rcv_state_process", process)
        sk.owned = True
        lock.add_backlog(sk, host.segment(ACK | ECE, ack=start + 1460))
        lock.add_backlog(sk, host.segment(ACK, ack=start + 2 * 1460))  # another flag: a segment of its own
        lock.add_backlog(
            sk, host.segment(ACK, ack=start + 3 * 1460)
        )  # the same but for the number: one segment
        for _ in lock.release_sock(sk):
            pass
    assert processed == [1460, 3 * 1460, 4 * 1460]
