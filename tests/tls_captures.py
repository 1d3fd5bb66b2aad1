"""Captures of TLS handshakes that OpenSSL makes: Python's ssl module speaks to itself through memory."""

from __future__ import annotations

import ssl
from pathlib import Path

import dpkt

CLIENT, SERVER = (b"\xc0\0\2\1", 50000), (b"\xc0\0\2\2", 8443)


def contexts(version: ssl.TLSVersion) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A client and a server that need no certificate: anonymous key exchange, which TLS 1.3 does not have."""
    out = []
    for side in (ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER):
        context = ssl.SSLContext(side)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = version
        if side is ssl.PROTOCOL_TLS_SERVER:
            context.minimum_version = version
        context.set_ciphers("aNULL:ALL:@SECLEVEL=0")
        context.set_alpn_protocols(["h2", "http/1.1"])
        out.append(context)
    return out[0], out[1]


def talk(version: ssl.TLSVersion) -> list[tuple[bool, bytes]]:
    """What both write until each has sent data, or fails: whether the client, and the bytes."""
    client_context, server_context = contexts(version)
    inputs = ssl.MemoryBIO(), ssl.MemoryBIO()
    outputs = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(inputs[0], outputs[0], server_hostname="www.example.org")
    server = server_context.wrap_bio(inputs[1], outputs[1], server_side=True)
    flights: list[tuple[bool, bytes]] = []
    said = [False, False]
    for _ in range(8):
        for me, end in enumerate((client, server)):
            try:
                end.do_handshake()
                if not said[me]:
                    end.write(b"hello")
                    said[me] = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                said[me] = True
            raw = outputs[me].read()
            if raw:
                flights.append((me == 0, raw))
                inputs[1 - me].write(raw)
    return flights


def write_capture(path: Path, flights: list[tuple[bool, bytes]], cut: int = 1460) -> None:
    """The flights as a TCP connection, in segments of at most `cut` bytes."""
    seq = [1000, 5000]
    with path.open("wb") as file:
        writer, ts = dpkt.pcap.Writer(file), 1.0
        parts: list[tuple[int, int, bytes]] = [(0, 2, b""), (1, 18, b""), (0, 16, b"")]
        for client, raw in flights:
            parts += [(int(not client), 24, raw[k : k + cut]) for k in range(0, len(raw), cut)]
        for side, flags, data in parts:
            src, dst = (CLIENT, SERVER) if side == 0 else (SERVER, CLIENT)
            tcp = dpkt.tcp.TCP(
                sport=src[1], dport=dst[1], seq=seq[side], ack=seq[1 - side] if flags & 16 else 0, flags=flags
            )
            tcp.data = data
            seq[side] += len(data) + (flags & 2 > 0)
            ip = dpkt.ip.IP(src=src[0], dst=dst[0], p=6, data=tcp, len=40 + len(data))
            writer.writepkt(dpkt.ethernet.Ethernet(src=b"\2" * 6, dst=b"\4" * 6, data=ip), ts)
            ts += 0.001
