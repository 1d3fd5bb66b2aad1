"""Header layouts and checksums, against dpkt and by property."""

from __future__ import annotations

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcaptool.wire.checksum import complement, partial_checksum, pseudo_header, sum16, transport_checksum
from pcaptool.wire.cooked import SLL, SLL2
from pcaptool.wire.ethernet import ARP_IPV4, ETHERNET
from pcaptool.wire.icmpv6 import LINK_ADDRESS_OPTION, NEIGHBOUR_MESSAGE
from pcaptool.wire.ip import IPV4, IPV6, ipv4_header
from pcaptool.wire.layout import Field, Layout
from pcaptool.wire.tcp import TCP, TcpOptions, parse_options, seq_add, seq_before, seq_diff, walk_options
from pcaptool.wire.udp import UDP

LAYOUTS = [ETHERNET, ARP_IPV4, IPV4, IPV6, TCP, UDP, NEIGHBOUR_MESSAGE, LINK_ADDRESS_OPTION, SLL, SLL2]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@given(data=st.data())
def test_packing_and_unpacking_are_inverse(layout, data):
    values = {f.name: data.draw(st.integers(0, 2**f.bits - 1)) for f in layout.fields}
    packed = layout.pack(**values)
    assert len(packed) == layout.size
    assert layout.unpack(b"xx" + packed, 2) == values


def test_sizes_are_those_of_the_standards():
    assert {layout.name: layout.size for layout in LAYOUTS} == {
        "ethernet": 14,
        "arp": 28,
        "ipv4": 20,
        "ipv6": 40,
        "tcp": 20,
        "udp": 8,
        "icmpv6": 24,
        "nd_option": 8,
        "sll": 16,
        "sll2": 20,
    }


def test_a_value_that_does_not_fit_is_refused():
    with pytest.raises(OverflowError, match=r"udp\.srcport: 65536 does not fit 16 bits"):
        UDP.pack(srcport=65536)
    with pytest.raises(KeyError, match="no field 'colour'"):
        UDP.pack(colour=1)
    with pytest.raises(ValueError, match="needs 8 bytes, 3 are left"):
        UDP.unpack(b"abc")
    with pytest.raises(ValueError, match="whole bytes"):
        Layout("odd", "", (Field("x", 3),))


@given(st.binary(max_size=200))
def test_the_checksum_equals_the_straightforward_sum(data):
    padded = data + b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(padded[i : i + 2], "big") for i in range(0, len(padded), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert sum16(data) == total


@given(st.binary(min_size=4, max_size=4), st.binary(min_size=4, max_size=4), st.binary(max_size=100))
def test_headers_and_checksums_agree_with_dpkt(source, destination, payload):
    segment = (
        TCP.pack(srcport=80, dstport=4000, seq=7, ack=9, data_offset=5, flags=0x18, window=100) + payload
    )
    checksum = transport_checksum(source, destination, 6, segment)
    raw = ipv4_header(
        total_length=20 + len(segment),
        id=77,
        flags=2,
        ttl=64,
        protocol=6,
        src=int.from_bytes(source, "big"),
        dst=int.from_bytes(destination, "big"),
    )
    # dpkt computes the checksums of a packet whose fields are zero when it is serialised.
    theirs = dpkt.ip.IP(
        src=source,
        dst=destination,
        p=6,
        ttl=64,
        id=77,
        df=1,
        data=dpkt.tcp.TCP(segment),
        len=20 + len(segment),
    )
    built = bytes(theirs)
    assert raw == built[:20]
    assert checksum.to_bytes(2, "big") == built[36:38]


def test_a_partial_checksum_is_completed_by_adding_the_segment():
    source, destination, segment = b"\x0a\0\0\1", b"\x0a\0\0\2", bytes(range(33))
    start = partial_checksum(source, destination, 6, len(segment))
    assert complement(sum16(segment, start)) == transport_checksum(source, destination, 6, segment)
    assert start == sum16(pseudo_header(source, destination, 6, len(segment)))


@given(st.integers(0, 2**32 - 1), st.integers(-(2**31) + 1, 2**31 - 1))
def test_sequence_arithmetic_wraps(seq, distance):
    moved = seq_add(seq, distance)
    assert seq_diff(moved, seq) == distance
    assert seq_before(seq, moved) == (distance > 0)


@given(st.binary(max_size=40))
def test_any_option_bytes_are_walked_to_an_end(raw):
    options = list(walk_options(raw))
    assert len(options) <= len(raw)
    assert isinstance(parse_options(raw), TcpOptions)
