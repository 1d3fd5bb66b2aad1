"""One processor or two, the same files."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

PROGRAM = """
import os, sys
os.sched_setaffinity(0, [int(n) for n in sys.argv[1].split(",")])
from pcaptool.generate import generate
from pcaptool.scenario import parse_scenario
text = '''[client]
connections = 3
stagger_ms = 0.2
requests = ["/bytes/4000000"]
[link]
delay_ms = 2
loss_percent = 0.05
'''
run = generate(parse_scenario(text), sys.argv[2], taps=["server", "wire"])
assert run.packets["wire"] > 8000, run.packets
"""


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="there is one processor only",
)
@pytest.mark.parametrize("format_", ["pcap", "pcapng"])
def test_files_do_not_depend_on_the_number_of_processors(tmp_path, format_):
    first, second = sorted(os.sched_getaffinity(0))[:2]
    found = []
    for name, processors in (("one", f"{first}"), ("two", f"{first},{second}")):
        folder = tmp_path / name
        folder.mkdir()
        out = folder / f"x.{format_}"
        subprocess.run([sys.executable, "-c", PROGRAM, processors, str(out)], check=True, cwd=ROOT)
        digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
        assert len(digests) == 4
        found.append(digests)
        assert (folder / f"x.wire.{format_}").stat().st_size > 12_000_000  # three blocks: the thread had work
    assert found[0] == found[1]
