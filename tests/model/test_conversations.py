"""What two modelled hosts say to each other: handshake, segmentation, Nagle, ACKs, the end of a connection."""

from __future__ import annotations

import sys
from pathlib import Path

import dpkt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

import itertools

from frames import decode, lines, run, tcp_frames

from pcaptool.scenario import parse_scenario
from pcaptool.stack.run import run_scenario
from pcaptool.tables import STAGE_NAMES


def requests(*sizes):
    return "[client]\nrequests = [" + ", ".join(f'"/bytes/{n}"' for n in sizes) + "]\n"


def server_bytes(result, tap="server", *, leaving=True):
    """The server's byte stream of the first connection, from sequence numbers; repeats must agree."""
    stream, start = {}, None
    for frame in tcp_frames(result, tap, leaving=leaving):
        if "S" in frame["flags"]:
            start = frame["seq"] + 1
        for offset, byte in enumerate(frame["data"]):
            at = (frame["seq"] - start + offset) & 0xFFFFFFFF
            assert stream.setdefault(at, byte) == byte
    return bytes(stream[i] for i in range(len(stream)))


def test_a_small_exchange_reads_as_in_a_real_capture():
    assert lines(run(requests(1000))) == [
        "  1 < arp request",
        "  2 > arp reply",
        "  3 < S    0:0 ack 0 win 64240 segs 1",
        "  4 > SA   0:0 ack 1 win 65160 segs 1",
        "  5 < A    1:1 ack 1 win 63 segs 1",
        "  6 < PA   1:63 ack 1 win 63 segs 1",
        "  7 > A    1:1 ack 63 win 64 segs 1",
        "  8 > PA   1:1105 ack 63 win 64 segs 1",
        "  9 < A    63:63 ack 1105 win 66 segs 1",
        " 10 < FA   63:63 ack 1105 win 66 segs 1",
        " 11 > FA   1105:1105 ack 64 win 64 segs 1",
        " 12 < A    64:64 ack 1106 win 66 segs 1",
    ]


def test_the_client_gets_every_byte():
    result = run(requests(0, 1, 1447, 1448, 1449, 100_000))
    stream = server_bytes(result)
    assert stream.count(b"HTTP/1.1 200 OK") == 6
    bodies = [part.split(b"\r\n\r\n", 1)[1] for part in stream.split(b"HTTP/1.1 200 OK")[1:]]
    assert [len(body) for body in bodies] == [0, 1, 1447, 1448, 1449, 100_000]
    assert bodies[5] == (b"abcdefghijklmnopqrstuvwxyz" * 4000)[:100_000]


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(
    sizes=st.lists(st.integers(0, 60_000), min_size=1, max_size=4),
    mtu=st.sampled_from([576, 1500, 9000]),
    delay_ms=st.sampled_from([0, 0, 3]),
    write=st.sampled_from(["one", "head-then-body", "chunks"]),
    tso=st.booleans(),
    nodelay=st.booleans(),
    keepalive=st.booleans(),
)
def test_any_lossless_scenario_delivers_and_ends(sizes, mtu, delay_ms, write, tso, nodelay, keepalive):
    flag = {True: "true", False: "false"}
    text = f"""
        [[server.route]]
        path = "/bytes/{{n}}"
        write = "{write}"
        nodelay = {flag[nodelay]}
        [client]
        requests = {[f"/bytes/{n}" for n in (sizes if keepalive else sizes[:1])]}
        keepalive = {flag[keepalive]}
        [host.server]
        mtu = {mtu}
        offload = {{ tso = {flag[tso]} }}
        [host.client]
        mtu = {mtu}
        [link]
        delay_ms = {delay_ms}
    """
    result = run_scenario(parse_scenario(text), ("server", "client", "wire"))
    assert result.notices == ()
    stream = server_bytes(result)
    heads = stream.count(b"\r\n\r\n")
    assert heads == (len(sizes) if keepalive else 1)
    assert server_bytes(result, "client", leaving=False) == stream
    assert server_bytes(result, "wire") == stream
    last = tcp_frames(result)[-1]
    assert last["flags"] == "A"
    assert sum("F" in f["flags"] for f in tcp_frames(result)) == 2
    for frame in result.frames["wire"]:
        assert len(frame.data) <= mtu + 14


def test_super_packets_are_half_the_window_at_a_time():
    sent = [f["size"] for f in tcp_frames(run(requests(20_000)), leaving=True) if f["size"]]
    assert sent == [5 * 1448, 5 * 1448, 20_105 - 10 * 1448]


def test_without_offload_the_same_bytes_leave_in_frames_and_only_the_last_of_each_burst_has_psh():
    on, off = run(requests(9000)), run(requests(9000) + "[host.server.offload]\ntso = false\n")
    pushed = [(f["size"], "P" in f["flags"]) for f in tcp_frames(off, leaving=True) if f["size"]]
    assert pushed == [(1448, False)] * 4 + [(1448, True), (1448, False), (9104 - 6 * 1448, True)]
    assert server_bytes(on) == server_bytes(off)


def test_the_wire_carries_the_segments_of_the_servers_super_packets():
    result = run(requests(30_000), ["server", "wire"])
    expected = []
    for frame in tcp_frames(result, leaving=True):
        step = 1448 if frame["segs"] > 1 else max(1, frame["size"])
        cuts = range(0, max(1, frame["size"]), step)
        expected += [
            (frame["seq"] + at, frame["data"][at : at + step], frame["id"] + i) for i, at in enumerate(cuts)
        ]
    wire = tcp_frames(result, "wire", leaving=True)
    assert [(f["seq"], f["data"], f["id"]) for f in wire] == [(s, d, i & 0xFFFF) for s, d, i in expected]


@pytest.mark.parametrize("tap", ["server", "client", "wire"])
def test_checksums_are_right_where_they_are_said_to_be(tap):
    result = run(requests(5000), [tap])
    for frame in result.frames[tap]:
        eth = dpkt.ethernet.Ethernet(frame.data)
        if isinstance(eth.data, dpkt.arp.ARP):
            continue
        ip = eth.data
        segment = bytes(frame.data[34:])
        pseudo = ip.src + ip.dst + b"\0\x06" + len(segment).to_bytes(2, "big")
        total = dpkt.in_cksum(pseudo + segment)
        assert (total == 0) == frame.checksum_ready
        assert dpkt.in_cksum(bytes(frame.data[14:34])) == 0
        assert frame.checksum_ready == (tap == "wire")


def test_ids_count_wire_segments_and_a_syn_ack_has_none():
    frames = tcp_frames(run(requests(20_000)), leaving=True)
    assert frames[0]["id"] == 0
    own = frames[1:]
    assert [(b["id"] - a["id"]) & 0xFFFF for a, b in itertools.pairwise(own)] == [f["segs"] for f in own[:-1]]


def test_nagle_waits_for_the_delayed_ack():
    text = requests(1000, 1000) + '[[server.route]]\npath = "/bytes/{n}"\nwrite = "head-then-body"\n'
    frames = tcp_frames(run(text), leaving=True)
    data = [f for f in frames if f["size"]]
    assert [f["size"] for f in data] == [104, 1000, 104, 1000]
    assert data[1]["ns"] - data[0]["ns"] < 1_000_000  # the first ACK is quick (fact 53)
    assert 39_000_000 < data[3]["ns"] - data[2]["ns"] < 48_000_000  # the second is delayed (fact 47)


def test_nodelay_does_not_wait():
    text = (
        requests(1000, 1000)
        + '[[server.route]]\npath = "/bytes/{n}"\nwrite = "head-then-body"\nnodelay = true\n'
    )
    data = [f for f in tcp_frames(run(text), leaving=True) if f["size"]]
    assert data[3]["ns"] - data[0]["ns"] < 1_000_000


@pytest.mark.parametrize("word", ["cork", "more"])
def test_corked_writes_leave_as_one(word):
    text = (
        requests(1000) + f'[[server.route]]\npath = "/bytes/{{n}}"\nwrite = "head-then-body"\n{word} = true\n'
    )
    assert [f["size"] for f in tcp_frames(run(text), leaving=True) if f["size"]] == [1104]


def test_what_the_probe_timer_sends_of_a_corked_write_is_pushed():
    text = requests(0) + '[[server.route]]\npath = "/bytes/{n}"\nwrite = "head-then-body"\nmore = true\n'
    (data,) = [f for f in tcp_frames(run(text), leaving=True) if f["size"]]
    assert (data["size"], data["flags"]) == (101, "PA")
    assert data["ns"] - run(text).frames["server"][0].time_ns > 200_000_000


def test_a_client_shuts_down_before_the_server_that_it_woke_runs():
    frames = tcp_frames(run(requests(100) + "half_close = true\n"))
    data = next(i for i, f in enumerate(frames) if f["leaving"] and f["size"])
    fin = next(i for i, f in enumerate(frames) if not f["leaving"] and "F" in f["flags"])
    assert fin < data
    assert frames[data]["ack"] == frames[fin]["seq"] + 1


def test_slow_start_doubles_each_round_trip():
    text = (
        requests(300_000) + "[link]\ndelay_ms = 20\n[host.server.offload]\ntso = false\ntx_checksum = false\n"
    )
    data = [f for f in tcp_frames(run(text), leaving=True) if f["size"]]
    rounds, last = [], None
    for frame in data:
        if last is None or frame["ns"] - last > 10_000_000:
            rounds.append(0)
        rounds[-1] += 1
        last = frame["ns"]
    assert rounds[:4] == [10, 20, 40, 80]  # fact 40


def test_a_closed_port_answers_with_a_reset():
    result = run(requests(10) + "[server]\nlisten = false\n")
    reset = tcp_frames(result, leaving=True)
    assert [(f["flags"], f["seq"], f["win"], f["id"], f["options"]) for f in reset] == [("RA", 0, 0, 0, {})]
    assert result.notices == ("1 connections were refused: nothing listens on the server's port",)
    assert reset[0]["ready"]  # fact 33: the control socket's reply has a full checksum


def test_closing_with_linger_zero_resets():
    frames = tcp_frames(run(requests(10) + '[server]\nclose = "rst"\nclose_after = 1\n'), leaving=True)
    assert frames[-1]["flags"] == "RA"
    assert frames[-1]["win"] == 64
    assert not frames[-1]["ready"]


def test_unread_data_makes_close_a_reset():
    frames = tcp_frames(run(requests(300_000) + "rst_after_bytes = 1000\nread_chunk_bytes = 1000\n"))
    assert any("R" in f["flags"] and not f["leaving"] for f in frames)


def test_the_last_ack_of_a_server_that_closed_first_is_the_sockets_or_time_waits():
    both = tcp_frames(run("[client]\nkeepalive = false\nrequests = ['/bytes/10']\n"), leaving=True)
    assert both[-1]["id"] != 0  # the client's FIN carried the ACK of ours: fact 56
    slow = tcp_frames(
        run("[client]\nkeepalive = false\nrequests = ['/bytes/10']\nhold_ms = 100\n"), leaving=True
    )
    assert slow[-1]["id"] == 0  # the client acknowledged first: a mini-socket answers
    assert slow[-1]["ready"]


def test_a_reader_that_stalls_closes_the_window_and_is_probed():
    text = (
        requests(3_000_000)
        + "stall_ms = 3000\n[host.client]\ntcp_rmem = [4096, 16384, 32768]\ntcp_moderate_rcvbuf = false\n"
    )
    result = run(text)
    assert result.notices == ()
    frames = tcp_frames(result)
    stalled = [f for f in frames if 1e9 < f["ns"] - frames[0]["ns"] < 2.9e9]
    probes = [f for f in stalled if f["leaving"]]
    closed = max(f["ack"] for f in stalled if not f["leaving"] and f["win"] == 0)
    assert {(f["seq"], f["size"]) for f in probes} == {(closed - 1, 0)}
    early = [f for f in frames if f["leaving"] and f["seq"] == closed - 1 and not f["size"]]
    gaps = [round((b["ns"] - a["ns"]) / 1e6) for a, b in itertools.pairwise(early)]
    assert [round(b / a) for a, b in itertools.pairwise(gaps)] == [2] * (len(gaps) - 1)
    assert len(gaps) >= 2
    assert len(server_bytes(result)) > 3_000_000


def test_four_connections_do_not_mix():
    result = run(requests(5000, 5000) + "connections = 4\n")
    ports = {f["tcp"].dport for f in tcp_frames(result, leaving=True)}
    assert len(ports) == 4
    assert all(port % 2 == 0 for port in ports)  # fact 26


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    first, again = run("seed = 5\n" + requests(50_000)), run("seed = 5\n" + requests(50_000))
    other = run("seed = 6\n" + requests(50_000))
    assert [f.data for f in first.frames["server"]] == [f.data for f in again.frames["server"]]
    assert first.stages == again.stages
    assert [f.data for f in first.frames["server"]] != [f.data for f in other.frames["server"]]


def test_limits_end_a_run_and_are_said():
    late = run(
        requests(1000)
        + "[[server.route]]\npath = '/bytes/{n}'\nthink_time_ms = 9000\n[limits]\nmax_time_ms = 500\n"
    )
    assert late.notices == (
        "stopped after 500 ms of virtual time (limits.max_time_ms): 1 connections had not ended",
    )
    many = run(requests(*[10] * 200) + "[limits]\nmax_frames = 50\n")
    assert many.notices == ("stopped after 50 frames (limits.max_frames)",)


def test_snaplen_cuts_what_is_kept_and_not_what_is_said():
    result = run("snaplen = 60\n" + requests(3000))
    assert {len(f.data) for f in result.frames["server"]} <= {42, 60}
    assert max(f.orig_len for f in result.frames["server"]) == 3104 + 66


def test_every_frame_passes_the_stages_in_order():
    result = run(requests(20_000))
    order = {name: i for i, name in enumerate(STAGE_NAMES)}
    by_buffer = {}
    for row in result.stages:
        if row.host == "server":
            by_buffer.setdefault(row.skb, []).append(row)
    for rows in by_buffer.values():
        assert [order[r.stage] for r in rows] == sorted(order[r.stage] for r in rows)
        assert [r.len_bytes for r in rows] == sorted(r.len_bytes for r in rows)
    sent = {f.skb for f in result.frames["server"] if f.leaving}
    assert sent <= set(by_buffer)
    for frame in map(decode, result.frames["server"]):
        if frame["leaving"] and frame.get("size"):
            clone = by_buffer[frame["skb"]]
            assert [r.stage for r in clone][-4:] == [
                "net_dev_queue",
                "net_dev_start_xmit",
                "net_dev_xmit",
                "wire",
            ]
            queued = by_buffer[clone[0].origin]
            assert [r.stage for r in queued][:3] == [
                "sys_enter_sendto",
                "tcp_sendmsg_locked",
                "tcp_write_xmit",
            ]


def test_ipv6_finds_its_neighbour_and_keeps_its_flow_label():
    result = run("family = 6\n" + requests(5000), ["server", "wire"])
    frames = [dpkt.ethernet.Ethernet(f.data) for f in result.frames["server"]]
    asked, answered = frames[0].data, frames[1].data
    assert (frames[0].dst.hex(":"), asked.hlim, asked.data.type) == ("33:33:ff:00:00:01", 255, 135)
    assert (frames[1].dst.hex(":"), answered.hlim, answered.data.type) == ("02:00:00:00:00:02", 255, 136)
    assert [len(bytes(f)) for f in frames[:2]] == [86, 86]
    labels = {(f.data.src, f.data.flow) for f in frames[2:]}
    assert len(labels) == 2
    syn, synack = frames[2].data.data, frames[3].data.data
    assert (syn.win, synack.win) == (64800, 64260)  # fact 18
    options = dict(dpkt.tcp.parse_opts(synack.opts))
    assert options[dpkt.tcp.TCP_OPT_MSS] == (1440).to_bytes(2, "big")
    assert len(server_bytes(result)) == 5104


def test_an_idle_neighbour_is_probed_by_unicast():
    result = run(requests(50, 50) + "pause_ms = 7000\n")
    arp = [decode(f) for f in result.frames["server"] if f.data[12:14] == b"\x08\x06"]
    assert [f["arp"] for f in arp] == [1, 2, 1, 2]
    asked = arp[2]
    assert (asked["leaving"], asked["to"].hex(":")) == (True, "02:00:00:00:00:02")  # fact 2
    assert 5.0e9 <= asked["ns"] - result.frames["server"][0].time_ns <= 5.4e9
