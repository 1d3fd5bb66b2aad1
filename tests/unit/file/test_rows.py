"""Packets written together are the packets written one by one."""

from __future__ import annotations

import numpy as np
import pytest

from pcaptool.errors import OutputError
from pcaptool.file import Record, open_writer


@pytest.mark.parametrize("ending", ["pcap", "pcapng"])
@pytest.mark.parametrize("size", [1, 4, 61, 1514])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_rows_and_records_give_the_same_file(tmp_path, ending, size, count):
    rows = np.arange(count * size, dtype=np.int64).reshape(count, size).astype(np.uint8)
    model = Record(1_700_000_000_123_456_789, b"", size + 9, flags=2, comments=("why",))
    with open_writer(tmp_path / f"a.{ending}") as writer:
        writer.write_rows(rows, model)
        assert writer.packets == count
    with open_writer(tmp_path / f"b.{ending}") as writer:
        writer.write_all(
            Record(model.ts_ns, row.tobytes(), model.orig_len, flags=2, comments=("why",)) for row in rows
        )
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def test_what_a_record_refuses_rows_refuse_too(tmp_path):
    rows = np.zeros((2, 4), np.uint8)
    with (
        pytest.raises(OutputError, match="packet 1 does not fit"),
        open_writer(tmp_path / "x.pcap") as writer,
    ):
        writer.write_rows(rows, Record(-1, b"", 4))
    with pytest.raises(OutputError, match="no interface 7"), open_writer(tmp_path / "x.pcap") as writer:
        writer.write_rows(rows, Record(1, b"", 4, interface=7))
