"""Losses and delays: the laboratory's rules against the model's, on the model's own frames."""

from __future__ import annotations

import os
import tempfile
from types import SimpleNamespace

import pytest

from pcaptool.cli.main import run
from pcaptool.lab.drops import ruleset
from pcaptool.lab.frames import frame_kinds
from pcaptool.lab.owner import is_leftover, own_name, scratch_folder
from pcaptool.lab.rules import Direction
from pcaptool.scenario import Drop, Late, Link, parse_scenario
from pcaptool.stack.loss import frame_kinds as model_kinds
from pcaptool.stack.run import run_scenario
from tests.model.frames import decode

ARP = bytes(12) + b"\x08\x06" + bytes(28)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("close", ["client", "rst"])
def test_a_frame_is_of_the_kinds_that_the_model_says(family, close):
    plan = parse_scenario(
        f'family = {family}\nclient.close = "{close}"\nclient.requests = ["/bytes/1", "/bytes/9000"]'
    )
    frames = run_scenario(plan, ("wire",)).frames["wire"]
    assert len(frames) > 10
    for frame in frames:
        seen = decode(frame)
        flags = seen["tcp"].flags if "tcp" in seen else 0
        skb = SimpleNamespace(
            tcp=SimpleNamespace(flags=flags) if "tcp" in seen else None, length=seen.get("size", 0)
        )
        assert frame_kinds(frame.data) == model_kinds(skb)


def test_the_named_frames_are_lost_or_late_and_counted_by_direction():
    link = Link(
        delay_ns=10,
        drops=(Drop(match="any", nth=(2,)),),
        late=(
            Late(match="other", nth=(3,), extra_ns=7),
            Late(direction="client-to-server", match="any", extra_ns=1),
        ),
    )
    way = Direction(link, "server-to-client")
    assert [way.arrival_ns(ARP, 100) for _ in range(4)] == [110, None, 117, 110]
    assert Direction(link, "client-to-server").arrival_ns(ARP, 0) == 11


def test_a_rate_makes_frames_wait_and_a_full_queue_loses_them():
    way = Direction(Link(rate_bps=8_000_000, queue_packets=1), "server-to-client")
    size_ns = len(ARP) * 1000
    assert [way.arrival_ns(ARP, 0) for _ in range(3)] == [size_ns, 2 * size_ns, None]
    assert way.arrival_ns(ARP, 10 * size_ns) == 11 * size_ns


@pytest.mark.parametrize("kind", ["syn", "synack", "ack", "data", "fin", "rst", "tcp", "other", "any"])
def test_each_kind_has_a_rule_that_counts(kind):
    text = ruleset([Drop(match=kind, nth=(1, 4))], "eth0", 4)
    assert "numgen inc mod 1000000000 { 0, 3 } counter drop" in text
    assert text.count("return") == {"data": 11, "ack": 11, "other": 1}.get(kind, 0)


def test_only_names_of_ended_processes_are_leftovers():
    assert not is_leftover(own_name())
    assert not is_leftover(own_name("s"))
    pid = os.getpid()
    assert is_leftover(f"pcaptool-{pid}-1-s")  # the number was given to another process since
    assert is_leftover(f".pcaptool-{pid}-1")
    for other in ("pcaptool", "pcaptool-x-1-s", "lab12s", f"my-pcaptool-{pid}-1-s", f"pcaptool-{pid}-1-S"):
        assert not is_leftover(other)


def test_scratch_folders_go_and_those_of_ended_processes_too(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("pcaptool-1-0-matrix", "pcaptool-1-0-other", "pcaptool-x-matrix", own_name("matrix") + "x"):
        (tmp_path / name).mkdir()
    with scratch_folder("matrix") as folder:
        (folder / "file").write_text("x")
        assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
            ["pcaptool-1-0-other", "pcaptool-x-matrix", own_name("matrix") + "x", own_name("matrix")]
        )
    assert not folder.exists()


def test_without_root_it_is_refused_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    path = tmp_path / "s.toml"
    path.write_text("")
    assert run(["lab", "run", str(path), "-o", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("pcaptool: the laboratory needs root")
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()
