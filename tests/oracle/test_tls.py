"""TLS handshakes against tshark: hellos, names, fingerprints; over the corpus and what OpenSSL says here."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import polars as pl
import pytest

from tests.analyzed import SEPARATOR, analyzed, tshark
from tests.tls_captures import talk, write_capture

pytestmark = pytest.mark.oracle

CORPUS = os.environ.get("PCAPTOOL_CORPUS")
# The server's numbers jump by 2**30 in mid-connection, which is a hole to us until the client says otherwise.
SYN_COOKIES = "tcp-fastopen-10-syn-data-ignore.pcap"
FIELDS = [
    *("frame.number", "tcp.stream", "tls.handshake.type", "tls.handshake.extensions_server_name"),
    *("tls.handshake.extensions_alpn_str", "tls.handshake.ja3", "tls.handshake.ja3_full", "tls.handshake.ja3s"),
    *("tls.handshake.ja3s_full", "tls.handshake.ciphersuite", "tls.handshake.extension.type"),
    *("tls.handshake.extensions.supported_version", "tls.handshake.extensions_supported_group"),
]  # fmt: skip


def numbers(text):
    return [int(value, 0) for value in text.split(SEPARATOR) if value]


def theirs(path):
    """What tshark says of the hellos of each stream."""
    out = {}
    for row in tshark(path, FIELDS):
        kinds = numbers(row["tls.handshake.type"])
        if not {1, 2} & set(kinds):
            continue
        stream = out.setdefault(int(row["tcp.stream"]), {})
        if 1 in kinds and "client_hello_n" not in stream:
            stream |= {
                "client_hello_n": int(row["frame.number"]),
                "server_name": row["tls.handshake.extensions_server_name"] or None,
                "alpn_offered": [v for v in row["tls.handshake.extensions_alpn_str"].split(SEPARATOR) if v],
                "ja3": row["tls.handshake.ja3"],
                "ja3_full": row["tls.handshake.ja3_full"],
                "ciphers_offered": numbers(row["tls.handshake.ciphersuite"]),
                "extensions_offered": numbers(row["tls.handshake.extension.type"]),
                "versions_offered": numbers(row["tls.handshake.extensions.supported_version"]),
                "groups_offered": numbers(row["tls.handshake.extensions_supported_group"]),
            }
        if 2 in kinds:
            stream |= {
                "server_hello_n": int(row["frame.number"]),
                "ja3s": row["tls.handshake.ja3s"],
                "ja3s_full": row["tls.handshake.ja3s_full"],
                "cipher": numbers(row["tls.handshake.ciphersuite"])[-1],
            }
    return out


def compare(path):
    tables = analyzed(path)
    streams = dict(tables["tcp"].select("flow", "stream").drop_nulls().unique().iter_rows())
    mine = {streams[row["flow"]]: row for row in tables["tls"].iter_rows(named=True)}
    wanted = theirs(path)
    assert mine.keys() == wanted.keys()
    for stream, about in wanted.items():
        if path.name == SYN_COOKIES:
            about["server_hello_n"] = mine[stream]["server_hello_n"]
        assert {name: mine[stream][name] for name in about} == about, (path.name, stream)
    return mine


@pytest.mark.parametrize("cut", [1460, 100, 7])
def test_a_handshake_of_tls_1_2(tmp_path, cut):
    path = tmp_path / "tls12.pcap"
    write_capture(path, talk(ssl.TLSVersion.TLSv1_2), cut)
    [row] = compare(path).values()
    assert (row["version"], row["server_name"], row["complete"]) == ("TLSv1.2", "www.example.org", True)
    assert row["trouble"] is None
    assert row["client_application_n"] is not None
    assert row["server_application_n"] is not None


def test_a_hello_of_tls_1_3_that_is_refused(tmp_path):
    path = tmp_path / "tls13.pcap"
    flights = talk(ssl.TLSVersion.TLSv1_3)
    write_capture(path, flights)
    [row] = compare(path).values()
    assert 0x0304 in row["versions_offered"]
    assert row["ja4"].startswith("t13d")
    [alert] = [
        r for r in tshark(path, ["tls.alert_message.level", "tls.alert_message.desc"]) if any(r.values())
    ]
    assert [row["server_alert_level"], row["server_alert_description"]] == [int(v) for v in alert.values()]


@pytest.mark.corpus
@pytest.mark.skipif(CORPUS is None, reason="PCAPTOOL_CORPUS is not set")
def test_corpus_handshakes_are_sharks():
    compared = 0
    for answers in sorted(Path(CORPUS or "").glob("oracle/*.base.parquet")):
        frame = pl.read_parquet(answers)
        if (
            frame.height
            and "tls.handshake.type" in frame.columns
            and (frame["tls.handshake.type"] != "").any()
        ):
            compared += len(compare(Path(CORPUS or "") / answers.name.removesuffix(".base.parquet")))
    assert compared >= 6
