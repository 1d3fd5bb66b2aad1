"""Driven runs of captures that hold less than the laboratory's: a filter's, a loopback device's, one out of order."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from pcaptool.diff import diff
from pcaptool.errors import CaptureError
from pcaptool.file import open_capture, open_writer
from pcaptool.predict import predict
from pcaptool.predict.neighbours import known_neighbours
from pcaptool.predict.observe import observe

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
