"""Captures of many TCP conversations at once that carry data and never end.

Knows: bytes of headers only, no checksums; of each kind what was said when the capture ends. Each conversation has
another client port or address, and its number stands in what it says. Packets come in blocks: all first packets of
some conversations, then all second ones; so nearly all conversations are open at once when the capture ends.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

__all__ = ["FILE_HEADER", "KINDS", "write_conversations"]

FILE_HEADER = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, 1)
SYN, RST, SYN_ACK, ACK, PUSH = 0x02, 0x04, 0x12, 0x10, 0x18
BLOCK = 4096
NUMBER = b"########"  # in what is said: the conversation's number

_GET = (
    b"GET /item/########?x=1 HTTP/1.1\r\nHost: server.example\r\nUser-Agent: bench/1.0 (X11; Linux x86_64)\r\n"
    b"Accept: */*\r\nCookie: session=########\r\n\r\n"
)
_OK = (
    b"HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/plain\r\nContent-Length: 200\r\n"
    b"ETag: ########\r\n\r\n"
)
_HELLO = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03########" + bytes(24) + b"\0\0\x02\x13\x01" + bytes(189)
)
_QUERY = b"\0\x30\x12\x34\x01\0\0\1\0\0\0\0\0\0\x08########"
_OPEN = ((0, SYN, b""), (1, SYN_ACK, b""), (0, ACK, b""))
Turn = tuple[int, int, bytes]  # side, flags, data

# Of each kind: its packets, and the port of the server.
KINDS: dict[str, tuple[tuple[Turn, ...], int]] = {
    "no data, reset": (((0, SYN, b""), (1, SYN_ACK, b""), (0, RST, b"")), 80),
    "an HTTP request, no answer": ((*_OPEN, (0, PUSH, _GET)), 80),
    "half an HTTP request": ((*_OPEN, (0, PUSH, _GET[: len(_GET) // 2])), 80),
    "half an HTTP response": ((*_OPEN, (0, PUSH, _GET), (1, PUSH, _OK + b"x" * 100)), 80),
    "a whole HTTP exchange": ((*_OPEN, (0, PUSH, _GET), (1, PUSH, _OK + b"x" * 200), (0, ACK, b"")), 80),
    "half a ClientHello": ((*_OPEN, (0, PUSH, _HELLO)), 443),
    "half a DNS message": ((*_OPEN, (0, PUSH, _QUERY)), 53),
}


def write_conversations(pipe: BinaryIO, kind: str, count: int) -> None:
    """Write a capture of so many conversations.

    Parameters
    ----------
    pipe : binary file
    kind : str
        One of KINDS.
    count : int
    """
    turns, port = KINDS[kind]
    pipe.write(FILE_HEADER)
    for first in range(0, count, BLOCK):
        numbers = np.arange(first, min(first + BLOCK, count))
        sent = [1000, 5000]
        for turn, (side, flags, data) in enumerate(turns):
            ns = (numbers * len(turns) + turn) * 1000
            ack = 0 if flags in (SYN, RST) else sent[1 - side]
            pipe.write(_packets(numbers, ns, (side, port), (sent[side], ack, flags), data))
            sent[side] += len(data) + (1 if flags & SYN else 0)


def _packets(
    numbers: npt.NDArray[np.int64],
    ns: npt.NDArray[np.int64],
    ends: tuple[int, int],
    tcp: tuple[int, int, int],
    data: bytes,
) -> bytes:
    """A packet of each conversation, which differ in the client's address and port and in what they say."""
    (side, server), (seq, ack, flags), size = ends, tcp, 54 + len(data)
    ip = struct.pack("!BBHHHBBHII", 0x45, 0, size - 14, 0, 0x4000, 64, 6, 0, 0xC0000202, 0xC0000202)
    ports = struct.pack("!HH", server, server)
    rest = struct.pack("!IIBBHHH", seq, ack, 5 << 4, flags, 64_000, 0, 0)
    frame = b"\2" * 6 + b"\4" * 6 + b"\x08\0" + ip + ports + rest + data
    rows = np.empty(len(numbers), np.dtype([("head", "<u4", 4), ("frame", "u1", size)]))
    rows["head"] = np.stack(
        [1_700_000_000 + ns // 10**9, ns % 10**9, np.full(len(ns), size), np.full(len(ns), size)], axis=1
    )
    rows["frame"] = np.frombuffer(frame, np.uint8)
    client = [np.full(len(numbers), 10), numbers >> 32 & 255, numbers >> 24 & 255, numbers >> 16 & 255]
    host, port = (30, 36) if side else (26, 34)
    rows["frame"][:, host : host + 4] = np.stack(client, axis=1)
    rows["frame"][:, port : port + 2] = np.stack([numbers >> 8 & 255, numbers & 255], axis=1)
    digits = numbers[:, None] // 10 ** np.arange(len(NUMBER) - 1, -1, -1) % 10 + ord("0")
    at = frame.find(NUMBER)
    while at >= 0:
        rows["frame"][:, at : at + len(NUMBER)] = digits
        at = frame.find(NUMBER, at + 1)
    return rows.tobytes()
