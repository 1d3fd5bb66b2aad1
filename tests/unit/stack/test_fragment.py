"""Datagrams cut and joined again: nothing lost, in any order, and never more than the MTU."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcaptool.stack.fragment import Reassembly, fragment
from pcaptool.stack.skbuff import Datagram, SkBuff, SkBuffIds, UdpHeader


def datagram(data, version, number=7):
    size = 4 if version == 4 else 16
    skb = SkBuff(1, 1, length=len(data), payload=memoryview(data), udp=UdpHeader(53, 9))
    skb.ip = Datagram(bytes(size), bytes([1] * size), 17, identification=number)
    return skb


@settings(max_examples=80)
@given(st.binary(max_size=9000), st.sampled_from([4, 6]), st.integers(1280, 9000), st.randoms())
def test_pieces_in_any_order_make_the_datagram_again(data, version, mtu, chance):
    whole = datagram(data, version)
    pieces = fragment(whole, mtu, 99, SkBuffIds())
    assert all(piece.network_bytes <= mtu for piece in pieces)
    assert all(piece.length % 8 == 0 for piece in pieces[:-1])
    assert {p.ip.identification if version == 4 else p.ip.fragment_id for p in pieces} == {
        7 if version == 4 else 99
    }
    chance.shuffle(pieces)
    reassembly = Reassembly()
    done = [made for made in (reassembly.add(piece) for piece in pieces) if made is not None]
    if len(pieces) == 1 and version == 4:
        return  # it was not cut: it goes up as it is
    assert len(done) == 1
    assert bytes(done[0].payload[: done[0].length]) == data
    assert (done[0].udp.srcport, done[0].udp.dstport) == (53, 9)


@given(st.integers(2, 9), st.data())
def test_a_datagram_with_a_hole_never_goes_up(count, data):
    pieces = fragment(datagram(bytes(1400 * count), 4), 1500, 0, SkBuffIds())
    missing = data.draw(st.integers(0, len(pieces) - 1))
    reassembly = Reassembly()
    assert all(reassembly.add(p) is None for i, p in enumerate(pieces) if i != missing)


def test_datagrams_do_not_mix_and_old_ones_make_room():
    reassembly = Reassembly()
    for number in range(3000):
        first = fragment(datagram(bytes(3000), 4, number), 1500, 0, SkBuffIds())[0]
        assert reassembly.add(first) is None
    assert len(reassembly._open) <= 1024


def test_a_routers_pieces_can_be_cut_only_where_allowed():
    with pytest.raises(ValueError, match="without network header"):
        fragment(replace(datagram(b"", 4), ip=None), 1500, 0, SkBuffIds())
