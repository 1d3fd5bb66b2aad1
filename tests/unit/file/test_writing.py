"""Writing: whole or not at all."""

from __future__ import annotations

import pytest

from pcaptool.errors import OutputError
from pcaptool.file import Interface, Record, open_capture, open_writer


def test_nothing_is_left_when_writing_fails(tmp_path):
    path = tmp_path / "x.pcapng"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), open_writer(path) as out:
        out.write_all(Record(1, b"a", 1 // n) for n in (1, 0))
    assert [p.name for p in tmp_path.iterdir()] == ["x.pcapng"]
    assert path.read_bytes() == b"old"


def test_pcap_holds_one_interface(tmp_path):
    with pytest.raises(OutputError, match="use pcapng"):
        open_writer(tmp_path / "x.pcap", interfaces=[Interface(1), Interface(1)])


@pytest.mark.parametrize("ts_ns", [-1, 1 << 63])
def test_a_time_that_does_not_fit_is_refused(tmp_path, ts_ns):
    with pytest.raises(OutputError, match="does not fit"), open_writer(tmp_path / "x.pcap") as out:
        out.write(Record(ts_ns, b"", 0))


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        open_writer(tmp_path / "none" / "x.pcap")


def test_the_same_records_make_the_same_bytes(tmp_path):
    for name in ("a.pcapng", "b.pcapng"):
        with open_writer(tmp_path / name, interfaces=[Interface(1, name="eth0")]) as out:
            out.write(Record(1, b"abc", 9, flags=2, comments=("x",)))
    assert (tmp_path / "a.pcapng").read_bytes() == (tmp_path / "b.pcapng").read_bytes()


def test_the_file_has_the_permissions_of_any_other(tmp_path):
    (tmp_path / "plain").touch()
    with open_writer(tmp_path / "x.pcap"):
        pass
    assert (tmp_path / "x.pcap").stat().st_mode == (tmp_path / "plain").stat().st_mode
    with open_capture(tmp_path / "x.pcap") as capture:
        assert list(capture) == []
