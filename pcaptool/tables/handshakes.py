"""TLS handshakes."""

from __future__ import annotations

from pcaptool.tables.definition import Column, Table

__all__ = ["TLS"]


def _sides(name: str, kind: str, doc: str) -> tuple[Column, ...]:
    return tuple(
        Column(f"{who}_{name}", kind, f"{who}: {doc}", nullable=not name.startswith("handshake"))
        for who in ("client", "server")
    )


TLS = Table(
    name="tls",
    version=1,
    row="TLS connection",
    doc=(
        "TLS over TCP, found by content on any port: what client and server said before everything was encrypted."
        " Each direction is read up to its first application data or encrypted alert. Times are those"
        " of the packet that completed the message."
    ),
    columns=(
        Column("flow", "u32", "row of `flows`"),
        Column("server_name", "text", "name that the client asks for (SNI)",
               "tls.handshake.extensions_server_name", nullable=True),
        Column("version", "text", "version that the server chose", nullable=True),
        Column("cipher", "u16", "cipher suite that the server chose", "tls.handshake.ciphersuite",
               nullable=True),
        Column("alpn", "text", "protocol that the server chose, where it says so in the clear (not TLS 1.3)",
               nullable=True),
        Column("alpn_offered", "text_list", "protocols that the client offers"),
        Column("versions_offered", "u32_list", "versions that the client offers, GREASE included"),
        Column("ciphers_offered", "u32_list", "cipher suites that the client offers, GREASE included"),
        Column("extensions_offered", "u32_list", "extensions of the ClientHello, GREASE included"),
        Column("groups_offered", "u32_list", "key exchange groups that the client offers, GREASE included"),
        Column("server_extensions", "u32_list", "extensions of the ServerHello"),
        Column("hello_retry", "bool", "the server asked for another ClientHello"),
        Column("ja3", "text", "fingerprint of the ClientHello", "tls.handshake.ja3", nullable=True),
        Column("ja3_full", "text", "what it is the digest of", "tls.handshake.ja3_full", nullable=True),
        Column("ja3s", "text", "fingerprint of the ServerHello", "tls.handshake.ja3s", nullable=True),
        Column("ja3s_full", "text", "what it is the digest of", "tls.handshake.ja3s_full", nullable=True),
        Column("ja4", "text", "fingerprint of the ClientHello that sorts what clients shuffle", nullable=True),
        Column("certificate_bytes", "u32", "the server's Certificate message, 0 where it is encrypted or absent"),
        *_sides("hello_n", "u32", "packet that completed its hello (the server's last)"),
        *_sides("hello_ts", "time", "time of that packet"),
        *_sides("application_n", "u32", "packet with its first application data"),
        *_sides("application_ts", "time", "time of that packet"),
        *_sides("alert_level", "u8", "last alert in the clear: 1 warning, 2 fatal"),
        *_sides("alert_description", "u8", "what that alert says"),
        *_sides("handshake_records", "u32", "records that were read"),
        *_sides("handshake_bytes", "u32", "bytes of these, headers included"),
        Column("server_time_ns", "i64", "ClientHello to the server's (last) hello", nullable=True),
        Column("handshake_time_ns", "i64", "ClientHello to the first application data of either side", nullable=True),
        Column("complete", "bool", "both hellos were read whole"),
        Column("trouble", "text", "where reading ended before its time, and why; null where it did not",
               nullable=True),
    ),
)  # fmt: skip
