"""DNS messages of a capture, and which query each response answers, as an analysis over batches.

Knows: the ports, where messages lie in UDP datagrams and TCP streams, how transactions are paired.
Must not know: the message format (`dns_kernel`), framing in streams (`dns_stream`).

A response answers the last query of its flow with the same ID. A query is a repetition, and not a new one, if the
same ID was asked at most RETRANSMISSION_NS before and not answered. Multicast (mDNS) is not paired: its messages
have no IDs.
Memory: PENDING transactions of some 200 bytes, the oldest are forgotten first; a message a TCP direction.
Left out: DNS over TLS, HTTPS or QUIC.
"""

from __future__ import annotations

import socket
from typing import Any, NamedTuple

import numpy as np

from pcaptool.analyze import dns_kernel as dk
from pcaptool.analyze.dns_stream import DnsConnection, StreamMessage
from pcaptool.analyze.segments import Bools, SegmentAnalysis, Start
from pcaptool.analyze.stream_analysis import StreamAnalysis
from pcaptool.analyze.take import Ints, among, integers
from pcaptool.decode.batch import Batch
from pcaptool.engine import Engine
from pcaptool.tables.columns import Columns, Lists, Masked, Texts

__all__ = ["DnsAnalysis"]

TCP_PORT = 53
UDP_PORTS = np.array([53, 5353, 5355])
MDNS_PORT = 5353
HEADER_BYTES = 12
RETRANSMISSION_NS = 5_000_000_000
PENDING = 1 << 18
RESPONSE = 0x8000
TROUBLES = ("ends too early", "name cannot be read", "length does not fit")


class _Messages(NamedTuple):
    """Messages of a batch; arrays of one length but for `data`."""

    data: Any
    start: Ints
    end: Ints
    n: Ints
    ts: Ints
    flow: Ints
    tcp: Bools
    multicast: Bools


class DnsAnalysis(StreamAnalysis):
    """Fills the dns table.

    Parameters
    ----------
    engine : Engine, optional
        How the kernel runs; plain Python without it.
    """

    table = "dns"
    reads_bytes = True
    needs: dict[str, tuple[str, ...]] = SegmentAnalysis.needs | {
        "udp": ("n", "srcport", "dstport", "payload_offset", "payload_bytes", "flow"),
    }

    def __init__(self, engine: Engine | None = None) -> None:
        super().__init__()
        self._parse = engine.function(dk.__name__, "parse") if engine else dk.parse
        # Flow and ID to packet and time of the query, and whether it was answered.
        self._asked: dict[int, tuple[int, int, bool]] = {}
        self._records = np.zeros((4096, dk.RECORD_WIDTH), np.int64)
        self._text = np.zeros(1 << 18, np.uint8)

    def make(self, flow: int) -> DnsConnection:  # noqa: ARG002 - others name files by it
        """A reader for one connection."""
        return DnsConnection()

    def marks(self, batch: Batch, start: Start) -> Bools:
        """The first data on the port."""
        tcp = batch.tables["tcp"]
        src, dst = integers(tcp, "srcport")[start.at], integers(tcp, "dstport")[start.at]
        marks: Bools = start.first & ((src == TCP_PORT) | (dst == TCP_PORT))
        return marks

    def feed(self, batch: Batch) -> dict[str, Columns]:
        """Messages that this batch completed, in the order of their packets."""
        streams = self.read(batch)
        datagrams = _datagrams(batch)
        if batch.reassembled:
            datagrams = _joined(datagrams, _reassembled(batch))
        rows: list[Columns] = []
        if streams:
            datagrams = _joined(datagrams, _from_streams(streams))
        if len(datagrams.start):
            rows.append(self._rows(datagrams))
        return {self.table: rows[0]} if rows else {}

    def columns(self, found: list[tuple[int, Any]]) -> Columns:
        """Messages that the end of the capture completed."""
        return self._rows(_from_streams(found))

    def _rows(self, messages: _Messages) -> Columns:
        count = len(messages.start)
        out = np.zeros((count, dk.MESSAGE_WIDTH), np.int64)
        cursor = np.zeros(dk.CURSOR_WIDTH, np.int64)
        done = 0
        data = messages.data.view()
        data.flags.writeable = False  # machine code is made for one kind of array
        while True:
            arrays = (data, messages.start, messages.end)
            done = self._parse(*arrays, done, out, self._records, self._text, cursor)
            if done == count:
                break
            self._grow(cursor)
        columns = _columns(messages, out, self._records, self._text[: cursor[dk.C_TEXT]].tobytes())
        return columns | self._pair(messages, out)

    def _grow(self, cursor: Ints) -> None:
        """Twice the room, with what is in it."""
        records = np.zeros((2 * len(self._records), dk.RECORD_WIDTH), np.int64)
        records[: cursor[dk.C_RECORDS]] = self._records[: cursor[dk.C_RECORDS]]
        text = np.zeros(2 * len(self._text), np.uint8)
        text[: cursor[dk.C_TEXT]] = self._text[: cursor[dk.C_TEXT]]
        self._records, self._text = records, text

    def _pair(self, messages: _Messages, out: Ints) -> Columns:
        """Queries and responses, in order."""
        count = len(out)
        query, waited = np.zeros(count, np.int64), np.zeros(count, np.int64)
        again = np.zeros(count, np.bool_)
        asked = self._asked
        keys = ((messages.flow << 16) | out[:, dk.ID]).tolist()
        responses = (out[:, dk.FLAGS] & RESPONSE != 0).tolist()
        each = zip(keys, responses, messages.n.tolist(), messages.ts.tolist(), messages.multicast.tolist(),
                   strict=True)  # fmt: skip
        for i, (key, response, n, ts, multicast) in enumerate(each):
            if multicast:
                continue
            known = asked.get(key)
            if response:
                if known is not None and known[2]:
                    again[i] = True
                elif known is not None:
                    query[i], waited[i] = known[0], ts - known[1]
                    asked[key] = (known[0], known[1], True)
            elif known is not None and not known[2] and ts - known[1] <= RETRANSMISSION_NS:
                again[i] = True
            else:
                asked.pop(key, None)  # the newest stand last
                asked[key] = (n, ts, False)
        while len(asked) > PENDING:
            del asked[next(iter(asked))]
        return {
            "response_to": Masked(query.astype("u4"), query > 0),
            "time_ns": Masked(waited, query > 0),
            "retransmission": again,
        }


def _datagrams(batch: Batch) -> _Messages:
    udp, packets = batch.tables.get("udp"), batch.tables["packets"]
    if not udp:
        return _from_streams([])
    at, multicast, flow = _on_ports(udp)
    n = integers(udp, "n")[at]
    packet = n - batch.first_n
    offset = integers(udp, "payload_offset")[at]
    there = integers(packets, "cap_len")[packet] - offset
    size = np.minimum(there, integers(udp, "payload_bytes")[at])
    keep = size >= HEADER_BYTES
    packet, offset, size = packet[keep], offset[keep], size[keep]
    start = batch.offsets[packet] + offset
    ts = integers(packets, "ts")[packet]
    udp_only = np.zeros(len(packet), np.bool_)
    return _Messages(batch.data, start, start + size, n[keep], ts, flow[keep], udp_only, multicast[keep])


def _on_ports(udp: Columns) -> tuple[Ints, Bools, Ints]:
    """Rows on the ports, whether they are multicast, and their flows."""
    src, dst, flow = integers(udp, "srcport"), integers(udp, "dstport"), integers(udp, "flow")
    at = np.flatnonzero((among(src, UDP_PORTS) | among(dst, UDP_PORTS)) & (flow >= 0))
    return at, (src[at] == MDNS_PORT) | (dst[at] == MDNS_PORT), flow[at]


def _reassembled(batch: Batch) -> _Messages:
    """Messages in datagrams that came in IP fragments."""
    udp, packets = batch.tables["udp"], batch.tables["packets"]
    at, multicast, flow = _on_ports(udp)
    n = integers(udp, "n")[at]
    # The payload of such a datagram is said to begin behind the captured bytes.
    absent = integers(udp, "payload_offset")[at] >= integers(packets, "cap_len")[n - batch.first_n]
    found = [
        k
        for k, (number, gone) in enumerate(zip(n.tolist(), absent.tolist(), strict=True))
        if gone and len(batch.reassembled.get(number, b"")) >= HEADER_BYTES
    ]
    return _packed(
        [batch.reassembled[number] for number in n[found].tolist()],
        n[found],
        integers(packets, "ts")[n[found] - batch.first_n],
        flow[found],
        np.zeros(len(found), np.bool_),
        multicast[found],
    )


def _from_streams(found: list[tuple[int, StreamMessage]]) -> _Messages:
    return _packed(
        [message.data for _, message in found],
        np.array([message.n for _, message in found], np.int64),
        np.array([message.ts for _, message in found], np.int64),
        np.array([flow for flow, _ in found], np.int64),
        np.ones(len(found), np.bool_),
        np.zeros(len(found), np.bool_),
    )


def _packed(parts: list[bytes], *about: Any) -> _Messages:
    """Messages that lie in no packet, one behind the other."""
    sizes = np.array([len(part) for part in parts], np.int64)
    end = np.cumsum(sizes)
    return _Messages(np.frombuffer(b"".join(parts), np.uint8), end - sizes, end, *about)


def _joined(a: _Messages, b: _Messages) -> _Messages:
    """Both, in the order of their packets; the messages of `a` are copied out of their batch."""
    parts = [a.data[s:e] for s, e in zip(a.start.tolist(), a.end.tolist(), strict=True)]
    sizes = a.end - a.start
    end = np.cumsum(sizes)
    before = int(sizes.sum())
    data = np.concatenate([*parts, b.data])
    start = np.concatenate([end - sizes, b.start + before])
    ends = np.concatenate([end, b.end + before])
    rest = [np.concatenate(pair) for pair in zip(a[3:], b[3:], strict=True)]
    order = np.argsort(rest[0], kind="stable")
    n, ts, flow, tcp, multicast = (each[order] for each in rest)
    return _Messages(data, start[order], ends[order], n, ts, flow, tcp, multicast)


def _columns(messages: _Messages, out: Ints, records: Ints, text: bytes) -> Columns:
    flags = out[:, dk.FLAGS]
    known = out[:, dk.NAME] >= 0
    trouble = out[:, dk.TROUBLE]
    columns: Columns = {
        "n": messages.n.astype("u4"),
        "flow": messages.flow.astype("u4"),
        "transport": Texts(messages.tcp.astype(np.int32), ("udp", "tcp")),
        "id": out[:, dk.ID].astype("u2"),
        "flags": flags.astype("u2"),
        "response": flags & RESPONSE != 0,
        "opcode": (flags >> 11 & 15).astype("u1"),
        "rcode": (flags & 15).astype("u1"),
        "qry_name": [
            _words(text, a, b) if a >= 0 else None
            for a, b in zip(out[:, dk.NAME].tolist(), out[:, dk.NAME_END].tolist(), strict=True)
        ],
        "qry_type": Masked(out[:, dk.TYPE].astype("u2"), known),
        "qry_class": Masked(out[:, dk.CLASS].astype("u2"), known),
        "len_bytes": (messages.end - messages.start).astype("u4"),
        "trouble": Texts((trouble - 1).astype(np.int32), TROUBLES),
    }
    counts = (
        (dk.QUERIES, "queries"), (dk.ANSWERS, "answers"), (dk.AUTHORITIES, "auth_rr"),
        (dk.ADDITIONALS, "add_rr"),
    )  # fmt: skip
    columns |= {f"count_{name}": out[:, column].astype("u2") for column, name in counts}
    return columns | _record_columns(out, records, text)


def _record_columns(out: Ints, records: Ints, text: bytes) -> Columns:
    ends = out[:, dk.RECORD_END]
    used = records[: int(ends[-1]) if len(ends) else 0]
    offsets = np.concatenate([[0], ends]).astype(np.int32)  # records stand in the order of their messages
    names = [_words(text, a, b) for a, b in used[:, dk.R_NAME : dk.R_NAME_END + 1].tolist()]
    data = [_data(text, *row) for row in used[:, dk.R_DATA : dk.R_KIND + 1].tolist()]
    borders = list(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True))
    return {
        "resp_name": [names[a:b] for a, b in borders],
        "resp_type": Lists(offsets, used[:, dk.R_TYPE].astype("u4")),
        "resp_ttl": Lists(offsets, used[:, dk.R_TTL].astype("u4")),
        "resp_data": [data[a:b] for a, b in borders],
    }


def _words(text: bytes, start: int, end: int) -> str:
    return text[start:end].decode("utf-8", "backslashreplace")


def _data(text: bytes, start: int, end: int, kind: int) -> str:
    raw = text[start:end]
    if kind == dk.ADDRESS:
        return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)
    return raw.decode("utf-8", "backslashreplace") if kind == dk.WORDS else ""
