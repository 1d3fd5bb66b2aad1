"""Capture files: what is written is read; nothing that is read raises or hangs."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from pcaptool.errors import CaptureError
from pcaptool.file import Interface, Record, open_capture, open_writer

TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=20)
INTERFACES = st.lists(
    st.builds(
        Interface,
        linktype=st.sampled_from([0, 1, 101, 113, 276]),
        snaplen=st.integers(0, 1 << 18),
        name=TEXT,
        description=TEXT,
        filter=TEXT,
        fcs_bytes=st.none() | st.integers(0, 8),
    ),
    min_size=1,
    max_size=3,
)
RECORDS = st.lists(
    st.builds(
        Record,
        ts_ns=st.integers(0, (1 << 63) - 1),
        data=st.binary(max_size=200),
        orig_len=st.integers(0, (1 << 32) - 1),
        interface=st.just(0),
        flags=st.none() | st.integers(0, (1 << 32) - 1),
        comments=st.lists(TEXT.filter(bool), max_size=2).map(tuple),
    ),
    max_size=8,
)


@given(INTERFACES, RECORDS, st.sampled_from(["", ".gz", ".zst", ".lz4"]), st.data())
def test_pcapng_round_trip(interfaces, records, suffix, data):
    records = [
        Record(
            r.ts_ns, r.data, r.orig_len, data.draw(st.integers(0, len(interfaces) - 1)), r.flags, r.comments
        )
        for r in records
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x.pcapng{suffix}"
        with open_writer(path, interfaces=interfaces) as out:
            out.write_all(records)
        with open_capture(path) as capture:
            assert list(capture) == records
            assert capture.interfaces == interfaces
            assert capture.cut is None


@given(RECORDS)
def test_pcap_round_trip(records):
    records = [Record(r.ts_ns % (1 << 32) * 10**9 + r.ts_ns % 10**9, r.data, r.orig_len) for r in records]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.pcap"
        with open_writer(path) as out:
            out.write_all(records)
        with open_capture(path) as capture:
            assert list(capture) == records


HEADERS = (
    bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000"),
    bytes.fromhex("a1b23c4d00020004000000000000000000ffff0000000001"),
    bytes.fromhex("0a0d0d0a1c0000004d3c2b1a01000000ffffffffffffffff1c000000")
    + bytes.fromhex("0100000014000000010000000000000014000000"),
    bytes.fromhex("1f8b08000000000000ff"),
    b"",
)


@given(st.sampled_from(HEADERS), st.binary(max_size=300))
@example(HEADERS[2], bytes.fromhex("0600000020000000"))
@example(HEADERS[2], bytes.fromhex("0a0d0d0a00000000") + bytes(20))
def test_whatever_the_bytes_reading_ends_without_a_surprise(head, rest):
    try:
        with open_capture(io.BytesIO(head + rest)) as capture:
            count = sum(len(run) for run in capture.runs(7))
    except CaptureError:
        return
    assert count == capture.packets
    assert capture.cut is None or capture.cut.packets == count
