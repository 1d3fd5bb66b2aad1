"""DNS messages against tshark, over the corpus and over messages that dpkt wrote."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import dpkt
import polars as pl
import pytest

from tests.analyzed import SEPARATOR, analyzed, nanoseconds, tshark

pytestmark = pytest.mark.oracle

CORPUS = os.environ.get("PCAPTOOL_CORPUS")
NUMBERS = {
    "dns.count.queries": "count_queries",
    "dns.count.answers": "count_answers",
    "dns.count.auth_rr": "count_auth_rr",
    "dns.count.add_rr": "count_add_rr",
    "dns.flags.opcode": "opcode",
    "dns.response_to": "response_to",
    "dns.qry.type": "qry_type",
}
LISTS = {"dns.resp.name": "resp_name", "dns.resp.type": "resp_type"}
FIELDS = [*NUMBERS, *LISTS, "frame.number", "dns.id", "dns.qry.name", "dns.time", "dns.a", "dns.aaaa",
          "dns.cname", "dns.flags.response", "dns.retransmission"]  # fmt: skip
OPT = 41


def ours(row):
    """A message as tshark would print it; lists as sorted lists, since fields of one frame come by kind."""
    out = {field: "" if row[name] is None else str(row[name]) for field, name in NUMBERS.items()}
    out["dns.id"] = f"0x{row['id']:04x}"
    out["dns.qry.name"] = row["qry_name"] or ""
    for field, name in LISTS.items():
        out[field] = SEPARATOR.join(str(value) for value in row[name])
    for field, kind in (("dns.a", 1), ("dns.aaaa", 28), ("dns.cname", 5)):
        pairs = zip(row["resp_type"], row["resp_data"], strict=True)
        out[field] = SEPARATOR.join(data for number, data in pairs if number == kind)
    out["dns.flags.response"] = str(int(row["response"]))
    out["time"] = row["time_ns"]
    return out


def theirs(row):
    out = {
        field: row[field]
        for field in FIELDS
        if field not in {"frame.number", "dns.time", "dns.retransmission"}
    }
    out["dns.qry.type"] = row["dns.qry.type"].split(SEPARATOR)[0]
    out["dns.qry.name"] = row["dns.qry.name"].split(SEPARATOR)[0]
    out["time"] = nanoseconds(row["dns.time"]) if row["dns.time"] else None
    return out


def write_capture(path: Path, messages: list[tuple[float, bool, bytes]]) -> None:
    """UDP datagrams between a resolver (port 53) and a host; the flag says: from the resolver."""
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for ts, back, raw in messages:
            udp = dpkt.udp.UDP(sport=53 if back else 40000, dport=40000 if back else 53, data=raw)
            udp.ulen = 8 + len(raw)
            ends = (b"\xc0\0\2\1", b"\xc0\0\2\2") if back else (b"\xc0\0\2\2", b"\xc0\0\2\1")
            ip = dpkt.ip.IP(src=ends[0], dst=ends[1], p=17, data=udp, len=28 + len(raw))
            writer.writepkt(dpkt.ethernet.Ethernet(src=b"\2" * 6, dst=b"\4" * 6, data=ip), ts)


def question(number: int, name: str, kind: int = 1) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", kind, 1)


def answer(number: int, name: str, records: list[bytes]) -> bytes:
    head = struct.pack(">6H", number, 0x8180, 1, len(records), 0, 0)
    return head + question(number, name)[12:] + b"".join(records)


def record(kind: int, data: bytes, ttl: int = 60) -> bytes:
    return b"\xc0\x0c" + struct.pack(">2HIH", kind, 1, ttl, len(data)) + data


def test_pairs_repeats_and_compressed_names(tmp_path):
    path = tmp_path / "dns.pcap"
    www = question(7, "www.example.org")
    alias = b"\5other\xc0\x10"
    write_capture(
        path,
        [
            (1.0, False, www),
            (1.5, False, www),  # again, unanswered
            (2.0, True, answer(7, "www.example.org", [record(5, alias), record(1, b"\xc6\x33\x64\x07")])),
            (2.5, True, answer(7, "www.example.org", [record(1, b"\xc6\x33\x64\x07")])),  # again
            (3.0, False, question(7, "mail.example.org", 28)),  # the same number, a new transaction
            (3.25, True, answer(7, "mail.example.org", [record(28, bytes(15) + b"\1")])),
            (4.0, False, question(8, "slow.example.org")),
            (9.5, False, question(8, "slow.example.org")),  # too late to be a repetition
            (9.75, True, answer(8, "slow.example.org", [])),
        ],
    )
    table = analyzed(path)["dns"]
    frames = tshark(path, FIELDS)
    assert [ours(row) for row in table.iter_rows(named=True)] == [theirs(row) for row in frames]
    repeats = [bool(row["dns.retransmission"]) for row in frames]
    assert table["retransmission"].to_list() == repeats
    assert repeats.count(True) == 2


# Not compared: messages that ICMP errors quote.
OTHER = {
    "gre-sample.pcap": {34, 36},
    "nb6-http.pcap": {34},
}
# tshark prints the types that NSEC and NSEC3 list as if they were records, and has other names in SRV.
SRV, NSEC, NSEC3 = 33, 47, 50


@pytest.mark.corpus
@pytest.mark.skipif(CORPUS is None, reason="PCAPTOOL_CORPUS is not set")
def test_corpus_messages_are_sharks():
    found, compared = [], 0
    for answers in sorted(Path(CORPUS or "").glob("oracle/*.base.parquet")):
        name = answers.name.removesuffix(".base.parquet")
        frame = pl.read_parquet(answers)
        if not frame.height or "dns.id" not in frame.columns:
            continue
        if "frame.encap_type" in frame.columns:
            frame = frame.filter(pl.col("frame.encap_type").is_not_null())
        wanted = {}
        for n, row in enumerate(frame.iter_rows(named=True), 1):
            if row["dns.id"]:
                wanted[n] = theirs({field: row.get(field) or "" for field in FIELDS})
        mine = {}
        for row in analyzed(Path(CORPUS or "") / name)["dns"].iter_rows(named=True):
            mine.setdefault(row["n"], ours(row))
            if {SRV, NSEC, NSEC3} & set(row["resp_type"]):
                for message in (wanted[row["n"]], mine[row["n"]]):
                    del message["dns.resp.name"], message["dns.resp.type"]
        for n in sorted((wanted.keys() | mine.keys()) - OTHER.get(name, set())):
            compared += 1
            if wanted.get(n) != mine.get(n):
                a, b = wanted.get(n) or {}, mine.get(n) or {}
                found.append(
                    (name, n, {k: (a.get(k), b.get(k)) for k in a.keys() | b.keys() if a.get(k) != b.get(k)})
                )
    assert found == [], "\n".join(map(str, found))
    assert compared > 200
