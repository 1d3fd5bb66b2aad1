"""The model's frames equal the real kernel's: in every field, after normalisation, over the bundled captures."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import fidelity

# The scenarios that the project's first issue names.
NAMED = {"size-0", "size-1", "size-1354", "size-10240", "off-1k", "nows", "nosack", "nots", "fixed-port"}
NAMED |= {"close-client", "write-two", "write-two-nodelay"}


@pytest.mark.parametrize("name", [n for n in fidelity.names() if n not in fidelity.RACY])
def test_every_frame_of_the_server_equals_the_real_one(name, tmp_path):
    found = fidelity.compare(name, "server", tmp_path)
    assert found.verdict.startswith("Same"), found.verdict
    assert found.exit_code == 0
    frames, equal = fidelity.counts(found, "server to client")
    assert frames == equal > 0


def test_the_named_scenarios_are_among_them():
    assert set(fidelity.names()) - set(fidelity.RACY) >= NAMED


@pytest.mark.parametrize("name", sorted(fidelity.RACY))
def test_racy_scenarios_differ_in_few_frames(name, tmp_path):
    """In the closed run, or where the race is who got the processor, in the one driven by the recorded client."""
    closed, driven = fidelity.compare(name, "server", tmp_path), fidelity.compare_driven(name, tmp_path)[1]
    frames, _ = fidelity.counts(closed, "server to client")
    # Behind tbf every stamp shows when the program wrote: its pace is in most frames (test_queues compares the rest).
    least = 0.5 if name == "autocork-tbf" else 0.6
    assert min(differences(closed), differences(driven)) <= max(2, frames - round(frames * least))


def differences(found):
    """Places at which the server's frames differ: frames, and runs of frames that were cut otherwise."""
    rows = found.differences.filter(found.differences["direction"] == "server to client")
    return rows["n_b"].drop_nulls().n_unique()


def test_a_wrong_model_is_found(tmp_path):
    """The comparison can fail: another MTU, another option set, another write pattern."""
    from pcaptool.diff import diff
    from pcaptool.generate import generate
    from pcaptool.scenario import parse_scenario

    text = (fidelity.SCENARIOS / "size-10240.toml").read_text()
    real = fidelity.CAPTURES / "size-10240.server.pcap"
    for change in (
        "[host.client]\nmtu = 1400\n",
        "[host.server]\ntcp_timestamps = 0\n",
        "[host.server]\nttl = 63\n",
        "[host.server]\ninitial_cwnd = 4\n",
        "[host.server]\noffload = { tx_checksum = false }\n",
    ):
        model = generate(parse_scenario(text + change), tmp_path / "x.pcapng")
        found = diff(model.capture, real, side="server")
        assert found.exit_code == 1, change
        assert found.differing > 0
