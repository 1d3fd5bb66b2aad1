"""A file whose blocks are read ahead gives the same packets as one that is read in one go."""

from __future__ import annotations

import gzip
import io
import os
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pcaptool.file import source
from pcaptool.file.model import Record
from pcaptool.file.reader import open_capture
from pcaptool.file.writer import open_writer

SIZES = st.lists(
    st.one_of(st.integers(0, 300), st.integers(300, 700), st.integers(3000, 20_000)), min_size=1, max_size=60
)


def written(path, sizes):
    with open_writer(path) as writer:
        for k, size in enumerate(sizes):
            writer.write(Record(ts_ns=k * 1000, data=bytes([k & 255]) * size, orig_len=size))
    return path.read_bytes()


def packets(where):
    """What was read, and where and why it ended early."""
    with open_capture(where) as capture:
        found = [(r.ts_ns, r.data, r.orig_len) for r in capture]
        return found, capture.cut and (capture.cut.offset, capture.cut.packets, capture.cut.reason)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(source, "BLOCK_BYTES", 4096)
    monkeypatch.setattr(source, "_ROOM_BYTES", 512)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SIZES, st.sampled_from(["pcap", "pcapng"]), st.integers(0, 400), st.booleans())
def test_the_same_packets(small_blocks, tmp_path, sizes, kind, cut, packed):
    content = written(tmp_path / f"a.{kind}", sizes)
    content = content[: max(len(content) - cut, 40)]
    (path := tmp_path / f"b.{kind}").write_bytes(gzip.compress(content) if packed else content)
    found, whole = packets(path), packets(io.BytesIO(content))
    assert found == whole


def test_it_was_read_ahead_and_its_thread_ends(small_blocks, tmp_path, monkeypatch):
    orders = []
    order = source.ReadAhead.order
    monkeypatch.setattr(
        source.ReadAhead, "order", lambda self, array, at: (orders.append(at), order(self, array, at))
    )
    (tmp_path / "a.pcap.gz").write_bytes(gzip.compress(written(tmp_path / "a.pcap", [100] * 300)))
    before = threading.active_count()
    assert len(packets(tmp_path / "a.pcap.gz")[0]) == 300
    assert len(orders) > 5
    assert threading.active_count() == before
    with open_capture(tmp_path / "a.pcap.gz") as capture:  # left in its midst
        next(iter(capture))
    assert threading.active_count() == before


def test_what_may_not_come_is_not_waited_for_by_another_thread(small_blocks, tmp_path, monkeypatch):
    monkeypatch.setattr(source, "ReadAhead", None)
    content = written(tmp_path / "a.pcap", [100] * 300)
    (tmp_path / "a.pcap.gz").write_bytes(gzip.compress(content))
    with open_capture(tmp_path / "a.pcap.gz", until=lambda: True) as capture:
        assert len(list(capture)) == 300
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(gzip.compress(content),))
    writer.start()
    assert len(packets(tmp_path / "pipe")[0]) == 300
    writer.join()


def test_what_fails_there_is_said_here():
    def fill(_array, _at):
        raise MemoryError("none left")

    ahead = source.ReadAhead(fill)
    ahead.order(None, 0)
    with pytest.raises(MemoryError, match="none left"):
        ahead.result()
    ahead.stop()
