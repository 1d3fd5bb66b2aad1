"""Byte streams: order, overlap, holes, wrap-around."""

from __future__ import annotations

import pytest

from pcaptool.analyze import waiting
from pcaptool.analyze.streams import RECENT_BYTES, Gap, Piece, StreamEnd, StreamReassembler


def said(events):
    out = []
    for e in events:
        match e:
            case Piece():
                out.append((bytes(e.data), e.n, e.carrier, e.at))
            case Gap():
                out.append((e.size, e.n))
            case StreamEnd():
                out.append(("end", e.n))
    return out


def stream(seq=1):
    s = StreamReassembler()
    s.begin(seq)
    return s


def test_numbers_wrap_around():
    s = stream(2**32 - 2)
    assert said(s.push(2**32 - 2, b"abcd", 1, 0)) == [(b"abcd", 1, 1, 0)]
    assert said(s.push(2, b"ef", 2, 0)) == [(b"ef", 2, 2, 4)]


def test_a_late_segment_completes_those_behind_it():
    s = stream()
    assert s.push(4, b"def", 1, 0) == []
    assert s.push(9, b"ij", 2, 0, fin=True) == []
    assert said(s.push(1, b"abc", 3, 0)) == [(b"abc", 3, 3, 0), (b"def", 3, 1, 3)]
    assert said(s.push(7, b"gh", 4, 0)) == [(b"gh", 4, 4, 6), (b"ij", 4, 2, 8), ("end", 4)]


def test_first_bytes_win_where_held_segments_overlap():
    s = stream()
    s.push(5, b"EF", 1, 0)
    s.push(3, b"cdefgh", 2, 0)
    assert b"".join(e.data for e in s.push(1, b"ab", 3, 0)) == b"abcdEFgh"
    assert s.repeated_bytes == 2


def test_what_comes_again_is_compared_with_what_was_read_last():
    s = stream()
    s.push(1, b"abcdef", 1, 0)
    s.push(3, b"cdeX", 2, 0)
    assert s.conflicting_bytes == 1
    s.push(1, b"abcdef", 3, 0)
    assert said(s.push(5, b"YfgZ", 4, 0)) == [(b"gZ", 4, 4, 6)]
    assert s.conflicting_bytes == 2
    s.push(8, b"?", 5, 0)  # a keep-alive
    assert s.conflicting_bytes == 2
    s.push(6, b"?g", 5, 0)
    assert s.conflicting_bytes == 3


def test_what_was_read_long_ago_or_skipped_is_not_compared():
    s = stream()
    s.push(1, b"ab" + bytes(RECENT_BYTES), 1, 0)
    s.push(1, b"XY", 2, 0)
    s.push(2, b"Y\1", 3, 0)
    assert s.conflicting_bytes == 1
    assert s.skip(3 + RECENT_BYTES, 10)
    s.push(2 + RECENT_BYTES, b"zzz", 4, 0)
    assert s.conflicting_bytes == 1


def test_a_hole_is_given_up_when_it_was_acknowledged():
    s = stream()
    s.push(11, b"later", 1, 0)
    assert s.acknowledged(5) == []
    assert said(s.acknowledged(16)) == [
        (10, 1),
        (b"later", 1, 1, 10),
    ]  # whole when it came: the capture lost them
    assert s.gap_bytes == 10


def test_a_hole_is_given_up_when_too_much_waits(monkeypatch):
    monkeypatch.setattr(waiting, "HOLD_BYTES", 8)
    s = stream()
    s.push(2, b"12345", 1, 0)
    assert said(s.push(7, b"6789", 2, 0)) == [(1, 1), (b"12345", 1, 1, 1), (b"6789", 2, 2, 6)]


def test_what_the_capture_cut_off_is_a_gap_at_once():
    s = stream()
    assert said(s.push(1, b"ab", 1, 0, missing=3)) == [(b"ab", 1, 1, 0), (3, 1)]
    assert said(s.push(4, b"de+", 2, 0)) == [(b"+", 2, 2, 5)]


@pytest.mark.parametrize(("seq", "data"), [(0, b"x"), (0, b""), (1, b""), (2**31, b"")])
def test_probes_change_nothing(seq, data):
    s = stream()
    s.push(1, b"", 1, 0)
    assert s.push(seq, data, 2, 0) == []
    assert said(s.push(1, b"abc", 3, 0)) == [(b"abc", 3, 3, 0)]


def test_after_fin_nothing_comes():
    s = stream()
    assert said(s.push(1, b"a", 1, 0, fin=True)) == [(b"a", 1, 1, 0), ("end", 1)]
    assert s.push(2, b"b", 2, 0) == []


def test_fin_inside_data_is_a_lie():
    s = stream()
    s.push(3, b"cdef", 1, 0)
    s.push(4, b"", 2, 0, fin=True)
    assert b"".join(e.data for e in s.push(1, b"ab", 3, 0)) == b"abcdef"
    assert not s.ended
