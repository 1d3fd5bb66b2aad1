"""HTTP exchanges as columns of the http table.

Knows: both sides' names for a value. Must not know: how it was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from pcaptool.analyze.http_head import RequestHead, ResponseHead, text
from pcaptool.analyze.http_pairing import Exchange, Message
from pcaptool.tables import HTTP
from pcaptool.tables.columns import Columns, Masked
from pcaptool.tables.definition import KINDS

__all__ = ["exchange_columns"]

_NOTHING = Message()
_NO_HEAD = RequestHead("")

# A value of the request or of the response: column's suffix to how it is found in a message.
_OF_MESSAGE: dict[str, Callable[[Message], Any]] = {
    "header_names": lambda m: [text(key) for key, _ in _fields(m)],
    "header_values": lambda m: [text(value) for _, value in _fields(m)],
    "trailer_names": lambda m: [text(key) for key, _ in m.trailers],
    "trailer_values": lambda m: [text(value) for _, value in m.trailers],
    "head_bytes": lambda m: m.head.size if m.head else 0,
    "body_bytes": lambda m: m.body_bytes,
    "gap_bytes": lambda m: m.gap_bytes,
    "first_n": lambda m: m.first_n or None,
    "first_ts": lambda m: m.first_ts if m.first_n else None,
    "last_n": lambda m: m.last_n if m.complete else None,
    "last_ts": lambda m: m.last_ts if m.complete else None,
    "version": lambda m: m.head.version if m.head else None,
}
# Values of one side's head: column to header field.
_OF_REQUEST = {"host": b"host"}
_OF_RESPONSE = {
    "content_type": b"content-type",
    "transfer_coding": b"transfer-encoding",
    "content_coding": b"content-encoding",
}
# Values of an exchange: column to how it is found in its request and response.
_OF_EXCHANGE: dict[str, Callable[[Exchange, Message, Message], Any]] = {
    "exchange": lambda x, _q, _r: x.number,
    "method": lambda _x, q, _r: q.head.method if isinstance(q.head, RequestHead) else None,
    "target": lambda _x, q, _r: q.head.target if isinstance(q.head, RequestHead) else None,
    "status": lambda _x, _q, r: r.head.status if isinstance(r.head, ResponseHead) else None,
    "content_length": lambda _x, _q, r: _number(r.head.first(b"content-length")) if r.head else None,
    "interim_status": lambda x, _q, _r: x.interim_status or None,
    "interim_n": lambda x, _q, _r: x.interim_n or None,
    "server_time_ns": lambda _x, q, r: r.first_ts - q.last_ts if q.complete and r.first_n else None,
    "transfer_time_ns": lambda _x, _q, r: r.last_ts - r.first_ts if r.complete else None,
    "complete": lambda _x, q, r: q.complete and r.complete and not q.gap_bytes and not r.gap_bytes,
    "trouble": lambda x, _q, _r: _trouble(x),
}


def exchange_columns(found: Sequence[tuple[int, Exchange]]) -> Columns:
    """Columns of the http table.

    Parameters
    ----------
    found : sequence of (int, Exchange)
        Flow and exchange, in the order of the rows.
    """
    exchanges = [exchange for _, exchange in found]
    asked = [exchange.request or _NOTHING for exchange in exchanges]
    answered = [exchange.response or _NOTHING for exchange in exchanges]
    values: dict[str, list[Any]] = {"flow": [flow for flow, _ in found]}
    for name, find in _OF_EXCHANGE.items():
        values[name] = [find(*each) for each in zip(exchanges, asked, answered, strict=True)]
    for name, field in _OF_REQUEST.items():
        values[name] = [(m.head or _NO_HEAD).first(field) for m in asked]
    for name, field in _OF_RESPONSE.items():
        values[name] = [(m.head or _NO_HEAD).first(field) for m in answered]
    for name, of in _OF_MESSAGE.items():
        values[f"request_{name}"] = [of(m) for m in asked]
        values[f"response_{name}"] = [of(m) for m in answered]
    return {column.name: _column(column.kind, values[column.name]) for column in HTTP.columns}


def _column(kind: str, values: list[Any]) -> Any:
    dtype = KINDS[kind][0]
    if not dtype:
        return values
    valid = np.array([v is not None for v in values], np.bool_)
    return Masked(np.array([0 if v is None else v for v in values], dtype), valid)


def _fields(message: Message) -> list[tuple[bytes, bytes]]:
    return message.head.fields if message.head else []


def _number(value: str | None) -> int | None:
    return (
        int(value) if value is not None and value.isascii() and value.isdigit() and len(value) < 19 else None
    )


def _trouble(exchange: Exchange) -> str | None:
    parts: Iterable[str] = (
        "no request" if exchange.request is None else _faults("request", exchange.request),
        "no response" if exchange.response is None else _faults("response", exchange.response),
    )
    return "; ".join(part for part in parts if part) or None


def _faults(name: str, message: Message) -> str:
    gap = f"{message.gap_bytes} body bytes not captured" if message.gap_bytes else ""
    faults = "; ".join(part for part in (message.trouble or "", gap) if part)
    return f"{name}: {faults}" if faults else ""
