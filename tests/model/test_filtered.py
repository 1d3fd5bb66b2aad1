"""Driven runs of captures that hold less than the laboratory's: a filter's, a loopback device's, one out of order."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcaptool.diff import diff
from pcaptool.errors import CaptureError
from pcaptool.file import Interface, Record, open_capture, open_writer
from pcaptool.predict import predict
from pcaptool.predict.framing import Framing
from pcaptool.predict.neighbours import known_neighbours
from pcaptool.predict.observe import observe
from pcaptool.wire.linktype import LinkType

TCP = 6


def is_tcp(data):
    return data[23] == TCP if data[12:14] == b"\x08\x00" else data[12:14] == b"\x86\xdd" and data[20] == TCP


def written(path, records):
    with open_writer(path) as out:
        for record in records:
            out.write(record)
    return path


def records(lab_captures, name):
    with open_capture(lab_captures / f"{name}.server.pcap") as capture:
        return [replace(record, flags=None, comments=()) for record in capture]


@pytest.mark.parametrize("name", ["size-100k", "concurrent-4", "v6-off-100k"])
@pytest.mark.parametrize("addresses", ["kept", "none"])
def test_without_messages_about_link_addresses_they_are_known(lab_captures, tmp_path, name, addresses):
    """As `tcpdump tcp port 80` leaves a capture; and one of a loopback device, where there are no such addresses."""
    kept = [record for record in records(lab_captures, name) if is_tcp(record.data)]
    if addresses == "none":
        kept = [replace(record, data=bytes(12) + record.data[12:]) for record in kept]
    real = written(tmp_path / "real.pcap", kept)
    made = predict(real, tmp_path / "x.pcapng")
    found = diff(made.capture, real, relation="model", side="server")
    assert found.exit_code == 0, found.verdict
    assert made.packets == len(kept)


SERVER_MAC = bytes.fromhex("020000000001")


@pytest.mark.parametrize("name", ["size-100k", "v6-off-100k"])
@pytest.mark.parametrize("linktype", [LinkType.LINUX_SLL, LinkType.LINUX_SLL2, LinkType.RAW])
def test_captures_of_any_device_and_of_a_tunnel(lab_captures, tmp_path, name, linktype):
    framing = Framing(linktype, device=2)
    whole = [r for r in records(lab_captures, name) if linktype != LinkType.RAW or is_tcp(r.data)]
    cooked = [framing.write(r.data, leaving=r.data[6:12] == SERVER_MAC) for r in whole]
    real = tmp_path / "real.pcap"
    with open_writer(real, interfaces=[Interface(linktype)]) as out:
        for record, data in zip(whole, cooked, strict=True):
            out.write(replace(record, data=data, orig_len=record.orig_len + len(data) - len(record.data)))
    with open_capture(real) as capture:
        assert Framing.of(linktype, next(iter(capture)).data).header_bytes == framing.header_bytes
    made = predict(real, tmp_path / "x.pcapng")
    found = diff(made.capture, real, relation="model", side="server")
    assert found.exit_code == 0, found.verdict
    ethernet = predict(written(tmp_path / "ethernet.pcap", whole), tmp_path / "y.pcapng")
    assert made.packets == ethernet.packets


@given(st.binary(min_size=14, max_size=40), st.booleans(), st.integers(0, 2**31), st.integers(0, 65_535))
def test_cooked_headers_keep_what_they_have_room_for(frame, leaving, device, hw_type):
    for linktype in (LinkType.LINUX_SLL, LinkType.LINUX_SLL2):
        framing = Framing(linktype, device, hw_type)
        cooked = framing.write(frame, leaving=leaving)
        link = framing.read(cooked)
        assert (link.ethertype, link.source) == (int.from_bytes(frame[12:14], "big"), frame[6:12])
        assert cooked[framing.header_bytes :] == frame[14:]
        assert Framing.of(linktype, cooked).hw_type == hw_type
        assert not leaving or link.destination == bytes(6)
    assert Framing.of(LinkType.LINUX_SLL2, cooked) == framing
    assert framing.read(cooked[:19]) is None


def test_other_links_are_refused_by_number(tmp_path):
    with open_writer(tmp_path / "a.pcap", interfaces=[Interface(LinkType.PPP)]) as out:
        out.write(Record(0, b"\xff\x03\x00\x21", 4))
    with pytest.raises(CaptureError, match="link type 9 cannot be predicted"):
        predict(tmp_path / "a.pcap", tmp_path / "x.pcapng")


def test_a_capture_that_began_later_than_the_addresses_were_told(lab_captures, tmp_path):
    """Other messages are in it, so the entry is one that grows old."""
    whole = records(lab_captures, "live-keepalive-probes")
    first = next(i for i, record in enumerate(whole) if is_tcp(record.data))
    real = written(tmp_path / "real.pcap", whole[first:])
    later = [record for record in whole[first:] if not is_tcp(record.data)]
    [entry] = known_neighbours(observe(real))
    assert entry.permanent == (not later)
    made = predict(real, tmp_path / "x.pcapng")
    assert made.packets >= len(whole) - first - len(later)


def test_an_answer_before_its_question_is_no_handshake(lab_captures, tmp_path):
    """Some captures are out of order: this is not what happened at the server."""
    whole = [record for record in records(lab_captures, "size-1") if is_tcp(record.data)]
    times = [record.ts_ns for record in whole]
    swapped = [whole[1], whole[0], *whole[2:]]
    in_time = [replace(record, ts_ns=time) for record, time in zip(swapped, times, strict=True)]
    real = written(tmp_path / "real.pcap", in_time)
    with pytest.raises(CaptureError, match="no connection with a captured handshake"):
        predict(real, tmp_path / "x.pcapng")


def test_some_packets_cut_elsewhere_are_no_snap_length(lab_captures, tmp_path):
    whole = records(lab_captures, "size-1")
    real = written(
        tmp_path / "real.pcap",
        itertools.chain(whole[:-1], [replace(whole[-1], data=whole[-1].data[:60])]),
    )
    assert observe(real).snaplen == max(len(record.data) for record in whole[:-1])
    assert observe(lab_captures / "size-1.server.pcap").snaplen == 0
