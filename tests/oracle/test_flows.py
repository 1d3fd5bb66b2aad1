"""Conversations against sums over tshark's frames."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from tests.analyzed import SEPARATOR, analyzed, nanoseconds, tshark

pytestmark = pytest.mark.oracle

CORPUS = os.environ.get("PCAPTOOL_CORPUS")
FIELDS = [
    *("frame.number", "frame.time_epoch", "frame.len", "ip.src", "tcp.stream", "tcp.srcport", "tcp.len"),
    *("tcp.analysis.initial_rtt", "tcp.analysis.retransmission", "tcp.analysis.ack_rtt"),
    *("tcp.analysis.out_of_order", "tcp.analysis.zero_window", "tcp.window_size_value", "tcp.flags.reset"),
]


def closed(rows):
    """How long a side's window was closed, by the frames that say so."""
    total, since = 0, None
    for row in rows:
        ts = nanoseconds(row["frame.time_epoch"])
        if row["tcp.analysis.zero_window"]:
            since = ts if since is None else since
        elif since is not None and row["tcp.window_size_value"] != "0" and row["tcp.flags.reset"] == "0":
            total, since = total + ts - since, None
    assert since is None, "a window that stays closed is for the unit tests"
    return total


@pytest.mark.parametrize(
    "name",
    [
        *("concurrent-4.client", "half-close.server", "busy-8s.client", "keepalive-5.server"),
        *("zero-window.server", "loss-mid-reno.server"),
    ],
)
def test_lab_flows_are_sums_over_frames(lab_captures, name):
    path = lab_captures / f"{name}.pcap"
    flows = analyzed(path)["flows"].filter(pl.col("protocol") == "tcp")
    frames = [row for row in tshark(path, FIELDS) if row["tcp.stream"]]
    assert flows.height == len({row["tcp.stream"] for row in frames}) > 0
    for stream, flow in enumerate(flows.iter_rows(named=True)):
        mine = [row for row in frames if row["tcp.stream"] == str(stream)]
        fwd = [
            row for row in mine if (row["ip.src"], row["tcp.srcport"]) == (flow["src"], str(flow["srcport"]))
        ]
        rev = [row for row in mine if row not in fwd]
        for side, rows in (("fwd", fwd), ("rev", rev)):
            assert flow[f"packets_{side}"] == len(rows)
            assert flow[f"bytes_{side}"] == sum(int(row["frame.len"]) for row in rows)
            assert flow[f"payload_bytes_{side}"] == sum(int(row["tcp.len"]) for row in rows)
            assert flow[f"retransmissions_{side}"] == sum(
                bool(row["tcp.analysis.retransmission"]) for row in rows
            )
            late = [row for row in rows if row["tcp.analysis.out_of_order"]]
            assert flow[f"out_of_order_{side}"] == len(late)
            assert flow[f"out_of_order_bytes_{side}"] == sum(int(row["tcp.len"]) for row in late)
            assert flow[f"zero_window_ns_{side}"] == closed(rows)
        for side, acks in (("fwd", rev), ("rev", fwd)):
            times = [nanoseconds(row["tcp.analysis.ack_rtt"]) for row in acks if row["tcp.analysis.ack_rtt"]]
            assert flow[f"rtts_{side}"] == len(times)
            assert flow[f"rtt_min_ns_{side}"] == min(times)
            assert flow[f"rtt_max_ns_{side}"] == max(times)
            assert flow[f"rtt_mean_ns_{side}"] == sum(times) // len(times)
            for what, percent in (("median", 50), ("p95", 95)):
                exact = sorted(times)[-(-len(times) * percent // 100) - 1]
                allowed = exact / 16 if len(times) > 8 else 0
                assert abs(flow[f"rtt_{what}_ns_{side}"] - exact) <= allowed
        assert (flow["first_n"], flow["last_n"]) == (
            int(mine[0]["frame.number"]),
            int(mine[-1]["frame.number"]),
        )
        initial = next(row["tcp.analysis.initial_rtt"] for row in mine if row["tcp.analysis.initial_rtt"])
        assert flow["handshake_rtt_ns"] == nanoseconds(initial)


def test_a_sender_before_a_closed_window_is_limited_by_it(lab_captures):
    flow = analyzed(lab_captures / "zero-window.server.pcap")["flows"].row(0, named=True)
    assert flow["limited_by_rev"] == "rwnd"
    assert (
        flow["rwnd_limited_ns_rev"] >= flow["zero_window_ns_fwd"] > 2_900_000_000
    )  # the reader slept for 3 s
    assert flow["idle_ns_rev"] < 1_000_000


@pytest.mark.corpus
@pytest.mark.skipif(CORPUS is None, reason="PCAPTOOL_CORPUS is not set")
def test_corpus_udp_flows_are_sharks_streams():
    """UDP flows in order of appearance are tshark's udp.stream, where a packet has one UDP header."""
    found, compared = [], 0
    for answers in sorted(Path(CORPUS or "").glob("oracle/*.base.parquet")):
        frame = pl.read_parquet(answers)
        if not frame.height:
            continue
        if "frame.encap_type" in frame.columns:
            frame = frame.filter(pl.col("frame.encap_type").is_not_null())
        name = answers.name.removesuffix(".base.parquet")
        tables = analyzed(Path(CORPUS or "") / name)
        flow = dict(tables["udp"].select("n", "flow").drop_nulls().iter_rows())
        streams = frame["udp.stream"].fill_null("")
        pairs = [(text, flow.get(n)) for n, text in enumerate(streams, 1) if text and n in flow]
        if any(SEPARATOR in text for text, _ in pairs):
            continue  # tunnels: the outer header has a stream of its own there, and none here
        compared += len(pairs)
        both = Counter(pairs)
        if len(both) != len({text for text, _ in both}) or len(both) != len({f for _, f in both}):
            found.append((name, sorted(both)[:5]))
    assert found == []
    assert compared > 100


# Baselines that Zeek's project keeps of its own tests, where they hold state and history of the whole capture.
ZEEK = {
    "Teredo.pcap": "core.tunnels.teredo.conn.log",
    "concurrent-range-requests.pcap": "scripts.base.protocols.http.concurrent-range-requests.conn.log",
    "gre-sample.pcap": "core.tunnels.gre.conn.log",
    "mixed-vlan-mpls.pcap": "core.vlan-mpls.conn.log",
    "pppoe-over-qinq.pcap": "core.pppoe-over-qinq.conn.log",
    "vxlan-encapsulated-http.pcap": "core.tunnels.analyzer-confirmation.conn.log",
    "wikipedia.pcap": "scripts.base.frameworks.analyzer.request-analyzer.conn.log",
}
# Addresses and ports that have no flow here: the outer headers of tunnels, and Teredo between two clients.
NO_FLOW = {("65.55.158.81", "3544"), ("10.1.1.172", "4789"), ("2001:4860:0:2001::68", "80")}
# Ethernet padding counts as IP there, so Zeek sees payload in pure ACKs: its letters come in another order.
SHUFFLED = {"pppoe-over-qinq.pcap"}


@pytest.mark.corpus
@pytest.mark.skipif(CORPUS is None, reason="PCAPTOOL_CORPUS is not set")
@pytest.mark.parametrize(("name", "log"), ZEEK.items())
def test_states_and_histories_are_zeeks(name, log):
    lines = (Path(CORPUS or "") / "zeek" / name / log).read_text().splitlines()
    fields = next(line.split("\t")[1:] for line in lines if line.startswith("#fields"))
    theirs: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for row in (
        dict(zip(fields, line.split("\t"), strict=True)) for line in lines if not line.startswith("#")
    ):
        if row["proto"] in ("tcp", "udp") and (row["id.resp_h"], row["id.resp_p"]) not in NO_FLOW:
            key = (row["proto"], row["id.orig_h"], row["id.orig_p"], row["id.resp_h"], row["id.resp_p"])
            values = (row["conn_state"], row["history"], row["orig_pkts"], row["resp_pkts"])
            theirs.setdefault(key, []).append(values)
    ours = {
        (r["protocol"], r["src"], str(r["srcport"]), r["dst"], str(r["dstport"])): (
            *(r["conn_state"], r["history"], str(r["packets_fwd"]), str(r["packets_rev"])),
        )
        for r in analyzed(Path(CORPUS or "") / name)["flows"].iter_rows(named=True)
    }
    assert theirs
    for key, (first, *further) in theirs.items():
        state, letters, *packets = ours[key]
        order = sorted if name in SHUFFLED else list
        assert (state, order(letters)) == (first[0], order(first[1])), key
        if not further and "-" not in first:  # what Zeek begins anew after an end or a silence goes on here
            assert tuple(packets) == first[2:], key
