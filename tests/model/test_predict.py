"""Driven runs: real captures' client packets against the modelled server, compared with what the real one sent."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import fidelity

from pcaptool.diff import diff
from pcaptool.errors import CaptureError
from pcaptool.predict import predict
from pcaptool.predict.drive import with_congestion
from pcaptool.predict.infer import infer_program
from pcaptool.predict.observe import observe
from pcaptool.scenario import Costs, load_scenario

# Captures whose closed runs are racy, or whose program or settings the model has no scenario for.
EQUAL = [
    "size-100k",
    "qdisc-pfifo-100k",
    "keepalive-5",
    "concurrent-4",
    "mtu-576-100k",
    "loss-mid-cubic",
    "loss-ack3",
    "loss-fin-c",
    "loss-fin-s",
    "loss-request",
    "loss-single",
    "loss-syn",
    "loss-syn3",
    "loss-synack",
    "loss-tail",
    "cork-delay",
    "delay0-tap-10k",
    "nosack",
    "nots",
    "nows",
    "sndbuf-16k",
    "write-two",
    "write-two-nodelay",
    "write-two-cork",
    "close-client",
    "ecn",
    "delay20-2m-cubic",
    "loss-mid-bbr",
    "loss-mid-nosack",
    "loss-mid-reno",
    "loss-rexmit",
    "reorder-small",
    "live-backlog-abort",
    "live-backlog1",
    "live-collapse",
    "live-cookies",
    "live-cookies-nots",
    "live-fastopen",
    "live-fastopen-no-cookie",
    "live-fastopen-syn-lost",
    "live-half-close",
    "live-half-close-loss",
    "live-half-close-pause",
    "live-more-timer",
    "live-rcvbuf-server",
    "live-mtu-server",
    # the phase of the kernel's ticks is inferred from timers that fired
    "live-keepalive-probes",
    "live-fin-again",
    "live-synack-twice",
    # a window that was idle for more than a timeout is halved once
    "live-stall",
    # what no frame tells is guessed
    "live-iw3",
    "live-head-cork",
    "live-chunks-cork",
    "live-sndbuf-64k",
    "live-sndbuf-delay",
    "live-nodelay-chunks",
    "live-synack-delay",
    "live-acks-lost",
    # which processor received decides how these are cut: the recording tells
    "half-close",
    "off-100k",
    "off-tso-100k",
    "v6-off-100k",
    "size-1m",
    "zero-window",
    "write-chunks",
    "delay20-bbr-300k",
    # the order of work is inferred from what was sent
    "size-10m",
    "loss-veth-mid",
    "delay20-reno-300k",
    "loss-acks",
    # a timer that fired a millisecond late
    "delay20-offload-bbr-300k",
    # what was called is inferred
    "abort-close",
    "nagle-chunks-delay",
    "nginx-100k",
    "nginx-nopush-off-100k",
    "nginx-nosendfile-100k",
    # a router's messages reach the model
    "pmtu-v4",
    "pmtu-v6",
]


@pytest.mark.parametrize("name", EQUAL)
def test_the_model_answers_recorded_clients_as_the_kernel_did(name, tmp_path):
    real = fidelity.CAPTURES / f"{name}.server.pcap"
    congestion = load_scenario(fidelity.scenario_file(name)).host.server.congestion
    made = predict(real, tmp_path / "x.pcapng", settings=with_congestion(congestion))
    found = diff(made.capture, real, relation="model", side="server")
    assert found.exit_code == 0, found.verdict


@pytest.mark.parametrize(
    "name",
    [
        "off-1m",  # buffers that a closing window shifted are no calls; a segment's ACK shows that a softirq ran
        "v6-100k",  # microseconds decide whether a buffer waits for the next ACK
    ],
)
def test_captures_of_no_scenario_are_answered_alike(name, fixtures, tmp_path):
    real = fixtures / "captures" / "driven" / f"{name}.server.pcap"
    made = predict(real, tmp_path / "x.pcapng")
    assert diff(made.capture, real, relation="model", side="server").exit_code == 0
    assert [write.call for write in made.programs[0].writes] == ["send"]


@pytest.mark.parametrize(
    "name",
    [
        "half-close",
        "live-half-close",
        "live-half-close-loss",
        "live-half-close-pause",
        "python-100k",
    ],
)
def test_other_runs_of_a_scenario_are_answered_alike(name, fixtures, tmp_path):
    """Programs on two processors, or a tcpdump on theirs: an order of work that closed runs do not have."""
    real = fixtures / "captures" / "driven" / f"{name}.server.pcap"
    congestion = load_scenario(fidelity.scenario_file(name)).host.server.congestion
    made = predict(real, tmp_path / "x.pcapng", settings=with_congestion(congestion))
    assert diff(made.capture, real, relation="model", side="server").exit_code == 0


@pytest.mark.parametrize("run", ["nginx-1k.1", "nginx-1k.2", "python-1k.1", "python-1k.2"])
def test_other_programs_are_inferred_from_their_captures(run, fixtures, tmp_path):
    real = fixtures / "captures" / "lab" / "repeat" / f"{run}.server.pcap"
    made = predict(real, tmp_path / "x.pcapng")
    found = diff(made.capture, real, relation="model", side="server")
    assert found.exit_code == 0, found.verdict
    calls = [write.call for write in made.programs[0].writes]
    if run.startswith("python"):
        assert calls == ["send", "send"] * 3  # head and body apart
    else:
        assert calls == ["cork", "send_some", "sendfile", "uncork"] * 3  # nginx says that it is nginx


def test_few_orders_of_work_are_chosen_and_said(tmp_path):
    real = fidelity.CAPTURES / "size-10m.server.pcap"
    usual = predict(real, tmp_path / "usual.pcapng", most_runs=1)
    assert diff(usual.capture, real, relation="model", side="server").exit_code == 1
    assert not usual.chosen
    made = predict(real, tmp_path / "x.pcapng")
    assert 1 <= len(made.chosen) <= 3
    assert f"{len(made.chosen)} of" in made.notices[-1]


@pytest.mark.parametrize(
    ("name", "wrong"), [("loss-mid-bbr", "cubic"), ("delay20-bbr-300k", "cubic"), ("loss-mid-cubic", "reno")]
)
def test_no_order_of_work_stands_in_for_another_congestion_control(name, wrong, tmp_path):
    real = fidelity.CAPTURES / f"{name}.server.pcap"
    made = predict(real, tmp_path / "x.pcapng", settings=with_congestion(wrong))
    assert diff(made.capture, real, relation="model", side="server").exit_code == 1


def test_settings_are_read_from_the_handshake(tmp_path):
    for name, expected in {
        "mtu-576-100k": {"mtu": 576},
        "rmem-6m": {"tcp_rmem": (4096, 131072, 4194304)},
        "size-0": {"mtu": 1500, "tcp_timestamps": 1, "tcp_sack": True, "mac": "02:00:00:00:00:01"},
    }.items():
        made = predict(fidelity.CAPTURES / f"{name}.server.pcap", tmp_path / "x.pcapng")
        for key, value in expected.items():
            assert getattr(made.settings, key) == value, name
        assert made.settings.offload.tx_checksum
    assert not predict(
        fidelity.CAPTURES / "off-1k.server.pcap", tmp_path / "x.pcapng"
    ).settings.offload.tx_checksum


def test_numbers_of_the_capture_are_kept(tmp_path):
    real = fidelity.CAPTURES / "size-1354.server.pcap"
    made = predict(real, tmp_path / "x.pcapng")
    numbers = []
    for path in (real, made.capture):
        frames = observe(path).connections[0].from_server
        numbers.append([(f.tcp.seq, f.tcp.ack, f.skb.ip.identification, f.tcp.window) for f in frames])
    assert numbers[0] == numbers[1]


def test_writes_are_cut_where_the_program_called_again():
    seen = observe(fidelity.CAPTURES / "write-two.server.pcap")
    program = infer_program(seen.connections[0], Costs())
    assert [len(w.data) for w in program.writes] == [104, 1000, 104, 1000]
    assert not program.nodelay
    seen = observe(fidelity.CAPTURES / "write-two-nodelay.server.pcap")
    assert infer_program(seen.connections[0], Costs()).nodelay


def test_a_capture_without_a_handshake_is_refused(tmp_path):
    with pytest.raises(CaptureError, match="no SYN-ACK was captured"):
        predict(fidelity.CAPTURES / "closed-port.server.pcap", tmp_path / "x.pcapng")
    assert list(tmp_path.iterdir()) == []
