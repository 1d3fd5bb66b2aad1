"""Batches made by hand: the analyses are tested without the decoder, with dpkt's reading of real captures."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dpkt
import numpy as np
import pytest

from pcaptool.decode.batch import Batch
from pcaptool.tables.columns import Lists, Masked, Texts

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


@dataclass
class Segment:
    """A TCP segment (or UDP datagram) as a test writes it."""

    src: str
    dst: str
    sport: int
    dport: int
    seq: int = 0
    ack: int = 0
    flags: int = ACK
    data: bytes = b""
    ts: int = 0
    cut: int = 0  # payload bytes at the end that were not captured
    udp: bool = False
    mss: int | None = None
    wscale: int | None = None
    sack_permitted: bool = False
    tsval: int | None = None
    tsecr: int | None = None
    window: int = 1000
    sack: tuple[tuple[int, int], ...] = ()


def _masked(values: list[int | None], dtype: str) -> Masked:
    valid = np.array([v is not None for v in values], np.bool_)
    return Masked(np.array([0 if v is None else v for v in values], dtype), valid)


def _texts(values: list[str]) -> Texts:
    words = list(dict.fromkeys(values))
    return Texts(np.array([words.index(v) for v in values], np.int32), words)


def _edges(blocks: list[tuple[tuple[int, int], ...]], which: int) -> Lists:
    offsets = np.cumsum([0] + [len(b) for b in blocks]).astype(np.int32)
    return Lists(offsets, np.array([edge[which] for b in blocks for edge in b], "u4"))


def make_batch(segments: list[Segment], first_n: int = 1) -> Batch:
    n = [first_n + i for i in range(len(segments))]
    kept = [s.data[: len(s.data) - s.cut] for s in segments]
    offsets = np.cumsum([0] + [54 + len(k) for k in kept])[:-1].astype(np.int64)
    packets: dict[str, Any] = {
        "n": np.array(n, "u4"),
        "ts": np.array([s.ts for s in segments], "i8"),
        "len": np.array([54 + len(s.data) for s in segments], "u4"),
        "cap_len": np.array([54 + len(k) for k in kept], "u4"),
        "src": _texts([s.src for s in segments]),
        "dst": _texts([s.dst for s in segments]),
        "srcport": _masked([s.sport for s in segments], "u2"),
        "dstport": _masked([s.dport for s in segments], "u2"),
    }
    tables: dict[str, Any] = {"packets": packets}
    tcp = [(i, s) for i, s in enumerate(segments) if not s.udp]
    udp = [(i, s) for i, s in enumerate(segments) if s.udp]

    def ports(rows: list[tuple[int, Segment]]) -> dict[str, Any]:
        return {
            "n": np.array([n[i] for i, _ in rows], "u4"),
            "depth": np.zeros(len(rows), "u1"),
            "srcport": np.array([s.sport for _, s in rows], "u2"),
            "dstport": np.array([s.dport for _, s in rows], "u2"),
            "payload_offset": np.full(len(rows), 54, "u4"),
        }

    tables["tcp"] = ports(tcp) | {
        "seq_raw": np.array([s.seq % 2**32 for _, s in tcp], "u4"),
        "ack_raw": np.array([s.ack % 2**32 for _, s in tcp], "u4"),
        "flags": np.array([s.flags for _, s in tcp], "u2"),
        "window_size_value": np.array([s.window for _, s in tcp], "u2"),
        "len": _masked([len(s.data) for _, s in tcp], "u4"),
        "options_mss_val": _masked([s.mss for _, s in tcp], "u2"),
        "options_wscale_shift": _masked([s.wscale for _, s in tcp], "u1"),
        "options_sack_perm": np.array([s.sack_permitted for _, s in tcp], np.bool_),
        "options_timestamp_tsval": _masked([s.tsval for _, s in tcp], "u4"),
        "options_timestamp_tsecr": _masked([s.tsecr for _, s in tcp], "u4"),
        "options_sack_le": _edges([s.sack for _, s in tcp], 0),
        "options_sack_re": _edges([s.sack for _, s in tcp], 1),
        "options_mptcp_subtypes": Lists(np.zeros(len(tcp) + 1, np.int32), np.empty(0, "u1")),
    }
    tables["udp"] = ports(udp) | {"payload_bytes": np.array([len(s.data) for _, s in udp], "u4")}
    tables["ip"] = {name: packets[name] for name in ("n", "src", "dst")} | {
        "depth": np.zeros(len(segments), "u1"),
        "proto": np.array([17 if s.udp else 6 for s in segments], "u1"),
    }
    data = np.frombuffer(b"".join(bytes(54) + k for k in kept), np.uint8)
    return Batch(first_n, len(segments), tables, data, offsets)


def read_lab(path: Path) -> list[Segment]:
    """TCP segments of a capture by dpkt, which shares no code with ours; other packets are left out."""
    out = []
    with path.open("rb") as file:
        for ts, raw in dpkt.pcap.Reader(file):
            ip = dpkt.ethernet.Ethernet(raw).data
            if not isinstance(ip, dpkt.ip.IP) or not isinstance(ip.data, dpkt.tcp.TCP):
                continue
            tcp = ip.data
            size = ip.len - ip.hl * 4 - tcp.off * 4
            options = dict(dpkt.tcp.parse_opts(tcp.opts))
            out.append(
                Segment(
                    src=socket.inet_ntoa(ip.src),
                    dst=socket.inet_ntoa(ip.dst),
                    sport=tcp.sport,
                    dport=tcp.dport,
                    seq=tcp.seq,
                    ack=tcp.ack,
                    flags=tcp.flags,
                    data=bytes(tcp.data[:size]).ljust(size, b"\0"),
                    cut=max(size - len(tcp.data), 0),
                    ts=int(ts * 1_000_000_000),
                    mss=int.from_bytes(options[2], "big") if 2 in options else None,
                    wscale=options[3][0] if 3 in options else None,
                    sack_permitted=4 in options,
                    tsval=int.from_bytes(options[8][:4], "big") if 8 in options else None,
                    tsecr=int.from_bytes(options[8][4:], "big") if 8 in options else None,
                    window=tcp.win,
                )
            )
    return out


def split(segments: list[Segment], size: int) -> Iterator[Batch]:
    for at in range(0, len(segments), size):
        yield make_batch(segments[at : at + size], first_n=at + 1)


@dataclass
class Tools:
    """What the tests of this folder use."""

    Segment = Segment
    make_batch = staticmethod(make_batch)
    read_lab = staticmethod(read_lab)
    split = staticmethod(split)


@pytest.fixture(scope="session")
def by_hand() -> type[Tools]:
    return Tools
