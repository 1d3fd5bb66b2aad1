"""The packet list: one line a packet, as Wireshark's users know it.

Knows: which columns make a line. Relative sequence numbers are the tcp table's `seq` and `ack`.
Must not know: how many packets a terminal should show; the caller cuts the frames.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl
from rich.table import Table
from rich.text import Text

from pcaptool.errors import printable
from pcaptool.report.words import captured, table

__all__ = ["packet_list", "packet_summaries"]

Row = dict[str, Any]
# In the order in which Wireshark prints them.
_FLAGS = (
    (1, "FIN"),
    (2, "SYN"),
    (4, "RST"),
    (8, "PSH"),
    (16, "ACK"),
    (32, "URG"),
    (64, "ECE"),
    (128, "CWR"),
    (256, "AE"),
)
# What the analysis says, in front of the line.
_NOTES = (
    ("analysis_reused_ports", "port reused"),
    ("analysis_retransmission", "retransmission"),
    ("analysis_out_of_order", "out of order"),
    ("analysis_lost_segment", "previous segment not captured"),
    ("analysis_ack_lost_segment", "ACKed segment not captured"),
    ("analysis_duplicate_ack", "duplicate ACK"),
    ("analysis_keep_alive", "keep-alive"),
    ("analysis_keep_alive_ack", "keep-alive ACK"),
    ("analysis_zero_window", "zero window"),
    ("analysis_zero_window_probe", "zero window probe"),
    ("analysis_window_update", "window update"),
    ("analysis_window_full", "window full"),
)
_STYLES = {"RST": "red", "SYN": "green", "FIN": "yellow"}


def packet_list(frames: Mapping[str, pl.DataFrame], title: str = "Packets") -> Table:
    """The packet list of some frames.

    Parameters
    ----------
    frames : mapping of str to polars.DataFrame
        "packets" (all its rows are shown), and "tcp", "udp", "arp", "http" where there are such; their rows
        of other packets are ignored.
    """
    out = table(
        title,
        *(
            ("n", "right"),
            ("time", "right"),
            ("source", "left"),
            ("destination", "left"),
            ("protocol", "left"),
        ),
        *(("len", "right"), ("info", "left")),
        last_gives_way=True,
    )
    packets = frames["packets"]
    infos = packet_summaries(frames)
    begin = packets["ts"].cast(pl.Int64).min() if packets.height else 0
    for row, ns in zip(packets.iter_rows(named=True), packets["ts"].cast(pl.Int64), strict=True):
        since = ns - begin
        info = infos[row["n"]]
        style = next((s for word, s in _STYLES.items() if f"[{word}" in info or f" {word}" in info[:30]), "")
        out.add_row(
            str(row["n"]),
            f"{since // 10**9}.{since % 10**9:09d}",
            captured(row["src"], 40),
            captured(row["dst"], 40),
            captured(row["protocol"], 12),
            str(row["len"]),
            Text(info, style=style),
        )
    return out


def packet_summaries(frames: Mapping[str, pl.DataFrame]) -> dict[int, str]:
    """Packet number to the line's last column, safe to print."""
    packets = frames["packets"]
    wanted = packets.select("n")
    details: dict[int, list[str]] = {n: [] for n in packets["n"]}
    for name, say in _SAYERS.items():
        frame = frames.get(name)
        if frame is None or not frame.height:
            continue
        for row in frame.join(wanted, on="n", how="semi").iter_rows(named=True):
            details[row["n"]].append(say(row))
    for n, said in _http_lines(frames.get("http")).items():
        if n in details:
            details[n].append(said)
    out = {}
    for row in packets.iter_rows(named=True):
        parts = details[row["n"]] or [str(row.get("protocols") or row["protocol"])]
        if row.get("err_layer") is not None:
            parts.append(f"[{row['err_layer']}: {row['err_kind']}]")
        out[row["n"]] = printable("  ".join(parts))
    return out


def _tcp(row: Row) -> str:
    flags = ", ".join(name for bit, name in _FLAGS if row["flags"] & bit) or "none"
    seq = row["seq"] if row.get("seq") is not None else row["seq_raw"]
    ack = row["ack"] if row.get("ack") is not None else row["ack_raw"]
    parts = [f"[{name}]" for column, name in _NOTES if row.get(column)]
    parts.append(f"{row['srcport']} → {row['dstport']} [{flags}] Seq={seq}")
    if row["flags"] & 16:
        parts.append(f"Ack={ack}")
    window = row["window_size_value"] if row.get("window_size") is None else row["window_size"]
    parts += [f"Win={window}", f"Len={'?' if row['len'] is None else row['len']}"]
    for name, column in (("MSS", "options_mss_val"), ("WS", "options_wscale_shift")):
        value = row.get(column)
        if value is not None:
            parts.append(f"{name}={1 << min(value, 14) if name == 'WS' else value}")
    if row.get("options_sack_perm"):
        parts.append("SACK_PERM")
    if row.get("options_timestamp_tsval") is not None:
        parts.append(f"TSval={row['options_timestamp_tsval']} TSecr={row['options_timestamp_tsecr']}")
    edges = zip(row.get("options_sack_le") or (), row.get("options_sack_re") or (), strict=False)
    base = row["ack_raw"] - ack  # SACK edges count from where the acknowledgement counts
    parts += [f"SACK={(left - base) % 2**32}-{(right - base) % 2**32}" for left, right in edges]
    return " ".join(parts)


def _udp(row: Row) -> str:
    return f"{row['srcport']} → {row['dstport']} Len={row['payload_bytes']}"


def _arp(row: Row) -> str:
    if row["opcode"] == 1:
        return f"Who has {row['dst_proto_ipv4']}? Tell {row['src_proto_ipv4']}"
    return f"{row['src_proto_ipv4']} is at {row['src_hw_mac']}"


def _http_lines(frame: pl.DataFrame | None) -> dict[int, str]:
    """What the packets that complete a message say."""
    out: dict[int, str] = {}
    if frame is None:
        return out
    for row in frame.iter_rows(named=True):
        if row["request_last_n"] is not None:
            _append(out, row["request_last_n"], f"{row['method']} {row['target']}")
        if row["response_last_n"] is not None:
            _append(out, row["response_last_n"], f"HTTP {row['status']} ({row['response_body_bytes']} bytes)")
    return out


def _append(out: dict[int, str], n: int, said: str) -> None:
    out[n] = f"{out[n]}, {said}" if n in out else said


_SAYERS: dict[str, Callable[[Row], str]] = {"arp": _arp, "udp": _udp, "tcp": _tcp}
