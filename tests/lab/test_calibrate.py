"""This machine's costs, measured; its files are taken by generate and predict. Needs root."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from pcaptool.scenario import Costs, load_costs

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root and network namespaces"),
    pytest.mark.xdist_group("lab"),
]


def test_what_is_measured_is_taken(tmp_path, fixtures):
    program = [sys.executable, "-m", "pcaptool.cli.main"]
    path = tmp_path / "costs.toml"
    done = subprocess.run(
        [*program, "lab", "calibrate", "-o", str(path), "--requests", "100"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *paths, judged = done.stdout.splitlines()
    assert paths == [str(path), str(tmp_path / "costs.bare.toml")]
    off, standard = map(float, re.search(r"a factor of ([\d.]+) .*defaults ([\d.]+)\)", judged).groups())
    assert (
        1 <= off < standard
    )  # a run that they were not made of: measured costs tell more than those of elsewhere
    measured, bare = load_costs(path), load_costs(tmp_path / "costs.bare.toml")
    for costs in (measured, bare):
        # Another machine is faster or slower, but not by a factor of a thousand.
        for name in (
            "tcp_sendmsg_locked_ns",
            "tcp_write_xmit_ns",
            "net_dev_start_xmit_ns",
            "net_dev_xmit_ns",
        ):
            assert 10 < getattr(costs, name) < 1_000_000
        assert costs.wakeup_ns != Costs().wakeup_ns
    assert measured.net_dev_start_xmit_ns > bare.net_dev_start_xmit_ns  # tcpdump's own cost
    for command in (
        ["generate", str(fixtures / "demo" / "scenario.toml"), "-o", str(tmp_path / "m.pcapng")],
        ["predict", str(fixtures / "demo" / "real.server.pcap"), "-o", str(tmp_path / "p.pcapng")],
    ):
        subprocess.run([*program, *command, "--costs", str(path)], check=True, capture_output=True)
