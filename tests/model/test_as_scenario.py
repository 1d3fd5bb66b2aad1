"""A capture becomes a scenario that stands alone, and what `generate` makes of it asks and answers the same."""

from __future__ import annotations

import json

import pytest

from pcaptool.cli.main import run
from pcaptool.diff import diff
from pcaptool.errors import CaptureError
from pcaptool.generate import generate
from pcaptool.lab.sample import samples
from pcaptool.replay.as_scenario import scenario_of
from pcaptool.replay.recorded import recorded_conversations
from pcaptool.scenario import dump_scenario, load_scenario, parse_scenario

# Programs, writes, ends, hosts' settings, links: these come out equal frame by frame.
EQUAL = [
    "busy-8s", "close-client", "concurrent-4", "cork-delay", "delay0-tap-10k", "express-close-10k",
    "keepalive-5", "live-half-close", "live-half-close-pause", "live-more-timer", "mtu-576-100k", "nginx-1k",
    "node-1k", "nosack", "nots", "nows", "off-1k", "python-close-10k", "rmem-6m", "size-0", "size-10240",
    "write-chunks-nodelay", "write-two", "write-two-more",
]  # fmt: skip
# Losses, a server's program with several writes, a capture of few bytes a packet: requests and answers are the same.
ASKED = [
    "loss-mid-cubic", "loss-syn", "delay20-cubic-300k", "idle-7s", "node-100k", "nginx-100k", "pmtu-v6",
    "sndbuf-16k",
]  # fmt: skip


def asked(path):
    """Requests of each connection, and what was answered."""
    return [
        [(a.method, a.target, a.answer and (a.answer.status, a.answer.body_bytes)) for a in talk.asked]
        for talk in recorded_conversations(path)
    ]


def again(capture, folder):
    """A capture through its scenario's text, and back."""
    made = scenario_of(capture)
    plan = parse_scenario(dump_scenario(made.scenario))
    return generate(plan, folder / "again.pcapng").capture


@pytest.mark.parametrize("name", EQUAL)
def test_a_real_capture_comes_out_of_its_scenario_again(name, lab_captures, tmp_path):
    original = lab_captures / f"{name}.server.pcap"
    made = again(original, tmp_path)
    assert asked(made) == asked(original)
    found = diff(made, original, relation="model", side="server")
    assert found.same, found.verdict


@pytest.mark.parametrize("name", ASKED)
def test_where_the_link_cannot_be_inferred_requests_and_answers_are_the_same(name, lab_captures, tmp_path):
    original = lab_captures / f"{name}.server.pcap"
    assert asked(again(original, tmp_path)) == asked(original)


@pytest.mark.slow
def test_scenarios_drawn_at_random_ask_and_answer_the_same_after_two_ways(tmp_path):
    tried = 0
    for sample in samples(40, 11):
        capture = generate(sample.scenario, tmp_path / "x.pcapng").capture
        try:
            made = scenario_of(capture)
        except CaptureError:
            continue  # nothing was asked and answered: no server, or an end in the middle
        if any("left out" in note or "different ways" in note for note in made.notes):
            continue
        tried += 1
        assert asked(again(capture, tmp_path)) == asked(capture), sample.scenario
    assert tried > 25


def test_the_command_writes_it_beside_the_capture_and_generate_takes_it(lab_captures, tmp_path, capsys):
    original, made = lab_captures / "write-two.server.pcap", tmp_path / "model.pcapng"
    assert run(["replay", str(original), "--model", "-o", str(made), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["scenario"] == str(tmp_path / "model.scenario.toml")
    plan = load_scenario(said["scenario"])
    assert [route.write for route in plan.server.routes] == ["head-then-body"]
    assert run(["generate", said["scenario"], "-o", str(tmp_path / "x.pcapng")]) == 0
    assert asked(tmp_path / "x.pcapng") == asked(original)


def test_what_a_scenario_cannot_say_is_said(tmp_path, lab_captures):
    """The request's method is changed to one that a scenario does not have; its length stays."""
    original = lab_captures / "keepalive-5.server.pcap"
    data = original.read_bytes()
    altered = tmp_path / "altered.pcap"
    at = data.index(b"GET /bytes/10 ")
    altered.write_bytes(data[:at] + b"PUT" + data[at + 3 :])
    made = scenario_of(altered)
    assert len(made.scenario.client.requests) == 4
    assert "left out: PUT /bytes/10" in made.notes


def test_without_http_there_is_a_reason_and_the_prediction_stays(lab_captures, tmp_path, capsys):
    assert (
        run(
            [
                "replay",
                str(lab_captures / "abort-close.server.pcap"),
                "--model",
                "-o",
                str(tmp_path / "m.pcapng"),
                "--json",
            ]
        )
        == 0
    )
    said = json.loads(capsys.readouterr().out)
    assert said["scenario"] is None
    assert "no scenario is written" in said["scenario_notes"][0]
    assert (tmp_path / "m.pcapng").exists()
    assert not (tmp_path / "m.scenario.toml").exists()
