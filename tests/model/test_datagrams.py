"""UDP, fragments, ICMP and path MTU discovery: the model's frames against the real kernel's, read by dpkt."""

from __future__ import annotations

import sys
from pathlib import Path

import dpkt
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import fidelity

from pcaptool.file import open_capture
from pcaptool.generate import generate
from pcaptool.scenario import load_scenario, parse_scenario

SERVER = {4: bytes((192, 0, 2, 1)), 6: bytes.fromhex("20010db8000000000000000000000001")}
UDP_PORTS_AND_SUM = 8  # the header of a UDP datagram: its client's port is random, so its checksum is


def packets(path, version):
    """The server's IP packets that are no neighbour discovery."""
    out = []
    with open_capture(path) as capture:
        for record in capture:
            ip = dpkt.ethernet.Ethernet(bytes(record.data)).data
            if not isinstance(ip, dpkt.ip.IP | dpkt.ip6.IP6) or ip.src != SERVER[version]:
                continue
            if version == 6 and ip.nxt == 58 and bytes(record.data)[54] >= 133:
                continue
            out.append((record.ts_ns, bytes(record.data)[14:], ip))
    return out


def facts(version, raw):
    """What two runs must share of a packet: sizes, flags, offsets, TTL, TOS, payload behind the random port."""
    if version == 4:
        offset = int.from_bytes(raw[6:8], "big")
        first = not offset & 0x1FFF
        return len(raw), raw[1], offset, raw[8], raw[9], raw[20 + UDP_PORTS_AND_SUM * first :]
    fragment = raw[6] == 44
    offset = int.from_bytes(raw[42:44], "big") if fragment else None
    first = not (offset or 0) & 0xFFF8
    at = 48 if fragment else 40
    return len(raw), raw[:1], offset, raw[6], raw[7], raw[at + UDP_PORTS_AND_SUM * first :]


def partial(version, raw):
    """Whether the UDP checksum of a whole datagram is the pseudo-header's sum alone."""
    head = 20 if version == 4 else 40
    source, destination = (raw[12:16], raw[16:20]) if version == 4 else (raw[8:24], raw[24:40])
    pseudo = source + destination + (len(raw) - head).to_bytes(4, "big") + bytes((0, 0, 0, 17))
    return 0xFFFF - dpkt.in_cksum(pseudo) == int.from_bytes(raw[head + 6 : head + 8], "big")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("datagrams")
    return lambda name: generate(fidelity.scenario_file(name), folder / f"{name}.pcapng").capture


@pytest.mark.parametrize("version", [4, 6])
def test_datagrams_and_fragments_are_the_real_kernels(model, version):
    name = f"udp-v{version}"
    ours, theirs = packets(model(name), version), packets(fidelity.real_capture(name), version)
    assert len(ours) == len(theirs) > 30
    for (_, a, _), (_, b, _) in zip(ours, theirs, strict=True):
        assert facts(version, a) == facts(version, b)
    whole = [i for i, (_, raw, _) in enumerate(theirs) if _is_whole(version, raw)]
    assert len(whole) in {4, 6}
    for index in whole:
        assert partial(version, ours[index][1])
        assert partial(version, theirs[index][1])


def _is_whole(version, raw):
    return raw[6] == 17 if version == 6 else not int.from_bytes(raw[6:8], "big") & 0x3FFF


def test_a_datagrams_pieces_share_an_id_that_counts_on(model):
    for path in (model("udp-v4"), fidelity.real_capture("udp-v4")):
        seen = []
        for _, _, ip in packets(path, 4):
            if not seen or seen[-1] != ip.id:
                seen.append(ip.id)
        steps = [(b - a) & 0xFFFF for a, b in zip(seen, seen[1:], strict=False)]
        assert len(seen) == 10
        assert all(1 <= step <= 3 for step in steps)  # more than 1 where ticks passed between


@pytest.mark.parametrize("version", [4, 6])
def test_reassembled_datagrams_have_a_complete_checksum(model, version):
    whole, sums = bytearray(), 0
    for _, raw, _ in packets(model(f"udp-v{version}"), version):
        if _is_whole(version, raw):
            continue
        at = 48 if version == 6 else 20
        word = int.from_bytes(raw[42:44], "big") if version == 6 else int.from_bytes(raw[6:8], "big")
        offset = word & 0xFFF8 if version == 6 else (word & 0x1FFF) * 8
        whole = bytearray() if not offset else whole
        assert len(whole) == offset
        whole += raw[at:]
        if not (word & 1 if version == 6 else word & 0x2000):
            source, target = (raw[12:16], raw[16:20]) if version == 4 else (raw[8:24], raw[24:40])
            pseudo = source + target + len(whole).to_bytes(4, "big") + bytes((0, 0, 0, 17))
            assert dpkt.in_cksum(pseudo + bytes(whole)) == 0
            sums += 1
    assert sums == (4 if version == 4 else 6)


@pytest.mark.parametrize("version", [4, 6])
def test_nobody_on_the_port_is_answered_as_the_real_kernel_does(model, version):
    name = f"udp-closed-v{version}"
    ((_, ours, _),) = packets(model(name), version)
    ((_, theirs, _),) = packets(fidelity.real_capture(name), version)
    head = 20 if version == 4 else 40
    assert len(ours) == len(theirs)
    class_bits = 0 if version == 4 else 4  # IPv6: behind the traffic class the random flow label begins
    assert ours[1] >> class_bits == theirs[1] >> class_bits
    assert ours[6:8] == theirs[6:8] if version == 4 else ours[6] == theirs[6]
    assert ours[head : head + 2] == theirs[head : head + 2]
    quoted = slice(head + 8, None)
    a, b = ours[quoted], theirs[quoted]
    assert len(a) == len(b)
    assert a[head + 8 :] == b[head + 8 :]  # what was asked, behind the headers of the question
    body = (
        ours[head:]
        if version == 4
        else ours[8:40] + len(ours[40:]).to_bytes(4, "big") + b"\0\0\0\x3a" + ours[40:]
    )
    assert dpkt.in_cksum(body) == 0


@pytest.mark.parametrize("version", [4, 6])
def test_a_too_small_mtu_on_the_way_makes_tcp_cut_and_repeat_as_the_real_one(model, version):
    def segments(path):
        return [
            (len(ip.data.data), ip.data.flags & dpkt.tcp.TH_PUSH, _stamp(ip.data))
            for _, _, ip in packets(path, version)
            if isinstance(ip.data, dpkt.tcp.TCP) and len(ip.data.data)
        ]

    ours = segments(model(f"pmtu-v{version}"))
    theirs = segments(fidelity.real_capture(f"pmtu-v{version}"))
    assert [s[:2] for s in ours] == [s[:2] for s in theirs]
    # The first repetitions carry the stamp of what was refused: the clock was not read again.
    for run in (ours, theirs):
        assert len({stamp for _, _, stamp in run[:12]}) <= 2
        assert run[5][2] == run[4][2]


def _stamp(tcp):
    options = dict(dpkt.tcp.parse_opts(tcp.opts))
    return int.from_bytes(options[dpkt.tcp.TCP_OPT_TIMESTAMP][:4], "big")


def test_a_router_cuts_datagrams_that_may_be_cut(tmp_path):
    plan = parse_scenario(
        "[client]\nconnections = 0\n[dns]\nqueries = [1300, 20000]\n[link]\nmtu = 1000\ndelay_ms = 1\n"
    )
    run = generate(plan, tmp_path / "x.pcapng", taps=["server", "client"])
    assert run.notices == ()
    sizes = {len(raw) for _, raw, _ in packets(run.captures["client"], 4)}
    assert max(sizes) == 996  # the largest multiple of 8 that fits 1000, and the header


def test_an_unanswered_question_is_asked_again_and_said(tmp_path):
    plan = parse_scenario(
        "[client]\nconnections = 0\n[dns]\nqueries = [10]\n"
        '[[link.drop]]\nmatch = "other"\ndirection = "server-to-client"\nnth = [2, 3]\n'
    )
    run = generate(plan, tmp_path / "x.pcapng")
    assert run.notices == ("DNS question 1 got no answer",)
    assert run.duration_ns > 5_000_000_000


def test_dns_comes_before_http(tmp_path):
    run = generate(parse_scenario("[dns]\nqueries = [50]\n"), tmp_path / "x.pcapng")
    kinds = [ip.p for _, _, ip in packets(run.capture, 4)]
    assert kinds[0] == 17
    assert set(kinds[1:]) == {6}
    assert load_scenario(run.scenario_path) == run.scenario


@pytest.mark.parametrize("side", ["server", "client"])
@pytest.mark.parametrize("name", sorted(fidelity.DATAGRAMS))
def test_the_diff_finds_nothing_in_datagrams_fragments_and_icmp_errors(name, side, tmp_path):
    """Random ports stand in the fragments' payload and in what ICMP quotes; IPv4 IDs and flow labels begin anywhere."""
    found = fidelity.compare(name, side, tmp_path)
    assert found.relation == "model"
    assert found.exit_code == 0, found.verdict
    assert found.alignment["n_b"].drop_nulls().len() == found.alignment["n_a"].drop_nulls().len() > 1
