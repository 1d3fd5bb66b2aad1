"""HTTP exchanges against tshark, where tshark is right.

Where it is not, and so not compared: it gives a response the last request before it, so pipelined requests are
paired wrongly; it dissects retransmitted responses again; a gap or a late segment ends its reassembly.
"""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest

from tests.analyzed import SEPARATOR, analyzed, nanoseconds, tshark

pytestmark = pytest.mark.oracle

CORPUS = os.environ.get("PCAPTOOL_CORPUS")
FIELDS = [
    *("frame.number", "tcp.stream", "http.request.method", "http.request.uri", "http.host"),
    *(
        "http.response.code",
        "http.content_length_header",
        "http.content_type",
        "http.time",
        "http.request_in",
    ),
]

# HTTP/0.9: requests without version, which we do not take for HTTP.
OTHER_REQUESTS = {"methods.pcap", "mixed-vlan-mpls.pcap"}
# Responses that tshark reads twice (retransmissions), or takes for whole although the capture lacks some.
OTHER_RESPONSES = OTHER_REQUESTS | {"wireshark-retrans.pcap", "pcapng-example.pcapng"}


@pytest.mark.parametrize(
    "name",
    [
        "keepalive-5.server",
        "concurrent-4.client",
        "size-0.client",
        "mtu-576-100k.server",
        "write-chunks.server",
    ],
)
def test_lab_exchanges(lab_captures, name):
    path = lab_captures / f"{name}.pcap"
    http = analyzed(path)["http"]
    frames = tshark(path, FIELDS)
    asked = {int(f["frame.number"]): f for f in frames if f["http.request.method"]}
    answered = {int(f["frame.number"]): f for f in frames if f["http.response.code"]}
    assert http["request_last_n"].sort().to_list() == sorted(asked)
    assert http["response_last_n"].sort().to_list() == sorted(answered)
    assert http.height > 0
    for row in http.iter_rows(named=True):
        request, response = asked[row["request_last_n"]], answered[row["response_last_n"]]
        assert (row["method"], row["target"], row["host"]) == (
            request["http.request.method"],
            request["http.request.uri"],
            request["http.host"],
        )
        assert row["status"] == int(response["http.response.code"])
        assert str(row["content_length"]) == (response["http.content_length_header"] or "None")
        assert row["content_type"] == response["http.content_type"]
        assert int(response["http.request_in"]) == row["request_last_n"]
        assert row["server_time_ns"] + row["transfer_time_ns"] == nanoseconds(response["http.time"])
        assert row["complete"]


@pytest.mark.corpus
@pytest.mark.skipif(CORPUS is None, reason="PCAPTOOL_CORPUS is not set")
def test_corpus_messages():
    """Every message that tshark finds is found, at the same frame; we find more where it gives up."""
    compared, missing = 0, []
    for answers in sorted(Path(CORPUS or "").glob("oracle/*.base.parquet")):
        name = answers.name.removesuffix(".base.parquet")
        frame = pl.read_parquet(answers)
        if "frame.encap_type" in frame.columns:
            frame = frame.filter(pl.col("frame.encap_type").is_not_null())
        frame = frame.with_row_index("k", offset=1).filter(pl.col("tcp.srcport").is_not_null())
        asked = frame.select("k", "http.request.method", "http.request.uri").drop_nulls("http.request.method")
        answered = frame.select("k", "http.response.code").drop_nulls()
        if not asked.height + answered.height:
            continue
        http = analyzed(Path(CORPUS or "") / name)["http"]
        ours: dict[int, list[tuple]] = {}
        for row in http.iter_rows(named=True):
            target = (row["target"] or "").split(" ")[
                0
            ]  # tshark ends a target at a space that should not be there
            ours.setdefault(row["request_last_n"], []).append((row["method"], target))
            ours.setdefault(row["response_last_n"], []).append((str(row["status"]),))
            ours.setdefault(row["interim_n"], []).append((str(row["interim_status"]),))
        theirs = (
            []
            if name in OTHER_REQUESTS
            else [(k, list(zip(*_split(m, u), strict=True))) for k, m, u in asked.rows()]
        )
        if name not in OTHER_RESPONSES:
            theirs += [(k, [(c,) for c in code.split(SEPARATOR)]) for k, code in answered.rows()]
        for k, messages in theirs:
            compared += len(messages)
            missing += [(name, k, m) for m in messages if m not in ours.get(k, [])]
    assert missing == []
    assert compared > 250


def _split(*values: str) -> list[list[str]]:
    return [value.split(SEPARATOR) for value in values]


@pytest.mark.corpus
@pytest.mark.skipif(CORPUS is None, reason="PCAPTOOL_CORPUS is not set")
def test_pipelined_requests_are_paired_in_order():
    """Forty pipelined requests, as the capture's own test in its project counts them; tshark pairs a handful."""
    http = analyzed(Path(CORPUS or "") / "http-protocol-nodup.pcap")["http"]
    assert http.height == 40
    assert http["trouble"].null_count() == 40
    assert http["complete"].all()
