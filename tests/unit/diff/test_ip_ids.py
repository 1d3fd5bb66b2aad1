"""Identifications that are off are told one by one, and the way back is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from pcaptool.diff import diff
from tests.proof.frames import edit, number, read, write

SOURCE = Path(__file__).resolve().parents[3] / "fixtures" / "captures" / "lab" / "off-100k.server.pcap"
SERVER = bytes((192, 0, 2, 1))


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ({6: 7}, [6]),  # one
        ({6: 7, 7: 9}, [6, 7]),  # two in a row, each by another number
        ({6: 7, 7: 9, 8: 300}, [6, 7, 8]),
        (dict.fromkeys(range(6, 99), 7), [6]),  # a step: told where it happens
        ({6: 7, 7: 7}, [6]),  # a step, and back to equal values
    ],
)
def test_which_packets_are_told(tmp_path, steps, told):
    head, packets = read(SOURCE)
    mine = [i for i, p in enumerate(packets) if p.is_tcp and p.raw[26:30] == SERVER and p.payload_bytes]
    changed = list(packets)
    for k, step in steps.items():
        if k < len(mine):
            i = mine[k]
            changed[i] = edit(packets[i], 18, number(packets[i], 18, 2, step))
    write(tmp_path / "b.pcap", head, changed)
    found = diff(SOURCE, tmp_path / "b.pcap", relation="model", rules={"http-date": False})
    assert set(found.differences["field"]) == {"ip.id"}
    assert sorted(found.differences["n_a"].to_list()) == [mine[k] + 1 for k in told]
