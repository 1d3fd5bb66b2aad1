"""HTTP, DNS and TLS against the logs that Zeek's project keeps of its own tests.

Zeek counts body bytes after content codings are undone, takes a request without version for HTTP/0.9, reads UDP in IP
fragments; we do not (docs/limitations.md): what that changes is named here. Left out: Teredo.pcap, whose tunnel is on a
port that says nothing.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.analyzed import analyzed

FOLDER = os.environ.get("PCAPTOOL_CORPUS")
CORPUS = Path(FOLDER or "")
pytestmark = [
    pytest.mark.oracle,
    pytest.mark.corpus,
    pytest.mark.skipif(FOLDER is None, reason="PCAPTOOL_CORPUS is not set"),
]

HTTP_LOGS = {
    "100-continue.pcap": "scripts.base.protocols.http.100-continue.http.log",
    "basic-auth-with-colon.pcap": "scripts.base.protocols.http.http-basic-auth-colon.http.log",
    "concurrent-range-requests.pcap": "scripts.base.protocols.http.concurrent-range-requests.http.log",
    "http-desync-request-response-5.pcap": "scripts.base.protocols.http.http-desynched.http.log",
    "methods.pcap": "scripts.base.protocols.http.http-methods.http.log",
    "mixed-vlan-mpls.pcap": "core.vlan-mpls.http.log",
    "nflog-http.pcap": "core.nflog.http.log",
    "vxlan-encapsulated-http.pcap": "core.tunnels.analyzer-confirmation.http.log",
    "wikipedia.pcap": "scripts.policy.protocols.http.header-names.http.log",
}
# Connections (client's port) with requests that have no version, or with "GET /HTTP/1.1".
WITHOUT_VERSION = {"methods.pcap", "mixed-vlan-mpls.pcap"}
# The connection was begun before the capture: Zeek's default does not read it.
BEGUN_BEFORE = {"wikipedia.pcap": {35634}}


def log(name: str, path: str) -> list[dict[str, str]]:
    names: list[str] = []
    rows: list[dict[str, str]] = []
    for line in (CORPUS / "zeek" / name / path).read_text().splitlines():
        if line.startswith("#fields"):
            names = line.split("\t")[1:]
        elif not line.startswith("#"):
            rows.append(dict(zip(names, line.split("\t"), strict=True)))
    return rows


@pytest.mark.parametrize(("name", "path"), HTTP_LOGS.items())
def test_exchanges_and_sizes_of_bodies_are_zeeks(name, path):
    theirs = Counter(
        (
            int(row["id.orig_p"]),
            *(row["id.orig_h"], row["method"], row["uri"], row["host"], row["status_code"]),
            *(int(row["request_body_len"]), int(row["response_body_len"])),
        )
        for row in log(name, path)
    )
    tables = analyzed(CORPUS / name)
    flows = {flow["flow"]: flow for flow in tables["flows"].iter_rows(named=True)}
    ours: Counter[tuple[object, ...]] = Counter()
    for row in tables["http"].iter_rows(named=True):
        flow = flows[row["flow"]]
        sizes = (row[f"{side}_body_bytes"] - row[f"{side}_gap_bytes"] for side in ("request", "response"))
        texts = (row["method"] or "-", row["target"] or "-", row["host"] or "-", str(row["status"] or "-"))
        ours[flow["srcport"], flow["src"], *texts, *sizes] += 1
    same = theirs & ours
    assert same.total() > 0
    if name in WITHOUT_VERSION:
        # What is left of ours are answers without a request; of Zeek's, requests that were no HTTP/1.
        assert {row[2] for row in ours - same} <= {"-"}
        assert {row[0] for row in ours - same} <= {row[0] for row in theirs - same}
    else:
        assert not theirs - ours
        assert {row[0] for row in ours - theirs} == BEGUN_BEFORE.get(name, set())


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("gre-sample.pcap", "core.tunnels.gre.dns.log"),
        ("ipv6-fragmented-dns.pcap", "core.ipv6-frag.dns.log"),
    ],
)
def test_questions_are_zeeks(name, path):
    theirs = {
        (int(row["id.orig_p"]), int(row["trans_id"]), row["query"], int(row["qtype"]))
        for row in log(name, path)
    }
    tables = analyzed(CORPUS / name)
    ports = {flow["flow"]: flow["srcport"] for flow in tables["flows"].iter_rows(named=True)}
    asked = tables["dns"].filter(~tables["dns"]["response"])
    assert {
        (ports[r["flow"]], r["id"], r["qry_name"], r["qry_type"]) for r in asked.iter_rows(named=True)
    } == theirs


def test_a_handshake_in_fragments_is_zeeks():
    name = "tls-fragmented-handshake.pcap.gz"
    (theirs,) = log(name, "scripts.base.protocols.ssl.fragment.ssl.log")
    assert theirs["cipher"] == "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"
    (ours,) = analyzed(CORPUS / name)["tls"].iter_rows(named=True)
    assert ours["cipher"] == 0xC028  # RFC 5289 section 3.2
    assert ours["version"].replace(".", "") == theirs["version"]
    assert ours["server_name"] == theirs["server_name"]
