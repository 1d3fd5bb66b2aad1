"""Ctrl-C and SIGTERM in the middle of a long command: the right code, and nothing half-written."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

from tests.bench.analyze import make_capture


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_analyze_leaves_nothing(number, code, tmp_path):
    make_capture(tmp_path / "long.pcap", 100_000, snaplen=65535)
    out = tmp_path / "out"
    out.mkdir()
    command = [
        sys.executable,
        "-m",
        "pcaptool.cli.main",
        "analyze",
        str(tmp_path / "long.pcap"),
        "-o",
        str(out / "r"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        deadline = time.monotonic() + 60
        while not list(out.iterdir()):
            assert time.monotonic() < deadline
            assert child.poll() is None, child.stderr.read()
            time.sleep(0.01)
        time.sleep(0.3)
        child.send_signal(number)
        _, error = child.communicate(timeout=60)
    assert child.returncode == code
    assert "Traceback" not in error
    assert error == ("\npcaptool: interrupted\n" if number == signal.SIGINT else "")
    assert not list(out.iterdir())


def test_a_growing_capture_is_followed_until_ctrl_c(tmp_path):
    make_capture(tmp_path / "whole.pcap", 400, snaplen=65535)
    whole, growing = (tmp_path / "whole.pcap").read_bytes(), tmp_path / "growing.pcap"
    growing.touch()
    command = [sys.executable, "-m", "pcaptool.cli.main", "analyze", str(growing), "-o", str(tmp_path / "r")]
    with subprocess.Popen([*command, "--follow", "--json"], stdout=subprocess.PIPE, text=True) as child:
        with growing.open("ab", buffering=0) as file:
            for at in range(0, len(whole), len(whole) // 7 + 1):
                file.write(whole[at : at + len(whole) // 7 + 1])
                time.sleep(0.15)
        assert child.poll() is None
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".r.*")):  # the signal must not come before the command has begun
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.5)
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=60)
    said = json.loads(out)
    assert (child.returncode, said["tables"]["packets"], said["notices"]) == (0, 400, [])
