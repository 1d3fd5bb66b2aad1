"""The flows table against what tshark's conversations and tcptrace say of the corpus (their output is kept with it)."""

from __future__ import annotations

import ipaddress
import json
import os
from collections import Counter
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from tests.analyzed import analyzed

CORPUS = os.environ.get("PCAPTOOL_CORPUS")
pytestmark = [
    pytest.mark.oracle,
    pytest.mark.corpus,
    pytest.mark.skipif(CORPUS is None, reason="PCAPTOOL_CORPUS is not set"),
]

# Conversations that have no flow here, or another: outer headers of tunnels, and a routing header's last address.
NOT_OURS = {
    ("gre-erspan-vxlan.pcap", "172.16.27.131:4789", "172.16.27.121:4790"),
    ("ipv6-hbh-routing0.pcap", "2001:4f8:4:7:2e0:81ff:fe52:ffff:53", "2001:78:1:32::2:53"),
    ("nb6-http.pcap", "109.6.1.72:1701", "95.136.242.99:1701"),
    ("vxlan-encapsulated-http.pcap", "10.1.200.131:50000", "10.1.1.172:4789"),
}
# tcptrace does not look behind two VLAN tags; in the other it finds 64 bytes of payload more than tshark and we.
TCPTRACE_ELSE = {"vlan-collisions.pcap", "reassembly.pcap"}


@cache
def flows(name):
    """Rows by protocol and both ends, in order of appearance."""
    found = {}
    table = analyzed(Path(CORPUS or "") / name)["flows"]
    times = [pl.col(c).cast(pl.Int64).alias(f"{c}_ns") for c in ("first_ts", "last_ts")]
    for row in table.with_columns(times).iter_rows(named=True):
        ends = frozenset([(row["src"], row["srcport"]), (row["dst"], row["dstport"])])
        found.setdefault((row["protocol"], ends), []).append(row)
    return found


def kept():
    for path in sorted((Path(CORPUS or "") / "oracle").glob("*.flows.json")):
        yield path.name.removesuffix(".flows.json"), json.loads(path.read_text())


def ways(row, first):
    """Names of the directions, that of the first end first."""
    return ("fwd", "rev") if (row["src"], row["srcport"]) == first else ("rev", "fwd")


def test_packets_and_bytes_are_those_of_tsharks_conversations():
    compared, found = Counter(), []
    for name, said in kept():
        seen = Counter()
        for protocol in ("TCP", "UDP"):
            for each in said["conv"].get(protocol, []):
                if (name, each["a"], each["b"]) in NOT_OURS:
                    continue
                first, other = (
                    (address, int(port)) for address, _, port in (each[x].rpartition(":") for x in "ab")
                )
                key = (protocol.lower(), frozenset([first, other]))
                mine = flows(name)[key]
                row = mine[seen[key]]
                seen[key] += 1
                units = {"frames": "packets"} | (
                    {"bytes": "bytes"} if each["unit_ab"] == "bytes" == each["unit_ba"] else {}
                )
                for theirs, ours in units.items():
                    compared[ours] += 1
                    for arrow, way in zip(("ab", "ba"), ways(row, first), strict=True):
                        if int(each[f"{theirs}_{arrow}"]) != row[f"{ours}_{way}"]:
                            found.append((name, each["a"], each["b"], ours))
    assert found == []
    assert compared["packets"] > 300
    assert compared["bytes"] > 250


def test_counts_and_options_are_tcptraces():
    """Where it takes a pair of ends for as many connections as Wireshark does."""
    compared, found = Counter(), []
    for name, said in kept():
        if name in TCPTRACE_ELSE:
            continue
        connections = {}
        for each in said["tcptrace"].get("conns") or []:
            first, other = ((plain(each[f"host_{x}"]), int(each[f"port_{x}"])) for x in "ab")
            connections.setdefault(frozenset([first, other]), []).append((first, each))
        for ends, theirs in connections.items():
            mine = flows(name).get(("tcp", ends), [])
            if len(mine) != len(theirs):
                continue
            for (first, each), row in zip(theirs, mine, strict=True):
                for arrow, way in zip(("a2b", "b2a"), ways(row, first), strict=True):
                    values = {
                        "packets": (each[f"total_packets_{arrow}"], row[f"packets_{way}"]),
                        "payload_bytes": (each[f"actual_data_bytes_{arrow}"], row[f"payload_bytes_{way}"]),
                        "fin": (
                            each[f"SYN/FIN_pkts_sent_{arrow}"][-1] != "0",
                            row[f"fin_{way}_n"] is not None,
                        ),
                    }
                    if each[f"adv_wind_scale_{arrow}"] not in ("NA", "0"):
                        values["wscale"] = (each[f"adv_wind_scale_{arrow}"], row[f"wscale_{way}"])
                    if 0 < int(each[f"mss_requested_{arrow}"]) < 1 << 15:  # more is negative to it
                        values["mss"] = (each[f"mss_requested_{arrow}"], row[f"mss_{way}"])
                    lasted = row["last_ts_ns"] - row["first_ts_ns"]
                    if (
                        lasted > 0
                        and int(each[f"rexmt_data_bytes_{arrow}"]) == row[f"retransmitted_bytes_{way}"]
                    ):
                        its, ours = int(each[f"throughput_{arrow}"]), row[f"goodput_bytes_per_s_{way}"]
                        close = abs(its - ours) <= ours * 1000 / lasted  # its clock has microseconds
                        values["goodput"] = (its, its if close else ours)
                    for what, (its, ours) in values.items():
                        compared[what] += 1
                        if str(its) != str(ours):
                            found.append((name, first, arrow, what, its, ours))
    assert found == []
    assert (
        min(compared[what] for what in ("packets", "payload_bytes", "fin", "wscale", "mss", "goodput")) > 150
    )


def plain(host):
    """An address without tcptrace's leading zeros; it writes ::1 as :0001."""
    if ":" not in host:
        return host
    parts = [part.lstrip("0") or "0" if part else "" for part in host.split(":")]
    return str(ipaddress.ip_address(":".join(["", *parts] if host.startswith(":0") else parts)))
