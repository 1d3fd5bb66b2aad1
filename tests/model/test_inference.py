"""What `predict` reads off a capture's times: the queue that held frames back, and the host's clock."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

import fidelity

from pcaptool.diff import diff
from pcaptool.errors import CaptureError
from pcaptool.generate import generate
from pcaptool.predict import predict
from pcaptool.predict.clock import clock_phase_ns, timestamp_offset
from pcaptool.predict.infer import infer_assumptions, infer_host, infer_program
from pcaptool.predict.observe import observe
from pcaptool.predict.probes import Watch, infer_watch
from pcaptool.predict.ticks import tick_phase_ns, timer_frames
from pcaptool.scenario import Costs, Host, load_scenario, parse_scenario
from pcaptool.scenario.queueing import parse_qdisc
from pcaptool.stack.timers import Jiffies, wheel_level

REAL = sorted(path.name.removesuffix(".server.pcap") for path in fidelity.CAPTURES.glob("*.server.pcap"))


def inferred(capture):
    try:
        seen = observe(capture)
    except CaptureError:
        return None
    return infer_host(seen, Host()).qdisc if seen.connections else None


@pytest.mark.parametrize("name", REAL)
def test_a_token_bucket_is_told_from_everything_else(name):
    """Of all recorded on the kernel: where there was one, and only there, with its own rate and size."""
    found = inferred(fidelity.real_capture(name))
    true = load_scenario(fidelity.scenario_file(name)).host.server.qdisc
    if not true.startswith("tbf"):
        assert found in {None, Host().qdisc}
        return
    assert found is not None
    words, real = parse_qdisc(found), parse_qdisc(true)
    assert (words["rate"], words["burst"]) == (real["rate"], real["burst"])


@pytest.mark.parametrize("rate", ["2mbit", "5500kbit", "30mbit"])
@pytest.mark.parametrize("burst", ["4kb", "20000b", "100kb"])
def test_a_modelled_token_bucket_is_found_again(rate, burst, tmp_path):
    words = f"tbf rate {rate} burst {burst} latency 2s"
    text = f'[client]\nrequests = ["/bytes/400000"]\n[host.server]\nqdisc = "{words}"\n'
    made = generate(parse_scenario(text), tmp_path / "x.pcapng", taps=["server"])
    found = inferred(made.capture)
    assert found is not None
    got, true = parse_qdisc(found), parse_qdisc(words)
    assert got["rate"] == pytest.approx(true["rate"], rel=0.02)
    assert got["burst"] <= true["burst"] * 1.02  # what was never used up does not show
    assert got["burst"] >= min(true["burst"], 60_000) * 0.5


def test_pacing_by_tcp_is_no_queue(tmp_path):
    text = (
        '[client]\nrequests = ["/bytes/300000"]\n[link]\ndelay_ms = 10\n[host.server]\ncongestion = "bbr"\n'
    )
    made = generate(parse_scenario(text), tmp_path / "x.pcapng", taps=["server"])
    assert inferred(made.capture) == Host().qdisc


def test_behind_a_queue_stamps_say_when_a_call_was_made():
    seen = observe(fidelity.real_capture("autocork-tbf"))
    connection = seen.connections[0]
    plain = infer_program(connection, Costs())
    queued = infer_program(connection, Costs(), queued=True)
    assert queued.nodelay
    assert not plain.nodelay
    spans = [program.writes[-1].time_ns - program.writes[0].time_ns for program in (plain, queued)]
    assert spans[1] < 10_000_000 < spans[0]  # 20 writes without a pause, let out in 150 ms


def stamped(time_ns, stamp):
    options = SimpleNamespace(timestamps=(stamp & 0xFFFFFFFF, 0))
    return SimpleNamespace(
        time_ns=time_ns, tcp=SimpleNamespace(options=options), skb=SimpleNamespace(length=1)
    )


@given(
    phase_ns=st.integers(0, 999_999),
    offset=st.integers(0, 0xFFFFFFFF),
    start_ms=st.integers(10**9, 2 * 10**12),
    # between departures, and how long a frame had waited then
    steps=st.lists(
        st.tuples(st.integers(0, 3_000_000), st.sampled_from([0, 0, 0, 5_000_000, 400_000_000])),
        min_size=1,
        max_size=30,
    ),
)
def test_every_stamp_of_a_frame_that_did_not_wait_follows_from_the_phase(phase_ns, offset, start_ms, steps):
    time_ns, frames, sure = start_ms * 1_000_000, [], []
    for step_ns, waited_ns in [(0, 0), *steps]:
        time_ns += step_ns
        stamp = (time_ns - waited_ns + phase_ns) // 1_000_000 + offset
        frames.append(stamped(time_ns, stamp))
        sure += [(time_ns, stamp & 0xFFFFFFFF)] if not waited_ns else []
    connection = SimpleNamespace(from_server=frames)
    phase = clock_phase_ns([connection])
    mine = timestamp_offset(connection, phase)
    assert [(at + phase) // 1_000_000 + mine & 0xFFFFFFFF for at, _ in sure] == [stamp for _, stamp in sure]


def test_keepalive_is_inferred_from_its_probes(lab_captures):
    [probed] = observe(lab_captures / "live-keepalive-probes.server.pcap").connections
    assert infer_watch(probed) == Watch(idle_s=1, interval_s=1)
    [quiet] = observe(lab_captures / "keepalive-5.server.pcap").connections
    assert infer_watch(quiet) is None


@pytest.mark.parametrize(
    "name",
    [
        "live-keepalive-probes",
        "zero-window",
        "loss-fin-s",
        "loss-single",
        "live-stall",
        "live-synack-twice",
    ],
)
def test_repetitions_and_probes_left_just_behind_a_tick(name, lab_captures):
    seen = observe(lab_captures / f"{name}.server.pcap").connections
    fired = [one for connection in seen for one in timer_frames(connection)]
    assert fired
    jiffies = Jiffies(250, tick_phase_ns(seen, 250))
    for frame, waited_ns in fired:
        jiffy = jiffies.at(frame.time_ns)
        assert frame.time_ns - jiffies.begin_ns(jiffy) < 200_000
        assert jiffy % 8 ** wheel_level(waited_ns // jiffies.tick_ns) == 0


@given(phase_ns=st.integers(0, 32_000_000 - 1))
@settings(max_examples=10, deadline=None)
def test_the_phase_of_a_modelled_wheel_is_found_again(phase_ns):
    """Timers of a run with a phase that is known: fired() of ours lies where theirs fired."""
    text = '[client]\nrequests = ["/bytes/700"]\n[[link.drop]]\nnth = [1, 2, 3]\n'
    plan = replace(parse_scenario(text), start_time_ns=10**18 + phase_ns)
    with tempfile.TemporaryDirectory() as folder:
        made = generate(plan, Path(folder) / "x.pcapng", taps=["server"])
        seen = observe(made.capture).connections
    jiffies = Jiffies(250, tick_phase_ns(seen, 250))
    fired = timer_frames(seen[0])
    assert len(fired) == 3
    assert [jiffies.at(frame.time_ns) % 8 for frame, waited_ns in fired if waited_ns > 252_000_000] == [0]
    assert all(frame.time_ns - jiffies.begin_ns(jiffies.at(frame.time_ns)) < 100_000 for frame, _ in fired)


def test_a_capture_without_repetitions_shows_no_phase(lab_captures):
    assert tick_phase_ns(observe(lab_captures / "size-1354.server.pcap").connections, 250) == 0


def test_a_receive_buffer_that_a_program_asked_for_is_told_by_its_scale(lab_captures):
    for name, expected in {"live-rcvbuf-server": 8192, "size-0": None, "rmem-6m": None, "nows": None}.items():
        seen = observe(lab_captures / f"{name}.server.pcap")
        assert infer_assumptions(seen, Host()).rcvbuf == expected, name


@pytest.mark.parametrize(
    ("name", "guessed"),
    [
        ("live-iw3", ("the initial window is 3 segments",)),
        ("live-nodelay-chunks", ("the program sets TCP_NODELAY",)),
        ("live-head-cork", ("the program corks",)),
        ("live-sndbuf-64k", ("SO_SNDBUF is 32768",)),  # it was 65536: at that size both send the same
        ("delay20-bbr-300k", ("congestion control is bbr",)),
        ("loss-mid-bbr", ("congestion control is bbr",)),
        ("loss-mid-reno", ("congestion control is reno",)),
        ("loss-mid-cubic", ()),
        ("size-10m", ()),  # there it is the order of work
        ("nagle-chunks-delay", ()),
    ],
)
def test_what_no_frame_tells_is_guessed_where_it_fits(name, guessed, lab_captures, tmp_path):
    made = predict(lab_captures / f"{name}.server.pcap", tmp_path / "x.pcapng")
    assert made.guessed == guessed
    assert diff(made.capture, lab_captures / f"{name}.server.pcap", relation="model", side="server").same


def test_window_probes_are_no_keepalive(lab_captures):
    [stalled] = observe(lab_captures / "zero-window.server.pcap").connections
    assert infer_watch(stalled) is None
