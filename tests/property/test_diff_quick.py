"""The quick way of the diff gives the answer of the full way, value for value.

The quick way never decodes packets that are the same on both sides, so nothing here may differ: verdict, counts,
rules, timing, differences, alignment, listing.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pcaptool.diff as front
from pcaptool.diff import diff_sides, load_side
from pcaptool.diff.room import Room
from pcaptool.diff.start import quickly, worthwhile
from pcaptool.engine import Engine
from tests.proof.frames import Packet, moved, read, write
from tests.proof.mutations import MUTATIONS

LAB = Path(__file__).resolve().parents[2] / "fixtures" / "captures" / "lab"
SERVERS = sorted(p for p in LAB.rglob("*.server.pcap") if p.stat().st_size < 300_000)
NAMES = ("repeat/loss-mid-cubic.server.pcap", "concurrent-4.server.pcap", "size-10240.server.pcap")


def answers(a, b, **options):
    """Both ways' answers; the quick one is None where it does not apply.

    The quick way's columns lie in files and are looked at a few packets at a time, as those of long captures.
    """
    sides = (load_side(a), load_side(b))
    full = diff_sides(*sides, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pcaptool.diff.room.SPAN", 7)
        patch.setattr("pcaptool.diff.whole.SPAN", 5)
        quick = quickly(a, b, engine=Engine("plain"), room=Room(in_memory=9), **options)
        if quick is not None:
            assert quick.alignment.height == quick.aligned
    return full, quick


def check(full, quick):
    x, y = (json.loads(d.to_json(limit=10**6)) for d in (full, quick))
    assert {k: v for k, v in x.items() if v != y[k]} == {}
    assert full.alignment.equals(quick.alignment)
    assert full.differences.equals(quick.differences)
    assert full.listing.equals(quick.listing)
    assert full.flows.equals(quick.flows)


@pytest.mark.parametrize("path", SERVERS[::4], ids=lambda p: p.name)
def test_a_capture_against_itself_and_against_the_other_end(path):
    full, quick = answers(path, path)
    if quick is None:
        assert path.name.startswith(
            ("udp-", "pmtu-", "v6-closed-")
        )  # fragments, or most is neighbour discovery
        return
    check(full, quick)
    other = path.with_name(path.name.replace(".server.", ".client."))
    if other.exists():
        for relation in ("path", "exact"):
            full, quick = answers(other, path, relation=relation)
            assert quick is not None
            check(full, quick)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), name=st.sampled_from(NAMES), changes=st.integers(1, 6))
def test_random_changes(tmp_path_factory, seed, name, changes):
    rng = random.Random(seed)
    head, packets = read(LAB / name)
    changed = packets
    for _ in range(changes):
        mutate = MUTATIONS[rng.choice(sorted(MUTATIONS))]
        change = mutate(changed, rng.randrange(len(changed)))
        changed = change.packets if change is not None else changed
    if rng.random() < 0.3:
        changed = changed[rng.randrange(len(changed) // 3) :]
    if rng.random() < 0.3:
        changed = [moved(p, 987_654_321) for p in changed]
    folder = tmp_path_factory.mktemp("quick")
    write(folder / "a.pcap", head, packets)
    write(folder / "b.pcap", head, changed)
    options = {
        "side": rng.choice([None, "server", "client"]),
        "tolerances": rng.choice([{}, {"time": "1ms"}]),
    }
    full, quick = answers(
        folder / "a.pcap", folder / "b.pcap", relation=rng.choice(["path", "exact", None]), **options
    )
    if quick is not None:
        check(full, quick)


def test_burst_loss_foreign_traffic_and_a_late_start(tmp_path):
    head, packets = read(LAB / "off-100k.server.pcap")
    again, other = read(LAB / "size-10240.server.pcap")
    assert again == head
    a, b = tmp_path / "a.pcap", tmp_path / "b.pcap"
    write(a, head, packets)
    for name, changed in (
        ("burst", [*packets[:12], *packets[22:]]),
        ("foreign", [*packets, *[replace(p, sec=packets[-1].sec + 9) for p in other]]),
        ("late", packets[9:]),
    ):
        write(b, head, changed)
        for x, y in ((a, b), (b, a)):
            full, quick = answers(x, y, relation="path")
            assert quick is not None, name
            check(full, quick)


def test_what_only_decoding_can_place_goes_the_full_way(tmp_path):
    head, packets = read(LAB / "size-10240.server.pcap")
    fragment = next(p for p in packets if p.is_tcp and p.payload_bytes)
    raw = bytearray(fragment.raw)
    raw[20] |= 0x20  # more fragments
    a = tmp_path / "a.pcap"
    write(a, head, [*packets, Packet(fragment.sec + 9, 0, len(raw), bytes(raw))])
    assert quickly(a, a, relation="path", engine=Engine("plain")) is None


def test_other_runs_go_the_full_way():
    a, b = (LAB / "repeat" / f"python-1k.{i}.server.pcap" for i in (1, 2))
    assert quickly(a, b, engine=Engine("plain")) is None
    assert quickly(a, a, relation="model", engine=Engine("plain")) is None
    assert quickly(a, a, rules={"ip-id-start": True}, engine=Engine("plain")) is None


def test_long_captures_go_the_quick_way(tmp_path, monkeypatch):
    a = LAB / "size-10240.server.pcap"
    monkeypatch.setattr("pcaptool.diff.start.QUICK_BYTES", 1)
    assert worthwhile(a, str(a))
    assert not worthwhile(a, tmp_path)
    went = []
    monkeypatch.setattr(front, "quickly", lambda *x, **o: went.append((x, o)))
    assert front.diff(a, a).same  # the full way takes over where the quick one says None
    assert len(went) == 1
