"""Laws of the diff: another run of the same is equal, the order of the sides does not matter, time may shift."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pcaptool.diff import diff
from tests.proof.frames import sum16

LAB = Path(__file__).resolve().parents[2] / "fixtures" / "captures" / "lab"
CAPTURES = (
    "repeat/python-1k.1",
    "repeat/nginx-1k.1",
    "repeat/loss-mid-cubic",
    "concurrent-4",
    "half-close",
    "nots",
)
SLOW = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CLIENT, SERVER = bytes((192, 0, 2, 2)), bytes((192, 0, 2, 1))


def read(name):
    data = (LAB / f"{name}.server.pcap").read_bytes()
    at, out = 24, []
    while at < len(data):
        sec, frac, caplen, length = struct.unpack_from("<IIII", data, at)
        out.append((sec * 10**9 + frac, length, data[at + 16 : at + 16 + caplen]))
        at += 16 + caplen
    return data[:24], out


def write(path, head, packets):
    parts = [struct.pack("<IIII", ts // 10**9, ts % 10**9, len(raw), size) + raw for ts, size, raw in packets]
    path.write_bytes(head + b"".join(parts))
    return path


def add(raw, at, size, step):
    value = (int.from_bytes(raw[at : at + size], "big") + step) % (1 << 8 * size)
    raw[at : at + size] = value.to_bytes(size, "big")


def pseudo(raw):
    return bytes(raw[26:34]) + b"\0\x06" + (int.from_bytes(raw[16:18], "big") - 20).to_bytes(2, "big")


def another_run(raw, size, steps):
    """The packet as another run would have it: everything that is random by nature moved by `steps`."""
    raw = bytearray(raw)
    swap = {CLIENT: steps["client"], SERVER: steps["server"]}
    for at in (0, 6):
        if raw[at : at + 3] == b"\x02\0\0":
            add(raw, at + 3, 3, steps["mac"])
    if raw[12:14] == b"\x08\x06":
        raw[28:32], raw[38:42] = swap[bytes(raw[28:32])], swap[bytes(raw[38:42])]
        add(raw, 25, 3, steps["mac"])
        if any(raw[32:38]):
            add(raw, 35, 3, steps["mac"])
        return bytes(raw)
    if raw[12:14] != b"\x08\x00" or raw[23] != 6:
        return bytes(raw)
    partial = int.from_bytes(raw[50:52], "big") == sum16(pseudo(raw))
    from_client = raw[26:30] == CLIENT
    own, peer = ("isn_c", "isn_s") if from_client else ("isn_s", "isn_c")
    raw[26:30], raw[30:34] = swap[bytes(raw[26:30])], swap[bytes(raw[30:34])]
    add(raw, 34 if from_client else 36, 2, steps["port"])
    if raw[18:20] != b"\0\0":
        number = int.from_bytes(raw[18:20], "big") + steps["id"]
        raw[18:20] = (number % 65535 + 1 if not number % 65536 else number % 65536).to_bytes(2, "big")
    add(raw, 38, 4, steps[own])
    if raw[47] & 0x10:
        add(raw, 42, 4, steps[peer])
    at, end = 54, 34 + (raw[46] >> 4) * 4
    while at < end and raw[at]:
        if raw[at] == 8:
            add(raw, at + 2, 4, steps["ts_" + own[-1]])
            if raw[at + 6 : at + 10] != bytes(4):
                add(raw, at + 6, 4, steps["ts_" + peer[-1]])
        if raw[at] == 5:
            for edge in range(at + 2, at + raw[at + 1], 4):
                add(raw, edge, 4, steps[peer])
        at += 1 if raw[at] == 1 else raw[at + 1]
    raw[24:26] = b"\0\0"
    raw[24:26] = (0xFFFF - sum16(bytes(raw[14:34]))).to_bytes(2, "big")
    if partial or len(raw) == size:
        raw[50:52] = b"\0\0"
        total = sum16(pseudo(raw)) if partial else 0xFFFF - sum16(pseudo(raw) + bytes(raw[34:]))
        raw[50:52] = total.to_bytes(2, "big")
    return bytes(raw)


u32 = st.integers(0, 2**32 - 1)
runs = st.fixed_dictionaries(
    {
        "client": st.sampled_from([CLIENT, b"\x0a\0\0\x09"]),
        "server": st.sampled_from([SERVER, b"\x0a\0\0\x01"]),
        "mac": st.integers(0, 1000),
        "port": st.integers(0, 500),
        "id": st.integers(0, 200),
        "isn_c": u32,
        "isn_s": u32,
        "ts_c": u32,
        "ts_s": u32,
    }
)


@SLOW
@given(name=st.sampled_from(CAPTURES), steps=runs, shift=st.integers(-(10**15), 10**15))
def test_another_run_of_the_same_is_equal(tmp_path, name, steps, shift):
    head, packets = read(name)
    a = write(tmp_path / "a.pcap", head, packets)
    moved = [(ts + shift, size, another_run(raw, size, steps)) for ts, size, raw in packets]
    b = write(tmp_path / "b.pcap", head, moved)
    found = diff(a, b, relation="model")
    # An identification that wraps to 0 is skipped by the copy, as no counter is: allow that alone.
    assert set(found.differences["field"]) <= {"ip.id"}, found.verdict
    if not steps["id"]:
        assert found.exit_code == 0, found.verdict


@SLOW
@given(name=st.sampled_from(CAPTURES), shift=st.integers(-(10**15), 10**15), ppm=st.integers(-100, 100))
def test_a_path_with_another_clock_is_equal(tmp_path, name, shift, ppm):
    head, packets = read(name)
    start = packets[0][0]
    moved = [(ts + shift + (ts - start) * ppm // 10**6, size, raw) for ts, size, raw in packets]
    a, b = write(tmp_path / "a.pcap", head, packets), write(tmp_path / "b.pcap", head, moved)
    assert diff(a, b, relation="path").exit_code == 0
    assert diff(a, b).exit_code == 0


@SLOW
@given(name=st.sampled_from(CAPTURES), cut=st.integers(1, 8))
def test_a_capture_that_begins_later_lacks_what_it_did_not_see(tmp_path, name, cut):
    head, packets = read(name)
    a, b = write(tmp_path / "a.pcap", head, packets), write(tmp_path / "b.pcap", head, packets[cut:])
    for left, right, key in ((a, b, "n_a"), (b, a, "n_b")):
        found = diff(left, right, relation="path")
        assert set(found.differences["field"]) <= {"frame", "flow"}, found.verdict
        if "flow" not in found.differences["field"]:
            assert sorted(found.differences[key]) == list(range(1, cut + 1))


@pytest.mark.parametrize("relation", ["model", "path", "exact"])
@SLOW
@given(pair=st.lists(st.sampled_from(CAPTURES), min_size=2, max_size=2), cut=st.integers(0, 5))
def test_the_order_of_the_sides_does_not_matter(tmp_path, relation, pair, cut):
    paths = []
    for i, name in enumerate(pair):
        head, packets = read(name)
        paths.append(write(tmp_path / f"{i}.pcap", head, packets[:6] + packets[6 + cut * i :]))
    one, two = diff(*paths, relation=relation), diff(*reversed(paths), relation=relation)
    assert (one.exit_code, one.differing) == (two.exit_code, two.differing)
    columns = ["field", "n_a", "n_b", "value_a", "value_b"]
    turned = two.differences.rename({"n_a": "n_b", "n_b": "n_a", "value_a": "value_b", "value_b": "value_a"})
    assert sorted(map(str, one.differences.select(columns).rows())) == sorted(
        map(str, turned.select(columns).rows())
    )
