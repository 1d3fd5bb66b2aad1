"""Records of segments that a kernel makes are those that arrays make, which are those of the segments one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from pcaptool.engine import Engine
from pcaptool.file import Interface, open_writer
from pcaptool.generate.records import write_frames
from pcaptool.generate.segments_kernel import put_segments
from pcaptool.scenario import parse_scenario
from pcaptool.stack.frame_block import LINK_BYTES, full_segments, segment_run
from pcaptool.stack.run import run_scenario
from tests.unit.stack.test_frame_bytes import buffers


@given(buffers())
@settings(max_examples=60, deadline=None)
def test_the_kernel_makes_the_rows_that_arrays_make(skb):
    if not skb.gso_size:
        return
    run, before, behind = segment_run(skb), b"before", b"behind"
    front = before + run.headers
    out = bytearray((len(front) + run.size + len(behind)) * run.segments)
    ip_at = len(before) + LINK_BYTES if run.identification >= 0 else -1
    written = put_segments(
        memoryview(out),
        front,
        run.payload,
        behind,
        run.size,
        run.segments,
        len(before) + run.tcp_at,
        run.seq,
        run.flags,
        int(run.whole),
        ip_at,
        run.identification,
        run.tcp_sum,
        run.ip_sum,
    )
    assert written == len(out)
    assert out == b"".join(before + bytes(row) + behind for row in full_segments(run))


SCENARIO = """
family = {family}
[client]
requests = ["/bytes/400001"]
[link]
delay_ms = 5
[[link.drop]]
direction = "server-to-client"
match = "data"
nth = [9]
"""


@pytest.mark.parametrize("format_", ["pcap", "pcapng"])
@pytest.mark.parametrize("family", [4, 6])
def test_a_capture_is_the_same_with_and_without_machine_code(tmp_path, format_, family):
    plan = parse_scenario(SCENARIO.format(family=family))
    frames = run_scenario(plan, ("wire",), annotate=format_ == "pcapng").frames["wire"]
    made = []
    for mode in ("plain", "compiled"):
        path = tmp_path / mode
        with open_writer(path, format_, [Interface(1, name="wire")]) as writer:
            write_frames(writer, frames, Engine(mode))
        assert writer.packets == len(frames)
        made.append(path.read_bytes())
    assert made[0] == made[1]
    assert np.sum([frame.orig_len == 1514 for frame in frames]) > 200
