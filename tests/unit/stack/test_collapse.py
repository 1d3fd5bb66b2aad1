"""Small buffers that are lost are sent again together, as far as a segment goes (tcp_retrans_try_collapse)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcaptool.scenario import Scenario
from pcaptool.stack.lone import LoneHost
from pcaptool.stack.syscalls import Socket
from pcaptool.stack.tcp.sock import Nagle
from pcaptool.wire.tcp import TcpFlag, TcpOptions

MS = 1_000_000
SMALL = TcpOptions(mss=1460, sack_permitted=True, window_scale=7)


def written(sizes, *, initial_cwnd=40):
    """A connection on which a program wrote these, each in a segment of its own; what was sent."""
    lone = LoneHost(replace(Scenario().host.server, initial_cwnd=initial_cwnd))
    sk = lone.established(options=SMALL)
    sk.nonagle = Nagle.OFF
    for size in sizes:
        lone.spawn(Socket(lone.host, sk).send(bytes(size)))
        lone.run(MS // 10)
    return lone, sk, lone.take()


def again(lone, sk):
    """Lengths of what leaves behind the next timeout (not by the loss probe)."""
    sk.tlp_high_seq = sk.snd_nxt
    before = sk.total_retrans
    for _ in range(2000):
        lone.run(MS)
        if sk.total_retrans > before:
            break
    return [s.skb.length for s in lone.take() if s.skb.length]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([100, 300, 339], [739]),
        ([100], [100]),
        ([1460, 100], [1460]),
        ([1000, 460], [1460]),
        ([1000, 461], [1000]),
        ([700, 700, 700], [1400]),
        ([10, 2920, 10], [10]),
    ],
)
def test_the_first_one_takes_those_that_fit(sizes, expected):
    lone, sk, sent = written(sizes)
    assert sum(s.skb.length for s in sent) == sum(sizes)
    assert again(lone, sk) == expected
    assert sk.packets_out == sum(skb.gso_segs for skb in sk.rtx_queue)


def test_what_the_receiver_has_is_left_alone():
    lone, sk, sent = written([100, 200, 300])
    base = sent[0].tcp.seq
    blocks = ((base + 300, base + 600),)
    lone.inject(lone.segment(TcpFlag.ACK, ack=base, options=TcpOptions(sack_blocks=blocks)))
    lone.run(20 * MS)  # RACK waits no longer
    assert [s.skb.length for s in lone.take() if s.skb.length] == [300]
    assert [skb.length for skb in sk.rtx_queue] == [300, 300]


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 1460), min_size=1, max_size=12))
def test_every_byte_is_sent_again_once_and_in_order(sizes):
    lone, sk, sent = written(sizes)
    base = sent[0].tcp.seq
    assert again(lone, sk)
    queue = list(sk.rtx_queue)
    assert [skb.seq for skb in queue[1:]] == [skb.end_seq for skb in queue[:-1]]
    assert queue[-1].end_seq == sk.snd_nxt
    assert sk.packets_out == sum(skb.gso_segs for skb in queue)
    assert sk.wmem_queued == sum(skb.truesize for skb in queue)
    lone.inject(lone.segment(TcpFlag.ACK, ack=(base + sum(sizes)) & 0xFFFFFFFF))
    assert (sk.packets_out, sk.lost_out, sk.retrans_out, sk.wmem_queued) == (0, 0, 0, 0)
