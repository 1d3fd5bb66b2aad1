"""HTTP exchanges as columns of the http table.

Knows: both sides' names for a value. Must not know: how it was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from pcaptool.analyze.http_head import RequestHead, ResponseHead, text
from pcaptool.analyze.http_messages import Exchange, Message
from pcaptool.tables import HTTP
from pcaptool.tables.columns import Columns, Masked
from pcaptool.tables.definition import KINDS

__all__ = ["exchange_columns"]

_NOTHING = Message()
_NO_HEAD = RequestHead("")

# Values of requests or of responses: column's suffix to how they are found in messages.
_OF_MESSAGES: dict[str, Callable[[list[Message]], list[Any]]] = {
    "header_names": lambda all_: [m.head.fields.texts[0] if m.head else [] for m in all_],
    "header_values": lambda all_: [m.head.fields.texts[1] if m.head else [] for m in all_],
    "trailer_names": lambda all_: [[text(key) for key, _ in m.trailers] for m in all_],
    "trailer_values": lambda all_: [[text(value) for _, value in m.trailers] for m in all_],
    "head_bytes": lambda all_: [m.head.size if m.head else 0 for m in all_],
    "body_bytes": lambda all_: [m.body_bytes for m in all_],
    "gap_bytes": lambda all_: [m.gap_bytes for m in all_],
    "first_n": lambda all_: [m.first_n or None for m in all_],
    "first_ts": lambda all_: [m.first_ts if m.first_n else None for m in all_],
    "last_n": lambda all_: [m.last_n if m.complete else None for m in all_],
    "last_ts": lambda all_: [m.last_ts if m.complete else None for m in all_],
    "version": lambda all_: [m.head.version if m.head else None for m in all_],
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
    for name, of in _OF_MESSAGES.items():
        values[f"request_{name}"] = of(asked)
        values[f"response_{name}"] = of(answered)
    return {column.name: _column(column.kind, values[column.name]) for column in HTTP.columns}


def _column(kind: str, values: list[Any]) -> Any:
    dtype = KINDS[kind][0]
    if not dtype:
        return values
    if None not in values:
        return Masked(np.array(values, dtype), np.ones(len(values), np.bool_))
    valid = np.array([v is not None for v in values], np.bool_)
    return Masked(np.array([0 if v is None else v for v in values], dtype), valid)


def _number(value: str | None) -> int | None:
    return (
        int(value) if value is not None and value.isascii() and value.isdigit() and len(value) < 19 else None
    )


def _trouble(exchange: Exchange) -> str | None:
    parts: Iterable[str] = (
        "no request" if exchange.request is None else _faults("request", exchange.request),
        "no response" if exchange.response is None else _faults("response", exchange.response),
        exchange.unread or "",
    )
    return "; ".join(part for part in parts if part) or None


def _faults(name: str, message: Message) -> str:
    gap = f"{message.gap_bytes} body bytes not captured" if message.gap_bytes else ""
    faults = "; ".join(part for part in (message.trouble or "", gap) if part)
    return f"{name}: {faults}" if faults else ""
