"""Ctrl-C and SIGTERM in the middle of a long command: the right code, and nothing half-written."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.bench.analyze import make_capture


def without_end(pipe, capture):
    """Write a capture's packets again and again, until nobody reads them any more."""
    with contextlib.suppress(OSError), pipe:
        pipe.write(capture[:24])
        while True:
            pipe.write(capture[24:])


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_analyze_leaves_nothing(number, code, tmp_path):
    make_capture(tmp_path / "some.pcap", 20_000, snaplen=65535)
    out = tmp_path / "out"
    out.mkdir()
    command = [sys.executable, "-m", "pcaptool.cli.main", "analyze", "-", "-o", str(out / "r")]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, **pipes) as child:
        writer = threading.Thread(
            target=without_end, args=(child.stdin, (tmp_path / "some.pcap").read_bytes()), daemon=True
        )
        writer.start()
        deadline = time.monotonic() + 60
        while not list(out.iterdir()):
            assert time.monotonic() < deadline
            assert child.poll() is None, child.stderr.read()
            time.sleep(0.01)
        time.sleep(0.3)
        child.send_signal(number)
        error = child.stderr.read().decode()
        child.wait(60)
        writer.join(60)
    assert child.returncode == code
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
