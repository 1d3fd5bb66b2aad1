"""How much memory a packet takes where everything is decoded: a bound, measured as the slope between two lengths."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.analyze import make_capture
from tests.bench.diff import make_other

ROOT = Path(__file__).resolve().parents[3]
MOST_BYTES_A_PACKET = 1_400  # docs/limitations.md says 0.8 kB; on a busy machine threads hold more at once
SHORT, LONG = 20_000, 140_000
SCRIPT = """
import resource, sys
from pcaptool.diff import diff
found = diff(sys.argv[1], sys.argv[2], relation="model")
assert found.exit_code == 1, found.verdict
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def peak_bytes(folder, packets):
    a, b = folder / f"a{packets}.pcap", folder / f"b{packets}.pcap"
    make_capture(a, packets, 128)
    make_other(a, b)
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(a), str(b)], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return int(run.stdout)


@pytest.mark.slow
@pytest.mark.skipif(resource.getpagesize() > 65536, reason="memory comes in pages that are too large to tell")
def test_a_packet_takes_a_bounded_number_of_bytes_the_full_way(tmp_path):
    short, long = peak_bytes(tmp_path, SHORT), peak_bytes(tmp_path, LONG)
    assert (long - short) / (2 * (LONG - SHORT)) < MOST_BYTES_A_PACKET
