"""Bodies against tshark's `--export-objects`, on captures without content coding."""

from __future__ import annotations

import json
import subprocess

import pytest

from pcaptool.analyze.pipeline import analyze

pytestmark = pytest.mark.oracle


@pytest.mark.parametrize("name", ["keepalive-5.client", "concurrent-4.client", "size-1354.client"])
def test_bodies_are_sharks_objects(lab_captures, tmp_path, name):
    path = lab_captures / f"{name}.pcap"
    command = ["tshark", "-n", "-q", "-r", str(path), "--export-objects", f"http,{tmp_path / 'theirs'}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    analyze(path, tmp_path / "report", tables=["packets"], extract=tmp_path / "ours")
    about = json.loads((tmp_path / "ours" / "bodies.json").read_text())["bodies"]
    assert not any(body["gap_bytes"] for body in about), "a capture that was cut cannot be compared"
    ours = sorted((tmp_path / "ours" / body["file"]).read_bytes() for body in about)
    theirs = sorted(file.read_bytes() for file in (tmp_path / "theirs").iterdir())
    assert ours == [body for body in theirs if body]
    assert ours
