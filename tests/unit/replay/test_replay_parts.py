"""Parts of a replay: rules, quantiles, matching, rounds, filters, sides."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcaptool.engine import Engine
from pcaptool.errors import UsageError
from pcaptool.file.packet_filter import PacketFilter
from pcaptool.replay import Options, Pace, Rewriting, replay
from pcaptool.replay.outcome import Quantiles
from pcaptool.replay.packets import Source
from pcaptool.replay.plan import REFUSALS, Planner, Target
from pcaptool.replay.slots import SLOTS, Slot
from pcaptool.replay.watching import match
from tests.bench.analyze import make_capture


@given(
    st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=200), st.sampled_from([0.0, 0.5, 0.99, 1.0])
)
def test_quantiles_are_right_to_one_part_in_64_and_never_too_small(values, part):
    quantiles = Quantiles()
    for value in values:
        quantiles.add(np.array([value], np.int64))
    exact = sorted(abs(v) for v in values)[max(1, int(np.ceil(part * len(values)))) - 1]
    found = quantiles.at(part)
    assert exact <= found <= exact + exact // 64
    assert found == exact or exact >= 4096
    assert quantiles.at(1.0) == quantiles.largest == max(abs(v) for v in values)


@given(st.lists(st.integers(0, 5), max_size=30), st.lists(st.integers(0, 5), max_size=30))
def test_equal_frames_are_matched_in_order(sent, seen):
    found = match(np.array(sent, np.int64), np.array(seen, np.int64)).tolist()
    for digest in set(sent):
        wanted = [i for i, value in enumerate(seen) if value == digest]
        mine = [found[i] for i, value in enumerate(sent) if value == digest]
        assert mine == (wanted + [-1] * len(mine))[: len(mine)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"addresses": ("1.2.3.4",)}, "--map '1.2.3.4' is not OLD=NEW"),
        ({"addresses": ("1.2.3.4/8=2.0.0.0/8",)}, "has host bits set"),
        ({"addresses": ("1.0.0.0/8=2.0.0.0/9",)}, "same prefix length"),
        ({"addresses": ("1.2.3.4=::1",)}, "both must be IPv4"),
        ({"ports": ("80=70000",)}, "'70000' is no port"),
        ({"macs": ("dst=1:2",)}, "is not a MAC address"),
        ({"vlan": "7"}, "--vlan '7'"),
        ({"vlan": "add:4095"}, "--vlan 'add:4095'"),
        ({"ttl": "x"}, "--ttl 'x'"),
        ({"ttl": "256"}, "--ttl '256'"),
    ],
)
def test_words_that_are_no_rule_are_refused(words, said):
    rewriting = Rewriting(**words)
    with pytest.raises(UsageError) as raised:
        _ = rewriting.rules(), rewriting.settings(digest=False)
    assert said in str(raised.value)


def test_each_interface_has_macs_of_its_own(lab_captures):
    """The router of the client's side is another one than the server's."""
    macs = (
        "dst=02:00:00:00:00:09",
        "client:dst=02:00:00:00:00:0a",
        "server:02:00:00:00:00:01=02:00:00:00:00:0b",
    )
    source = Source(lab_captures / "keepalive-5.server.pcap", split=True, engine=Engine("plain"))
    planner, slot = Planner(source, [Target("a"), Target("b")], Pace(), Rewriting(macs=macs)), Slot.alone()
    assert planner.fill(slot)
    found = {}
    for row in range(slot.count):
        frame = slot.frame(row)
        found.setdefault(int(slot.interface[row]), set()).add((frame[:6].hex(), frame[6:12].hex()))
    assert found == {0: {("02000000000a", "020000000002")}, 1: {("020000000009", "02000000000b")}}


def test_macs_of_a_side_need_two_interfaces():
    with pytest.raises(UsageError, match=r"--mac client:\.\.\. and server:\.\.\. are for two interfaces"):
        Rewriting(macs=("client:dst=02:00:00:00:00:09",)).rules()


def test_a_datagram_larger_than_the_mtu_is_refused_with_the_reason():
    """Its segments' size (UDP_SEGMENT) is not in a capture, and a fragment is not what was sent."""
    udp = struct.pack("!HHHH", 1, 2, 3008, 0) + bytes(3000)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 3028, 7, 0, 64, 17, 0, b"\x0a\0\0\1", b"\x0a\0\0\2")
    frame = bytes(12) + b"\x08\0" + ip + udp
    head = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)
    capture = io.BytesIO(head + struct.pack("<IIII", 1, 0, len(frame), len(frame)) + frame)
    planner = Planner(
        Source(capture, split=False, engine=Engine("plain")), [Target("x")], Pace(), Rewriting()
    )
    assert planner.fill(Slot.alone())
    [(reason, count)] = planner.counts.refused.items()
    assert count == 1
    assert "UDP datagram larger than the MTU" in REFUSALS[reason]


def test_one_pace_at_a_time():
    with pytest.raises(UsageError, match="--speed and --topspeed exclude each other"):
        Pace.of(speed="2", topspeed=True)


@pytest.mark.parametrize(
    "expression", ["tcp port 80", "greater 1000", "tcp[tcpflags] & tcp-syn != 0", "arp or icmp6"]
)
def test_filters_choose_what_tcpdump_chooses(expression, lab_captures, tmp_path):
    import shutil
    import subprocess

    if shutil.which("tcpdump") is None:
        pytest.skip("tcpdump is not installed")
    path = lab_captures / "size-100k.server.pcap"
    words = ["tcpdump", "-nn", "-r", str(path), expression]
    wanted = subprocess.run(words, check=True, capture_output=True, text=True).stdout.count("\n")
    only = PacketFilter(expression)
    source = Source(path, split=False, engine=Engine("plain"))
    assert sum(int(only.wanted(packets.run).sum()) for packets in source.packets()) == wanted


def test_a_filter_that_libpcap_does_not_understand_is_refused_in_its_words():
    with pytest.raises(UsageError, match=r"--filter 'tcp prot 80'.*syntax error"):
        PacketFilter("tcp prot 80")


def test_sides_are_those_of_the_conversations(lab_captures):
    source = Source(lab_captures / "concurrent-4.server.pcap", split=True, engine=Engine("plain"))
    found = {0: set(), 1: set()}
    for run, sides in source.packets():
        for at, side in zip(run.offsets.tolist(), sides.tolist(), strict=True):
            found[side].add(run.data[at + 6 : at + 12].tobytes().hex(":"))
    assert found == {0: {"02:00:00:00:00:02"}, 1: {"02:00:00:00:00:01"}}
    assert source.unsided == 0


@pytest.mark.parametrize("kept", [0, 2, SLOTS])
@pytest.mark.parametrize("packets", [5, 4096, 9000])
def test_rounds_are_the_same_whether_slots_are_kept_or_planned_again(kept, packets, tmp_path):
    make_capture(tmp_path / "x.pcap", packets, 80)
    source = Source(tmp_path / "x.pcap", split=False, engine=Engine("plain"))
    planner = Planner(
        source, [Target("x")], Pace(), Rewriting(pad=True), only=PacketFilter("tcp"), rounds=3, keep=kept
    )
    rows, slots = [], [Slot.alone() for _ in range(SLOTS)]
    number = 0
    while True:
        slot = slots[number % (planner.repeats or SLOTS)]
        if not (planner.repeat(slot) if planner.repeats else planner.fill(slot)):
            break
        columns = (slot.n, slot.round, slot.part, slot.size, slot.due_ns)
        rows += zip(*(c[: slot.count].tolist() for c in columns), strict=True)
        number += 1
    last_ns = (packets - 1) * 10_000
    assert [row[:3] for row in rows] == [(n, r, 0) for r in range(3) for n in range(1, packets + 1)]
    assert [row[4] for row in rows] == [r * last_ns + n * 10_000 for r in range(3) for n in range(packets)]
    assert planner.counts.packets == 3 * packets
    once = Planner(source, [Target("x")], Pace(), Rewriting(pad=True))
    used = 0
    while once.fill(slots[0]):
        used += 1
    assert planner.counts.padded == 3 * once.counts.padded > 0
    assert planner.repeats == (used if 1 < used <= kept else 0)


def test_a_dry_run_needs_no_permission_and_says_what_would_be(lab_captures):
    outcome = replay(lab_captures / "size-100k.server.pcap", ["none0"], Options(dry=True, limit=10))
    assert (outcome.packets, outcome.sent, outcome.exit_code) == (10, 0, 0)
    assert outcome.planned > 10
    refused = replay(
        lab_captures / "size-100k.server.pcap",
        ["none0"],
        Options(dry=True, rewriting=Rewriting(segment=False)),
    )
    assert (refused.refused, refused.exit_code) == (7, 1)


def test_nothing_to_send_is_said(lab_captures):
    with pytest.raises(UsageError, match="no packet fits --filter 'udp port 9'"):
        replay(lab_captures / "size-1.server.pcap", ["none0"], Options(dry=True, only="udp port 9"))


@pytest.mark.parametrize(
    "given", [["a", "b"], ["client=a"], ["client=a", "client=b"], ["client=a", "other=b"]]
)
def test_interfaces_are_one_or_client_and_server(given, lab_captures):
    with pytest.raises(UsageError, match="give one interface, or two as"):
        replay(lab_captures / "size-1.server.pcap", given, Options(dry=True))
