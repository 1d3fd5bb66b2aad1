"""The diff over real captures."""

import json
import re
import struct
from pathlib import Path

import polars as pl
import pytest

from pcaptool.diff import RULES, diff, load_side
from pcaptool.errors import CaptureError, ReportError, UsageError
from pcaptool.report.diff import diff_text

LAB = Path(__file__).resolve().parents[3] / "fixtures" / "captures" / "lab"
GOLDEN = Path(__file__).with_name("golden")
REPEATED = ("fixed-port", "nginx-1k", "python-1k", "loss-tail")


def run(name, number):
    return LAB / "repeat" / f"{name}.{number}.server.pcap"


def fields(found):
    return set(found.differences["field"])


def records(path):
    data = path.read_bytes()
    at, out = 24, []
    while at < len(data):
        caplen = struct.unpack_from("<I", data, at + 8)[0]
        out.append(data[at : at + 16 + caplen])
        at += 16 + caplen
    return data[:24], out


def write(path, head, parts):
    path.write_bytes(head + b"".join(parts))
    return path


@pytest.mark.parametrize("name", REPEATED)
def test_two_real_runs_are_equal_at_the_server(name):
    found = diff(run(name, 1), run(name, 2), side="server")
    assert found.relation == "model"
    assert (found.exit_code, found.differences.height) == (0, 0), found.verdict
    used = {r.name for r in found.rules if r.count}
    assert {"isn", "tsval-clock", "tsecr-echo", "ip-id-start", "checksum", "absolute-time"} <= used
    assert ("client-port" in used) == (name != "fixed-port")


@pytest.mark.parametrize("path", sorted(LAB.glob("*.server.pcap")), ids=lambda p: p.name)
@pytest.mark.parametrize("relation", ["model", "path", "exact"])
def test_a_capture_against_itself_needs_no_rule(path, relation):
    found = diff(path, path, relation=relation)
    assert (found.exit_code, found.differing) == (0, 0), found.verdict
    used = {r.name for r in found.rules if r.count} - {"neighbour-noise"}
    assert used == set()
    assert found.alignment["n_a"].equals(found.alignment["n_b"].rename("n_a"))


@pytest.mark.parametrize(
    "rule", ["isn", "client-port", "tsval-clock", "tsecr-echo", "ip-id-start", "checksum", "http-date"]
)
def test_a_rule_switched_off_shows_the_raw_difference(rule):
    found = diff(run("python-1k", 1), run("python-1k", 2), side="server", rules={rule: False})
    assert found.exit_code == 1
    expected = next(r.fields for r in RULES if r.name == rule)
    assert fields(found)
    assert fields(found) <= set(expected)
    assert found.differences.filter(pl.col("value_a") == pl.col("value_b")).height == 0


def test_the_date_is_shown_by_its_bytes():
    found = diff(run("python-1k", 1), run("python-1k", 2), side="server", rules={"http-date": False})
    first = found.differences.row(0, named=True)
    assert (first["field"], first["n_a"], first["n_b"]) == ("payload", 8, 8)
    assert first["value_a"].startswith("byte ")


def test_a_super_packet_against_its_segments_is_segmentation_only(tmp_path):
    head, parts = records(LAB / "size-10240.server.pcap")
    cut = write(tmp_path / "cut.pcap", head, [piece for part in parts for piece in segments(part, 1448)])
    original = LAB / "size-10240.server.pcap"
    assert len(records(cut)[1]) > len(parts)
    model = diff(original, cut, relation="model")
    assert fields(model) == {"tcp.segmentation"}
    assert "Same stream, segmented differently" in model.verdict
    path = diff(original, cut, relation="path")
    assert path.exit_code == 0, path.verdict
    assert path.verdict.startswith("Same stream, segmented differently: ")
    assert next(r.count for r in path.rules if r.name == "segmentation") == model.differences.height
    counts = {f.name: f for layer in path.layers for f in layer.fields}
    assert counts["payload"].differing == 0
    assert counts["payload"].equal > 0


def segments(part, size):
    """The packet as a segmenting device sends it: sizes, sequence numbers, ID, PSH on the last; TCP over IPv4."""
    raw = part[16:]
    if raw[12:14] != b"\x08\x00" or raw[23] != 6:
        return [part]
    at = 14 + 20 + (raw[46] >> 4) * 4
    payload = raw[at:]
    if len(payload) <= size:
        return [part]
    out = []
    for i, start in enumerate(range(0, len(payload), size)):
        piece = payload[start : start + size]
        new = bytearray(raw[:at] + piece)
        new[16:18] = (len(new) - 14).to_bytes(2, "big")
        new[18:20] = ((int.from_bytes(raw[18:20], "big") + i) & 0xFFFF).to_bytes(2, "big")
        new[38:42] = ((int.from_bytes(raw[38:42], "big") + start) & 0xFFFFFFFF).to_bytes(4, "big")
        if start + size < len(payload):
            new[47] &= ~0x09
        total = sum(struct.unpack(">10H", bytes(new[14:24]) + b"\0\0" + bytes(new[26:34])))
        total = (total & 0xFFFF) + (total >> 16)
        new[24:26] = (0xFFFF - ((total & 0xFFFF) + (total >> 16))).to_bytes(2, "big")
        out.append(part[:8] + struct.pack("<II", len(new), len(new)) + bytes(new))
    return out


def test_a_changed_byte_in_a_run_that_was_cut_differently_is_seen(tmp_path):
    head, parts = records(LAB / "size-10240.server.pcap")
    pieces = [piece for part in parts for piece in segments(part, 1448)]
    largest = max(range(len(pieces)), key=lambda i: len(pieces[i]))
    pieces[largest] = pieces[largest][:-5] + b"~" + pieces[largest][-4:]
    cut = write(tmp_path / "cut.pcap", head, pieces)
    found = diff(LAB / "size-10240.server.pcap", cut, relation="model")
    assert {"payload", "tcp.segmentation"} <= fields(found)


@pytest.mark.parametrize(("name", "lost"), [("loss-mid-cubic", 12), ("loss-tail.1", 17)])
def test_both_ends_of_one_run_show_the_scenarios_loss(name, lost):
    client, server = (LAB / "repeat" / f"{name}.{end}.pcap" for end in ("client", "server"))
    found = diff(client, server)
    assert found.relation == "path"
    assert found.differences.select("field", "n_a", "n_b", "cause").rows() == [
        ("frame", None, lost, "lost-between")
    ]
    assert "Lost between the two points: 1 packet" in found.verdict
    turned = diff(server, client)
    assert turned.differences.select("n_a", "n_b", "cause").rows() == [(lost, None, "lost-between")]
    delays = {t.what: t for t in found.timing}
    # The relay delays each direction by 10 ms and a little.
    for what in ("one_way_fwd", "one_way_rev"):
        assert 10_000_000 < delays[what].min_ns < 11_000_000


@pytest.mark.parametrize("path", sorted(LAB.glob("*.client.pcap")), ids=lambda p: p.name)
def test_both_ends_of_a_run_without_loss_are_equal(path):
    found = diff(path, path.with_name(path.name.replace(".client.pcap", ".server.pcap")))
    assert found.relation == "path"
    assert found.exit_code == 0, found.verdict


def test_several_connections_find_each_other():
    found = diff(LAB / "concurrent-4.client.pcap", LAB / "concurrent-4.server.pcap", relation="model")
    assert found.flows.height == 4
    assert found.exit_code == 0, found.verdict


def test_connections_in_another_order_find_each_other_by_what_they_say(tmp_path):
    head, python_1 = records(run("python-1k", 1))
    _, python_2 = records(run("python-1k", 2))
    _, nginx_1 = records(run("nginx-1k", 1))
    _, nginx_2 = records(run("nginx-1k", 2))
    a = write(tmp_path / "a.pcap", head, python_1 + nginx_1)
    b = write(tmp_path / "b.pcap", head, nginx_2 + python_2)
    found = diff(a, b, side="server")
    assert found.flows.select("flow_a", "flow_b", "how").rows() == [
        (0, 1, "same request and sizes"),
        (1, 0, "same request and sizes"),
    ]
    assert found.exit_code == 0, found.verdict


def test_a_connection_of_one_side_only_is_one_difference(tmp_path):
    head, python_1 = records(run("python-1k", 1))
    _, other = records(LAB / "write-two.server.pcap")
    both = write(tmp_path / "both.pcap", head, python_1 + other[2:])
    found = diff(both, run("python-1k", 2), side="server")
    assert found.differences.select("field", "n_a", "n_b", "cause").rows() == [
        ("flow", 25, None, "flow-missing")
    ]


def test_a_server_that_waited_for_a_delayed_ack_is_told():
    found = diff(LAB / "write-two.server.pcap", LAB / "write-two-nodelay.server.pcap")
    assert found.differences.select("field", "n_a", "n_b", "cause").rows() == [
        ("frame", 14, None, "extra-ack")
    ]
    assert re.search(
        r"A waited 4\d\.\d ms longer for a delayed ACK before it sent \(frames 13-15;", found.verdict
    )
    turned = diff(LAB / "write-two-nodelay.server.pcap", LAB / "write-two.server.pcap")
    assert "B waited 4" in turned.verdict


def test_ipv6_neighbour_noise_is_set_aside_by_a_rule(tmp_path):
    path = LAB / "repeat" / "v6-closed-port.server.pcap"
    head, parts = records(path)
    quiet = write(tmp_path / "quiet.pcap", head, parts[4:6])
    found = diff(path, quiet, relation="model")
    assert found.exit_code == 0, found.verdict
    assert next(r.count for r in found.rules if r.name == "neighbour-noise") == 6
    shown = diff(path, quiet, relation="model", rules={"neighbour-noise": False})
    assert shown.differences.select("field", "n_a", "n_b").rows() == [
        ("frame", n, None) for n in (1, 2, 3, 4, 7, 8)
    ]


def test_noise_counts_where_the_relation_found_out_wants_every_packet():
    path = LAB / "repeat" / "v6-closed-port.server.pcap"
    found = diff(path, path)
    assert (found.relation, found.exit_code) == ("exact", 0)
    assert found.alignment.height == 8
    assert not any(r.count for r in found.rules)


def test_a_flow_label_stands_for_one_of_the_other_side(tmp_path):
    path = LAB / "repeat" / "v6-closed-port.server.pcap"
    head, parts = records(path)
    changed = bytearray(parts[5])
    changed[16 + 17] ^= 0xFF
    other = write(tmp_path / "label.pcap", head, [*parts[:5], bytes(changed), *parts[6:]])
    found = diff(path, other, relation="model")
    assert found.exit_code == 0, found.verdict
    assert next(r.count for r in found.rules if r.name == "flow-label") == 1
    shown = diff(path, other, relation="model", rules={"flow-label": False})
    assert shown.differences.select("field", "n_a").rows() == [("ip.flow_label", 6)]


def test_nothing_in_common_is_one_line(tmp_path):
    head, parts = records(LAB / "repeat" / "loss-mid-cubic.server.pcap")
    strange = []
    for part in parts:
        raw = bytearray(part)
        at = 16 + 14 + 20 + (raw[62] >> 4) * 4 if len(raw) > 62 else len(raw)
        raw[at:] = bytes(b ^ 0x55 for b in raw[at:])
        if len(raw) > 62:
            raw[50:54] = bytes(b ^ 0x33 for b in raw[50:54])
        strange.append(bytes(raw))
    other = write(tmp_path / "other.pcap", head, strange)
    found = diff(LAB / "mtu-576-100k.server.pcap", other, relation="model")
    assert found.exit_code == 1
    assert found.verdict.startswith("Nothing in common:")
    assert found.differences.height == 0


def test_empty_captures_are_one_line(tmp_path):
    head, _ = records(run("python-1k", 1))
    empty = write(tmp_path / "empty.pcap", head, [])
    both, one = diff(empty, empty), diff(empty, run("python-1k", 1))
    assert (both.exit_code, one.exit_code) == (2, 1)
    assert one.verdict == "A holds no packets; B holds 24."
    assert "\n" not in both.verdict


def test_no_tcp_is_compared_by_content(tmp_path):
    head, parts = records(run("python-1k", 1))
    arp = write(tmp_path / "arp.pcap", head, parts[:2])
    one = write(tmp_path / "one.pcap", head, parts[:1])
    assert diff(arp, arp).exit_code == 0
    found = diff(arp, one)
    assert found.differences.select("field", "n_a", "n_b").rows() == [("frame", 2, None)]
    assert any("no TCP or UDP" in note for note in found.notes)


def test_a_cut_capture_says_so(tmp_path):
    data = run("python-1k", 1).read_bytes()
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(data[:-10])
    found = diff(cut, run("python-1k", 1))
    assert found.differences.select("field", "n_a", "n_b").rows() == [("frame", None, 24)]
    assert any("cut.pcap" in note for note in found.notes)


def test_tolerances_make_equal_what_lies_within(tmp_path):
    head, parts = records(run("python-1k", 1))
    raw = bytearray(parts[7])
    at = 16 + 14 + 20 + 14
    raw[at : at + 2] = (int.from_bytes(raw[at : at + 2], "big") + 1).to_bytes(2, "big")
    other = write(tmp_path / "w.pcap", head, [*parts[:7], bytes(raw), *parts[8:]])
    strict = diff(run("python-1k", 1), other, relation="model")
    assert "tcp.window_size_value" in fields(strict)
    loose = diff(run("python-1k", 1), other, relation="model", tolerances={"window": "2%"})
    assert "tcp.window_size_value" not in fields(loose)
    timed = diff(run("python-1k", 1), run("python-1k", 2), tolerances={"time": "100us"}, side="server")
    assert fields(timed) == {"frame.time"}
    assert (
        diff(run("python-1k", 1), run("python-1k", 2), tolerances={"time": "10ms"}, side="server").exit_code
        == 0
    )


def test_wrong_arguments_are_refused_before_work(tmp_path):
    with pytest.raises(UsageError):
        diff(run("python-1k", 1), run("python-1k", 2), rules={"nonsense": False})
    with pytest.raises(ReportError):
        diff(tmp_path, tmp_path)
    with pytest.raises(CaptureError):
        diff(tmp_path / "missing.pcap", run("python-1k", 1))


def test_a_side_is_loaded_once_and_compared_often():
    side = load_side(run("python-1k", 1))
    assert side.packets == 24
    assert diff(side, side).exit_code == 0


def test_without_bytes_payload_is_compared_by_length_and_the_result_says_so():
    from dataclasses import replace

    a, b = (replace(load_side(run("python-1k", n)), prints=None) for n in (1, 2))
    found = diff(a, b, side="server")
    assert found.exit_code == 0, found.verdict
    assert any("payload bytes were not compared" in note for note in found.notes)


def test_a_report_is_compared_like_its_capture(tmp_path):
    from pcaptool.analyze.pipeline import analyze

    for number in (1, 2):
        analyze(run("python-1k", number), tmp_path / str(number))
    found = diff(tmp_path / "1", tmp_path / "2", side="server")
    assert (found.relation, found.exit_code) == ("model", 0), found.verdict
    mixed = diff(tmp_path / "1", run("nginx-1k", 1))
    direct = diff(run("python-1k", 1), run("nginx-1k", 1))
    header = {
        f.name for layer in direct.layers for f in layer.fields if f.differing and f.layer == "transport"
    }
    assert header == {
        f.name for layer in mixed.layers for f in layer.fields if f.differing and f.layer == "transport"
    }


def test_json_holds_the_answer():
    document = json.loads(diff(run("loss-tail", 1), run("loss-tail", 2)).to_json(limit=3))
    assert document["relation"] == "model"
    assert len(document["differences"]) == min(3, document["differing"])
    assert {x["name"] for x in document["layers"]} == {"link", "network", "transport", "application"}


def golden(name, text):
    return text.replace(str(LAB.parents[2]) + "/", ""), (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "a", "b", "options"),
    [
        ("same", run("python-1k", 1), run("python-1k", 2), {"side": "server"}),
        ("both-ends", LAB / "repeat" / "loss-tail.1.client.pcap", run("loss-tail", 1), {}),
        ("another-server", run("python-1k", 1), run("nginx-1k", 1), {}),
    ],
)
def test_the_terminal_reads_like_this(name, a, b, options):
    made, kept = golden(name, diff_text(diff(a, b, **options)))
    assert made == kept
    assert max(map(len, made.splitlines())) <= 100
