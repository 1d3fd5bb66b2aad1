"""Sums over TCP analysis: quantiles of round-trip times from bounded memory, and time with a closed window."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcaptool.analyze import sums_kernel as sk
from pcaptool.analyze import tcp_kernel as tk
from pcaptool.analyze.tcp_sums import FlowSums

times = st.lists(
    st.one_of(st.integers(0, 5000), st.integers(0, 10**9), st.integers(0, 2**36 - 1)), max_size=60
)


def add(sums, events):
    """Segments: stream, side, and what else differs from nothing."""
    rows, out = (
        np.zeros((tk.IN_WIDTH, len(events)), np.int64),
        np.zeros((tk.OUT_WIDTH, len(events)), np.int64),
    )
    for i, (stream, side, given_) in enumerate(events):
        rows[tk.IN_STREAM, i], rows[tk.IN_SIDE, i] = stream, side
        rows[tk.IN_WINDOW, i] = given_.get("window", 1)
        rows[tk.IN_TS, i] = given_.get("ts", 0)
        rows[tk.IN_FLAGS, i] = given_.get("tcp", 16)
        out[tk.OUT_FLAGS, i] = given_.get("flags", 0)
        if "rtt" in given_:
            out[tk.OUT_ACKS_FRAME, i], out[tk.OUT_ACK_RTT, i] = 1, given_["rtt"]
    sums.add(rows, out)


@given(st.lists(times, min_size=1, max_size=4), st.integers(1, 7))
def test_quantiles(lists, cut):
    sums = FlowSums()
    events = [(stream, 1, {"rtt": rtt}) for stream, each in enumerate(lists) for rtt in each]
    for k in range(0, len(events), cut):
        add(sums, events[k : k + cut])
    streams = np.arange(len(lists))
    columns = sums.flow_columns(streams, streams * 0)
    for stream, each in enumerate(lists):
        for name, percent in (("median", 50), ("p95", 95)):
            found = columns[f"rtt_{name}_ns_fwd"]
            assert found.valid[stream] == bool(each)
            if each:
                exact = sorted(each)[-(-len(each) * percent // 100) - 1]
                allowed = 0 if len(each) <= sk.EXACT else max(exact // 16, 64) + 1
                assert abs(int(found.values[stream]) - exact) <= allowed
    assert not columns["rtt_median_ns_rev"].valid.any()


@given(st.integers(0, 2**36 - 1))
def test_a_bucket_is_an_eighth_wide(value):
    k = sk.bucket(value)
    assert 0 <= k < sk.BINS
    assert sk.bucket(value + 1) in {k, k + 1}
    assert sk.bucket(value + max(value // 8, 128) + 1) > k or k == sk.BINS - 1


@pytest.mark.parametrize(("end", "closed_ns"), [([(50, 9)], 40), ([], 90), ([(20, 0), (60, 1)], 50)])
def test_time_with_a_closed_window(end, closed_ns):
    """Closed at 10; what comes then is time and window; the flow's last packet is at 100."""
    sums = FlowSums()
    add(sums, [(0, 0, {"ts": 10, "window": 0, "flags": tk.ZERO_WINDOW})])
    for ts, window in end:
        add(sums, [(0, 0, {"ts": ts, "window": window, "flags": 0 if window else tk.ZERO_WINDOW})])
    columns = sums.flow_columns(np.array([0]), np.array([100]))
    assert columns["zero_window_ns_fwd"].tolist() == [closed_ns]
    assert columns["zero_windows_fwd"].tolist() == [1 + sum(window == 0 for _, window in end)]


@pytest.mark.slow
def test_compiled_as_plain():
    from pcaptool.engine import Engine

    random = np.random.default_rng(1)
    events = [
        (int(random.integers(5)), int(random.integers(2)),
         {"rtt": int(random.integers(10**7)), "window": int(random.integers(2)), "ts": i,
          "flags": int(random.integers(2**15))})
        for i in range(3000)
    ]  # fmt: skip
    found = []
    for engine in (None, Engine("compiled")):
        sums = FlowSums(engine)
        add(sums, events)
        found.append(sums.flow_columns(np.arange(5), np.full(5, 3000)))
    for name, column in found[0].items():
        a, b = (getattr(each, "values", each) for each in (column, found[1][name]))
        assert np.array_equal(a, b), name
