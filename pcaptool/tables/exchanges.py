"""HTTP exchanges."""

from __future__ import annotations

from pcaptool.tables.definition import Column, Table

__all__ = ["HTTP"]

HTTP = Table(
    name="http",
    version=1,
    row="request and its response",
    doc=(
        "HTTP/1 exchanges, found by content on any port. `exchange` numbers them on each connection as they"
        " began; responses answer requests in order (RFC 9112 section 9.3.2). Each time is that of the packet"
        " that completed the byte in question: whose arrival made the stream whole up to there."
    ),
    columns=(
        Column("flow", "u32", "row of `flows`"),
        Column("exchange", "u32", "number on its connection, 0-based"),
        Column("method", "text", "request method", "http.request.method", nullable=True),
        Column("target", "string", "request target", "http.request.uri", nullable=True),
        Column("host", "text", "Host header", "http.host", nullable=True),
        Column("request_version", "text", "request's HTTP version", nullable=True),
        Column("status", "u16", "response status", "http.response.code", nullable=True),
        Column("response_version", "text", "response's HTTP version", nullable=True),
        Column("content_type", "text", "response's Content-Type", nullable=True),
        Column("transfer_coding", "text", "response's Transfer-Encoding", nullable=True),
        Column("content_coding", "text", "response's Content-Encoding", nullable=True),
        Column("content_length", "u64", "response's Content-Length", nullable=True),
        Column("request_header_names", "text_list", "names as sent, in order"),
        Column("request_header_values", "text_list", "values, in the same order"),
        Column("response_header_names", "text_list", "names as sent, in order"),
        Column("response_header_values", "text_list", "values, in the same order"),
        Column("request_trailer_names", "text_list", "names of trailer fields, behind a chunked body"),
        Column("request_trailer_values", "text_list", "values, in the same order"),
        Column("response_trailer_names", "text_list", "names of trailer fields, behind a chunked body"),
        Column("response_trailer_values", "text_list", "values, in the same order"),
        Column("request_head_bytes", "u32", "request line and headers"),
        Column("request_body_bytes", "u64", "request body after transfer decoding"),
        Column("response_head_bytes", "u32", "status line and headers"),
        Column("response_body_bytes", "u64", "response body after transfer decoding"),
        Column("request_gap_bytes", "u64", "of the request body, bytes that the capture lacks"),
        Column("response_gap_bytes", "u64", "of the response body, bytes that the capture lacks"),
        Column("request_first_n", "u32", "packet with the request's first byte", nullable=True),
        Column("request_last_n", "u32", "packet that completed the request", nullable=True),
        Column("response_first_n", "u32", "packet with the response's first byte", nullable=True),
        Column("response_last_n", "u32", "packet that completed the response", nullable=True),
        Column("request_first_ts", "time", "time of that packet", nullable=True),
        Column("request_last_ts", "time", "time of that packet", nullable=True),
        Column("response_first_ts", "time", "time of that packet", nullable=True),
        Column("response_last_ts", "time", "time of that packet", nullable=True),
        Column(
            "interim_status",
            "u16",
            "last 1xx status before the response",
            nullable=True,
        ),
        Column("interim_n", "u32", "packet that completed it", nullable=True),
        Column("server_time_ns", "i64", "request complete to response's first byte", nullable=True),
        Column("transfer_time_ns", "i64", "response's first to last byte", nullable=True),
        Column("complete", "bool", "both messages were seen whole"),
        Column(
            "trouble",
            "text",
            "no request, no response, or which message is faulty and why; null where there is none",
            nullable=True,
        ),
    ),
)
