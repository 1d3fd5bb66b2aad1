"""Decoding whatever the bytes: no exception, no read outside the packet, the same compiled."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcaptool.decode.decoder import Decoder
from pcaptool.decode.kernels import chain, fields_transport
from pcaptool.decode.kernels.common import common_segment
from pcaptool.decode.kernels.fields_ip import is_whole
from pcaptool.decode.reassembly import HOLD_DATAGRAMS, Fragment, Reassembler
from pcaptool.engine import Engine
from pcaptool.engine.loads import sum16
from pcaptool.file.model import Run
from pcaptool.tables import TABLES
from pcaptool.tables.columns import to_arrow

LINKS = (0, 1, 9, 12, 50, 51, 101, 104, 105, 108, 113, 127, 228, 229, 239, 258, 276, 65_535)
SEEDS = tuple(
    bytes.fromhex(text.replace(" ", ""))
    for text in (
        (
            "020000000001 020000000002 0800 4500003c000040004006b6c0c0000201c0000202"
            "0050c350 00000001 00000002 a012ffff0000 0000 020405b4 0402080a 0000000100000002 01030307"
        ),
        (
            "020000000001 020000000002 8100 2064 86dd 600000000024 2c40 20010db8000000000000000000000001"
            "20010db8000000000000000000000002 1100000100000007 003500350010ffff 0102030405060708"
        ),
        (
            "020000000001 020000000002 0800 4500003000000000402f0000c0000201c0000202 20006558 00000007"
            "020000000001 020000000002 0806 0001 0800 06 04 0001 020000000001 c0000201 000000000000 c0000202"
        ),
        (
            "020000000001 020000000002 0800 450000380000000040010000c0000201c0000202 0301000000000000"
            "45000054000000004011 0000c0000202c0000201 12b512b5 0040 0000"
        ),
        (
            "020000000001 020000000002 0800 450000400000000040110000c0000201c0000202"
            "0001 12b5 002c 0000 0800000000000100"
            "020000000001 020000000002 8847 00040140 45000014000000000001 0000c0000202c0000201"
        ),
    )
)
SEGMENTS = (
    SEEDS[0] + bytes(range(20)),
    bytes.fromhex(
        "020000000001 020000000002 86dd 600000000020 0640 20010db8000000000000000000000001"
        "20010db8000000000000000000000002 0050c350 00000001 00000002 8012ffff0000 0000"
        "0101080a 0000000100000002 01030307".replace(" ", "")
    ),
    bytes.fromhex(
        "020000000001 020000000002 0800 4500003a000040004006b6c2c0000201c0000202"
        "0050c350 00000001 00000002 8018ffff0000 0000 0101080a 0000000100000002 646174612e2e".replace(" ", "")
    ),
)
EDITS = st.lists(st.tuples(st.integers(0, 89), st.integers(0, 255)), max_size=4)
MUTATED = st.tuples(st.sampled_from(SEEDS), EDITS).map(lambda pair: changed(*pair))
PACKETS = st.binary(max_size=90) | MUTATED


def changed(seed, edits):
    raw = bytearray(seed)
    for at, value in edits:
        raw[at % len(raw)] = value
    return bytes(raw)


class Packets:
    """Stands for a capture: a run whose bytes end where the last packet ends."""

    def __init__(self, packets, link, longer):
        self.packets, self.link, self.longer = packets, link, longer

    def runs(self, _limit):
        sizes = np.array([len(p) for p in self.packets], np.int64)
        count = len(sizes)
        yield Run(
            first_n=1,
            data=np.frombuffer(bytearray(b"".join(self.packets)), np.uint8),
            offsets=np.cumsum(sizes) - sizes,
            ts_ns=np.arange(count, dtype=np.int64),
            cap_len=sizes.astype(np.uint32),
            orig_len=(sizes + self.longer).astype(np.uint32),
            interface=np.zeros(count, np.uint16),
            linktype=np.full(count, self.link, np.uint16),
            flags=np.full(count, -1, np.int64),
        )


def tables(packets, link, longer, engine):
    rows = {}
    for batch in Decoder(engine).batches(Packets(packets, link, longer)):
        for name, columns in batch.tables.items():
            rows.setdefault(name, []).extend(pl.DataFrame(to_arrow(TABLES[name], columns)).to_dicts())
    return rows


@given(PACKETS, st.sampled_from(LINKS), st.sampled_from([0, 1, 1400]))
@settings(max_examples=400)
def test_a_packet_is_never_read_beyond_its_end(packet, link, longer):
    # One packet in a buffer of its own: a load behind its end raises in plain Python.
    found = tables([packet], link, longer, Engine("plain"))
    [row] = found["packets"]
    assert row["payload_offset"] <= len(packet)
    assert (row["err_layer"] is None) == (row["err_kind"] is None)
    for name in ("ip", "tcp", "udp", "icmp"):
        assert all(r["n"] == 1 for r in found[name])


@pytest.mark.slow
@given(st.lists(PACKETS, min_size=1, max_size=30), st.sampled_from(LINKS), st.sampled_from([0, 1400]))
@settings(max_examples=100)
def test_compiled_and_plain_kernels_agree(packets, link, longer):
    plain = tables(packets, link, longer, Engine("plain"))
    assert plain == tables(packets, link, longer, Engine("compiled"))


def cut(packets):
    return st.tuples(packets, st.integers(0, 90)).map(lambda pair: pair[0][: pair[1] or None])


SEGMENT = st.tuples(st.sampled_from(SEGMENTS), EDITS).map(lambda pair: changed(*pair))


@given(st.lists(SEGMENT | cut(SEGMENT), min_size=1, max_size=8), st.sampled_from([0, 1, 1400]))
@settings(max_examples=300)
def test_the_short_way_for_common_packets_is_the_long_way(packets, longer):
    quick = tables(packets, 1, longer, Engine("plain"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain, "common_segment", lambda *_args: 0)
        assert tables(packets, 1, longer, Engine("plain")) == quick


@given(st.lists(SEGMENT | cut(SEGMENT), min_size=1, max_size=8), st.sampled_from([0, 1, 1400]))
@settings(max_examples=200)
def test_timestamps_alone_are_read_as_any_options(packets, longer):
    quick = tables(packets, 1, longer, Engine("plain"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fields_transport, "ONLY_STAMPS", -1)
        assert tables(packets, 1, longer, Engine("plain")) == quick


@given(st.binary(min_size=20, max_size=20), st.booleans())
def test_the_sum_of_a_header_without_options_is_any_sum(header, right):
    if right:
        rest = 0xFFFF - sum16(header[:18], 0, 18, 0)
        header = header[:18] + rest.to_bytes(2, "big")
    assert is_whole(header, 0) == (sum16(header, 0, 20, 0) == 0xFFFF)


def test_the_short_way_is_taken():
    taken = []

    def watched(*args):
        taken.append(common_segment(*args))
        return taken[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain, "common_segment", watched)
        tables(list(SEGMENTS), 1, 0, Engine("plain"))
    assert all(taken)
    assert len(taken) == len(SEGMENTS)


def test_a_hundred_nested_tunnels_end_at_the_limit():
    header = bytes.fromhex("45000000000000004004 0000 7f000001 7f000001".replace(" ", ""))
    [row] = tables([header * 100], 101, 0, Engine("plain"))["packets"]
    assert (row["err_kind"], row["protocols"].count("ip")) == ("limit", 19)


@given(st.binary(min_size=1, max_size=500), st.data())
def test_fragments_in_any_order_make_the_datagram(payload, data):
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(payload) - 1)), max_size=6)) - {len(payload)})
    edges = [0, *cuts, len(payload)]
    parts = [
        Fragment(b"k", a, b < len(payload), payload[a:b], 17) for a, b in zip(edges, edges[1:], strict=False)
    ]
    hold = Reassembler()
    done = [hold.push(f) for f in data.draw(st.permutations(parts))]
    assert done[-1] == (17, payload)
    assert done[:-1] == [None] * (len(parts) - 1)


def test_what_is_held_is_bounded():
    hold = Reassembler()
    for n in range(3 * HOLD_DATAGRAMS):
        hold.push(Fragment(n.to_bytes(4, "big"), 0, more=True, data=bytes(8_000), protocol=17))
    assert len(hold._partial) <= HOLD_DATAGRAMS
    assert hold._bytes <= 16 << 20
