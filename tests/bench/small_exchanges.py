"""A capture of nothing but small HTTP exchanges: ten to a connection, request and response a packet each.

Knows: bytes of headers only, no checksums. Times rise by 20 us a packet.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

__all__ = ["make_small_exchanges"]

CLIENT, SERVER = bytes([10, 0, 0, 2]), bytes([192, 0, 2, 1])
REQUEST = (
    "GET /item/{}?x={} HTTP/1.1\r\nHost: server.example\r\nUser-Agent: bench\r\nAccept: */*\r\n"
    "Cookie: a=b; c=d\r\n\r\n"
)
RESPONSE = (
    "HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n"
    "Connection: keep-alive\r\n\r\n"
)
EACH = 10
SYN, FIN_ACK, SYN_ACK, ACK, PUSH = 0x02, 0x11, 0x12, 0x10, 0x18


class _Connection:
    def __init__(self, port: int) -> None:
        self.ports, self.seq = (port, 80), [1000, 5000]

    def packet(self, side: int, flags: int, data: bytes = b"") -> bytes:
        hosts = (CLIENT, SERVER)
        ports, addresses = self.ports[:: 1 - 2 * side], hosts[side] + hosts[1 - side]
        ack = 0 if flags == SYN else self.seq[1 - side]
        tcp = struct.pack("!HHIIBBHHH", *ports, self.seq[side], ack, 5 << 4, flags, 64_000, 0, 0) + data
        self.seq[side] += len(data) + (flags & 3 != 0)
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 1, 0x4000, 64, 6, 0) + addresses
        return b"\2" * 6 + b"\4" * 6 + b"\x08\0" + ip + tcp


def _packets(connections: int) -> Iterator[bytes]:
    for number in range(connections):
        one = _Connection(10_000 + number % 50_000)
        yield from (one.packet(0, SYN), one.packet(1, SYN_ACK), one.packet(0, ACK))
        for turn in range(EACH):
            yield one.packet(0, PUSH, REQUEST.format(number, turn).encode())
            body = b"x" * (100 + turn)
            yield one.packet(1, PUSH, RESPONSE.format(len(body)).encode() + body)
            yield one.packet(0, ACK)
        yield from (one.packet(0, FIN_ACK), one.packet(1, FIN_ACK), one.packet(0, ACK))


def make_small_exchanges(path: Path, exchanges: int) -> None:
    """Write so many exchanges, rounded up to whole connections.

    Parameters
    ----------
    path : path
        A pcap file to write.
    exchanges : int
    """
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1))
        for n, packet in enumerate(_packets(-(-exchanges // EACH))):
            seconds, micros = divmod(20 * n, 1_000_000)
            file.write(struct.pack("<IIII", seconds, micros, len(packet), len(packet)) + packet)
