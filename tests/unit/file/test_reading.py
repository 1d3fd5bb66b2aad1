"""Reading: formats, byte orders, resolutions, cuts, faults."""

from __future__ import annotations

import gzip
import io
import struct

import pytest

from pcaptool.engine import Engine
from pcaptool.errors import CaptureError
from pcaptool.file import Interface, PacketFlag, Record, open_capture, open_writer
from pcaptool.file.source import BLOCK_BYTES

PACKET = bytes(range(60))


def pcap(order="<", magic=0xA1B2C3D4, link=1, records=((5, 7, PACKET, 99),), extra=b""):
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65_535, link)
    for seconds, fraction, data, length in records:
        out += struct.pack(order + "IIII", seconds, fraction, len(data), length) + extra + data
    return out


def block(order, kind, body):
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", kind, len(body) + 12) + body + struct.pack(order + "I", len(body) + 12)


def section(order="<"):
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(order="<", link=1, options=b""):
    return block(order, 1, struct.pack(order + "HHI", link, 0, 0) + options)


def option(order, code, value):
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def enhanced(order="<", number=0, ticks=1_000_000, data=PACKET, length=60, options=b""):
    head = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), length)
    return block(order, 6, head + data + bytes(-len(data) % 4) + options)


def read(raw):
    with open_capture(io.BytesIO(raw)) as capture:
        records = list(capture)
        return capture, records


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("magic", "unit"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_pcap_of_each_byte_order_and_resolution(order, magic, unit):
    capture, [record] = read(pcap(order, magic))
    assert record == Record(5_000_000_000 + 7 * unit, PACKET, 99)
    assert (capture.format, capture.interfaces[0].linktype, capture.cut) == ("pcap", 1, None)


def test_modified_pcap_has_longer_record_headers():
    _, [record] = read(pcap(magic=0xA1B2CD34, extra=bytes(8)))
    assert record.data == PACKET


def test_frame_check_sequence_bits_are_not_part_of_the_link_type():
    capture, _ = read(pcap(link=0x24000001))
    assert (capture.interfaces[0].linktype, capture.interfaces[0].fcs_bytes) == (1, 4)


@pytest.mark.parametrize("order", "<>")
def test_pcapng_with_two_interfaces_of_their_own_resolution_and_offset(order):
    raw = (
        section(order)
        + interface(order)
        + interface(
            order,
            113,
            option(order, 9, b"\x09") + option(order, 14, struct.pack(order + "q", 100)) + bytes(4),
        )
    )
    raw += enhanced(order, 0) + block(order, 0xBAD, bytes(8)) + enhanced(order, 1, 7)
    capture, records = read(raw)
    assert [(r.ts_ns, r.interface) for r in records] == [(10**9, 0), (100 * 10**9 + 7, 1)]
    assert [i.linktype for i in capture.interfaces] == [1, 113]


def test_sections_may_differ_in_byte_order_and_number_their_interfaces_anew():
    raw = section() + interface() + enhanced() + section(">") + interface(">", 101) + enhanced(">")
    capture, records = read(raw)
    assert [r.interface for r in records] == [0, 1]
    assert [i.linktype for i in capture.interfaces] == [1, 101]


def test_simple_and_obsolete_packet_blocks():
    old = struct.pack("<HHIIII", 0, 5, 0, 3_000_000, 60, 61) + PACKET
    raw = section() + interface() + block("<", 3, struct.pack("<I", 60) + PACKET) + block("<", 2, old)
    _, records = read(raw)
    assert [(r.ts_ns, r.data, r.orig_len) for r in records] == [(0, PACKET, 60), (3 * 10**9, PACKET, 61)]


def test_flags_and_comments_of_a_packet():
    options = option("<", 1, b"one") + option("<", 2, struct.pack("<I", 0x202)) + option("<", 1, b"two")
    _, [record] = read(section() + interface() + enhanced(options=options + bytes(4)))
    assert (record.flags, record.comments) == (0x202, ("one", "two"))
    assert PacketFlag.CHECKSUM_NOT_READY in PacketFlag(record.flags)


@pytest.mark.parametrize(
    ("resolution", "ticks", "expected"),
    [
        (0, 3, 3 * 10**9),
        (12, 1_500, 1),
        (0x80, 3, 3 * 10**9),
        (0x81, 3, 1_500_000_000),
        (0xA0, (1 << 32) + (1 << 31), 1_500_000_000),
        (0xBE, (1 << 62) + (1 << 61), 1_500_000_000),
        (6, (1 << 64) - 1, (1 << 63) - 1),
    ],
)
def test_resolutions_of_time(resolution, ticks, expected):
    raw = (
        section() + interface(options=option("<", 9, bytes([resolution])) + bytes(4)) + enhanced(ticks=ticks)
    )
    assert read(raw)[1][0].ts_ns == expected


@pytest.mark.parametrize("cut", [1, 15, 16, 17, 75])
def test_a_cut_record_ends_reading_and_is_reported(cut):
    whole = pcap(records=((1, 0, PACKET, 60), (2, 0, PACKET, 60)))
    capture, records = read(whole[: 24 + 76 + cut])
    assert len(records) == 1
    assert (capture.cut.offset, capture.cut.packets) == (100, 1)
    assert "ends within a record" in str(capture.cut)


def test_an_impossible_record_length_ends_reading():
    raw = pcap(records=((1, 0, PACKET, 60),)) + struct.pack("<IIII", 1, 1, 0xFFFFFFF0, 60) + bytes(100)
    capture, records = read(raw)
    assert len(records) == 1
    assert "beyond any limit" in capture.cut.reason


@pytest.mark.parametrize("size", [0, 4, 8, 13, 0xFFFFFFFC])
def test_a_block_of_impossible_length_ends_reading(size):
    raw = section() + interface() + struct.pack("<II", 7, size) + bytes(32)
    capture, records = read(raw)
    assert not records
    assert capture.cut is not None


@pytest.mark.parametrize("raw", [b"", b"x", b"GET / HTTP/1.1\r\n\r\n" * 9, b"\xd4\xc3\xb2\xa1\x02\x00"])
def test_what_is_no_capture_raises(raw):
    with pytest.raises(CaptureError):
        open_capture(io.BytesIO(raw))


def test_a_missing_file_raises_with_its_name(tmp_path):
    with pytest.raises(CaptureError, match="no such file"):
        open_capture(tmp_path / "none.pcap")


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".lz4"])
def test_compressed_captures_by_content(tmp_path, suffix):
    path = tmp_path / f"x.pcap{suffix}"
    with open_writer(path) as out:
        out.write(Record(1, PACKET, 60))
    renamed = path.rename(tmp_path / "x")
    with open_capture(renamed) as capture:
        assert capture.compression
        assert [r.data for r in capture] == [PACKET]


def test_a_cut_gzip_stream_is_read_up_to_the_cut():
    packed = gzip.compress(pcap(records=((1, 0, bytes(100_000), 100_000),) * 40), mtime=0)
    capture, _ = read(packed[: len(packed) // 2])
    assert capture.cut is not None


def test_a_capture_larger_than_a_block_and_a_record_across_blocks(tmp_path):
    path = tmp_path / "large.pcap"
    count = BLOCK_BYTES // 65_000 + 3
    with open_writer(path, interfaces=[Interface(1)]) as out:
        out.write_all(Record(n, bytes([n % 251]) * 65_000, 65_000) for n in range(count))
    with open_capture(path) as capture:
        found = [(r.ts_ns, r.data[0], len(set(r.data))) for r in capture]
    assert found == [(n, n % 251, 1) for n in range(count)]


def test_compiled_kernels_read_the_same(lab_captures):
    path = lab_captures / "busy-8s.server.pcap"
    with open_capture(path) as plain, open_capture(path, Engine("compiled")) as fast:
        assert list(plain) == list(fast)
