"""Function probes: the program by bpftrace's own parser, its output, the stages; bpftrace itself played by a script."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcaptool.errors import SystemRefusedError
from pcaptool.file import open_capture
from pcaptool.lab.bpftrace import FunctionTracer, available_functions, realtime_ahead_ns
from pcaptool.lab.functions import FUNCTIONS, Call, add_functions, parse_calls, program
from pcaptool.lab.stages import Transmission, join_frames
from pcaptool.tables import STAGE_NAMES

CALLS = st.builds(
    lambda time_ns, function, thread, skb: (function, Call(time_ns, function.stage, thread, skb)),
    st.integers(0, 2**63 - 1), st.sampled_from(FUNCTIONS), st.integers(1, 2**22), st.integers(0, 2**64 - 1),
)  # fmt: skip


def test_stages_are_those_of_the_table():
    assert {function.stage for function in FUNCTIONS} <= set(STAGE_NAMES)


@pytest.mark.oracle
@pytest.mark.skipif(
    shutil.which("bpftrace") is None or os.geteuid() != 0, reason="needs bpftrace, and root for it"
)
def test_bpftrace_can_read_the_program():
    text = program(FUNCTIONS, ["pcaptool-client", "nginx"])
    done = subprocess.run(["bpftrace", "-d", "-e", text], capture_output=True, text=True, check=False)
    wrong = [line for line in done.stderr.splitlines() if "syntax error" in line or "Unknown" in line]
    assert [line for line in wrong if "RLIMIT" not in line] == []
    assert done.stdout.count("printf") >= len(FUNCTIONS)
    broken = subprocess.run(
        ["bpftrace", "-d", "-e", text.replace("printf(", "printf((")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "syntax error" in broken.stderr


@pytest.mark.parametrize("name", ['x"y', "", "a b c d e f g h i", "x\n", "\\"])
def test_a_name_that_would_break_the_program_is_none(name):
    with pytest.raises(ValueError, match="not the name of a program"):
        program(FUNCTIONS, [name])


@given(st.lists(CALLS, max_size=30), st.integers(0, 50), st.integers(0, 19))
def test_calls_are_read_as_they_are_written(made, lost, cut):
    lines = [f"{f.name} {c.time_ns} {c.thread} {c.skb:x}" for f, c in made]
    text = "\n".join(["Attaching 9 probes...", "ready", *lines, *([f"Lost {lost} events"] if lost else [])])
    assert parse_calls(text + "\nip_output 5 5 ffff"[:cut]) == (
        sorted(
            [c for _, c in made] + ([Call(5, "ip_output", 5, int("f" * (cut - 15), 16))] if cut > 15 else [])
        ),
        lost,
    )


def queued(skb, time_ns):
    return Transmission(
        skb, 1, 1514, 1, [], [("net_dev_queue", time_ns), ("net_dev_start_xmit", time_ns + 400)]
    )


def passed(start_ns, thread, skb, *, decided=True):
    """One buffer's way down; its original has another address."""
    out = [Call(start_ns, "tcp_write_xmit", thread, 0)] if decided else []
    stages = [
        ("__tcp_transmit_skb", skb ^ 0xFF),
        ("__ip_queue_xmit", skb),
        ("ip_output", skb),
        ("neigh_output", skb),
    ]
    return out + [Call(start_ns + 100 * k, stage, thread, at) for k, (stage, at) in enumerate(stages, 1)]


def test_buffers_find_the_functions_that_they_passed():
    """Two buffers of one call, at the address of an older one, beside another thread; one that passed nothing."""
    calls = [
        *passed(1_000, 7, 0x10),
        *passed(50_000_000, 7, 0x10),
        *passed(50_000_250, 8, 0x30),
        *passed(50_001_000, 7, 0x20, decided=False),
    ]
    sent = [
        queued(0x10, 10**18 + 50_000_600),
        queued(0x20, 10**18 + 50_001_500),
        queued(0x40, 10**18 + 50_002_000),
    ]
    assert add_functions(sent, sorted(calls), 10**18) == 2
    assert [(stage, time - 10**18) for stage, time in sent[0].above] == [
        ("tcp_write_xmit", 50_000_000),
        ("__tcp_transmit_skb", 50_000_100),
        ("__ip_queue_xmit", 50_000_200),
        ("ip_output", 50_000_300),
        ("neigh_output", 50_000_400),
    ]
    assert [stage for stage, _ in sent[1].above] == [
        "__tcp_transmit_skb", "__ip_queue_xmit", "ip_output", "neigh_output",
    ]  # fmt: skip
    assert sent[2].above == []


def test_rows_have_the_headers_that_are_written_by_then(lab_captures):
    """As the model has them at the same stages."""
    with open_capture(lab_captures / "size-1.server.pcap") as capture:
        frames = [(n, r) for n, r in enumerate(capture, 1) if r.data[12:14] == b"\x08\0" and r.orig_len > 100]
    n, record = frames[-1]
    one = Transmission(0x10, 1, record.orig_len, 1, [], [("net_dev_queue", 900)])
    one.above = [(stage, 100 * k) for k, stage in enumerate(dict.fromkeys(f.stage for f in FUNCTIONS), 1)]
    rows = {row.stage: row for row in join_frames("server", [one], [(n, record)]).rows}
    payload = rows["net_dev_queue"].payload_bytes
    assert [(row.headers, row.len_bytes - payload) for row in rows.values()] == [
        ("", 0), ("tcp", 32), ("ip:tcp", 52), ("ip:tcp", 52), ("eth:ip:tcp", 66), ("eth:ip:tcp", 66),
    ]  # fmt: skip


# -- the program that runs it ------------------------------------------------------------------------------------------


def play(folder, monkeypatch, script):
    """A bpftrace of our own, first in the PATH."""
    path = folder / "bpftrace"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


LISTS = 'if [ "$1" = -l ]; then echo kprobe:ip_output; echo kprobe:tcp_write_xmit; exit; fi\n'


def test_what_it_writes_until_its_end_is_read(tmp_path, monkeypatch):
    write = 'trap \'echo "ip_output 9 5 aa" >> "$4"; exit 0\' INT\necho ready > "$4"\n'
    write += 'echo "tcp_write_xmit 8 5 0" >> "$4"\n'
    play(tmp_path, monkeypatch, LISTS + write + "while true; do sleep 0.05; done")
    assert [function.name for function in available_functions()] == ["tcp_write_xmit", "ip_output"]
    with FunctionTracer(["x"], tmp_path) as tracer:
        time.sleep(0.2)
        calls, lost = tracer.stop()
    assert (calls, lost) == ([Call(8, "tcp_write_xmit", 5, 0), Call(9, "ip_output", 5, 0xAA)], 0)


def test_why_it_does_not_start_is_said(tmp_path, monkeypatch):
    play(tmp_path, monkeypatch, LISTS + 'echo "stdin:1:1-5: ERROR: it may not" >&2; exit 1')
    with pytest.raises(SystemRefusedError, match="bpftrace did not start: stdin:1:1-5: ERROR: it may not"):
        FunctionTracer(["x"], tmp_path).__enter__()


def test_a_kernel_without_probes_and_a_machine_without_bpftrace_are_named(tmp_path, monkeypatch):
    play(tmp_path, monkeypatch, "exit 0")
    with pytest.raises(
        SystemRefusedError, match=r"no function of the path be probed \(it needs CONFIG_KPROBES"
    ):
        available_functions()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(SystemRefusedError, match=r"apt-get install bpftrace"):
        available_functions()


def test_the_two_clocks_differ_by_what_it_says():
    ahead = realtime_ahead_ns()
    assert abs(time.time_ns() - time.monotonic_ns() - ahead) < 1_000_000_000
