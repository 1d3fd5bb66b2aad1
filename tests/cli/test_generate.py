"""`pcaptool generate` from the shell's side: files, sameness, refusals."""

from __future__ import annotations

import json

import dpkt
import pytest

from pcaptool.cli.main import run


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text('client.requests = ["/bytes/0", "/bytes/5000"]\n')
    return path


def test_a_run_is_a_capture_with_its_stages_and_scenario(scenario, tmp_path, capsys):
    assert run(["generate", str(scenario), "-o", str(tmp_path / "x.pcapng")]) == 0
    assert {p.name for p in tmp_path.iterdir()} == {
        "s.toml",
        "x.pcapng",
        "x.stages.parquet",
        "x.scenario.toml",
    }
    shown = capsys.readouterr().out
    assert "x.pcapng" in shown
    assert "x.stages.parquet" in shown


def test_json_tells_a_program_the_same(scenario, tmp_path, capsys):
    out = tmp_path / "x.pcap"
    assert run(["generate", str(scenario), "-o", str(out), "--seed", "9", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    with out.open("rb") as file:
        assert made["packets"] == {"server": len(list(dpkt.pcap.Reader(file)))}
    assert (made["captures"], made["seed"]) == ({"server": str(out)}, 9)


def test_same_seed_same_bytes_other_seed_other_bytes(scenario, tmp_path):
    made = {}
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        assert run(["generate", str(scenario), "-o", str(tmp_path / f"{name}.pcapng"), "--seed", seed]) == 0
        made[name] = (tmp_path / f"{name}.pcapng").read_bytes()
    assert made["a"] == made["b"] != made["c"]


def test_several_taps_make_several_captures(scenario, tmp_path):
    command = ["generate", str(scenario), "-o", str(tmp_path / "x.pcap"), "--tap", "server", "--tap", "wire"]
    assert run(command) == 0
    assert {p.name for p in tmp_path.glob("*.pcap")} == {"x.server.pcap", "x.wire.pcap"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[server]\nprot = 1", "line 2: server.prot: unknown key (did you mean port?)"),
        ("seed = x", "line 1: not valid TOML"),
        ('[host.server]\ncongestion = "vegas"', "line 2: host.server.congestion: 'vegas' is not one of"),
    ],
)
def test_a_bad_scenario_is_one_line_and_leaves_nothing(text, said, tmp_path, capsys):
    path, out = tmp_path / "s.toml", tmp_path / "out"
    path.write_text(text)
    out.mkdir()
    assert run(["generate", str(path), "-o", str(out / "x.pcapng")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"pcaptool: {path}: {said}")
    assert error.count("\n") == 1
    assert not list(out.iterdir())


def test_an_output_that_cannot_be_written(scenario, tmp_path, capsys):
    assert run(["generate", str(scenario), "-o", str(tmp_path / "none" / "x.pcapng")]) == 2
    assert "none/x.pcapng: cannot be written: no such file or directory" in capsys.readouterr().err


def test_the_stages_of_a_run_can_be_queried(scenario, tmp_path, capsys):
    assert run(["generate", str(scenario), "-o", str(tmp_path / "x.pcapng")]) == 0
    capsys.readouterr()
    sql = "SELECT count(*) AS frames FROM stages WHERE stage = 'wire' AND host = 'server' AND payload_bytes > 1000"
    assert run(["query", sql, str(tmp_path / "x.stages.parquet"), "--csv"]) == 0
    assert capsys.readouterr().out == "frames\n1\n"
    assert run(["query", sql, str(tmp_path / "y.stages.parquet")]) == 2
    assert "is no file" in capsys.readouterr().err
