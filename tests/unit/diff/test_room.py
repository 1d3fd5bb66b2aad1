"""Columns in files: they hold what columns in memory hold, leave nothing behind, and a full disk is no harm."""

from __future__ import annotations

import errno
import gc
import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pcaptool.diff import room
from tests.bench.analyze import make_capture

MOST_BYTES_A_PACKET = 60  # as measured 33 to 42: what is resident until it is let go; in memory 120
ROOT = Path(__file__).resolve().parents[3]


def in_a_file(column):
    while isinstance(column, np.ndarray):
        column = column.base
    return isinstance(getattr(column, "obj", column), mmap.mmap)


def test_long_columns_lie_in_files_without_names(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    place = room.Room(in_memory=10)
    short, long = place.full(10, 7, np.int64), place.full(11, 7, np.int64)
    assert (in_a_file(short), in_a_file(long)) == (False, True)
    assert long.tolist() == [7] * 11
    assert place.copy(long).tolist() == long.tolist()
    assert not list(tmp_path.iterdir())


def test_what_is_written_stays_while_pages_are_let_go(monkeypatch):
    monkeypatch.setattr(room, "_EVERY_SECONDS", 0.0005)
    column = room.Room(in_memory=0).empty(1 << 18, np.int64)
    expected = np.zeros(len(column), np.int64)
    rng = np.random.default_rng(7)
    end = time.monotonic() + 0.3
    with room.letting_go():
        while time.monotonic() < end:
            at = rng.integers(0, len(column), 999)
            value = rng.integers(-(1 << 60), 1 << 60, 999)
            column[at] = value
            expected[at] = value
            if not expected.any():
                column[:] = 0
    written = expected != 0
    assert written.any()
    assert (column[written] == expected[written]).all()


def test_a_full_disk_is_no_harm(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    column = room.Room(in_memory=0).full(5, 3, np.int32)
    assert not in_a_file(column)
    assert column.tolist() == [3] * 5


def test_a_column_that_nobody_holds_gives_its_space_back():
    column = room.Room(in_memory=0).full(100, 1, np.int64)
    before = len(room._maps)
    del column
    gc.collect()
    assert len(room._maps) == before - 1


SCRIPT = """
import sys
from pcaptool.diff.room import Room
from pcaptool.diff.start import quickly
found = quickly(sys.argv[1], sys.argv[2], relation=sys.argv[3], room=Room(in_memory=1000))
assert found is not None and found.exit_code == 1
# Not ru_maxrss: that counts what the parent held when it forked.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def with_other_windows(source, path, changes):
    """A copy of a capture in which so many packets have another receive window."""
    data = bytearray(source.read_bytes())
    at, places = 24, []
    while at < len(data):
        places.append(at + 16)
        at += 16 + int.from_bytes(data[at + 8 : at + 12], "little")
    for place in places[len(places) // changes // 2 :: len(places) // changes]:
        data[place + 49] ^= 1
    path.write_bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("relation", ["path", "exact"])
def test_memory_does_not_grow_with_the_packets(tmp_path, relation):
    """Two captures with a hundred differences: of packets that are the same none stays (in memory: 120 bytes)."""
    peaks = []
    for packets in (800_000, 250_000, 800_000):  # the first one compiles
        a, b = tmp_path / f"a{packets}.pcap", tmp_path / f"b{packets}.pcap"
        make_capture(a, packets, 96)
        with_other_windows(a, b, 100)
        command = [sys.executable, "-c", SCRIPT, str(a), str(b), relation]
        run = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        peaks.append(1024 * int(run.stdout))
    assert (peaks[2] - peaks[1]) / (2 * 550_000) < MOST_BYTES_A_PACKET, peaks
