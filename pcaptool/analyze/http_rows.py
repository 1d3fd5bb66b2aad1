"""HTTP exchanges as columns of the http table.

Knows: both sides' names for a value. Must not know: how it was found.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from pcaptool.analyze.http_head import RequestHead, ResponseHead, text
from pcaptool.analyze.http_pairing import Exchange, Message
from pcaptool.tables import HTTP
from pcaptool.tables.columns import Columns, Masked
from pcaptool.tables.definition import KINDS

__all__ = ["exchange_columns"]

Row = dict[str, Any]
_NOTHING = Message()


def exchange_columns(found: Sequence[tuple[int, Exchange]]) -> Columns:
    """Columns of the http table.

    Parameters
    ----------
    found : sequence of (int, Exchange)
        Flow and exchange, in the order of the rows.
    """
    rows = [_row(flow, exchange) for flow, exchange in found]
    return {column.name: _column(column.kind, [row[column.name] for row in rows]) for column in HTTP.columns}


def _column(kind: str, values: list[Any]) -> Any:
    dtype = KINDS[kind][0]
    if not dtype:
        return values
    valid = np.array([v is not None for v in values], np.bool_)
    return Masked(np.array([0 if v is None else v for v in values], dtype), valid)


def _row(flow: int, exchange: Exchange) -> Row:
    request, response = exchange.request or _NOTHING, exchange.response or _NOTHING
    asked, answered = request.head, response.head
    row: Row = {
        "flow": flow,
        "exchange": exchange.number,
        "method": asked.method if isinstance(asked, RequestHead) else None,
        "target": asked.target if isinstance(asked, RequestHead) else None,
        "host": asked.first(b"host") if asked else None,
        "request_version": asked.version if asked else None,
        "status": answered.status if isinstance(answered, ResponseHead) else None,
        "response_version": answered.version if answered else None,
        "content_type": answered.first(b"content-type") if answered else None,
        "transfer_coding": answered.first(b"transfer-encoding") if answered else None,
        "content_coding": answered.first(b"content-encoding") if answered else None,
        "content_length": _number(answered.first(b"content-length")) if answered else None,
        "interim_status": exchange.interim_status or None,
        "interim_n": exchange.interim_n or None,
        "server_time_ns": _between(request.last_ts, response.first_ts)
        if request.complete and response.first_n
        else None,
        "transfer_time_ns": _between(response.first_ts, response.last_ts) if response.complete else None,
        "complete": request.complete and response.complete and not (request.gap_bytes or response.gap_bytes),
        "trouble": _trouble(exchange),
    }
    for name, message in (("request", request), ("response", response)):
        row |= _message(name, message)
    return row


def _message(name: str, message: Message) -> Row:
    fields = message.head.fields if message.head else []
    return {
        f"{name}_header_names": [text(key) for key, _ in fields],
        f"{name}_header_values": [text(value) for _, value in fields],
        f"{name}_head_bytes": message.head.size if message.head else 0,
        f"{name}_body_bytes": message.body_bytes,
        f"{name}_gap_bytes": message.gap_bytes,
        f"{name}_first_n": message.first_n or None,
        f"{name}_first_ts": message.first_ts if message.first_n else None,
        f"{name}_last_n": message.last_n if message.complete else None,
        f"{name}_last_ts": message.last_ts if message.complete else None,
    }


def _between(begin: int, end: int) -> int:
    return end - begin


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
