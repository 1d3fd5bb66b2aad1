"""TLS handshakes of a capture, as an analysis over batches.

Knows: with which TCP payload the reading of a conversation begins, and how a handshake becomes a row.
Must not know: records (`tls_records`), hellos (`tls_hello`).
A conversation is taken for TLS when a segment begins with a handshake record's header (0x16, 3, 0 to 4), also in its
midst (STARTTLS), and its first message is a hello.
Left out: SSLv2, DTLS, QUIC; what is encrypted; certificates' content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from pcaptool.analyze.segments import Bools, Start
from pcaptool.analyze.stream_analysis import StreamAnalysis
from pcaptool.analyze.tls_hello import ClientHello, ServerHello, version_text
from pcaptool.analyze.tls_records import Handshake, Side, TlsConnection
from pcaptool.decode.batch import Batch
from pcaptool.tables import TLS
from pcaptool.tables.columns import Columns, Lists, Masked
from pcaptool.tables.definition import KINDS

__all__ = ["TlsAnalysis"]

_NO_CLIENT, _NO_SERVER, _NO_SIDE = ClientHello(), ServerHello(), Side()


class TlsAnalysis(StreamAnalysis):
    """Fills the tls table."""

    table = "tls"

    def make(self, flow: int) -> TlsConnection:  # noqa: ARG002 - others name files by it
        """A reader for one connection."""
        return TlsConnection()

    def marks(self, batch: Batch, start: Start) -> Bools:  # noqa: ARG002 - others look at the batch
        """Segments that begin with a handshake record."""
        marks: Bools = (start.word >> 8 >= 0x160300) & (start.word >> 8 <= 0x160304)
        return marks

    def columns(self, found: list[tuple[int, Any]]) -> Columns:
        """Flows and handshakes to rows."""
        rows = [_row(flow, handshake) for flow, handshake in found]
        return {c.name: _column(c.kind, [row[c.name] for row in rows]) for c in TLS.columns}


def _row(flow: int, found: Handshake) -> dict[str, Any]:
    client, server = found.client or _NO_CLIENT, found.server or _NO_SERVER
    sides = {"client": _NO_SIDE, "server": _NO_SIDE}
    if found.client_side >= 0:
        sides = {"client": found.sides[found.client_side], "server": found.sides[1 - found.client_side]}
    row: dict[str, Any] = {
        "flow": flow,
        "server_name": _text(client.server_name),
        "version": version_text((server.versions or [server.version])[0]) if found.server else None,
        "cipher": server.cipher if found.server else None,
        "alpn": _text(server.alpn[0]) if server.alpn else None,
        "alpn_offered": [_text(name) for name in client.alpn],
        "versions_offered": client.versions,
        "ciphers_offered": client.ciphers,
        "extensions_offered": client.extensions,
        "groups_offered": client.groups,
        "server_extensions": server.extensions,
        "hello_retry": found.retried,
        "ja3_full": client.ja3_full() if found.client else None,
        "ja3s_full": server.ja3s_full() if found.server else None,
        "ja4": client.ja4() if found.client else None,
        "certificate_bytes": found.certificate_bytes,
        "server_time_ns": _between(sides["client"].hello_ts, sides["server"].hello_ts),
        "complete": client.complete and server.complete,
        "trouble": _trouble(sides),
    }
    for name in ("ja3", "ja3s"):
        row[name] = _md5(row[f"{name}_full"])
    times = [side.application_ts for side in found.sides if side.application_n]
    row["handshake_time_ns"] = _between(sides["client"].hello_ts, min(times, default=0))
    for who, side in sides.items():
        row |= {f"{who}_{name}": find(side) for name, find in _OF_SIDE.items()}
    return row


_OF_SIDE: dict[str, Callable[[Side], Any]] = {
    "hello_n": lambda s: s.hello_n or None,
    "hello_ts": lambda s: s.hello_ts if s.hello_n else None,
    "application_n": lambda s: s.application_n or None,
    "application_ts": lambda s: s.application_ts if s.application_n else None,
    "alert_level": lambda s: s.alert[0] if s.alert else None,
    "alert_description": lambda s: s.alert[1] if s.alert else None,
    "handshake_records": lambda s: s.records,
    "handshake_bytes": lambda s: s.bytes,
}


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode("utf-8", "backslashreplace")


def _md5(text: str | None) -> str | None:
    return None if text is None else hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _between(first: int, second: int) -> int | None:
    return second - first if first and second else None


def _trouble(sides: dict[str, Side]) -> str | None:
    return "; ".join(f"{who}: {side.trouble}" for who, side in sides.items() if side.trouble) or None


def _column(kind: str, values: list[Any]) -> Any:
    if kind == "u32_list":
        offsets = np.cumsum([0, *map(len, values)]).astype(np.int32)
        return Lists(offsets, np.array([n for each in values for n in each], "u4"))
    dtype = KINDS[kind][0]
    if not dtype:
        return values
    valid = np.array([v is not None for v in values], np.bool_)
    return Masked(np.array([0 if v is None else v for v in values], dtype), valid)
